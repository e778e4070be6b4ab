"""Figures 3 to 10 from the runs of a plan."""

from collections.abc import Callable, Sequence

import numpy as np

from cellularity_core.reproduce import charts, panels
from cellularity_core.reproduce.document import Picture
from cellularity_core.reproduce.learning import Runner
from cellularity_core.reproduce.material import Material, pointed, truth_of
from cellularity_core.reproduce.outcome import Outcome, gain, jaccard_curve, mse_curve
from cellularity_core.training.images import Loaded
from cellularity_core.training.segmentation import activation, at_pixel_size

BEST_FIRST = ("fpn-imagenet", "fpn-random", "unet-imagenet", "unet-random")
"""Segmentations in the order in which one is taken to draw with."""


Drawn = tuple[list[Picture], str]
"""Figures, and the sentence that says why there are none."""


def run_pictures(runner: Runner, outcomes: Sequence[Outcome]) -> tuple[list[Picture], list[str]]:
    """All figures that can be drawn, in order, and why others cannot."""
    makers: list[Callable[[Runner, Sequence[Outcome]], Drawn]] = [
        _targets,
        _seen,
        _histogram,
        _jaccard,
        _mse,
        _importance,
    ]
    drawn = [make(runner, outcomes) for make in makers]
    pictures = [picture for made, _ in drawn for picture in made]
    return sorted(pictures, key=charts.figure_number), [reason for _, reason in drawn if reason]


def _targets(runner: Runner, _: Sequence[Outcome]) -> Drawn:
    items = pointed(runner.material.items)
    if not items:
        return [], "Figure 3: no image has nuclei points."
    order = sorted(items, key=lambda i: len(np.unique(i.points.label)) * 1e6 + len(i.points.label))
    return [panels.targets(order[:-3:-1])], ""


def histogram(material: Material) -> Drawn:
    """Figure 6 of all images with a truth."""
    items = material.graded(material.items)
    word = material.truth_word
    if not items:
        return [], f"Figure 6: no image has {word}."
    truths = [float(np.mean(truth_of(item))) for item in items]
    whose = (
        "from nuclei points, not from a pathologist"
        if material.is_weak
        else "by pathologists, the mean where there are two"
    )
    return [charts.histogram(truths, word, whose)], ""


def _histogram(runner: Runner, _: Sequence[Outcome]) -> Drawn:
    return histogram(runner.material)


def _seen(runner: Runner, outcomes: Sequence[Outcome]) -> Drawn:
    done = {one.row.name for one in outcomes if one.status == "done"}
    done |= {one.row.segmentation for one in outcomes if one.status == "done"}
    name = next((name for name in BEST_FIRST if name in done), None)
    if name is None:
        return [], "Figures 4, 5 and 7: no segmentation was trained."
    split = runner.material.splits[0]
    items = runner.material.graded(split.measured)
    truths = [float(np.mean(truth_of(item))) for item in items]
    settings = runner.segmentation_settings(name)
    model = runner.load_segmentation(settings, runner.folder(name, split))

    def look(item: Loaded) -> panels.Seen:
        pixels, _, mpp = at_pixel_size(item, settings.view_mpp)
        return panels.at_feature_size(item, activation(model, pixels, runner.compute), mpp)

    chosen = [look(item) for item in panels.examples(items, truths)]
    return views_of(chosen, runner.material.truth_word), ""


def views_of(seen: Sequence[panels.Seen], word: str) -> list[Picture]:
    """Figures 4, 5 and 7 of some patches, high cellularity first."""
    titles = [f"{word} {np.mean(truth_of(one.item)):.2f}" for one in seen]
    return [panels.masks(seen[0]), panels.blobs(seen[0]), panels.rows(seen, titles)]


def _jaccard(runner: Runner, outcomes: Sequence[Outcome]) -> Drawn:
    curves = _curves(runner, outcomes, ("segmentation",), jaccard_curve)
    if not curves:
        return [], "Figure 8: no segmentation has its own row among those done."
    drawn = charts.curves(
        "Figure 8. Jaccard index by epoch",
        curves,
        "Jaccard index, mean of 4 channels",
        "On patients held out, for each decoder and start.",
        log=False,
    )
    return [drawn], ""


def _mse(runner: Runner, outcomes: Sequence[Outcome]) -> Drawn:
    word = runner.material.truth_word
    curves = _curves(runner, outcomes, ("cascade", "direct"), mse_curve)
    if not curves:
        return [], "Figure 9: no cascade or direct network is done."
    whose = "validation part" if runner.material.splits[0].validation else "patients held out"
    drawn = charts.curves(
        f"Figure 9. MSE of {word} by epoch",
        curves,
        f"MSE of {word}",
        f"MSE of {word} on the {whose}; of SR the frozen phase, then both together.",
        log=True,
    )
    return [drawn], ""


def _importance(runner: Runner, outcomes: Sequence[Outcome]) -> Drawn:
    split = runner.material.splits[0]
    gains = {
        f"GBT, {one.row.init}": gain(runner, one.row, split)
        for one in outcomes
        if one.status == "done" and one.row.kind == "gbt"
    }
    if not gains:
        return [], "Figure 10: no boosted trees are done."
    return [charts.importance(gains, runner.material.truth_word)], ""


def _curves(
    runner: Runner,
    outcomes: Sequence[Outcome],
    kinds: Sequence[str],
    read: Callable[..., charts.Curve],
) -> dict[str, dict[str, charts.Curve]]:
    """Model to start to its curve, the mean over splits."""
    found: dict[str, dict[str, charts.Curve]] = {}
    for one in outcomes:
        if one.status == "done" and one.row.kind in kinds:
            each = [dict(read(runner, one.row, split)) for split in runner.material.splits]
            found.setdefault(one.row.title, {})[one.row.init] = _mean(each)
    return found


def _mean(curves: Sequence[dict[float, float]]) -> charts.Curve:
    shared = sorted(set.intersection(*map(set, curves)))
    return [(epoch, float(np.mean([one[epoch] for one in curves]))) for epoch in shared]
