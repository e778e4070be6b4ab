"""Sets the limits of the flags on patches, and measures them on patients left out.

    python -m cellularity_core.quality.training --data brca-m2c:DIR --data ucsb:DIR

writes ``model.json`` beside this file: what `assess` reads, and the rates of false
alarms and of spoilt patches caught, each measured on patients whose patches set no
limit. It takes some minutes on one core and gives the same file each time.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import cv2
import numpy as np
import numpy.typing as npt
import typer
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

from cellularity_core.datasets import load, patient_folds
from cellularity_core.masks import tissue_mask
from cellularity_core.patch import Patch, load_patch
from cellularity_core.quality import FLAGS, MODEL, NOT_OF_PIXELS, assess, spoiling
from cellularity_core.quality.colour import colours
from cellularity_core.quality.scale import magnification, measures
from cellularity_core.quality.staining import distance, stain
from cellularity_core.quality.views import views

MPP: Final = 0.5
"""um per pixel of the patches."""

FOLDS: Final = 5

VARIANTS: Final = 60
"""Pictures at other scales that are made of each patch."""

SPAN: Final = 1.5
RIGHT: Final = 0.3
"""Scales are drawn within 2 to the power of these; one in three within the latter."""

SIZES: Final = (512, 512, 512, 380, 256)
"""Sides of the pictures in pixels; those enlarged may be of any from 200."""

HIDDEN: Final = 32
PENALTY: Final = 0.5
SEEDS: Final = (0, 1, 2)
ITERATIONS: Final = 150
"""The regression: one hidden layer each, whose mean is taken."""

SCALE_MARGIN: Final = 1.05
"""The limits of the scale: this many times the farthest patch at the right scale whose
site was left out."""

STAIN_QUANTILE: Final = 0.99
STAIN_MARGIN: Final = 1.25
"""The limit of the stain: this many times a quantile of patches whose site was left out,
since a laboratory never seen is no reason to warn as long as it stains like others."""

DIGITS: Final = 4

Pixels = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Case:
    """A patch, and who and which laboratory it is from."""

    pixels: Pixels
    patient: str
    site: str
    number: int


@dataclass(frozen=True, slots=True)
class Examples:
    """Pictures with a known scale: measures, log2 of the error, patch, and kind."""

    rows: Rows
    truth: Rows
    case: npt.NDArray[np.int64]
    kind: npt.NDArray[np.str_]

    def taken(self, which: npt.NDArray[np.bool_]) -> "Examples":
        """Some of them."""
        return Examples(*(getattr(self, field)[which] for field in self.__slots__))


def crop(pixels: Pixels, side: int, rng: np.random.Generator) -> Pixels:
    """A square of at most `side` pixels from anywhere in a patch."""
    y, x = (int(rng.integers(0, max(1, length - side + 1))) for length in pixels.shape[:2])
    return np.ascontiguousarray(pixels[y : y + side, x : x + side])


def rescaled_at_random(
    pixels: Pixels, magnified: float, mpp: float, rng: np.random.Generator
) -> Pixels:
    """A picture that shows tissue ``2**magnified`` times as large as `mpp` claims."""
    factor = 2**magnified * MPP / mpp
    any_size = factor > 0.8 and rng.random() < 0.3
    side = int(rng.integers(200, 512)) if any_size else int(rng.choice(SIZES))
    view = crop(pixels, int(np.ceil(side / factor)), rng)
    if abs(factor - 1) > 0.02:
        interpolation = int(rng.choice(list(spoiling.INTERPOLATIONS.values())))
        view = spoiling.rescaled(view, factor, interpolation)
    if factor > 1.1 and rng.random() < 0.5:
        view = spoiling.detailed(view, pixels, rng, float(rng.uniform(0.5, 1.3)))
    focus = rng.random()
    if focus < 0.2:
        view = spoiling.sharpened(view, float(rng.uniform(0.3, 1.5)), float(rng.uniform(0.7, 1.5)))
    elif focus < 0.4:
        view = spoiling.blurred(view, float(rng.uniform(0.3, 0.9)))
    if rng.random() < 0.6:
        view = spoiling.restained(view, rng)
    if rng.random() < 0.2:
        view = spoiling.noisy(view, rng, float(rng.uniform(1, 4)))
    if rng.random() < 0.35:
        view = spoiling.compressed(view, int(rng.integers(35, 95)))
    return view


def examples(case: Case) -> Examples:
    """Pictures at right and wrong scales made of one patch."""
    rng = np.random.default_rng((1, case.number))
    rows, truth, kinds = [], [], []

    def add(pixels: Pixels, magnified: float, kind: str, mpp: float = MPP) -> None:
        tissue = tissue_mask(pixels, mpp)
        measured = measures(views(pixels, tissue, mpp))
        if measured is not None:
            rows.append(measured)
            truth.append(magnified)
            kinds.append(kind)

    add(case.pixels, 0.0, "clean")
    for interpolation in spoiling.INTERPOLATIONS.values():
        quarter = crop(case.pixels, 256, rng)
        add(spoiling.rescaled(quarter, 2.0, interpolation), 1.0, "large")
        add(spoiling.rescaled(case.pixels, 0.5, interpolation), -1.0, "small")
    for _ in range(2):
        enlarged = spoiling.rescaled(crop(case.pixels, 256, rng), 2.0)
        add(spoiling.detailed(enlarged, case.pixels, rng), 1.0, "large")
    for number in range(VARIANTS):
        mpp = MPP if rng.random() < 0.8 else float(rng.uniform(MPP, 2 * MPP))
        span = SPAN if number % 3 else RIGHT
        magnified = float(rng.uniform(-span, span))
        add(rescaled_at_random(case.pixels, magnified, mpp, rng), magnified, "any", mpp)
    number_of = np.full(len(rows), case.number)
    return Examples(np.array(rows), np.array(truth), number_of, np.array(kinds))


def fit_scale(rows: Rows, truth: Rows) -> dict[str, Any]:
    """Regression of the scale; a model for `scale.magnification` without its limits."""
    centre, spread = rows.mean(axis=0), rows.std(axis=0) + 1e-6
    scaled = np.clip((rows - centre) / spread, -5, 5)
    fits = []
    with warnings.catch_warnings():
        # The number of iterations is the setting; stopping there is no failure.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for seed in SEEDS:
            fits.append(
                MLPRegressor(
                    hidden_layer_sizes=(HIDDEN,),
                    activation="tanh",
                    alpha=PENALTY,
                    max_iter=ITERATIONS,
                    tol=0,
                    n_iter_no_change=ITERATIONS,
                    random_state=seed,
                ).fit(scaled, truth)
            )
    first = np.concatenate([fit.coefs_[0] for fit in fits], axis=1)
    last = np.concatenate([fit.coefs_[1] for fit in fits]) / len(fits)
    offset = np.concatenate([fit.intercepts_[0] for fit in fits])
    mean = np.mean([fit.intercepts_[1] for fit in fits], axis=0)
    return {
        "centre": _rounded(centre),
        "spread": _rounded(spread),
        "layers": [[_rounded(first), _rounded(offset)], [_rounded(last), _rounded(mean)]],
    }


def scale_limits(seen: Examples, site: npt.NDArray[np.str_]) -> tuple[float, float]:
    """Magnifications (log2) below and above which the scale is wrong.

    Parameters
    ----------
    seen : Examples
    site : ndarray of str, shape (n,)
        Of each picture; at least two kinds.
    """
    clean = seen.kind == "clean"
    found = []
    for name in np.unique(site):
        model = fit_scale(seen.rows[site != name], seen.truth[site != name])
        found += [magnification(row, model) for row in seen.rows[clean & (site == name)]]
    return SCALE_MARGIN * min(found), SCALE_MARGIN * max(found)


def fit_stain(rows: Rows) -> dict[str, Any]:
    """Centre and precision of the stains, with a tenth of each variance added."""
    spread = np.cov(rows.T)
    spread += 0.1 * np.diag(np.diag(spread))
    return {
        "centre": _rounded(np.median(rows, axis=0)),
        "precision": _rounded(np.linalg.inv(spread)),
    }


def stain_limit(rows: Rows, site: npt.NDArray[np.str_]) -> float:
    """Distance from which a stain is unusual, from distances to all other sites.

    Parameters
    ----------
    rows : ndarray, shape (n, 5)
        From `staining.stain`.
    site : ndarray of str, shape (n,)
        At least two kinds.
    """
    away = np.zeros(len(rows))
    for name in np.unique(site):
        model = fit_stain(rows[site != name])
        for i in np.flatnonzero(site == name):
            away[i] = distance(rows[i], model)
    return STAIN_MARGIN * float(np.quantile(away, STAIN_QUANTILE))


def models(cases: Sequence[Case], seen: Examples, fold: npt.NDArray[Any]) -> list[dict[str, Any]]:
    """A model for each fold, set on the others alone, and last one set on all."""
    sites = np.array([case.site for case in cases])
    stains = [stain(colours(c.pixels, tissue_mask(c.pixels, MPP))) for c in cases]
    made = []
    for k in range(FOLDS + 1):
        kept = seen.taken(fold[seen.case] != k)
        low, high = scale_limits(kept, sites[kept.case])
        chosen = [i for i, row in enumerate(stains) if row is not None and fold[i] != k]
        rows = np.array([stains[i] for i in chosen])
        far = stain_limit(rows, sites[chosen])
        made.append(
            {
                "scale": fit_scale(kept.rows, kept.truth)
                | {"limits": [round(low, 3), round(high, 3)]},
                "stain": fit_stain(rows) | {"limit": round(far, 2)},
            }
        )
    return made


def judged(case: Case, model: Mapping[str, Any], made: Sequence[str]) -> dict[str, Any]:
    """Flags of a patch as it is, and of each kind of spoilt picture of it.

    Returns
    -------
    dict
        Name of the kind (``""`` for the patch itself) -> flags and whether reliable.
    """
    cv2.setNumThreads(1)
    found = {}
    for name in ("", *made):
        pixels = case.pixels
        if name:
            seed = (2, case.number, list(spoiling.SPOILS).index(name))
            pixels = spoiling.SPOILS[name][1](pixels, np.random.default_rng(seed))
        patch = Patch(name, np.ascontiguousarray(pixels), MPP, "user", "", ())
        quality = assess(patch, model)
        found[name] = (quality.flags, quality.reliable)
    return found


EXPECTED: Final = {"pen": ("pen", "not-he"), "fold": ("fold",)}
"""Flags that catch a group; any fatal flag catches the others."""


def rates(found: Sequence[Mapping[str, Any]], patients: int) -> dict[str, Any]:
    """Shares of false alarms and of spoilt pictures caught.

    Parameters
    ----------
    found : sequence
        From `judged`, a patch each, with a model that has not seen its patient.
    patients : int
        How many patients the patches are from.
    """
    clean = [entry[""] for entry in found]
    alarms: dict[str, float] = {
        "any": _share(bool(flags) for flags, _ in clean),
        "unreliable": _share(not reliable for _, reliable in clean),
    }
    alarms |= {
        code: _share(code in flags for flags, _ in clean)
        for code in FLAGS
        if code not in NOT_OF_PIXELS
    }
    caught: dict[str, Any] = {}
    for group, names in spoiling.kinds().items():
        wanted = EXPECTED.get(group)
        kinds = {}
        for name in names:
            kinds[name] = _share(
                any(code in entry[name][0] for code in wanted) if wanted else not entry[name][1]
                for entry in found
            )
        caught[group] = {"share": round(float(np.mean(list(kinds.values()))), 3), "kinds": kinds}
    return {
        "patches": len(found),
        "patients": patients,
        "folds": FOLDS,
        "false_alarms": alarms,
        "caught": caught,
    }


def _share(facts: Any) -> float:
    return round(float(np.mean(list(facts))), 4)


def _rounded(values: npt.NDArray[Any]) -> Any:
    """Numbers to `DIGITS` significant digits, as JSON keeps them."""
    if values.ndim > 1:
        return [_rounded(row) for row in values]
    return [float(f"{value:.{DIGITS}g}") for value in values]


def run(data: Sequence[str], out: Path, workers: int) -> dict[str, Any]:
    """Set all limits on the data, measure them, and write both.

    Raises
    ------
    DataError
        If a data set cannot be read.
    """
    samples = [sample for spec in data for sample in load(spec)]
    cases = []
    for number, sample in enumerate(samples):
        pixels = load_patch(sample.image.read_bytes(), sample.image.name, sample.mpp).pixels
        cases.append(Case(pixels, sample.patient, sample.site, number))
    fold = patient_folds(samples, FOLDS)
    with ProcessPoolExecutor(workers) as pool:
        made = list(pool.map(examples, cases, chunksize=8))
        seen = Examples(
            *(
                np.concatenate([getattr(part, field) for part in made])
                for field in ("rows", "truth", "case", "kind")
            )
        )
        set_on = models(cases, seen, fold)
        held_out = [set_on[k] for k in fold]
        names = tuple(spoiling.SPOILS)
        judge = partial(judged, made=names)
        found = list(pool.map(judge, cases, held_out, chunksize=8))
    model = set_on[-1] | {"rates": rates(found, len({c.patient for c in cases}))}
    out.write_text(json.dumps(model, indent=None, separators=(",", ":")) + "\n", encoding="utf-8")
    return model


def main(
    data: Annotated[list[str], typer.Option(help="KIND:FOLDER, once for each data set.")],
    out: Annotated[Path, typer.Option(help="File to write.")] = MODEL,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Set the limits of the quality flags and measure their rates."""
    found = run(data, out, workers)["rates"]
    typer.echo(json.dumps(found, indent=1))


if __name__ == "__main__":
    typer.run(main)
