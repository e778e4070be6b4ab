"""Which model set scores for everybody: the one an admin chose, if it is still what was chosen."""

from dataclasses import dataclass

from cellularity_core.conventions import DEFAULT_SET
from cellularity_core.errors import ModelError
from cellularity_core.model_store import ModelSet, available, open_set
from db import model_sets
from db.model_sets import ActiveSet
from db.session import snapshot
from pages.parts.access import plain
from pages.parts.store import store

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
        What an admin chose; None: nobody has, and the software's own default is used or,
        where that is not there, the first set in the folder.
    fault : str or None
        Why `models` is not what was chosen, in sentences.
    """

    models: ModelSet
    chosen: ActiveSet | None
    fault: str | None

    @property
    def is_default(self) -> bool:
        """Whether `models` is the software's own default."""
        return self.models.name == DEFAULT_SET


def active_set() -> InUse:
    """The model set in use, asked of the records and the folder in every run.

    Raises
    ------
    ModelError
        If there is no model set at all, or the default's manifest cannot be used.
    RecordError
        If the records cannot be reached.
    """
    names = available()
    if not names:
        raise ModelError(NO_SETS)
    with snapshot(store()) as db:
        chosen = model_sets.active(db)
    fallback = DEFAULT_SET if DEFAULT_SET in names else names[0]
    if chosen is None:
        return InUse(open_set(fallback), None, None)
    try:
        return InUse(intact(chosen.name, chosen.sha256), chosen, None)
    except ModelError as error:
        models = open_set(fallback)
        fault = (
            f"**The models that were chosen cannot be used.** {plain(chosen.chosen_by)} chose "
            f"“{plain(chosen.name)}” on {chosen.chosen_at:%d %B %Y}. {plain(str(error))} "
            f"Until then scores come from “{plain(models.name)}” (checksum "
            f"`{models.sha256[:12]}`). An admin can choose again on the page Models."
        )
        return InUse(models, chosen, fault)


def intact(name: str, sha256: str) -> ModelSet:
    """The model set of that name, every file of it checked.

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
    for file in models.manifest["files"]:
        models.file(file)
    return models
