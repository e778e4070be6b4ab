"""Cards with one score each: the number, its interval, the method in plain words."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

import streamlit as st

from cellularity_core.conventions import COMBINED, INTERVAL
from cellularity_core.results import Score
from db.records import ReadingRecord
from pages.parts.words import METHOD_CODES, METHOD_HELP, METHOD_NAMES, percent, scale_note

_STYLE: Final = """
<style>
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr)); gap: .6rem;
  margin-bottom: .5rem; }
@media (max-width: 1000px) {  /* threes: of five or six cards none is left alone */
  .cards { grid-template-columns: repeat(auto-fit, minmax(max(30%, 10.5rem), 1fr)); }
}
.card { border: 1px solid rgba(128, 120, 140, .35); border-radius: .5rem; padding: .6rem .8rem; }
.card.own { border: 2px solid var(--st-primary-color, #5B3E8F); }
.card .name { font-weight: 600; }
.card .code { opacity: .65; font-weight: 400; }
.card .value { font-size: 1.9rem; font-weight: 650; line-height: 1.25; }
.card .small { font-size: .82rem; opacity: .8; line-height: 1.3; }
.card .bar { position: relative; height: .8rem; margin: .25rem 0 .1rem; border-radius: .2rem;
  background: rgba(128, 120, 140, .22); }
.card .range { position: absolute; top: 0; bottom: 0; border-radius: .2rem; opacity: .5;
  background: #7A6A9C; }
.card .tick { position: absolute; top: -.15rem; bottom: -.15rem; width: 3px; margin-left: -1px;
  background: currentColor; }
.steps .value { font-size: 1.4rem; }
.card .ends { display: flex; justify-content: space-between; font-size: .72rem; opacity: .7; }
</style>
"""


def score_cards(scores: Mapping[str, Score], scale: str, own: Sequence[ReadingRecord] = ()) -> None:
    """Draw a card for each method, the mean first, and before them the reader's own score."""
    cards = [_own_card(own)] if own else []
    ordered = sorted(scores.items(), key=lambda item: item[0] != COMBINED)
    cards += [_card(method, score, scale) for method, score in ordered]
    st.markdown(
        f'{_STYLE}<div class="cards">{"".join(cards)}</div>'.replace("\n", " "),
        unsafe_allow_html=True,
    )


def step_cards(steps: Sequence[tuple[str, str, str]]) -> None:
    """Draw a card for each step of a chain: its name, its figure, what that is."""
    cards = "".join(
        f'<div class="card"><div class="name">{escape(name)}</div>'
        f'<div class="value">{escape(value)}</div><div class="small">{escape(text)}</div></div>'
        for name, value, text in steps
    )
    st.html(f'{_STYLE}<div class="cards steps">{cards}</div>')


def _card(method: str, score: Score, scale: str) -> str:
    name, code = escape(METHOD_NAMES[method]), escape(METHOD_CODES[method])
    help_text = escape(METHOD_HELP[method])
    if score.value is None or score.low is None or score.high is None:
        body = '<div class="value">no tissue</div><div class="small">Nothing to score.</div>'
    else:
        interval = f"{100 * INTERVAL:.0f} % interval:"
        interval += f" {100 * score.low:.0f} to {percent(score.high)}"
        body = (
            f'<div class="value">{percent(score.value)}</div>'
            f"{_bar(score.value, score.low, score.high)}"
            f'<div class="small">{interval}</div>'
        )
    return (
        f'<div class="card" data-method="{method}">'
        f'<div class="name">{name} <span class="code">{code}</span></div>{body}'
        f'<div class="small"><b>{escape(scale_note(scale))}</b></div>'
        f'<div class="small">{help_text}</div></div>'
    )


def _own_card(own: Sequence[ReadingRecord]) -> str:
    last = own[-1]
    seen = "after seeing the models" if last.seen_models else "before seeing the models"
    before = ""
    if len(own) > 1:
        earlier = ", ".join(percent(reading.cellularity) for reading in own[:-1])
        before = f'<div class="small">Earlier: {earlier}</div>'
    return (
        '<div class="card own" data-method="own">'
        f'<div class="name">Your score <span class="code">{escape(last.reader)}</span></div>'
        f'<div class="value">{percent(last.cellularity)}</div>'
        f"{_bar(last.cellularity, last.cellularity, last.cellularity)}"
        f'<div class="small">Given {seen}, {last.created_at:%d %b %Y %H:%M} UTC</div>{before}</div>'
    )


def _bar(value: float, low: float, high: float) -> str:
    return (
        f'<div class="bar" role="img" aria-label="{percent(value)} on a scale of 0 to 100 %">'
        f'<span class="range" style="left:{100 * low:.1f}%;width:{100 * (high - low):.1f}%"></span>'
        f'<span class="tick" style="left:{100 * value:.1f}%"></span></div>'
        '<div class="ends"><span>0</span><span>50</span><span>100</span></div>'
    )
