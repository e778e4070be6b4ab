"""Direct networks "R" and "C": image to cellularity (METHODS 5)."""

from typing import Any, Final

import torch
from torch import nn

from cellularity_core.errors import ModelError
from cellularity_core.networks.encoders import create_classifier

LEVELS: Final = 101
"""Classes of the classification setting: 0.00, 0.01, ... 1.00 (section 3.4)."""

HEADS: Final = {"regression": 1, "classification": LEVELS}


class Direct(nn.Module):
    """Any timm network with one output, or with one per percent of cellularity.

    Parameters
    ----------
    encoder : str
        Any timm network, foundation encoders included.
    head : {"regression", "classification"}
    frozen : bool
        Keep the encoder's weights and train the head only.
    """

    levels: torch.Tensor

    def __init__(
        self,
        encoder: str,
        head: str = "regression",
        frozen: bool = False,
        init: str = "random",
    ) -> None:
        super().__init__()
        if head not in HEADS:
            raise ModelError(f"There is no head '{head}'; choose one of {', '.join(HEADS)}.")
        self.network = create_classifier(encoder, outputs=HEADS[head], init=init)
        self.register_buffer("levels", torch.linspace(0, 1, LEVELS), persistent=False)
        if frozen:
            head_of: Any = self.network.get_classifier
            kept = {id(p) for p in head_of().parameters()}
            for parameter in self.network.parameters():
                parameter.requires_grad = id(parameter) in kept

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Raw outputs (B, 1) or (B, 101) for images (B, 3, H, W) in [-1, 1]."""
        out: torch.Tensor = self.network(x)
        return out

    def score(self, logits: torch.Tensor) -> torch.Tensor:
        """Cellularity (B,): sigmoid, or the expectation over the 101 classes."""
        if logits.shape[1] == 1:
            return logits.squeeze(1).sigmoid()
        return (logits.softmax(dim=1) * self.levels).sum(dim=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Cellularity (B,) in [0, 1]."""
        return self.score(self.logits(x))
