"""Named settings of every training: a recipe holds all that decides its outcome.

A recipe is a TOML file, one table for each method that it speaks of. Those beside
this module have a name; ``--recipe`` also takes the path of a user's own.
``base = "NAME"`` (or a list) starts from other recipes, and what the file says goes
over them, key by key.
"""

from pathlib import Path
from typing import Final

from cellularity_core.training.recipes.reading import find, read_recipe, recipe_names
from cellularity_core.training.recipes.settings import (
    Boosting,
    Cascade,
    Direct,
    Recipe,
    Segmentation,
)

__all__ = ["Boosting", "Cascade", "Direct", "Recipe", "Segmentation", "names", "recipe"]

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
