"""Which patches a model set's figures are made of, and what flatters or shifts these."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from cellularity_core.datasets import unknown_patients
from cellularity_core.errors import DataError
from cellularity_core.model_store import LEARNT, ModelSet
from cellularity_core.patch import pixel_digest
from cellularity_core.reproduce.material import Material, short_of_readers, truth_of
from cellularity_core.training.images import Loaded

ALL: Final = "all"
FITTED: Final = "the scale of the model set was fitted to it"
SHORT: Final = "not every pathologist of its part scored it"


def left_out(models: ModelSet, material: Material) -> dict[str, str]:
    """Patches that no figure is made of, and why.

    Parameters
    ----------
    models : ModelSet
    material : Material

    Returns
    -------
    dict of str to str
        Name to `FITTED`, `SHORT` or, where there are others, `LEARNT`.

    Raises
    ------
    DataError
        If nothing is left to compare with.
    """
    graded = material.graded(material.items)
    out = {
        item.sample.name: SHORT
        for part in {item.sample.part for item in graded}
        for item in short_of_readers([i for i in graded if i.sample.part == part])
    }
    out |= _among(models.fitted_to, material, FITTED)
    comparable = {item.sample.name for item in graded}
    comparable |= {item.sample.name for item in material.items if item.sample.field}
    learnt = _among(models.learnt_from or (), material, LEARNT)
    if comparable - out.keys() - learnt.keys():
        out = learnt | out
    if not comparable:
        raise DataError(
            "No image has a score, nuclei points or a field label to compare with; use "
            "`cellularity score` for scores alone."
        )
    if not comparable - out.keys():
        raise DataError(
            f"The scale of the model set '{models.name}' was fitted to every image here that "
            "there is a truth for, so nothing is left to measure it on; give images that it was "
            "not fitted to."
        )
    return out


def _among(known: Collection[str], material: Material, why: str) -> dict[str, str]:
    """Patches whose pixels are among those known by their checksums, and why they are named."""
    if not known:
        return {}
    return {i.sample.name: why for i in material.items if pixel_digest(i.pixels) in known}


def groups(material: Material, without: Mapping[str, str]) -> dict[str, set[str]]:
    """Patches with a truth by published part, and all together; see `left_out` for `without`.

    Parts that differ in how many pathologists scored them have no truth together: the
    group of all is empty then.
    """
    kept = [i for i in material.graded(material.items) if i.sample.name not in without]
    by_part: dict[str, set[str]] = {}
    for part in ("train", "validation", "test"):
        by_part[part] = {item.sample.name for item in kept if item.sample.part == part}
    named = {part: names for part, names in by_part.items() if names}
    together = {item.sample.name for item in kept} if len(_readers(kept)) < 2 else set()
    return {ALL: together, **(named if len(named) > 1 or not together else {})}


def warnings(models: ModelSet, material: Material, without: Mapping[str, str]) -> list[str]:
    """What flatters, shifts or limits the figures, in sentences."""
    said = unknown_patients(item.sample for item in material.items)
    reasons = list(without.values())
    if count := reasons.count(LEARNT):
        said.append(
            f"{count} image{'s' * (count != 1)} that the models learnt from "
            f"{'have' if count != 1 else 'has'} no part in the figures. Other images of the same "
            "patients are not recognised; figures on them flatter."
        )
    elif _among(models.learnt_from or (), material, LEARNT):
        said.append(
            f"The model set '{models.name}' learnt from every image here that there is a truth "
            "for, so these figures say how well it remembers, not how well it scores; its card "
            "has those of patients it never saw."
        )
    shared = sorted(set(material.kinds.values()) & set(models.manifest.get("data", ())))
    if shared and models.learnt_from is None:
        said.append(
            f"The model set '{models.name}' was trained on data of the kind "
            f"{', '.join(shared)}, so patches measured here may have been among those it learnt "
            "from. Figures on them flatter; its card has those of patients it never saw."
        )
    is_of_a_reader = "calibration" in models.manifest
    if models.scale != material.scale:
        advice = "" if is_of_a_reader else " `cellularity recalibrate` maps scores to a reader's."
        said.append(
            f"The scores are on the scale '{models.scale}', the truth is '{material.scale}': MSE, "
            f"kappa and ICC(A,1) also measure how the scales differ.{advice}"
        )
    if is_of_a_reader and "fitted_to" not in models.manifest:
        said.append(
            f"The model set '{models.name}' does not say which patches its scale was fitted to, "
            "as an earlier version made it. If some are measured here, the figures flatter; "
            "recalibrate anew to have such patches left out."
        )
    if count := reasons.count(FITTED):
        said.append(
            f"{count} image{'s' * (count != 1)} that the scale was fitted to "
            f"{'have' if count != 1 else 'has'} no part in the figures. Other images of the same "
            "patients are not recognised; figures on them flatter."
        )
    if count := reasons.count(SHORT):
        said.append(
            f"{count} patch{'es' * (count != 1)} that not every pathologist of the part scored "
            f"{'have' if count != 1 else 'has'} no part in the figures."
        )
    kept = [i for i in material.graded(material.items) if i.sample.name not in without]
    if len(readers := _readers(kept)) > 1:
        told = ", ".join(f"{parts} {count}" for count, parts in readers.items())
        said.append(
            f"The parts differ in how many pathologists scored each patch ({told}), so each part "
            "has its own figures and there are none of all together."
        )
    if material.is_weak and material.graded(material.items):
        said.append(
            "Every truth here is weak TC, made from nuclei points; it is not a pathologist's score."
        )
    return said


def _readers(kept: Sequence[Loaded]) -> dict[int, str]:
    """Pathologists of each patch, to the parts that have as many."""
    of_part = {item.sample.part or "no part": len(truth_of(item)) for item in kept}
    return {
        count: " and ".join(part for part, n in of_part.items() if n == count)
        for count in sorted(set(of_part.values()))
    }
