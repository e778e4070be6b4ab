"""Names, units and constants every module shares.

Points are ``(x, y)`` in pixels, as files and GeoJSON have them; arrays are
indexed ``[row, column]``. Cellularity is 0 to 1 everywhere; percent only on
screen. Pixel sizes (``mpp``) are micrometres per pixel.
"""

from typing import Final

CLASSES: Final = ("normal", "lymphocyte", "malignant")
"""Nuclei classes, in the order of every map, point label and feature."""

CHANNELS: Final = (*CLASSES, "background")
"""Channels of a segmentation: the classes, then where no nucleus is."""

NORMAL, LYMPHOCYTE, MALIGNANT, BACKGROUND = range(4)

COMBINED: Final = "combined"
"""Mean of the scores of other methods; which ones, the model set says."""

CORNER: Final = 0.5
"""To QuPath and in GeoJSON, (0, 0) is the corner of the first pixel; here it is its centre."""

METHODS: Final = ("gbt", "cascade", "direct-r", "direct-c", COMBINED)
"""Scoring methods, in the order they are shown and written."""

NETWORK_OF: Final = {
    "gbt": "segmentation",
    "cascade": "cascade",
    "direct-r": "direct-r",
    "direct-c": "direct-c",
}
"""Network that each method looks through where a model set does not say otherwise."""

DEFAULT_SET: Final = "breast-1"
"""Model set that scores where nobody names another."""

DEFAULT_MPP: Final = 0.5
"""um/px assumed where neither the file nor the user says: 20x."""

MPP_RANGE: Final = (0.1, 2.0)
"""Pixel sizes outside this are asked about, not believed (72 dpi reads as 353)."""

SIDE_RANGE: Final = (64, 4096)
"""Shortest and longest side of a patch, in pixels as given."""

FEATURE_MPP: Final = 1.0
"""um/px of the maps on which blobs and the 81 features are defined."""

FEATURE_PIXELS: Final = 256 * 256
"""Pixels of the map the features are defined on; other sizes are scaled to it."""

INTERVAL: Final = 0.90
"""Nominal coverage of the interval of every score."""

READER_SCALE: Final = "pathologist"
"""Scale of a set that learnt from patches that pathologists scored."""

WEAK_SCALE: Final = "weak TC"
"""Scale of a set trained on areas around nuclei points: no pathologist's score."""
