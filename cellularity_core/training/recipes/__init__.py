"""Named settings of every training: a recipe holds all that decides its outcome.

A recipe is a TOML file, one table for each method that it speaks of. Those beside
this module have a name; ``--recipe`` also takes the path of a user's own.
``base = "NAME"`` (or a list) starts from other recipes, and what the file says goes
over them, key by key. Tables ``[[trials]]`` name changes to the recipe that ``cellularity
train ablation`` measures beside it; they are the file's own.
"""

from pathlib import Path
from typing import Final

from cellularity_core.training.recipes.reading import (
    find,
    read_recipe,
    read_trials,
    recipe_names,
)
from cellularity_core.training.recipes.settings import (
    Boosting,
    Cascade,
    Direct,
    Recipe,
    Segmentation,
    Trial,
)

__all__ = [
    "Boosting",
    "Cascade",
    "Direct",
    "Recipe",
    "Segmentation",
    "Trial",
    "names",
    "recipe",
    "trials",
]

FOLDER: Final = Path(__file__).parent


def names() -> tuple[str, ...]:
    """Names of the recipes that come with the software, sorted."""
    return recipe_names(FOLDER)


def recipe(name_or_path: str | Path) -> Recipe:
    """The recipe of that name, or in that file.

    Raises
    ------
    ModelError
        If there is none, or it holds what no training understands.
    """
    name = str(name_or_path)
    return read_recipe(find(name, FOLDER, Path()), name, FOLDER)


def trials(name_or_path: str | Path) -> tuple[Trial, ...]:
    """Trials that a recipe names, in its order; see `reading.read_trials`.

    Raises
    ------
    ModelError
        As `recipe`.
    """
    return read_trials(find(str(name_or_path), FOLDER, Path()), FOLDER)
