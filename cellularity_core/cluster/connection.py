"""To a Ray cluster that runs already, or one sentence that says why not.

Ray is imported here and nowhere before: it is an optional extra.
"""

import importlib
import importlib.util
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from cellularity_core.errors import ClusterError

AUTO: Final = "auto"
"""The cluster that this machine is part of."""

ADDRESS: Final = "RAY_ADDRESS"
"""Ray's own environment variable for the address."""

ANSWER_SECONDS: Final = 5.0
"""Within which a head node that can be reached answers."""

# The preface of an HTTP/2 client with empty settings, and the kind of frame that answers it
# (RFC 9113, 3.4 and 6.5). Ray itself asks an address that is silent for minutes.
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
_SETTINGS: Final = 4

_START: Final = (
    "start Ray with `ray start --head` on one machine and `ray start --address HOST:PORT` on "
    "the others, and run this command on one of them"
)


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """The module ``ray``, connected for as long as the block lasts.

    Parameters
    ----------
    address : str or None
        ``HOST:PORT`` of the head node, or "auto"; `ADDRESS` or "auto" by default.

    Raises
    ------
    ClusterError
        If Ray is not installed, or no cluster answers at the address.
    """
    address = address or os.environ.get(ADDRESS) or AUTO
    if importlib.util.find_spec("ray") is None:
        raise ClusterError(
            "--engine ray needs Ray, which is not installed here; install it on every machine "
            "of the cluster with `python -m pip install -c constraints.txt -e '.[cluster]'`."
        )
    if address != AUTO:
        _check_answers(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing goes to Ray's makers
    ray: Any = importlib.import_module("ray")
    # Ray's listener prints what befalls the cluster on standard output, where results go.
    printing: Any = importlib.import_module("ray._private.worker")
    printing.print_to_stdstream = _pass_over
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ClusterError(
            f"The Ray cluster at {address} cannot be used from here ({reason.rstrip('.')}); "
            f"{_START}."
        ) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Refuse an address where no head node answers."""
    host, colon, port = address.rpartition(":")
    if "://" in address or not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ClusterError(
            f"The address {address} is not understood; give HOST:PORT of the cluster's head "
            "node, such as 10.0.0.1:6379, or leave --address out on a machine of the cluster."
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS) as link:
            link.settimeout(ANSWER_SECONDS)
            link.sendall(_PREFACE)
            head = link.recv(9)
    except OSError as error:
        raise ClusterError(
            f"No Ray cluster answers at {address} ({error.strerror or error}); check the address, "
            f"or {_START}."
        ) from None
    if len(head) < 4 or head[3] != _SETTINGS:
        raise ClusterError(
            f"What answers at {address} is not Ray; give the address that `ray start --head` "
            "printed, with the port 6379 unless another was chosen."
        )


def _pass_over(*_: object, **__: object) -> None:
    """Print nothing."""
