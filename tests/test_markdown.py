"""Names and other foreign text in Markdown and charts; browser/test_hostile.py sees it drawn."""

import ast
from collections.abc import Iterator

import pytest
from conftest import ROOT
from models_support import unmarked

from cellularity_core.errors import LONGEST
from pages.parts.markdown import chart_text, document, harmless, plain

DRAWING = {
    *("badge", "button", "caption", "checkbox", "download_button", "error", "expander"),
    *("file_uploader", "form_submit_button", "header", "info", "markdown", "metric"),
    *("number_input", "pills", "popover", "progress", "radio", "segmented_control", "selectbox"),
    *("slider", "spinner", "status", "subheader", "success", "tabs", "text_area", "text_input"),
    *("title", "toast", "toggle", "warning", "write"),
}
"""What of Streamlit draws Markdown, in its text, its label or its help."""

FOREIGN = {
    *("by", "case", "chosen_by", "description", "given", "image", "mime", "model_set", "name"),
    *("names", "path", "patient", "problem", "reader", "reason", "scale", "study", "title", "why"),
    *("base", "error", "readers", "studies"),
}
"""What is called so may have been written by anybody."""

SAFE = {"plain", "harmless", "plain_but_bold", "document", "_text", "counted", "len"}
"""Whose result Markdown shows as it stands."""

OURS = {
    "agreement_tables.py": {"why"},  # why a statistic has no value
    "burden.py": {"found.name"},  # of a class of burden
    "compare_pair.py": {"title"},
    "differences.py": {"names"},  # of methods, as the next two
    "explanation.py": {"name"},
    "models_detail.py": {"name", "names"},  # the second is plain already, as the next
    "models_compare.py": {"scale"},
    "reader.py": {"title"},
    "slide_bed.py": {"name", "error"},  # the tissue or the bed; how far a mean is off
    "study_form.py": {"why"},  # a sentence whose names are plain
}
"""What is called so and is the software's own, by page."""


def unescaped(node: ast.AST) -> Iterator[str]:
    """Foreign text that goes into Markdown as it is."""
    if isinstance(node, ast.Call):
        called = ast.unparse(node.func).rpartition(".")[2]
        if called in SAFE:
            return
        yield from (found for each in [*node.args, *node.keywords] for found in unescaped(each))
    elif isinstance(node, ast.FormattedValue) and node.format_spec is not None:
        return  # a number or a moment
    elif isinstance(node, ast.Attribute):
        if node.attr in FOREIGN:
            yield ast.unparse(node)
    elif isinstance(node, ast.Name):
        if node.id in FOREIGN and isinstance(node.ctx, ast.Load):
            yield node.id
    elif isinstance(node, ast.Subscript):
        yield from unescaped(node.value)
    elif isinstance(node, ast.Compare | ast.Lambda):
        return
    elif isinstance(node, ast.IfExp):
        yield from unescaped(node.body)
        yield from unescaped(node.orelse)
    else:
        yield from (found for child in ast.iter_child_nodes(node) for found in unescaped(child))


def drawn(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Foreign text in the Markdown of every call that draws some."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in DRAWING
        ):
            words = [
                *node.args[:1],
                *(k.value for k in node.keywords if k.arg in ("label", "help", "text")),
            ]
            for text in words:
                yield from ((node.lineno, found) for found in unescaped(text))


def test_no_page_draws_foreign_text_as_markdown() -> None:
    found = {
        str(path.relative_to(ROOT)): there
        for path in [ROOT / "app.py", *sorted((ROOT / "pages").rglob("*.py"))]
        if (
            there := [
                f"line {line}: {text}"
                for line, text in drawn(ast.parse(path.read_text(encoding="utf-8")))
                if text not in OURS.get(path.name, ())
            ]
        )
    }
    assert found == {}


@pytest.mark.parametrize(
    "code",
    [
        'st.markdown(f"Set {models.name}")',
        "st.error(str(error))",
        'left.caption("Of " + study.name)',
        'st.button("x", help=f"{reader}")',
        'st.info(f"{\', \'.join(names)}" if names else "")',
    ],
)
def test_what_would_be_found(code: str) -> None:
    assert list(drawn(ast.parse(code)))


@pytest.mark.parametrize(
    "text",
    [
        "![p](http://x.example/p.png) [l](//x.example) <img src=x> &lt;b&gt; &#58;",
        ":streamlit: :material/done: :material_done: :+1: :red[x] $x^2$ `c` **b** ~~s~~ | - 1.",
        "www.x.example eve@x.example https://x.example a -> b <-> c -- d >= e ~= f",
        r"\\ \[",
    ],
)
def test_plain_text_loses_no_letter(text: str) -> None:
    assert unmarked(plain(text)) == text


def test_plain_text_is_one_line_that_runs_one_way() -> None:
    assert plain("a\n\n    b\t\u202ec\x00") == "a b \ufffdc\ufffd"
    assert len(unmarked(plain("x" * 5000))) <= LONGEST


def test_a_sentence_stays_as_it_is() -> None:
    sentence = "1 patch (of a sign-in, model_set): 2 + 3 = 5; e.g. --mpp 0.5!"
    assert plain(sentence) == sentence


def test_code_of_a_sentence_stays_code() -> None:
    assert harmless("Call `a --b` for <x>.") == r"Call `a --b` for \<x\>."
    assert harmless("one ` alone, ``two``") == r"one \` alone, \`\`two\`\`"


def test_a_card_has_no_picture_and_no_diagram() -> None:
    card = "# A\n\n![p](http://x.example/p.png)\n\n```mermaid\ngraph\n```\n> ~~~ mermaid\n"
    assert document(card) == "# A\n\n[p](http://x.example/p.png)\n\n```\ngraph\n```\n> ~~~\n"


def test_a_chart_has_no_tag_of_a_name() -> None:
    assert chart_text("<b>&lt; %{x}") == "&lt;b&gt;&amp;lt; %&#123;x}"
