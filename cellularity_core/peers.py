"""Networks that other nuclei software runs on every patch, to be timed beside ours.

Their trained weights are not fetched: time does not depend on the values, so they stay
random. Built from the descriptions in their papers and only as deep as their time needs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from segmentation_models_pytorch import Unet
from torch import nn
from torch.nn import functional as F

Image = torch.Tensor


@dataclass(frozen=True, slots=True)
class Peer:
    """A network and how it is shown a field.

    Attributes
    ----------
    name, source : str
    mpp : float
        um per pixel it is trained at.
    tile, step : int
        Side of the tile it takes and of what it says of it, in pixels; 0: any field at once.
    build : callable
        Makes the network.
    """

    name: str
    source: str
    mpp: float
    tile: int
    step: int
    build: Callable[[], nn.Module]


class Residual(nn.Module):
    """Pre-activated bottleneck units of one size (He et al. 2016)."""

    def __init__(self, before: int, inner: int, after: int, units: int, stride: int) -> None:
        super().__init__()
        self.shortcut = nn.Conv2d(before, after, 1, stride, bias=False)
        self.units = nn.ModuleList()
        for k in range(units):
            given, step = (before, stride) if k == 0 else (after, 1)
            start = [] if k == 0 else [nn.BatchNorm2d(given), nn.ReLU()]
            self.units.append(
                nn.Sequential(
                    *start,
                    nn.Conv2d(given, inner, 1, bias=False),
                    nn.BatchNorm2d(inner),
                    nn.ReLU(),
                    nn.Conv2d(inner, inner, 3, step, 1, bias=False),
                    nn.BatchNorm2d(inner),
                    nn.ReLU(),
                    nn.Conv2d(inner, after, 1, bias=False),
                )
            )
        self.end = nn.Sequential(nn.BatchNorm2d(after), nn.ReLU())

    def forward(self, x: Image) -> Image:
        carried = self.shortcut(x)
        for unit in self.units:
            x = unit(x) + carried
            carried = x
        found: Image = self.end(x)
        return found


class Dense(nn.Module):
    """Densely connected units without padding, each adding 32 channels."""

    def __init__(self, before: int, units: int) -> None:
        super().__init__()
        self.units = nn.ModuleList()
        for k in range(units):
            given = before + 32 * k
            self.units.append(
                nn.Sequential(
                    nn.BatchNorm2d(given),
                    nn.ReLU(),
                    nn.Conv2d(given, 128, 1, bias=False),
                    nn.BatchNorm2d(128),
                    nn.ReLU(),
                    nn.Conv2d(128, 32, 3, groups=4, bias=False),
                )
            )
        self.end = nn.Sequential(nn.BatchNorm2d(before + 32 * units), nn.ReLU())

    def forward(self, x: Image) -> Image:
        for unit in self.units:
            new = unit(x)
            x = torch.cat([_centre(x, new.shape[-1]), new], 1)
        found: Image = self.end(x)
        return found


class Branch(nn.Module):
    """One decoder of HoVer-Net."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.third = nn.Sequential(
            nn.Conv2d(1024, 256, 3, bias=False), Dense(256, 8), nn.Conv2d(512, 512, 1)
        )
        self.second = nn.Sequential(
            nn.Conv2d(512, 128, 3, bias=False), Dense(128, 4), nn.Conv2d(256, 256, 1)
        )
        self.first = nn.Conv2d(256, 64, 3, padding=1, bias=False)
        self.end = nn.Sequential(nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, outputs, 1))

    def forward(self, first: Image, second: Image, third: Image, deepest: Image) -> Image:
        up = self.third(_add(third, _twice(deepest)))
        up = self.second(_add(second, _twice(up)))
        found: Image = self.end(self.first(_add(first, _twice(up))))
        return found


class HoVerNet(nn.Module):
    """HoVer-Net in its fast mode: 256 px in, 164 px out, five types of nuclei."""

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Sequential(
            nn.Conv2d(3, 64, 7, padding=3, bias=False), nn.BatchNorm2d(64), nn.ReLU()
        )
        self.down = nn.ModuleList(
            [
                Residual(64, 64, 256, 3, 1),
                Residual(256, 128, 512, 4, 2),
                Residual(512, 256, 1024, 6, 2),
                Residual(1024, 512, 2048, 3, 2),
            ]
        )
        self.narrow = nn.Conv2d(2048, 1024, 1, bias=False)
        self.branches = nn.ModuleList(Branch(outputs) for outputs in (2, 2, 6))

    def forward(self, x: Image) -> tuple[Image, ...]:
        levels = [self.start(x)]
        for block in self.down:
            levels.append(block(levels[-1]))
        first, second, third, deepest = levels[1], levels[2], levels[3], self.narrow(levels[4])
        return tuple(branch(first, second, third, deepest) for branch in self.branches)


class StarDist(nn.Module):
    """U-Net of StarDist's H&E model: a grid of 2 px, 32 rays, one class."""

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Sequential(*_twice_conv(3, 32), nn.MaxPool2d(2))
        widths = (32, 64, 128)
        self.down = nn.ModuleList(
            nn.Sequential(*_twice_conv(before, after))
            for before, after in zip((32, *widths), widths, strict=False)
        )
        self.middle = nn.Sequential(*_twice_conv(128, 256, 128))
        self.up = nn.ModuleList(
            nn.Sequential(*_twice_conv(2 * width, width, max(32, width // 2)))
            for width in reversed(widths)
        )
        self.features = nn.Sequential(nn.Conv2d(32, 128, 3, padding=1), nn.ReLU())
        self.end = nn.ModuleList([nn.Conv2d(128, 1, 1), nn.Conv2d(128, 32, 1)])

    def forward(self, x: Image) -> tuple[Image, ...]:
        x, kept = self.start(x), []
        for block in self.down:
            x = block(x)
            kept.append(x)
            x = F.max_pool2d(x, 2)
        x = self.middle(x)
        for block, beside in zip(self.up, reversed(kept), strict=True):
            x = block(torch.cat([_twice(x), beside], 1))
        x = self.features(x)
        return tuple(head(x) for head in self.end)


def _twice_conv(before: int, inner: int, after: int | None = None) -> Sequence[nn.Module]:
    wide = inner if after is None else after
    return [
        nn.Conv2d(before, inner, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(inner, wide, 3, padding=1),
        nn.ReLU(),
    ]


def _twice(x: Image) -> Image:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def _add(skipped: Image, x: Image) -> Image:
    return _centre(skipped, x.shape[-1]) + x


def _centre(x: Image, side: int) -> Image:
    cut = (x.shape[-1] - side) // 2
    return x[..., cut : cut + side, cut : cut + side]


PEERS: Final = (
    Peer(
        "HoVer-Net, fast mode, as TIAToolbox builds it",
        "Graham et al., Med Image Anal 2019;58:101563",
        0.25,
        256,
        164,
        HoVerNet,
    ),
    Peer(
        "StarDist's U-Net of its H&E model",
        "Schmidt et al., MICCAI 2018; Weigert and Schmidt, ISBIC 2022",
        0.5,
        0,
        0,
        StarDist,
    ),
    Peer(
        "VGG-16 U-Net, as MCSpatNet's",
        "Abousamra et al., ICCV 2021",
        0.5,
        0,
        0,
        lambda: Unet("vgg16_bn", encoder_weights=None, classes=8),
    ),
)
