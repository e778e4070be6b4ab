"""Errors a user can act on.

    CellularityError
    ├── PatchError            an image that cannot be scored
    │   └── PixelSizeError    its um/px is missing or not believable
    ├── SlideError            a whole slide, a region on it or the folder of its results
    │   └── SlideBusy         another run works on it at present
    ├── DataError             a data set, annotation or label file
    ├── ModelError            a model set or a weight file
    └── ClusterError          a Ray cluster, or what is on its machines

Each message says what was given, what was expected and what to do. Pages and
the command line catch ``CellularityError`` only and show its text.
"""


class CellularityError(Exception):
    """Base of every error whose text is written for the user."""


class PatchError(CellularityError):
    """An image cannot be used as a patch."""


class PixelSizeError(PatchError):
    """The pixel size of an image is missing or cannot be believed."""


class SlideError(CellularityError):
    """A whole slide, a region on it or the folder of its results cannot be used."""


class SlideBusy(SlideError):
    """Another run works in the folder of a slide's results at present."""


class DataError(CellularityError):
    """A data set, annotation or label file cannot be used."""


class ModelError(CellularityError):
    """A model set or one of its files cannot be used."""


class ClusterError(CellularityError):
    """A Ray cluster, or what is on its machines, cannot be used."""
