"""Which model set scores for everybody: the one an admin chose, if it is still what was chosen."""

from dataclasses import dataclass

from cellularity_core.conventions import DEFAULT_SET, WEAK_SCALE
from cellularity_core.errors import ModelError
from cellularity_core.model_store import ModelSet, available, open_set
from db import model_sets
from db.model_sets import ActiveSet
from db.session import snapshot
from pages.parts.markdown import plain
from pages.parts.store import store
from pages.parts.words import scale_name

NO_SETS = (
    "There are no models in the folder models/, so nothing can be scored; get the model set "
    "`breast-1` with the software, or train one with `cellularity train`."
)


@dataclass(frozen=True, slots=True)
class InUse:
    """The model set that scores where nobody asks for another.

    Attributes
    ----------
    models : ModelSet
    chosen : ActiveSet or None
        What an admin chose; None: nobody has, and the software's own default is used.
    fault : str or None
        Why `models` is neither what was chosen nor the default, in sentences.
    """

    models: ModelSet
    chosen: ActiveSet | None
    fault: str | None


def active_set() -> InUse:
    """The model set in use, asked of the records and the folder in every run.

    Raises
    ------
    ModelError
        If there is no model set at all, or none that can be used.
    RecordError
        If the records cannot be reached.
    """
    names = available()
    if not names:
        raise ModelError(NO_SETS)
    with snapshot(store()) as db:
        chosen = model_sets.active(db)
    try:
        if chosen is None:
            return InUse(whole(DEFAULT_SET), None, None)
        return InUse(intact(chosen.name, chosen.sha256), chosen, None)
    except ModelError as error:
        models = _instead(names, error)
        return InUse(models, chosen, _fault(models, chosen, error))


def _instead(names: list[str], error: ModelError) -> ModelSet:
    """What scores in place of a set that cannot be used: the default, or another one.

    A set on the scale of one reader comes last: it is made for who knows it.
    """
    found: list[ModelSet] = []
    for name in dict.fromkeys((DEFAULT_SET, *names)):
        try:
            found.append(whole(name))
        except ModelError:
            continue
    if not found:
        raise ModelError(f"{error} No other model set can be used in its place.") from error
    return min(found, key=lambda models: "recalibrated_from" in models.manifest)


def _fault(models: ModelSet, chosen: ActiveSet | None, error: ModelError) -> str:
    """Why `models` scores, and what is other about its scores."""
    if chosen is None:
        scale: str | None = WEAK_SCALE
        lost = "**The software's own models cannot be used**, and nobody chose others."
    else:
        scale = scale_of(chosen.name, chosen.sha256)
        lost = (
            f"**The models that were chosen cannot be used.** {plain(chosen.chosen_by)} chose "
            f"“{plain(chosen.name)}” on {chosen.chosen_at:%d %B %Y}."
        )
    told = f"Its scores are on another scale: {plain(scale_name(models.scale))}. "
    if scale is None:
        told = f"Its scores are on this scale: {plain(scale_name(models.scale))}. "
    elif scale == models.scale:
        told = ""
    return (
        f"{lost} {plain(str(error))} Until then scores come from “{plain(models.name)}” (checksum "
        f"`{models.sha256[:12]}`). {told}An admin can choose again on the page Models."
    )


def whole(name: str) -> ModelSet:
    """The model set of that name, every file of it checked.

    Raises
    ------
    ModelError
        If it is missing or damaged.
    """
    models = open_set(name)
    for file in models.manifest["files"]:
        models.file(file)
    return models


def intact(name: str, sha256: str) -> ModelSet:
    """The model set of that name and checksum, every file of it checked.

    Raises
    ------
    ModelError
        If it is missing, damaged, or another than the one with that checksum.
    """
    models = open_set(name)
    if models.sha256 != sha256:
        raise ModelError(
            f"The folder of the model set '{name}' now holds another one (checksum "
            f"{models.sha256[:12]}, not {sha256[:12]}); restore the folder."
        )
    return whole(name)


def set_of(name: str, sha256: str) -> ModelSet | None:
    """The model set that records name; None where it is gone, or is another one by now."""
    try:
        models = open_set(name)
    except ModelError:
        return None
    return models if models.sha256 == sha256 else None


def scale_of(name: str, sha256: str) -> str | None:
    """Whose scale the scores of a set are on, which the records do not keep; None as above."""
    models = set_of(name, sha256)
    return None if models is None else models.scale
