"""Losses of the paper, over any subset of the pixels' channels."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

JACCARD_SHARE = 0.15
"""``a`` of equation 1."""


def segmentation_loss(
    logits: torch.Tensor,
    target: torch.Tensor,
    class_weights: Sequence[float],
    known: torch.Tensor | None = None,
    jaccard_share: float = JACCARD_SHARE,
) -> torch.Tensor:
    """Weighted sum over channels of ``(1 - a) BCE - a J`` (equations 1 to 3).

    Parameters
    ----------
    logits, target : tensor, shape (B, 4, H, W)
        Target values in [0, 1].
    class_weights : sequence of float
        ``v`` of equation 3, one a channel; 1, 1, 4, 1 in the paper.
    known : tensor, shape (B, 4), optional
        1 where the target of that channel is known, else 0; all by default.
    jaccard_share : float
        ``a`` of equation 1.

    Returns
    -------
    tensor, scalar
    """
    logits = logits.float()
    p = logits.sigmoid()
    cross_entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    union = target + p - target * p
    jaccard = target * p / union.clamp_min(1e-7)
    loss = (1 - jaccard_share) * cross_entropy - jaccard_share * jaccard  # (B, 4, H, W)
    weights = torch.tensor(class_weights, device=logits.device, dtype=loss.dtype)
    by_channel = loss.mean(dim=(2, 3)) * weights  # (B, 4)
    if known is None:
        return by_channel.mean(dim=0).sum() / weights.sum()
    return (by_channel * known).sum() / (weights.sum() * len(logits))


def level_loss(logits: torch.Tensor, target: torch.Tensor, spread: float = 0.0) -> torch.Tensor:
    """Cross entropy over the 101 levels of cellularity (section 3.4).

    Parameters
    ----------
    logits : tensor, shape (B, 101)
    target : tensor, shape (B,)
        Cellularity in [0, 1].
    spread : float
        Standard deviation, in units of cellularity, of the target distribution
        around the true level; 0 is the paper's one-hot target.
    """
    if spread <= 0:
        return F.cross_entropy(logits.float(), (target * 100).round().long())
    levels = torch.linspace(0, 1, logits.shape[1], device=logits.device)
    soft = torch.exp(-0.5 * ((levels - target[:, None]) / spread) ** 2)
    return F.cross_entropy(logits.float(), soft / soft.sum(dim=1, keepdim=True))


def place_loss(
    logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, spread: float = 0.0
) -> torch.Tensor:
    """Mean cross entropy of the scores of places, over those whose target is known.

    Parameters
    ----------
    logits : tensor, shape (B, 1, h, w) or (B, 101, h, w)
    target : tensor, shape (B, h, w)
        In [0, 1]; NaN where it is unknown.
    weight : tensor, shape (B,)
        Of each view.
    spread : float
        See `level_loss`.

    Returns
    -------
    tensor, scalar
        0 where nothing is known.
    """
    logits = logits.float()
    known = target.isfinite()
    aim = target.nan_to_num(0.0)
    if logits.shape[1] == 1:
        each = F.binary_cross_entropy_with_logits(logits[:, 0], aim, reduction="none")
    else:
        levels = torch.linspace(0, 1, logits.shape[1], device=logits.device)
        distance = levels[:, None, None] - aim[:, None]
        soft = torch.exp(-0.5 * (distance / max(spread, 0.5 / (len(levels) - 1))) ** 2)
        soft = soft / soft.sum(dim=1, keepdim=True)
        each = -(soft * logits.log_softmax(dim=1)).sum(dim=1)
    share = known * weight[:, None, None]
    return (each * share).sum() / share.sum().clamp_min(1e-6)
