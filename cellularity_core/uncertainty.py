"""Intervals of scores, with a width for each patch.

A score f of a patch whose truth is y misses by |y - f|. Divided by a scale s(x) that
is large where scores tend to be wrong, the misses of held-out patients give one
number q, and the interval of a new patch is f -+ q s(x), within [0, 1] (locally
weighted split conformal: Lei et al., J Am Stat Assoc 2018, 113:1094). How q is fitted:
`conformal`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cellularity_core.errors import ModelError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scale:
    """How large a miss to expect of a patch, up to a factor.

    ``base + score * sqrt(f (1 - f)) + spread * sd``: f is the score, sd the standard
    deviation of its test-time views. Misses are small near 0 and 1, where a share
    cannot vary, and larger where mirroring the patch changes its score.

    Attributes
    ----------
    base, score, spread : float
        Not negative, `base` positive.
    """

    base: float
    score: float
    spread: float

    def __call__(self, score: npt.ArrayLike, spread: npt.ArrayLike | None) -> Floats:
        """Scale of patches, shape (n,); `spread` may be None where it does not count."""
        f = np.clip(np.asarray(score, float), 0.0, 1.0)
        out: Floats = self.base + self.score * np.sqrt(f * (1 - f))
        if self.spread:
            if spread is None:
                raise ValueError("this scale needs the spread over views")
            out = out + self.spread * np.asarray(spread, float)
        return out


SCALES: Final[Mapping[str, Scale]] = {
    "constant": Scale(1.0, 0.0, 0.0),
    "score": Scale(0.3, 1.0, 0.0),
    "spread": Scale(0.05, 0.0, 1.0),
    "score and spread": Scale(0.2, 1.0, 4.0),
}
"""Scales there are. Their numbers are round and fixed beforehand: a scale fitted on the
misses that it then divides makes these look smaller than a new patient's."""

SCALE: Final = "score"
"""Scale of intervals. Chosen on the trial set, of each method's held-out scores: at equal
coverage 1 to 11 % narrower than a constant, never wider. Mirrored views told little
more (2 % narrower for the direct networks, wider for the others), limits set apart for
either side were wider. Choosing the narrowest anew for each set lost coverage: 86 % of 90."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A fitted interval.

    Attributes
    ----------
    coverage : float
    scale : Scale
    quantile : float
        Factor of the scale; infinite where there are too few patients, and the
        interval is then all of [0, 1].
    half_width : float
        Typical half width, before it is cut at 0 and 1.
    patients, patches : int
        What it was fitted on.
    plain : Interval or None
        What holds where there is one view only, if `scale` counts the spread.
    shared : float
        Share of the variance of a miss that a patient's patches have in common, 0 to 1,
        by `conformal.shared_part`; 1 where it is not known.
    """

    coverage: float
    scale: Scale
    quantile: float
    half_width: float
    patients: int
    patches: int
    plain: "Interval | None" = None
    shared: float = 1.0

    def limits(self, score: npt.ArrayLike, spread: npt.ArrayLike | None) -> tuple[Floats, Floats]:
        """Lower and upper limits within [0, 1].

        Parameters
        ----------
        score : array_like, shape (n,) or ()
            Cellularity, 0 to 1.
        spread : array_like, shape (n,) or (), or None
            Standard deviation over test-time views; None where there is one view.
        """
        if spread is None and self.plain is not None:
            return self.plain.limits(score, None)
        f = np.clip(np.asarray(score, float), 0.0, 1.0)
        half = self.quantile * self.scale(f, spread)
        return np.maximum(0.0, f - half), np.minimum(1.0, f + half)

    def to_json(self) -> dict[str, Any]:
        """As a manifest holds it; an infinite quantile is null."""
        finite = bool(np.isfinite(self.quantile))
        out: dict[str, Any] = {
            "coverage": self.coverage,
            "scale": {
                "base": self.scale.base,
                "score": self.scale.score,
                "spread": self.scale.spread,
            },
            "quantile": self.quantile if finite else None,
            "half_width": self.half_width,
            "patients": self.patients,
            "patches": self.patches,
            "shared": self.shared,
        }
        return out | ({"plain": self.plain.to_json()} if self.plain else {})

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> "Interval":
        """What `to_json` made.

        Raises
        ------
        ModelError
            If it is something else.
        """
        try:
            scale = Scale(*(float(given["scale"][k]) for k in ("base", "score", "spread")))
            quantile = given["quantile"]
            made = cls(
                coverage=float(given["coverage"]),
                scale=scale,
                quantile=np.inf if quantile is None else float(quantile),
                half_width=float(given["half_width"]),
                patients=int(given["patients"]),
                patches=int(given["patches"]),
                plain=cls.from_json(given["plain"]) if "plain" in given else None,
                shared=float(given.get("shared", 1.0)),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(
                f"The interval {str(given)[:80]} "
                f"of a model set cannot be used ({error!r}); restore the set's folder."
            ) from None
        if not (scale.base > 0 and min(scale.score, scale.spread) >= 0 and made.quantile >= 0):
            raise ModelError(
                "The interval of a model set has a negative scale or quantile; restore the "
                "set's folder."
            )
        if not 0 <= made.shared <= 1:
            raise ModelError(
                f"The interval of a model set says that a patient's patches share {made.shared:g} "
                "of their errors, and a share is 0 to 1; restore the set's folder."
            )
        if scale.spread and (made.plain is None or made.plain.scale.spread):
            raise ModelError(
                "The interval of a model set says nothing of patches seen in one view; restore "
                "the set's folder."
            )
        return made
