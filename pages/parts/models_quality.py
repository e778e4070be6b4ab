"""How well the warnings of a patch's quality work: false alarms, and what they catch."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, Final

import streamlit as st

from cellularity_core import quality
from cellularity_core.model_store import ModelSet
from pages.parts.models_data import Measured, measure
from pages.parts.models_tables import NOTHING, Row, table, with_interval

_SUMS: Final = {"any": "any of them", "unreliable": "“Do not rely on this score”"}


@dataclass(frozen=True, slots=True)
class Catch:
    """What should be warned of, and how often it is.

    Attributes
    ----------
    kind : str
    share : Measured
    least : (str, float) or None
        The variety that is caught least, where there are several.
    """

    kind: str
    share: Measured
    least: tuple[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Rates:
    """What was measured of the warnings; `patches` and `patients` None where not told."""

    alarms: tuple[tuple[str, Measured], ...]
    caught: tuple[Catch, ...]
    patches: int | None = None
    patients: int | None = None


def read_rates(given: Mapping[str, Any]) -> Rates:
    """What a mapping tells of the warnings.

    Parameters
    ----------
    given : mapping
        As `cellularity_core.quality.rates` gives it, or as a manifest may:
        ``{flag: {"false_alarm": share, "caught": share}}``. A share may be a list with
        its interval.
    """
    if "false_alarms" in given:
        alarms = tuple((flag, measure(share)) for flag, share in given["false_alarms"].items())
        caught = tuple(_catch(kind, told) for kind, told in given.get("caught", {}).items())
        return Rates(alarms, caught, given.get("patches"), given.get("patients"))
    flags = {flag: told for flag, told in given.items() if isinstance(told, Mapping)}
    return Rates(
        tuple(
            (f, measure(told["false_alarm"])) for f, told in flags.items() if "false_alarm" in told
        ),
        tuple(Catch(f, measure(told["caught"])) for f, told in flags.items() if "caught" in told),
    )


def _catch(kind: str, told: Mapping[str, Any]) -> Catch:
    kinds = told.get("kinds") or {}
    least = min(kinds.items(), key=lambda one: one[1]) if len(kinds) > 1 else None
    return Catch(kind, measure(told.get("share")), least)


def warnings_rates(models: ModelSet) -> None:
    """What was measured of the warnings, with this model set or else of the software's own."""
    rates = read_rates(models.manifest.get("quality") or quality.rates())
    if not rates.alarms and not rates.caught:
        return
    st.subheader("How well it warns of unfit patches", anchor=False)
    with st.expander("False alarms, and what is caught", icon=":material/warning:"):
        left, right = st.columns(2)
        with left:
            table(
                [("False alarms", "Share of sound H&E patches that are warned of all the same.")],
                [Row(_flag(f), [with_interval(share, 1, 100, " %")]) for f, share in rates.alarms],
                "Warning",
            )
        with right:
            table(
                [
                    ("Caught", "Share of such patches that are warned of."),
                    ("Least", "The variety that is caught least often."),
                ],
                [
                    Row(
                        escape(catch.kind.replace("-", " ")),
                        [with_interval(catch.share, 0, 100, " %"), _least(catch)],
                    )
                    for catch in rates.caught
                ],
                "Unfit patches",
            )
        where = ""
        if rates.patches is not None and rates.patients is not None:
            where = f"On {rates.patches} patches of {rates.patients} patients. "
        st.caption(
            f"{where}Sound patches as they are, and the same patches spoilt by a program or "
            "pictures of another kind. These warnings are the same for every method."
        )


def _flag(flag: str) -> str:
    name = escape(_SUMS.get(flag, flag.replace("-", " ")))
    meaning = quality.FLAGS[flag].text if flag in quality.FLAGS else ""
    return f'<span title="{escape(meaning)}">{name}</span>' if meaning else name


def _least(catch: Catch) -> str:
    if catch.least is None:
        return NOTHING
    kind, share = catch.least
    return f'{100 * share:.0f} % <span class="small">{escape(kind)}</span>'
