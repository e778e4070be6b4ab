"""Where on a cluster workers run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cellularity_core.errors import ClusterError

MOST_CPUS: Final = 8
"""Cores of one worker at most: beyond it, a second one with a model of its own gains more."""


@dataclass(frozen=True, slots=True)
class Place:
    """Room for one worker.

    Attributes
    ----------
    node : str
        Ray's identifier of the machine.
    host : str
        The machine's name, for people.
    number : int
        Among the workers of that machine.
    cpus : int
        Cores, as Ray counts them.
    gpus : int
        0, or 1 where it runs on a GPU of its own.
    """

    node: str
    host: str
    number: int
    cpus: int
    gpus: int

    @property
    def device(self) -> str:
        """What the scorer there is opened with; never "auto", so that all workers agree."""
        return "cuda" if self.gpus else "cpu"


def device_for(nodes: Sequence[Mapping[str, Any]], device: str) -> str:
    """``cpu`` or ``cuda`` for all workers; ``auto`` is CUDA where any machine offers a GPU.

    Raises
    ------
    ClusterError
        If CUDA is asked for and Ray knows of no GPU.
    """
    offered = any(node["Resources"].get("GPU", 0) >= 1 for node in nodes if node["Alive"])
    if device == "cuda" and not offered:
        raise ClusterError(
            "--device cuda was given, and no machine of the cluster offers a GPU to Ray; start "
            "Ray with `--num-gpus` where there is one, or choose --device cpu."
        )
    return "cuda" if offered and device != "cpu" else "cpu"


def places(nodes: Sequence[Mapping[str, Any]], device: str) -> list[Place]:
    """One worker a GPU, or one for up to `MOST_CPUS` cores.

    Parameters
    ----------
    nodes : sequence of mapping
        As `ray.nodes` lists them.
    device : {"cpu", "cuda"}
    """
    found = []
    for node in nodes:
        if not node["Alive"]:
            continue
        cpus, gpus = (int(node["Resources"].get(kind, 0)) for kind in ("CPU", "GPU"))
        count = gpus if device == "cuda" else -(-cpus // MOST_CPUS)
        found += [
            Place(
                node["NodeID"],
                node["NodeManagerHostname"],
                number,
                cpus // count,
                int(device == "cuda"),
            )
            for number in range(count)
        ]
    return found
