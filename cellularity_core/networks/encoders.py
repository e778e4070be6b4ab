"""Encoders: any timm network, the paper's ResNet-34 variant, and how they start."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import timm
import torch
import torch.nn.functional as F
from torch import nn

from cellularity_core.errors import ModelError
from cellularity_core.networks.weights import (
    PACKAGED,
    WAIT,
    check_file,
    download,
    from_file,
    load_packaged,
    packaged_file,
)

__all__ = [
    "ELU_SUFFIX",
    "INITS",
    "PACKAGED",
    "check_encoder",
    "check_init",
    "create_classifier",
    "create_encoder",
]

ELU_SUFFIX: Final = "-elu"
"""``resnet34-elu``: ReLU replaced by ELU and swapped with batch norm (section 3.1)."""

INITS: Final = ("random", "imagenet")
"""Named starts; a file of weights is another."""

ODD_SIZE: Final = (250, 243)
"""Height and width of a patch that no fixed grid divides: patches have any size."""


def create_encoder(
    name: str, *, init: str = "random", in_channels: int = 3, out_indices: tuple[int, ...] = ()
) -> nn.Module:
    """A timm network that returns its feature pyramid.

    Parameters
    ----------
    name : str
        Any timm name, or a ResNet's with ``-elu`` behind it.
    init : {"random", "imagenet"}
    in_channels : int
    out_indices : tuple of int
        Levels to return; all of them (strides 2 to 32) by default.

    Returns
    -------
    nn.Module
        With ``feature_info.channels()`` and ``.reduction()``.
    """
    extra: dict[str, Any] = {"out_indices": out_indices} if out_indices else {}
    return _create(name, init, in_channels, features_only=True, **extra)


def create_classifier(
    name: str,
    *,
    outputs: int,
    init: str = "random",
    in_channels: int = 3,
    arguments: Mapping[str, Any] | None = None,
) -> nn.Module:
    """A timm network with global pooling and a new head of `outputs` values.

    The head starts near zero: timm draws some heads so wide that a single output
    begins deep in a sigmoid's flat ends and hardly learns.

    Parameters
    ----------
    name : str
        Any timm name. A transformer is told to take images of any size.
    outputs : int
    init : {"random", "imagenet"} or str
        How it starts; otherwise a file of weights.
    in_channels : int
    arguments : mapping, optional
        Further arguments of timm's network, e.g. ``{"init_values": 1e-5}``.
    """
    network: Any = _create(
        name, init, in_channels, num_classes=outputs, **_any_size(name, arguments or {})
    )
    head: Any = network.get_classifier()
    if not isinstance(head, nn.Linear | nn.Conv2d):
        raise ModelError(f"'{name}' does not end in one linear head; choose another network.")
    nn.init.normal_(head.weight, std=0.01)
    if head.bias is not None:
        nn.init.zeros_(head.bias)
    return network  # type: ignore[no-any-return]


def check_init(
    encoder: str,
    init: str,
    *,
    arguments: Mapping[str, Any] | None = None,
    wait: float = WAIT,
) -> None:
    """Make sure that an encoder can start so, before any data are read.

    Weights that timm publishes are fetched into its cache, so that a training finds
    them. Without a network this takes `wait` seconds at most.

    Parameters
    ----------
    encoder : str
    init : {"random", "imagenet"} or str
        Otherwise a file of weights.
    arguments : mapping, optional
        As in `create_classifier`; None for an encoder without pooling and head.
    wait : float
        Seconds within which the server of the weights has to answer.

    Raises
    ------
    ModelError
        If it cannot: what is missing, and which encoders need no network.
    """
    _check_start(encoder, init)
    full = {} if arguments is None else _any_size(encoder, arguments)
    if init == "random":
        return
    if init != "imagenet":
        check_file(encoder, Path(init), full)
    elif encoder in PACKAGED:
        packaged_file(encoder)
    else:
        download(encoder, {}, wait)


def check_encoder(name: str) -> None:
    """Refuse a name that timm does not know.

    Raises
    ------
    ModelError
        With the names most like it.
    """
    base = name.removesuffix(ELU_SUFFIX)
    if not timm.is_model(base):
        known = timm.list_models()
        close = get_close_matches(base, known, n=4) or [k for k in known if base[:6] in k][:4]
        raise ModelError(
            f"timm has no network '{base}'"
            + (f"; did you mean {', '.join(close)}?" if close else "; see timm.list_models().")
        )
    if base != name and not base.startswith("resnet"):
        raise ModelError(f"'{name}': only a ResNet has the variant '{ELU_SUFFIX}'; use '{base}'.")


def _check_start(name: str, init: str) -> None:
    check_encoder(name)
    if init not in INITS and not Path(init).is_file():
        raise ModelError(
            f"'{init}' is no start: choose {' or '.join(INITS)}, or give a file of weights that "
            "exists."
        )
    if init != "random" and name.endswith(ELU_SUFFIX):
        # Their batch norms hold the statistics of what leaves a convolution, not an ELU.
        raise ModelError(
            f"'{name}' has its own order of layers, which no published weights fit; use "
            f"'{name.removesuffix(ELU_SUFFIX)}', or init = \"random\"."
        )


def score_places(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """A classifier's head on the features of every place, not on their mean.

    Parameters
    ----------
    network : nn.Module
        Of `create_classifier`; ends in a convolution and a linear head.
    x : tensor, shape (B, C, H, W)

    Returns
    -------
    tensor, shape (B, outputs, h, w)
    """
    timm_network: Any = network
    head = timm_network.get_classifier()
    places = timm_network.forward_features(x)
    return F.conv2d(places, head.weight[:, :, None, None], head.bias)


def _create(name: str, init: str, in_channels: int, **arguments: Any) -> nn.Module:
    _check_start(name, init)
    base = name.removesuffix(ELU_SUFFIX)
    arguments = {"in_chans": in_channels, **arguments}
    if init == "imagenet" and base not in PACKAGED:
        return download(base, arguments)
    if init not in INITS:
        return from_file(base, Path(init), arguments)
    network: nn.Module = timm.create_model(base, pretrained=False, **arguments)
    if init == "imagenet":
        load_packaged(network, base, in_channels)
        return network
    he_initialise(network)
    if name.endswith(ELU_SUFFIX):
        swap_elu(network)
    return network


def _any_size(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with which a network takes patches of any size; tried, not guessed.

    timm's transformers can interpolate their grid of positions and pad an image to
    whole tokens; some networks take one size only.
    """
    check_encoder(name)
    base = name.removesuffix(ELU_SUFFIX)
    published = timm.get_pretrained_cfg(base)
    fixed = published is not None and published.fixed_input_size
    dynamic: dict[str, Any] = {"dynamic_img_size": True, "dynamic_img_pad": True} if fixed else {}
    if not fixed and not arguments:
        return {}
    try:
        with torch.device("meta"), torch.inference_mode():
            network = timm.create_model(base, **dynamic, **arguments).eval()
            network(torch.zeros(1, 3, *ODD_SIZE))
    except (TypeError, AssertionError, RuntimeError, ValueError) as error:
        given = f" with {dict(arguments)}" if arguments else ""
        raise ModelError(
            f"'{name}'{given} does not take patches of any size ({error}); choose a "
            "convolutional network, or a transformer with timm's dynamic_img_size (vit_*, eva*, "
            "deit*), and arguments that it knows."
        ) from error
    return {**dynamic, **arguments}


def he_initialise(network: nn.Module) -> None:
    """He-normal convolutions, unit batch norms (He et al. 2015; "random" in the paper)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


def swap_elu(network: nn.Module) -> None:
    """Turn conv -> BN -> ReLU into conv -> ELU -> BN, in place (paper, section 3.1).

    Each batch norm that an activation follows takes ELU in front of itself and the
    activation goes; the one after the residual sum becomes a plain ELU, since no
    batch norm stands beside it.
    """
    for module in network.modules():
        for norm, activation in (("bn1", "act1"), ("bn2", "act2")):
            if not isinstance(getattr(module, activation, None), nn.ReLU):
                continue
            bn = getattr(module, norm)
            if activation == "act2" and hasattr(module, "conv2") and not hasattr(module, "conv3"):
                setattr(module, activation, nn.ELU(inplace=True))
                continue
            setattr(module, norm, nn.Sequential(nn.ELU(inplace=True), bn))
            setattr(module, activation, nn.Identity())
        if isinstance(getattr(module, "act3", None), nn.ReLU):
            module.act3 = nn.ELU(inplace=True)
