"""Cascade "SR": a segmentation, then a regressor on its maps (METHODS 3)."""

from collections.abc import Mapping
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import nn

from cellularity_core.networks.encoders import create_classifier, score_places
from cellularity_core.networks.segmentation import Segmentation


class MaskRegressor(nn.Module):
    """Activation maps to one cellularity.

    Parameters
    ----------
    encoder : str
        Any timm network.
    channels : {3, 4}
        4 with Background; 3 without, as an ImageNet start needs (section 4.3).
    average : {"features", "scores"}
        What is averaged over the maps; see `networks.direct.Direct`.
    """

    def __init__(
        self, encoder: str, channels: int = 4, init: str = "random", average: str = "features"
    ) -> None:
        super().__init__()
        self.channels = channels
        self.average = average
        self.network = create_classifier(encoder, outputs=1, init=init, in_channels=channels)

    def logits(self, maps: torch.Tensor) -> torch.Tensor:
        """Raw outputs (B, 1) for maps (B, 4, H, W) in [0, 1]; of every place, (B, 1, h, w),
        where scores are averaged."""
        x = maps[:, : self.channels] * 2 - 1
        if self.average == "scores":
            return score_places(self.network, x)
        out: torch.Tensor = self.network(x)
        return out

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Cellularity (B,) in [0, 1] for maps (B, 4, H, W) in [0, 1]."""
        return self.score(self.logits(maps))

    @staticmethod
    def places(logits: torch.Tensor) -> torch.Tensor:
        """Cellularity (B, h, w) of places from raw outputs, or (B,) without places."""
        return logits.squeeze(1).sigmoid()

    @staticmethod
    def score(logits: torch.Tensor) -> torch.Tensor:
        """Cellularity (B,) from raw outputs: `places`, their mean."""
        values = MaskRegressor.places(logits)
        return values.mean(dim=(1, 2)) if values.ndim == 3 else values


class Cascade(nn.Module):
    """Segmentation and regressor as one network, so that both can be tuned together.

    Parameters
    ----------
    segmentation, regressor : mapping
        Arguments of `Segmentation` and `MaskRegressor`.
    pool : int
        Maps are averaged over ``pool x pool`` pixels before the regressor sees them.
    """

    def __init__(
        self,
        segmentation: Mapping[str, Any],
        regressor: Mapping[str, Any],
        pool: int = 1,
        init: str = "random",
    ) -> None:
        super().__init__()
        self.segmentation = Segmentation(**segmentation, init=init)
        self.regressor = MaskRegressor(**regressor, init=init)
        self.pool = pool

    def train(self, mode: bool = True) -> Self:
        """Training mode, in which the segmentation's batch norm keeps its statistics.

        The joint phase tunes with small batches; statistics taken from those drift away
        from the maps that the regressor learnt to read.
        """
        super().train(mode)
        for module in self.segmentation.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cellularity (B,) and logits (B, 4, H, W) for images (B, 3, H, W) in [-1, 1]."""
        logits = self.segmentation(x)
        return self.regressor(self.pooled(logits)), logits

    def pooled(self, logits: torch.Tensor) -> torch.Tensor:
        """Maps that the regressor sees, of logits (B, 4, H, W)."""
        maps = logits.sigmoid()
        return F.avg_pool2d(maps, self.pool) if self.pool > 1 else maps
