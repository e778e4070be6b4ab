"""TOML files to checked recipes: what is wrong is named with its key and its file."""

import dataclasses
import math
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from cellularity_core.conventions import NETWORK_OF
from cellularity_core.errors import ModelError
from cellularity_core.networks.encoders import INITS, check_encoder
from cellularity_core.training.recipes.settings import Recipe, Trial

Table = dict[str, Any]
Settings = TypeVar("Settings")

SUFFIX: Final = ".toml"
BASE: Final = "base"
TRIALS: Final = "trials"
ENCODER_KEYS: Final = ("encoder", "regressor")

LEAST: Final[Mapping[str, float]] = {"crops": 0, "folds": 0, "alone": 0}
"""Smallest value of an integer; 1 for those not named."""

POSITIVE: Final = ("rate", "view_mpp", "disc_um", "std")
"""Numbers that cannot be 0."""

SHARES: Final = ("warmup", "fields_from", "blur")
"""Numbers from 0 to 1."""


def read_recipe(path: Path, name: str, folder: Path) -> Recipe:
    """Read a recipe and those it starts from.

    Parameters
    ----------
    path : Path
        TOML file.
    name : str
        Of the recipe.
    folder : Path
        Of the recipes that ``base`` may name.

    Raises
    ------
    ModelError
        If a file is missing, or holds an unknown key, a wrong type, an unknown encoder or a
        value out of range; the sentence names it.
    """
    table = _merged(path, folder, ())
    if "name" in table:
        raise ModelError(f"{path.name}: a recipe is named by its file; remove the key 'name'.")
    return dataclasses.replace(_checked(table, path.name), name=name)


def read_trials(path: Path, folder: Path) -> tuple[Trial, ...]:
    """The trials of a recipe: its own, not those of recipes that it starts from.

    Each is a table of ``[[trials]]`` with the keys of `Trial`; what else it holds are changes
    to the recipe, or to those that its ``base`` names.

    Raises
    ------
    ModelError
        As `read_recipe`, and where two trials have one name.
    """
    given = toml_table(path).get(TRIALS, [])
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise ModelError(f"{path.name}: {TRIALS} must be tables; write [[{TRIALS}]] above each.")
    keys = {one.name for one in dataclasses.fields(Trial)} - {"recipe"}
    found: dict[str, Trial] = {}
    for one in given:
        about = {key: value for key, value in one.items() if key in keys}
        changed = {key: value for key, value in one.items() if key not in keys}
        trial = build(Trial, about, f"{path.name} [{TRIALS}]")
        where = f"{path.name} [{TRIALS} {trial.name}]"
        if trial.name in found:
            raise ModelError(f"{where}: two trials have this name; give one another.")
        below = {} if BASE in changed else _merged(path, folder, ())
        recipe = _checked(_over(below, _based(changed, path, folder, ())), where)
        recipe = dataclasses.replace(recipe, name=trial.name)
        found[trial.name] = dataclasses.replace(trial, recipe=recipe)
    return tuple(found.values())


def _checked(table: Table, where: str) -> Recipe:
    """A recipe from a merged table, its parts held against each other."""
    recipe = build(Recipe, table, where)
    if not recipe.parts():
        raise ModelError(
            f"{where} speaks of no method; add a table such as [direct] or [segmentation]."
        )
    for built_on in ("cascade", "boosting"):
        if built_on in recipe.parts() and recipe.segmentation is None:
            raise ModelError(
                f"{where}: [{built_on}] learns from the maps of a segmentation; add a table "
                "[segmentation], or start from a recipe that has one by base."
            )
    if strange := [method for method in recipe.combined if method not in NETWORK_OF]:
        raise ModelError(
            f"{where}: combined has no method '{strange[0]}'{near(strange[0], NETWORK_OF)}; "
            f"expected some of {', '.join(NETWORK_OF)}."
        )
    for key, head in (("direct", "regression"), ("direct_classes", "classification")):
        part = getattr(recipe, key)
        if part is not None and part.head != head:
            raise ModelError(f'{where}: [{key}] must have head = "{head}".')
        if part is not None and part.frozen and part.init == "random":
            raise ModelError(
                f"{where}: [{key}] freezes an encoder that starts random and so would learn "
                "nothing; give it weights by init, or set frozen = false."
            )
    return recipe


