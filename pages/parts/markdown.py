"""What users, files and models call things, inside Markdown and charts: seen letter by letter."""

import re
from html import escape
from typing import Final

from cellularity_core.errors import readable

_APART: Final = ":small[]"
"""Nothing to see. Streamlit looks for links, icons, emoji and arrows in text whose escapes it
has read; what stands on both sides of this it does not see together."""

_SEEN: Final = re.compile(
    r"(?P<joined> :(?=\S) | @ | www(?=\.)"
    r"| (?<!\w)[<>=~-]{2,}(?!\w))"
    r"| (?P<mark> [\\`*\[\]{<>|~$] | &(?=[#\w]) | (?<![^\W_])_ | _(?![^\W_]) | ^\ *[#+=-])"
    r"| (?P<number> ^\ *\d+(?=[.)]))",
    re.IGNORECASE | re.VERBOSE,
)
"""What Streamlit or Markdown takes for more than letters, anywhere or at the start of a line."""

_CODE: Final = re.compile(r"(?<!`)(`[^`\n]+`)(?!`)")


def plain(text: str) -> str:
    """`text` so that Markdown shows it letter by letter, on one line.

    It makes no link, picture, icon, formula or HTML. Characters that turn a line of text round
    are shown as "\ufffd".
    """
    return _SEEN.sub(_as_it_is, re.sub(" +", " ", readable(text)))


def _as_it_is(found: re.Match[str]) -> str:
    text = found[0]
    if found["number"]:
        return f"{text}\\"
    if found["mark"]:
        return f"{text[:-1]}\\{text[-1]}"
    if text == ":":
        return f"\\:{_APART}"
    if text == "@" or text.isalpha():
        return f"{text}{_APART}"
    return _APART.join(f"\\{letter}" for letter in text)


def harmless(text: str) -> str:
    """A sentence of the software's own, in which `code` stays code and the rest is `plain`."""
    return "".join(part if k % 2 else plain(part) for k, part in enumerate(_CODE.split(text)))


def document(text: str) -> str:
    """Markdown of a model set's card: no picture is fetched and no diagram is run."""
    text = re.sub(r"^([ \t>]*(?:`{3,}|~{3,})).*$", r"\1", text, flags=re.MULTILINE)
    return text.replace("![", "[")


def chart_text(text: str) -> str:
    """`text` so that Plotly shows it letter by letter: no tag, no entity, no place for a value."""
    return escape(readable(text), quote=False).replace("%{", "%&#123;")
