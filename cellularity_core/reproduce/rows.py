"""The rows of the paper's tables, what each is trained by, and the paper's own figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeVar

from cellularity_core.errors import DataError

T = TypeVar("T")
Kind = Literal["segmentation", "gbt", "cascade", "direct", "classical"]
Published = tuple[float, float | None, float | None]
"""A published value and its 95 % limits, None where the paper gives none."""

PAPER: Final = (
    'Rakhlin et al., "Breast Tumor Cellularity Assessment using Deep Neural Networks", ICCV '
    "Workshops 2019, tables 1 to 3, on BreastPathQ; its intervals ignore patients"
)
PEIKARI: Final = (
    "Peikari et al., Cytometry A 2017, as the paper cites it; on patches of BreastPathQ"
)
AKBAR: Final = (
    "Akbar et al., as the paper cites it: ICC 0.83 and 0.81 against two pathologists, 0.82 is our "
    "mean of them; on patches of BreastPathQ; pretrained Inception"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table.

    Attributes
    ----------
    name : str
        Also of the recipe that trains it.
    title : str
        As the tables print it.
    kind : str
        Which method it is.
    init : {"random", "imagenet", ""}
        How its encoders start.
    segmentation : str
        Recipe of the segmentation it stands on; rows that name the same share its run.
    paper : mapping
        Statistic to published value and limits.
    source : str
        Of `paper`.
    """

    name: str
    title: str
    kind: Kind
    init: Literal["random", "imagenet", ""] = ""
    segmentation: str = ""
    paper: Mapping[str, Published] = field(default_factory=dict)
    source: str = PAPER


def _segmentation(decoder: str, title: str, random: float, imagenet: float) -> list[Row]:
    return [
        Row(
            f"{decoder}-{init}",
            title,
            "segmentation",
            init,
            f"{decoder}-{init}",
            {"jaccard": (value, None, None)},
        )
        for init, value in _both(random, imagenet)
    ]


def _scored(
    stem: str,
    title: str,
    kind: Kind,
    random: Published,
    imagenet: Published,
    kappa: Published,
    icc: Published,
    decoder: str = "",
) -> list[Row]:
    """Rows of both starts; the paper gives kappa and ICC of ImageNet starts only."""
    pretrained: dict[str, Published] = {"mse": imagenet, "kappa4": kappa, "icc_a1": icc}
    rows = []
    for init, figures in _both({"mse": random}, pretrained):
        below = f"{decoder}-{init}" if decoder else ""
        rows.append(Row(f"{stem}-{init}", title, kind, init, below, figures))
    return rows


def _both(random: T, imagenet: T) -> list[tuple[Literal["random", "imagenet"], T]]:
    return [("random", random), ("imagenet", imagenet)]


ROWS: Final[tuple[Row, ...]] = (
    *_segmentation("unet", "U-Net (standard) decoder", 0.35, 0.50),
    *_segmentation("fpn", "FPN decoder", 0.47, 0.53),
    *_scored(
        "gbt",
        "GBT",
        "gbt",
        (0.023, 0.019, 0.026),
        (0.022, 0.019, 0.026),
        (0.571, 0.520, 0.622),
        (0.787, 0.744, 0.823),
        "fpn",
    ),
    *_scored(
        "sr",
        "ResNet-34 (SR)",
        "cascade",
        (0.013, 0.011, 0.015),
        (0.013, 0.011, 0.015),
        (0.658, 0.604, 0.704),
        (0.865, 0.835, 0.891),
        "fpn",
    ),
    *_scored(
        "resnet34-r",
        "ResNet-34 (R)",
        "direct",
        (0.015, 0.013, 0.018),
        (0.011, 0.010, 0.012),
        (0.649, 0.599, 0.700),
        (0.868, 0.840, 0.892),
    ),
    *_scored(
        "resnet50-r",
        "ResNet-50 (R)",
        "direct",
        (0.025, 0.022, 0.028),
        (0.011, 0.009, 0.012),
        (0.652, 0.603, 0.701),
        (0.867, 0.844, 0.894),
    ),
    *_scored(
        "xception-r",
        "Xception (R)",
        "direct",
        (0.017, 0.015, 0.020),
        (0.010, 0.009, 0.012),
        (0.669, 0.616, 0.713),
        (0.881, 0.853, 0.904),
    ),
    *_scored(
        "xception-c",
        "Xception (C)",
        "direct",
        (0.012, 0.010, 0.014),
        (0.010, 0.009, 0.012),
        (0.689, 0.642, 0.734),
        (0.883, 0.858, 0.905),
    ),
    Row(
        "classical",
        "Classical: nuclei, SVM classes, areas (after Peikari et al.)",
        "classical",
        paper={"kappa4": (0.42, None, None)},
        source=PEIKARI,
    ),
    Row("akbar-inception-random", "Inception (after Akbar et al.)", "direct", "random"),
    Row(
        "akbar-inception",
        "Inception (after Akbar et al.)",
        "direct",
        "imagenet",
        paper={"icc_a1": (0.82, None, None)},
        source=AKBAR,
    ),
)

CHALLENGE: Final = (
    "BreastPathQ challenge (Petrick et al., J Med Imaging 2021, 8:034501): best PK 0.941; two "
    "pathologists between themselves 0.927."
)


def select(names: Sequence[str]) -> list[Row]:
    """Rows of these names in the order of the tables; all where none is named.

    Raises
    ------
    DataError
        If a name is unknown; the names there are listed.
    """
    known = {row.name for row in ROWS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise DataError(
            f"There is no row '{', '.join(unknown)}'; choose among {', '.join(sorted(known))}."
        )
    return [row for row in ROWS if not names or row.name in names]
