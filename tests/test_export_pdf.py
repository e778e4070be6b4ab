"""The pages about patches as PDF, read back by pypdf."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from export_support import EMPTY, crowded, result
from pypdf import PdfReader

from cellularity_core import __version__
from cellularity_core.boosting import explain
from cellularity_core.export import sheets
from cellularity_core.export.sheet_parts import round_length
from cellularity_core.export.sheets import Sheet, pdf, sheet
from cellularity_core.quality import FLAGS
from cellularity_core.results import PatchResult, Quality, Score

PIXELS = np.random.default_rng(3).integers(0, 256, (512, 512, 3), np.uint8)
MODELS = {"model_set": "tested", "model_sha256": "cd" * 32, "scale": "weak TC"}
FACTS = (
    "Research use only - not for diagnosis",
    "tested",
    "cd" * 32,
    "weak TC scale, not a pathologist's",
    f"cellularity {__version__}",
    "f32 (single precision), mean of 4 test-time views of a patch",
)


@pytest.fixture(scope="module")
def many() -> PatchResult:
    return crowded()


def pages(data: bytes) -> list[str]:
    """Text of each page, spaces and line ends alike."""
    return [re.sub(r"\s+", " ", page.extract_text()) for page in PdfReader(io.BytesIO(data)).pages]


def made(*results: PatchResult, errors: tuple[tuple[str, str], ...] = ()) -> bytes:
    drawn = [sheet(r, PIXELS[: r.height, : r.width]) for r in results]
    return pdf(drawn, errors, **MODELS)


def test_one_patch_is_one_page_with_all_there_is_to_know(many: PatchResult) -> None:
    scores = dict(many.scores) | {"combined": Score(0.419, 0.181, 0.702)}
    told = replace(many, scores=scores)
    [page] = pages(made(told))
    for words in (
        *FACTS,
        "a.png",
        "ab" * 32,
        "512 × 512 pixels of 0.5 µm",
        "256 × 256 µm",
        "Combined (mean) 42 % 18 to 70 %",
        "Nuclei features (GBT) 40 % 20 to 70 %",
        "Image to grade (C)",
        "Nuclei found: 300 (100 malignant, 100 lymphocyte, 100 normal)",
        "50 µm",
        "Areas above 0.5",
    ):
        assert words in page
    for reason in explain(told.features, told.contributions, top=6):
        assert reason.text in page
    assert "Do not rely" not in page


def test_two_pictures_are_in_it(many: PatchResult) -> None:
    [page] = PdfReader(io.BytesIO(made(many))).pages
    assert [image.image.size for image in page.images if image.image] == [(512, 512)] * 2
    [page] = PdfReader(io.BytesIO(made(replace(many, activations={})))).pages
    assert len(page.images) == 1


@pytest.mark.parametrize("reliable", [False, True])
def test_flags_are_said_in_words(reliable: bool) -> None:
    flags = ("blurred", "fold")
    [page] = pages(made(result(quality=Quality(flags, reliable))))
    for flag in flags:
        assert FLAGS[flag].text in page
    assert ("Do not rely on these scores." in page) is not reliable


def test_no_tissue_is_said_and_nothing_is_scored() -> None:
    [page] = pages(made(EMPTY))
    assert FLAGS["no-tissue"].text in page
    assert page.count("no tissue") == 5
    assert "reasons" not in page


def test_the_fullest_page_is_still_one() -> None:
    flags = Quality(tuple(FLAGS), reliable=False)
    data = made(crowded(9), replace(result("x" * 300 + ".png"), quality=flags))
    assert len(pages(data)) == 3


def test_a_batch_is_a_table_and_a_page_each(many: PatchResult) -> None:
    bad = replace(many, image="b.png", quality=Quality(("blurred",), reliable=False))
    first, *rest = pages(made(many, bad, errors=(("c.png", "It is empty."),)))
    assert len(rest) == 2
    for words in (*FACTS, "Cellularity of 2 patches", "marked NO below", "Each patch has a page"):
        assert words in first
    assert "Do not rely on 1 of 2 patches" in first
    assert re.search(r"a\.png 0\.5 40 20 to 70 40 40 40 40 100 100 100 yes", first)
    assert re.search(r"b\.png 0\.5 40 20 to 70 .* blurred NO", first)
    assert "Not scored: 1" in first
    assert "c.png: It is empty." in first
    assert "a.png" in rest[0]
    assert "b.png" in rest[1]


def test_where_the_pages_end_is_said(many: PatchResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "MOST_SHEETS", 2)
    first, *rest = pages(made(*(replace(many, image=f"{k}.png") for k in range(5))))
    assert len(rest) == 2
    assert "The first 2 patches have a page each below; 3 more are in this table only." in first
    assert "4.png" in first


def test_a_long_table_goes_on_with_its_heads() -> None:
    rows = [Sheet(replace(result(), image=f"{k}.png"), None) for k in range(150)]
    found = pages(pdf(rows, **MODELS))
    assert len(found) > 1
    assert all("Malignant" in page and FACTS[0] in page for page in found)
    assert "149.png" in found[-1]


def test_nothing_scored_is_still_a_document() -> None:
    [page] = pages(pdf([], [("c.png", "It is empty.")], **MODELS))
    assert "Cellularity of 0 patches" in page
    assert "c.png: It is empty." in page


@pytest.mark.parametrize("name", ["Łőψ Анна.png", "王小明.png", "<b>&\x1b.png", "عينة.png"])
def test_names_of_any_alphabet_are_drawn(name: str, many: PatchResult) -> None:
    shown = name.replace("\x1b", "<U+001B>")
    data = made(replace(many, image=name))
    [text] = pages(data)
    # pypdf gives letters that are written from the right in the order they are seen
    assert shown in text or set(shown) <= set(text)
    assert PdfReader(io.BytesIO(data)).metadata.title == name


def test_the_same_results_give_the_same_bytes(many: PatchResult) -> None:
    assert made(many, result()) == made(many, result())


@pytest.mark.parametrize(("most", "length"), [(64, 50), (50, 50), (49, 20), (9.9, 5), (0.3, 0.2)])
def test_a_scale_bar_is_of_a_round_length(most: float, length: float) -> None:
    assert round_length(most) == pytest.approx(length)
