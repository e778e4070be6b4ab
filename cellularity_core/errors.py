"""Errors a user can act on.

    CellularityError
    ├── PatchError            an image that cannot be scored
    │   └── PixelSizeError    its um/px is missing or not believable
    ├── SlideError            a whole slide, a region on it or the folder of its results
    │   ├── SlideBusy         another run works on it at present
    │   └── SlideFolderError  the folder holds another run, or is damaged
    ├── DataError             a data set, annotation or label file
    ├── ModelError            a model set or a weight file
    └── ClusterError          a Ray cluster, or what is on its machines

Each message says what was given, what was expected and what to do. Pages and
the command line catch ``CellularityError`` only and show its text. What a file holds may
be part of a message, so `readable` makes it fit for a page, a terminal and a log.
"""

import re
from typing import Final

LONGEST: Final = 1000
"""Characters of a message; of a longer one the middle is left out."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What steers a terminal, turns a line of text round or cannot be written."""


def readable(text: str, longest: int = LONGEST) -> str:
    """A text on one line without control characters, its middle left out where it is too long."""
    clean = _CONTROL.sub("\ufffd", re.sub(r"[\t\r\n]+", " ", text))
    if len(clean) <= longest:
        return clean
    head = longest * 2 // 3
    return f"{clean[:head]} ... {clean[head + 5 - longest :]}"


class CellularityError(Exception):
    """Base of every error whose text is written for the user."""

    def __init__(self, message: str = "") -> None:
        super().__init__(readable(message))


class PatchError(CellularityError):
    """An image cannot be used as a patch."""


class PixelSizeError(PatchError):
    """The pixel size of an image is missing or cannot be believed."""


class SlideError(CellularityError):
    """A whole slide, a region on it or the folder of its results cannot be used."""


class SlideBusy(SlideError):
    """Another run works in the folder of a slide's results at present."""


class SlideFolderError(SlideError):
    """A folder holds the results of another run, or damaged ones; another one would do."""


class DataError(CellularityError):
    """A data set, annotation or label file cannot be used."""


class ModelError(CellularityError):
    """A model set or one of its files cannot be used."""


class ClusterError(CellularityError):
    """A Ray cluster, or what is on its machines, cannot be used."""