def toml_table(path: Path) -> Table:
    """What a TOML file holds.

    Raises
    ------
    ModelError
        If it cannot be read, with the line.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ModelError(f"{path.name} is not TOML: {error}.") from error
    except RecursionError as error:
        raise ModelError(f"{path.name} is not a recipe: it nests lists without end.") from error
    except UnicodeDecodeError as error:
        raise ModelError(f"{path.name} is not text in UTF-8; save it as such.") from error
    except OSError as error:
        raise ModelError(f"'{path}' cannot be read: {error.strerror}.") from error


def find(name: str, folder: Path, beside: Path) -> Path:
    """File of a recipe: a name in `folder`, or a path, relative ones from `beside`.

    Raises
    ------
    ModelError
        If there is none.
    """
    known = recipe_names(folder)
    if name in known:
        return folder / f"{name}{SUFFIX}"
    path = beside / Path(name).expanduser()
    if path.is_file():
        return path
    if Path(name).suffix == SUFFIX:
        raise ModelError(f"There is no recipe file '{path}'; check the path.")
    raise ModelError(
        f"There is no recipe '{name}'{near(name, known)}; choose one of {', '.join(known)}, or "
        f"give the path of your own {SUFFIX} file."
    )


def recipe_names(folder: Path) -> tuple[str, ...]:
    """Names of the recipes in a folder, sorted."""
    return tuple(sorted(path.stem for path in folder.glob(f"*{SUFFIX}")))


def build(kind: type[Settings], table: Table, where: str) -> Settings:
    """A dataclass from a table, every key and type checked.

    Raises
    ------
    ModelError
        At the first key that does not fit.
    """
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in table:
        if key not in fields:
            raise ModelError(
                f"{where} has no key '{key}'{near(key, fields)}; expected some of "
                f"{', '.join(fields)}."
            )
    for key, one in fields.items():
        required = one.default is one.default_factory is dataclasses.MISSING
        if required and key not in table:
            raise ModelError(f"{where} lacks the key '{key}'; add it.")
    values = {key: _value(hints[key], value, key, where) for key, value in table.items()}
    return kind(**values)


def near(word: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    """A question with the known words most like this one; empty where none is."""
    close = get_close_matches(word, list(known), n=3)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def _merged(path: Path, folder: Path, seen: tuple[Path, ...]) -> Table:
    """The file's table over those of its bases, first to last."""
    path = path.resolve()
    if path in seen:
        chain = " -> ".join(p.name for p in (*seen, path))
        raise ModelError(f"The recipes start from each other in a circle: {chain}; break it.")
    own = toml_table(path)
    own.pop(TRIALS, None)
    return _based(own, path, folder, seen)


def _based(own: Table, path: Path, folder: Path, seen: tuple[Path, ...]) -> Table:
    """A table of the file at `path` over those of its bases, first to last."""
    bases = own.pop(BASE, [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(b, str) for b in bases):
        raise ModelError(f"{path.name}: {BASE} must be a recipe's name or path, or a list of them.")
    out: Table = {}
    for base in bases:
        out = _over(out, _merged(find(base, folder, path.parent), folder, (*seen, path)))
    for part in own.values():
        # A file of weights stands relative to the recipe that names it.
        init = part.get("init") if isinstance(part, dict) else None
        if isinstance(init, str) and init not in INITS:
            part["init"] = str(path.parent / Path(init).expanduser())
    return _over(out, own)


def _over(below: Table, above: Table) -> Table:
    out = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = _over(out[key], value) if both else value
    return out


def _value(hint: Any, value: Any, key: str, where: str) -> Any:
    """One value, of the type that the dataclass declares."""
    if isinstance(hint, types.UnionType):
        hint = next(a for a in typing.get_args(hint) if a is not types.NoneType)
    origin = typing.get_origin(hint)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise ModelError(f"{where}: {key} must be a table, not {value!r}.")
        return build(typing.cast(type[Any], hint), value, _inside(where, key))
    if origin is tuple:
        inner = typing.get_args(hint)
        if inner[-1] is Ellipsis and isinstance(value, list):
            inner = inner[:1] * len(value)
        if not isinstance(value, list) or len(value) != len(inner):
            raise ModelError(
                f"{where}: {key} must be a list of {len(inner)} values, not {value!r}."
            )
        return tuple(_value(i, v, key, where) for i, v in zip(inner, value, strict=True))
    if origin is dict:
        if not isinstance(value, dict):
            raise ModelError(f"{where}: {key} must be a table, not {value!r}.")
        return value
    if origin is Literal:
        choices = typing.get_args(hint)
        if value not in choices or type(value) is not type(choices[0]):
            listed = ", ".join(map(str, choices))
            hinted = near(value, choices) if isinstance(value, str) else ""
            raise ModelError(f"{where}: {key} = {value!r}{hinted} must be one of {listed}.")
        return value
    if hint is float and type(value) is int:
        value = float(value)
    if type(value) is not hint:
        names = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}
        raise ModelError(f"{where}: {key} must be {names[hint]}, not {value!r}.")
    _check(key, value, where)
    return value


def _check(key: str, value: Any, where: str) -> None:
    """Refuse values that no training can use."""
    if isinstance(value, float):
        low, high = (0.0, 1.0 if key in SHARES else math.inf)
        if not low <= value <= high or math.isinf(value) or (key in POSITIVE and value == 0):
            wanted = "above 0" if key in POSITIVE else "0 to 1" if key in SHARES else "0 or more"
            raise ModelError(f"{where}: {key} must be {wanted}, not {value}.")
    elif isinstance(value, int) and not isinstance(value, bool):
        if value < LEAST.get(key, 1):
            raise ModelError(f"{where}: {key} must be at least {LEAST.get(key, 1):.0f}.")
    elif key in ENCODER_KEYS:
        try:
            check_encoder(value)
        except ModelError as error:
            raise ModelError(f"{where}: {key}: {error}") from error
    elif key == "init" and value not in INITS and not Path(value).is_file():
        word = Path(value).name
        raise ModelError(
            f"{where}: init must be {' or '.join(INITS)}, or a file of weights{near(word, INITS)}; "
            f"there is no file '{value}'."
        )


def _inside(where: str, key: str) -> str:
    return f"{where[:-1]}.{key}]" if where.endswith("]") else f"{where} [{key}]"
