"""Direct networks "R" and "C": image to cellularity (METHODS 5)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import torch
from torch import nn

from cellularity_core.errors import ModelError
from cellularity_core.networks.encoders import create_classifier, score_places

LEVELS: Final = 101
"""Classes of the classification setting: 0.00, 0.01, ... 1.00 (section 3.4)."""

HALF: Final = (0.5, 0.5, 0.5)

HEADS: Final = {"regression": 1, "classification": LEVELS}

AVERAGES: Final = ("features", "scores")


class Direct(nn.Module):
    """Any timm network with one output, or with one per percent of cellularity.

    Parameters
    ----------
    encoder : str
        Any timm network, foundation encoders included.
    head : {"regression", "classification"}
    frozen : bool
        Keep the encoder's weights and train the head only.
    arguments : mapping, optional
        Further arguments of timm's network.
    mean, std : sequence of 3 float
        Of the encoder's training images, 0 to 1; the default keeps [-1, 1].
    average : {"features", "scores"}
        What is averaged over the image: the encoder's features, as timm does, or the
        score of every place. Cellularity is a share of area, so scores of places add up
        to that of the patch, whatever its size. "scores" takes encoders that end in a
        convolution.
    """

    levels: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        encoder: str,
        head: str = "regression",
        frozen: bool = False,
        init: str = "random",
        arguments: Mapping[str, Any] | None = None,
        mean: Sequence[float] = HALF,
        std: Sequence[float] = HALF,
        average: str = "features",
    ) -> None:
        super().__init__()
        if head not in HEADS:
            raise ModelError(f"There is no head '{head}'; choose one of {', '.join(HEADS)}.")
        if average not in AVERAGES:
            raise ModelError(f"'{average}' cannot be averaged; choose {' or '.join(AVERAGES)}.")
        self.network = create_classifier(
            encoder, outputs=HEADS[head], init=init, arguments=arguments
        )
        self.frozen = frozen
        self.average = average
        head_of: Any = self.network.get_classifier
        if average == "scores" and not isinstance(head_of(), nn.Linear):
            raise ModelError(
                f"'{encoder}' has no linear head to apply to every place; average features."
            )
        self.rescaled = (*mean, *std) != (*HALF, *HALF)
        self.register_buffer("levels", torch.linspace(0, 1, LEVELS), persistent=False)
        for name, values in (("mean", mean), ("std", std)):
            tensor = torch.tensor(values, dtype=torch.float32).view(1, 3, 1, 1)
            self.register_buffer(name, tensor, persistent=False)
        if frozen:
            kept = {id(p) for p in head_of().parameters()}
            for parameter in self.network.parameters():
                parameter.requires_grad = id(parameter) in kept

    def train(self, mode: bool = True) -> Self:
        """Training mode, in which a frozen encoder stays as it is used: no dropped paths, and
        batch norms that keep their statistics."""
        super().train(mode)
        if self.frozen:
            self.network.eval()
        return self

    def rescale(self, x: torch.Tensor) -> torch.Tensor:
        """Images in [-1, 1] as the encoder knows them."""
        return ((x + 1) / 2 - self.mean) / self.std if self.rescaled else x

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Raw outputs (B, 1) or (B, 101) for images (B, 3, H, W) in [-1, 1]; of every place,
        (B, 1 or 101, h, w), where scores are averaged."""
        x = self.rescale(x)
        if self.average == "scores":
            return score_places(self.network, x)
        out: torch.Tensor = self.network(x)
        return out

    def places(self, logits: torch.Tensor) -> torch.Tensor:
        """Sigmoid or expectation over the 101 classes: (B, h, w), or (B,) without places."""
        if logits.shape[1] == 1:
            return logits.squeeze(1).sigmoid()
        return torch.einsum("bk...,k->b...", logits.softmax(dim=1), self.levels)

    def score(self, logits: torch.Tensor) -> torch.Tensor:
        """Cellularity (B,): `places`, their mean."""
        value = self.places(logits)
        return value.mean(dim=(1, 2)) if value.ndim == 3 else value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Cellularity (B,) in [0, 1]."""
        return self.score(self.logits(x))
