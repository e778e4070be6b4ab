"""Networks of every method, built by name from a plain description.

A description is a dict such as ``{"kind": "segmentation", "encoder":
"tf_efficientnet_lite0", "decoder": "fpn"}``; it is stored with the weights, so
that a network can be rebuilt without the code that trained it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from cellularity_core.errors import ModelError
from cellularity_core.networks.cascade import Cascade
from cellularity_core.networks.direct import Direct
from cellularity_core.networks.segmentation import Segmentation

KINDS: dict[str, Callable[..., nn.Module]] = {
    "segmentation": Segmentation,
    "cascade": Cascade,
    "direct": Direct,
}


def create(description: Mapping[str, Any], init: str = "random") -> nn.Module:
    """Build the network that a description names.

    Parameters
    ----------
    description : mapping
        ``kind`` and the arguments of that network.
    init : {"random", "imagenet"}
        How its encoder starts.

    Raises
    ------
    ModelError
        If the kind or an argument is unknown, or ImageNet weights cannot be had.
    """
    arguments = dict(description)
    kind = arguments.pop("kind", None)
    if kind not in KINDS:
        raise ModelError(f"There is no network '{kind}'; choose one of {', '.join(KINDS)}.")
    try:
        return KINDS[kind](**arguments, init=init)
    except TypeError as error:
        raise ModelError(
            f"The network '{kind}' cannot be built from {arguments}: {error}."
        ) from error
