"""Residual Cancer Burden: bed, cellularity and nodes to one index and its class (METHODS 11).

Symmans et al., J Clin Oncol 2007, 25:4414-4422.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from scipy.special import ndtr, ndtri

from cellularity_core.errors import DataError

CLASSES: Final = ("RCB-0", "RCB-I", "RCB-II", "RCB-III")

CUTS: Final = (1.36, 3.28)
"""Largest index of RCB-I and of RCB-II."""

LEVEL: Final = 0.95
"""Of the interval of the cellularity, and so of the index."""

NOT_RCB_0: Final = (
    "RCB-0 is not among these: whether invasive cancer is left is for you to see; if none is, "
    "give 0."
)

_POWER: Final = 0.17
_PRIMARY: Final = 1.4
_NODES: Final = 4.0
_NODE_BASE: Final = 0.75

_DECIMALS: Final = 4

_ROUNDING: Final = 1e-9
"""An index this little above a cut lies on it: the powers are rounded."""


@dataclass(frozen=True, slots=True)
class Burden:
    """What is measured of a specimen after treatment.

    Attributes
    ----------
    d1_mm, d2_mm : float
        Largest two dimensions of the primary tumour bed, mm, 0 to 300; both 0
        where there is no bed.
    cellularity_pct : float
        Share of the bed's area that is cancer, invasive and in situ, per cent; the mean
        over the bed, not that of one patch.
    in_situ_pct : float
        Share of that cancer that is in situ, per cent.
    positive_nodes : int
        Lymph nodes with a metastasis, 0 to 100.
    largest_met_mm : float
        Diameter of the largest metastasis in a node, mm, 0 to 100; 0 where no node is
        positive.

    Raises
    ------
    DataError
        If a value is outside its limits or contradicts another.
    """

    d1_mm: float
    d2_mm: float
    cellularity_pct: float
    in_situ_pct: float
    positive_nodes: int
    largest_met_mm: float

    def __post_init__(self) -> None:
        for value, what, most, unit in (
            (self.d1_mm, "First dimension of the tumour bed", 300, "mm"),
            (self.d2_mm, "Second dimension of the tumour bed", 300, "mm"),
            (self.cellularity_pct, "Cellularity", 100, "%"),
            (self.in_situ_pct, "Share in situ", 100, "%"),
            (self.positive_nodes, "Number of positive nodes", 100, "nodes"),
            (self.largest_met_mm, "Diameter of the largest metastasis", 100, "mm"),
        ):
            if not 0 <= value <= most:
                raise DataError(f"{what}: {value:g} was given; 0 to {most} {unit} is expected.")
        if self.positive_nodes != int(self.positive_nodes):
            raise DataError(
                f"Number of positive nodes: {self.positive_nodes:g} was given; count whole nodes."
            )
        if (self.d1_mm > 0) != (self.d2_mm > 0):
            raise DataError(
                f"The tumour bed is given as {self.d1_mm:g} x {self.d2_mm:g} mm; give both "
                "dimensions, or 0 for both where there is no bed."
            )
        if self.d1_mm == 0 and self.cellularity_pct > 0:
            raise DataError(
                f"A tumour bed of 0 mm cannot hold {self.cellularity_pct:g} % cancer; give the "
                "bed's dimensions, or a cellularity of 0."
            )
        if (self.positive_nodes > 0) != (self.largest_met_mm > 0):
            raise DataError(
                f"{self.positive_nodes:g} positive nodes and a largest metastasis of "
                f"{self.largest_met_mm:g} mm contradict each other; give both, or 0 for both."
            )

    @property
    def d_prim_mm(self) -> float:
        """Size of the bed, the geometric mean of its dimensions, mm."""
        return math.sqrt(self.d1_mm * self.d2_mm)

    @property
    def f_inv(self) -> float:
        """Share of the bed that is invasive cancer, 0 to 1."""
        return (1 - self.in_situ_pct / 100) * self.cellularity_pct / 100

    @property
    def primary_term(self) -> float:
        """What the primary tumour adds to the index."""
        return float(_PRIMARY * (self.f_inv * self.d_prim_mm) ** _POWER)

    @property
    def nodal_term(self) -> float:
        """What the nodes add to the index."""
        spread = _NODES * (1 - _NODE_BASE**self.positive_nodes) * self.largest_met_mm
        return float(spread**_POWER)

    @property
    def index(self) -> float:
        """The Residual Cancer Burden index, 0 or above."""
        return self.primary_term + self.nodal_term


@dataclass(frozen=True, slots=True)
class Rcb:
    """Index and class of a specimen, and what the cellularity's interval makes of them.

    Attributes
    ----------
    burden : Burden
    index : float
    name : str
        One of `CLASSES`.
    interval : tuple of float or None
        Of the index, at `LEVEL`; None where the cellularity has none.
    probabilities : mapping of str to float or None
        Of each class, summing to 1; None where `interval` is.
    is_estimated : bool
        Whether the cellularity comes from models alone, so that nobody may have seen cancer.
    """

    burden: Burden
    index: float
    name: str
    interval: tuple[float, float] | None = None
    probabilities: Mapping[str, float] | None = None
    is_estimated: bool = False

    @property
    def note(self) -> str | None:
        """What must be read beside `probabilities`, `NOT_RCB_0`; None where nothing must.

        RCB-0 has no probability there although no cancer need be left: only the models found
        any, or the interval of the cellularity reaches down to 0. A positive node rules it out.
        """
        if self.interval is None or self.index <= 0 or self.burden.positive_nodes > 0:
            return None
        return NOT_RCB_0 if self.is_estimated or self.interval[0] <= 0 else None


def class_of(index: float) -> str:
    """Class of an index: 0; up to 1.36; up to 3.28; above."""
    if index <= 0:
        return CLASSES[0]
    above = sum(index > cut + _ROUNDING for cut in CUTS)
    return CLASSES[1 + above]


def written(index: float) -> str:
    """An index to two decimals, or to as many as show on which side of a cut it lies."""
    return next(
        (text for k in range(2, 9) if class_of(float(text := f"{index:.{k}f}")) == class_of(index)),
        f"{index}",
    )


def rcb(
    burden: Burden, cellularity: tuple[float, float] | None = None, is_estimated: bool = False
) -> Rcb:
    """Residual Cancer Burden, with the uncertainty of the cellularity carried through.

    The index rises with the cellularity, so its limits are the indices at the limits. For
    the classes the error of the cellularity is taken as normal on either side, its median
    the value, with the limits as quantiles, cut off at 0 and 100 %. What is measured of
    bed and nodes is taken as exact.

    Parameters
    ----------
    burden : Burden
    cellularity : (low, high), optional
        95 % interval of ``burden.cellularity_pct``, per cent.
    is_estimated : bool
        Whether the cellularity comes from models alone.

    Returns
    -------
    Rcb

    Raises
    ------
    DataError
        If the interval does not hold the value, leaves 0 to 100 %, or is given of a
        bed without cancer: RCB-0 is what a pathologist finds, not what is estimated.
    """
    index = burden.index
    if cellularity is None:
        return Rcb(burden, index, class_of(index), is_estimated=is_estimated)
    low, high = cellularity
    if not 0 <= low <= burden.cellularity_pct <= high <= 100:
        raise DataError(
            f"Interval of the cellularity: {low:g} to {high:g} % was given around "
            f"{burden.cellularity_pct:g} %; it must hold that value and stay within 0 to 100 %."
        )
    if burden.cellularity_pct == 0 and high > 0:
        raise DataError(
            "A cellularity of 0 with an interval was given. Whether invasive cancer is left is "
            "for a pathologist to see: give 0 without an interval if none is, else a value above 0."
        )
    limits = (
        replace(burden, cellularity_pct=low).index,
        replace(burden, cellularity_pct=high).index,
    )
    below = [_share_below(burden, cut, low, high) for cut in CUTS]
    chances = dict.fromkeys(CLASSES, 0.0)
    if index <= 0:
        chances[CLASSES[0]] = 1.0
    else:
        # Cancer was seen, so the tail of the error at 0 % still counts as RCB-I.
        steps = (0.0, *below, 1.0)
        for k, name in enumerate(CLASSES[1:]):
            chances[name] = steps[k + 1] - steps[k]
    return Rcb(burden, index, class_of(index), limits, chances, is_estimated)


def to_json(found: Rcb) -> dict[str, Any]:
    """What ``cellularity rcb --json`` writes of a result."""
    return {
        "rcb": round(found.index, _DECIMALS),
        "class": found.name,
        "interval": found.interval and [round(v, _DECIMALS) for v in found.interval],
        "level": LEVEL,
        "probabilities": found.probabilities
        and {name: round(p, _DECIMALS) for name, p in found.probabilities.items()},
        "note": found.note,
        "d_prim_mm": round(found.burden.d_prim_mm, _DECIMALS),
        "f_inv": round(found.burden.f_inv, _DECIMALS),
        "given": asdict(found.burden),
        "use": "research use only",
    }


def sentences(found: Rcb) -> list[str]:
    """A result in words, a line each."""
    burden = found.burden
    lines = [
        f"RCB {written(found.index)}, {found.name}"
        + (
            f" (95% interval {found.interval[0]:.2f} to {found.interval[1]:.2f}, "
            "from that of the cellularity)"
            if found.interval
            else ""
        ),
        f"Invasive share of the bed {100 * burden.f_inv:.1f}%, size of the bed "
        f"{burden.d_prim_mm:.1f} mm; primary {burden.primary_term:.2f} + nodes "
        f"{burden.nodal_term:.2f}.",
    ]
    if found.probabilities:
        likely = ", ".join(f"{n} {100 * p:.0f}%" for n, p in found.probabilities.items() if p > 0)
        lines.append(f"Probability of each class: {likely}.")
    if found.note:
        lines.append(found.note)
    return [*lines, "Research use only."]


def _share_below(burden: Burden, cut: float, low: float, high: float) -> float:
    """Probability that the index is at most `cut`."""
    left = cut + _ROUNDING - burden.nodal_term
    if left < 0:
        return 0.0
    width = burden.d_prim_mm * (1 - burden.in_situ_pct / 100) / 100
    reach = (left / _PRIMARY) ** (1 / _POWER)
    at = 100.0 if width * 100 <= reach else reach / width
    if at >= 100:
        return 1.0
    side = low if at < burden.cellularity_pct else high
    sigma = abs(side - burden.cellularity_pct) / ndtri((1 + LEVEL) / 2)
    if sigma == 0:
        return float(at >= burden.cellularity_pct)
    return float(ndtr((at - burden.cellularity_pct) / sigma))
