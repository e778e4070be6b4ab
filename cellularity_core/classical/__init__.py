"""A classical peer to compare the networks with; see `peer`."""

from cellularity_core.classical.peer import ClassicalPeer, load
from cellularity_core.classical.training import train

__all__ = ["ClassicalPeer", "load", "train"]
