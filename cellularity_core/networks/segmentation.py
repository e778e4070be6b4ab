"""Segmentation of nuclei: an encoder with one of three decoders (METHODS 2)."""

from collections.abc import Sequence
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import nn

from cellularity_core.conventions import CHANNELS
from cellularity_core.errors import ModelError
from cellularity_core.networks.encoders import create_encoder

UNET_WIDTHS: Final = (256, 128, 64, 32, 16)


def conv_block(inputs: int, outputs: int, size: int = 3) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class UpStage(nn.Module):
    """One step up a U-Net: double the side, join the skip, convolve twice."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(conv_block(inputs + skip, outputs), conv_block(outputs, outputs))

    def forward(self, x: torch.Tensor, skip: torch.Tensor | None = None) -> torch.Tensor:
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        if skip is not None:
            x = torch.cat([x, skip], dim=1)
        out: torch.Tensor = self.convs(x)
        return out


class UNetDecoder(nn.Module):
    """ "Standard decoder" of Table 1: a U-Net with skips up to the input's resolution."""

    def __init__(self, channels: Sequence[int], widths: Sequence[int] = UNET_WIDTHS) -> None:
        super().__init__()
        skips = [*channels[-2::-1], 0]
        inputs = [channels[-1], *widths[:-1]]
        self.stages = nn.ModuleList(
            UpStage(i, s, w) for i, s, w in zip(inputs, skips, widths, strict=True)
        )
        self.outputs = widths[-1]

    def forward(self, pyramid: Sequence[torch.Tensor]) -> torch.Tensor:
        x = pyramid[-1]
        for stage, skip in zip(self.stages, [*pyramid[-2::-1], None], strict=True):
            x = stage(x, skip)
        return x  # (B, 16, H, W)


class FPNDecoder(nn.Module):
    """The paper's pyramid on a U-Net path (section 3.1, Fig. 2; METHODS 2).

    Each of the four levels at strides 16, 8, 4, 2 gives 64 maps, brought to stride
    2 and joined to 256; whole maps are dropped with rate 0.5, and one more up-stage
    reaches the input's resolution.
    """

    def __init__(
        self, channels: Sequence[int], maps: int = 64, widths: Sequence[int] = UNET_WIDTHS
    ) -> None:
        super().__init__()
        inputs = [channels[-1], *widths[:3]]
        self.stages = nn.ModuleList(
            UpStage(i, s, w) for i, s, w in zip(inputs, channels[-2::-1], widths[:4], strict=True)
        )
        self.laterals = nn.ModuleList(nn.Conv2d(w, maps, 3, padding=1) for w in widths[:4])
        self.dropout = nn.Dropout2d(0.5)
        self.last = UpStage(4 * maps, 0, widths[-1])
        self.outputs = widths[-1]

    def forward(self, pyramid: Sequence[torch.Tensor]) -> torch.Tensor:
        x, levels = pyramid[-1], []
        for stage, skip, lateral, up in zip(
            self.stages, pyramid[-2::-1], self.laterals, (8.0, 4.0, 2.0, 1.0), strict=True
        ):
            x = stage(x, skip)
            level = lateral(x)
            if up > 1:
                level = F.interpolate(level, scale_factor=up, mode="nearest")
            levels.append(level)
        merged = self.dropout(torch.cat(levels, dim=1))  # (B, 256, H/2, W/2)
        out: torch.Tensor = self.last(merged)
        return out


class LightFPNDecoder(nn.Module):
    """A feature pyramid merged at stride 4, cheap enough for the patch's own resolution.

    Top-down sums of 1 x 1 laterals (Lin et al. 2017); each level then gives `maps`
    maps at stride 4, which are added. Not the paper's decoder: at 0.5 um/px a
    nucleus still covers about 4 x 4 of its pixels.
    """

    def __init__(self, channels: Sequence[int], width: int = 128, maps: int = 64) -> None:
        super().__init__()
        used = channels[1:]
        self.laterals = nn.ModuleList(nn.Conv2d(c, width, 1) for c in used)
        self.heads = nn.ModuleList(conv_block(width, maps) for _ in used)
        self.refine = nn.ModuleList(conv_block(maps, maps) for _ in used[1:])
        self.dropout = nn.Dropout2d(0.2)
        self.outputs = maps

    def forward(self, pyramid: Sequence[torch.Tensor]) -> torch.Tensor:
        levels = [lateral(p) for lateral, p in zip(self.laterals, pyramid[1:], strict=True)]
        for k in range(len(levels) - 2, -1, -1):
            levels[k] = levels[k] + F.interpolate(levels[k + 1], scale_factor=2.0)
        merged = self.heads[0](levels[0])
        for k, refine in enumerate(self.refine, start=1):
            x = refine(F.interpolate(self.heads[k](levels[k]), scale_factor=2.0))
            if k > 1:
                x = F.interpolate(x, scale_factor=float(2 ** (k - 1)))
            merged = merged + x
        out: torch.Tensor = self.dropout(merged)  # (B, maps, H/4, W/4)
        return out


DECODERS: Final[dict[str, type[nn.Module]]] = {
    "unet": UNetDecoder,
    "fpn": FPNDecoder,
    "fpn-light": LightFPNDecoder,
}


class Segmentation(nn.Module):
    """Image to four logits a pixel, in the order of `CHANNELS`.

    Parameters
    ----------
    encoder : str
        Any timm network with strides 2 to 32, or ``resnet34-elu``.
    decoder : {"unet", "fpn", "fpn-light"}
    init : {"random", "imagenet"}
    """

    def __init__(
        self, encoder: str = "resnet34-elu", decoder: str = "fpn", init: str = "random"
    ) -> None:
        super().__init__()
        if decoder not in DECODERS:
            raise ModelError(
                f"There is no decoder '{decoder}'; choose one of {', '.join(DECODERS)}."
            )
        self.encoder = create_encoder(encoder, init=init)
        info: Any = self.encoder.feature_info
        if list(info.reduction()) != [2, 4, 8, 16, 32]:
            raise ModelError(
                f"The encoder '{encoder}' has strides {info.reduction()}; a decoder needs "
                "2, 4, 8, 16, 32. Choose a convolutional encoder."
            )
        built: Any = DECODERS[decoder](info.channels())
        self.decoder = built
        self.head = nn.Conv2d(built.outputs, len(CHANNELS), 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of shape (B, 4, H, W) for images (B, 3, H, W) in [-1, 1]; sides in 32s."""
        logits: torch.Tensor = self.head(self.decoder(self.encoder(x)))
        up = x.shape[-1] // logits.shape[-1]
        if up > 1:
            logits = F.interpolate(
                logits, scale_factor=float(up), mode="bilinear", align_corners=False
            )
        return logits
