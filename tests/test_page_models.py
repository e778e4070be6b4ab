"""The page Models: what it tells of a set, who puts one in use, and what scores from then on.

The sets are made here of the shipped one: `breast-1` as it is, `other` that looks at another
pixel size, so that its scores differ.
"""

import io
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from PIL import Image
from streamlit import config
from streamlit.runtime.secrets import Secrets
from streamlit.testing.v1 import AppTest

from cellularity_core import quality
from cellularity_core.errors import ModelError
from cellularity_core.model_store import default_root, open_set
from cellularity_core.patch import load_patch
from cellularity_core.results import PatchResult
from cellularity_core.scorer import Scorer
from cellularity_core.synthetic import demo_patches
from cellularity_core.uncertainty import SCALES, Interval
from db import model_sets, records
from db.session import snapshot, transaction
from pages.parts import models_active, models_data, scoring, sign_in, state
from pages.parts.models_compare import cautions
from pages.parts.models_data import Curve, Measured
from pages.parts.models_figures import curve_figure
from pages.parts.models_quality import read_rates
from pages.parts.store import store
from pages.parts.words import METHOD_NAMES, percent

ROOT = Path(__file__).resolve().parent.parent
APP = str(ROOT / "app.py")
SHIPPED = default_root() / "breast-1"
ISSUER = "https://id.example.org"
AUTH = {
    "redirect_uri": "https://cellularity.example.org/oauth2callback",
    "cookie_secret": "0123456789abcdef" * 2,
    "client_id": "cellularity",
    "client_secret": "secret",
    "server_metadata_url": f"{ISSUER}/.well-known/openid-configuration",
}
CURVES = {
    "segmentation-fold0": {
        "epoch": [1.0, 2.0, 3.0],
        "loss": [0.5, 0.4, 0.3],
        "jaccard": [None, 0.41, 0.47],
    },
    "cascade-fold0/joint": {"epoch": [1.0, 2.0], "mse": [0.03, 0.02], "jaccard": [0.45, 0.44]},
    "direct-r-fold0": {"mse": [0.05, float("nan"), 0.015]},
    "segmentation": {"epoch": [1.0, 2.0], "loss": [0.5, 0.4]},
}
Change = Callable[[dict[str, Any]], None]


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test has records, model sets, secrets and caches of its own."""
    monkeypatch.setenv("CELLULARITY_DB", str(tmp_path / "models.db"))
    monkeypatch.setenv("CELLULARITY_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(st, "secrets", Secrets())
    monkeypatch.setattr(models_active, "DEFAULT_SET", SHIPPED.name)
    options = {name: config.get_option(name) for name in ("server.address", "secrets.files")}
    config.set_option("secrets.files", [str(tmp_path / "secrets.toml")])
    store.clear()
    sign_in.forget()
    scoring.forget()
    make_set(tmp_path, "breast-1")
    yield
    sign_in.forget()
    store().dispose()
    store.clear()
    for name, value in options.items():
        config.set_option(name, value)


def make_set(tmp_path: Path, name: str, change: Change | None = None) -> None:
    """A model set of the shipped files, its manifest changed."""
    folder = tmp_path / "models" / name
    folder.mkdir(parents=True)
    for path in SHIPPED.iterdir():
        if path.suffix in (".onnx", ".safetensors", ".txt"):
            try:
                os.link(path, folder / path.name)
            except OSError:  # another disk
                shutil.copy(path, folder / path.name)
    (folder / "README.md").write_text(f"# Model set `{name}`\n\nMade by a test.\n")
    manifest = json.loads((SHIPPED / "manifest.json").read_text(encoding="utf-8"))
    manifest["name"] = name
    for key in ("curves", "ablation", "quality", "headline"):
        manifest.pop(key, None)
    if change is not None:
        change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def other_scale(manifest: dict[str, Any]) -> None:
    manifest["mpp"] = 0.6


@pytest.fixture
def other(tmp_path: Path) -> str:
    make_set(tmp_path, "other", other_scale)
    return "other"


def app(page: str | None = None, person: str | None = None, **query: str) -> AppTest:
    """The app; with `person` on a server, signed in as that one."""
    at = AppTest.from_file(APP, default_timeout=120)
    if person is not None:
        at.secrets = {"auth": AUTH}
        at.user = {"is_logged_in": True, "iss": ISSUER, "sub": person, "name": person}
    for name, value in query.items():
        at.query_params[name] = value
    at.run()
    if page is not None:
        at.switch_page(f"pages/{page}.py").run()
    assert not at.exception, at.exception
    return at


def words(at: AppTest) -> str:
    """Everything that is sent as text, without the marks that keep Markdown plain."""
    kinds = (at.markdown, at.caption, at.info, at.warning, at.error, at.success, at.subheader)
    elements = [element.value for kind in kinds for element in kind]
    html = [re.sub(r"<[^>]*>", " ", str(e.proto.body)) for e in at.get("html")]
    return unmarked(unescape("\n".join([*elements, *html])))


def unmarked(text: str) -> str:
    """Markdown without the marks that keep letters as they are."""
    return re.sub(r"\\([^\w\s])", r"\1", text)


def table_rows(at: AppTest, k: int = 0) -> list[list[str]]:
    """Cells of a table of the page, row by row, the heading first."""
    tables = [str(e.proto.body) for e in at.get("html") if "models-table" in str(e.proto.body)]
    rows = re.findall(r"<tr.*?</tr>", tables[k], re.DOTALL)
    return [
        [
            " ".join(unescape(re.sub(r"<[^>]*>", " ", cell)).split())
            for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)
        ]
        for row in rows
    ]


def switch_key(name: str) -> str:
    return f"models.switch.{open_set(name).sha256[:12]}"


def put_in_use(name: str, person: str | None = None, **query: str) -> AppTest:
    """Switch as somebody does on the page."""
    at = app("models", person, **query)
    at.selectbox(key=state.CARD_OF).set_value(name).run()
    at.button(key=switch_key(name)).click().run()
    assert not at.exception, at.exception
    return at


def active() -> model_sets.ActiveSet | None:
    with snapshot(store()) as db:
        return model_sets.active(db)


def png(k: int = 0) -> tuple[str, bytes, str]:
    buffer = io.BytesIO()
    Image.fromarray(demo_patches()[k].pixels).save(buffer, format="PNG")
    return f"{k}.png", buffer.getvalue(), "image/png"


def drop(at: AppTest) -> AppTest:
    at.file_uploader[0].set_value([png()]).run()
    assert not at.exception, at.exception
    return at


def cards(at: AppTest) -> dict[str, str]:
    """Value on each score card of Analyse, by method."""
    text = unescape("\n".join(e.value for e in at.markdown)).replace("\n", " ")
    return dict(re.findall(r'data-method="([\w-]+)">.*?<div class="value">(.*?)</div>', text))


def scored_by(name: str) -> PatchResult:
    file, data, _ = png()
    [result] = Scorer.open(name).score([load_patch(data, file)])
    return result


def shown_values(result: PatchResult) -> dict[str, str]:
    return {method: percent(score.value) for method, score in result.scores.items()}


# What the page tells of a set


def test_every_figure_of_every_method_is_told_with_its_interval() -> None:
    at = app("models")
    heads, *rows = table_rows(at)
    assert heads[1:8] == [
        "ICC(A,1)",
        "MSE",
        "Kappa",
        "PK",
        "Patches (patients)",
        "Benign fields",
        "AUC",
    ]
    methods = open_set("breast-1").manifest["methods"]
    assert [row[0] for row in rows] == [
        "Nuclei features GBT",
        "Nuclei maps SR",
        "Image to number R",
        "Image to grade C",
        "Combined mean mean of Nuclei features and Image to number",
    ]
    for row, method in zip(rows, methods, strict=True):
        figures = methods[method]["figures"]
        icc, low, high = figures["icc_a1"]
        assert row[1] == f"{icc:.3f} {low:.3f} to {high:.3f}"
        mse, low, high = figures["mse"]
        assert row[2] == f"{mse:.4f} {low:.4f} to {high:.4f}"
        for cell, key in ((row[3], "kappa4"), (row[4], "pk")):
            value, low, high = figures[key]
            assert cell == f"{value:.2f} {low:.2f} to {high:.2f}"
        assert row[5] == f"{figures['n']} ({figures['patients']})"
        assert row[6] == f"{100 * figures['benign_mean']:.0f} % ({figures['benign_n']})"
        assert row[7] == f"{figures['auc']:.2f}"
    assert "weak TC, the area around tumour nuclei" in words(at)
    for column in models_data.COLUMNS:
        assert f"**{column.label}**: {column.meaning}" in words(at)


def test_what_was_not_measured_is_a_dash_and_an_aim_is_no_measurement(tmp_path: Path) -> None:
    def change(manifest: dict[str, Any]) -> None:
        figures = manifest["methods"]["gbt"]["figures"]
        figures |= {"auc": None, "kappa4": [float("nan"), None, None]}
        del figures["benign_mean"]
        for method in manifest["methods"].values():
            for key in ("coverage", "mean_width"):
                method["figures"].pop(key, None)
        aimed = Interval(0.9, SCALES["score"], 0.25, 0.15, 20, 30)
        manifest["methods"]["gbt"]["interval"] = aimed.to_json()

    make_set(tmp_path, "bare", change)
    [row] = [r for r in models_data.figures_of(open_set("bare")) if r.method == "gbt"]
    assert row.measured["kappa4"] == Measured(None, None, None)
    assert (row.auc, row.benign_mean) == (None, None)
    assert "coverage" not in row.measured
    at = app("models")
    at.selectbox(key=state.CARD_OF).set_value("bare").run()
    heads, gbt, *_ = table_rows(at)
    assert "In the interval" not in heads
    assert (gbt[3], gbt[6], gbt[7]) == ("–", "–", "–")
    assert gbt[heads.index("Interval width (points)")] == "30, typically"


def test_headline_ablation_coverage_and_curves_are_told(tmp_path: Path) -> None:
    def change(manifest: dict[str, Any]) -> None:
        manifest["headline"] = "cascade"
        manifest["methods"]["cascade"]["figures"] |= {
            "coverage": [0.91, 0.85, 0.96],
            "mean_width": 0.234,
        }
        manifest["ablation"] = [
            {"ingredient": "nothing <b>new</b>", "icc": [0.93, 0.89, 0.96], "mse": 0.0095},
            {"ingredient": "two views", "icc": 0.94, "mse": 0.0085, "f1": 0.68, "ms": 110},
        ]
        manifest["curves"] = CURVES
        manifest["quality"] = {
            "patches": 90,
            "patients": 83,
            "false_alarms": {"any": 0.022, "blurred": 0.0111},
            "caught": {
                "blur": {"share": 0.98, "kinds": {"gauss-2": 0.96, "disc-4": 1.0}},
                "photograph": {"share": 1.0, "kinds": {"scene": 1.0}},
            },
        }

    make_set(tmp_path, "rich", change)
    at = app("models")
    at.selectbox(key=state.CARD_OF).set_value("rich").run()
    assert not at.exception
    heads, first, *rest = table_rows(at)
    assert first[0] == "Nuclei maps SR headline"
    assert not any("headline" in row[0] for row in rest)
    assert first[heads.index("In the interval")] == "91 % 85 to 96"
    assert first[heads.index("Interval width (points)")] == "23"
    assert table_rows(at, 1) == [
        ["Ingredient", "ICC(A,1)", "MSE", "Nuclei F1", "Time (ms)"],
        ["nothing <b>new</b>", "0.930 0.890 to 0.960", "0.0095", "–", "–"],
        ["two views", "0.940", "0.0085", "0.680", "110"],
    ]
    assert table_rows(at, 2) == [
        ["Warning", "False alarms"],
        ["any of them", "2.2 %"],
        ["blurred", "1.1 %"],
    ]
    assert table_rows(at, 3) == [
        ["Unfit patches", "Caught", "Least"],
        ["blur", "98 %", "96 % gauss-2"],
        ["photograph", "100 %", "–"],
    ]
    assert "On 90 patches of 83 patients." in words(at)
    assert len(at.get("plotly_chart")) == 3
    assert "No curve: Finding nuclei. While these trained, no patients were kept aside" in words(at)


def test_rates_of_warnings_are_read_as_the_core_or_a_manifest_has_them() -> None:
    told = read_rates({"blurred": {"threshold": 0.4, "false_alarm": 0.01, "caught": [0.9, 0.8, 1]}})
    assert told.alarms == (("blurred", Measured(0.01)),)
    assert [(c.kind, c.share) for c in told.caught] == [("blurred", Measured(0.9, 0.8, 1.0))]
    shipped = quality.rates()
    assert dict(read_rates(shipped).alarms) == {
        flag: Measured(share) for flag, share in shipped.get("false_alarms", {}).items()
    }


def test_a_set_without_a_log_says_so_plainly() -> None:
    at = app("models")
    assert "This model set came without a log of its training, so there are no curves." in words(at)
    assert len(at.get("plotly_chart")) == 1


def test_curves_leave_out_what_was_not_measured() -> None:
    manifest = {"curves": CURVES}
    assert models_data.curves(manifest, "jaccard") == [
        Curve("segmentation-fold0", (2.0, 3.0), (0.41, 0.47)),
        Curve("cascade-fold0/joint", (1.0, 2.0), (0.45, 0.44)),
    ]
    errors = models_data.curves(manifest, "mse")
    assert errors[1] == Curve("direct-r-fold0", (1.0, 3.0), (0.05, 0.015))
    assert models_data.unmeasured(manifest, ("jaccard", "mse")) == ["segmentation"]
    assert models_data.curves({}, "mse") == []
    chart = curve_figure(errors, "MSE", 4)
    assert [(line.name, list(line.x), list(line.y)) for line in chart.data] == [
        ("Nuclei maps (maps and reading together)", [1.0, 2.0], [0.03, 0.02]),
        ("Image to number", [1.0, 3.0], [0.05, 0.015]),
    ]
    assert "Nuclei maps, group 1 (maps and reading together)<br>" in chart.data[0].hovertemplate


def test_groups_of_one_training_share_a_colour_and_a_line_of_the_legend() -> None:
    runs = [
        f"direct-{c}-fold{k}/{part}" for c in "rc" for k in range(3) for part in ("crops", "whole")
    ]
    chart = curve_figure([Curve(run, (1.0,), (0.1,)) for run in runs], "MSE", 4)
    in_legend = [line.name for line in chart.data if line.showlegend]
    assert in_legend == [
        "Image to number (on crops)",
        "Image to number (on whole patches)",
        "Image to grade (on crops)",
        "Image to grade (on whole patches)",
    ]
    looks = {(line.name, line.line.color) for line in chart.data}
    assert len(looks) == len({colour for _, colour in looks}) == len(in_legend)
    drawn = [(line.line.color, line.marker.symbol) for line in chart.data]
    assert len(set(drawn)) == len(runs)


def test_a_recalibrated_set_says_of_what_and_to_which_scale(tmp_path: Path) -> None:
    def change(manifest: dict[str, Any]) -> None:
        manifest |= {"recalibrated_from": "breast-1", "scale": "Dr *Kim*"}

    make_set(tmp_path, "kim", change)
    at = app("models", reader="Ada")
    at.selectbox(key=state.CARD_OF).set_value("kim").run()
    assert unmarked(at.info[0].value).startswith(
        "A recalibrated set: it finds what “breast-1” finds"
    )
    assert "Reference: scores on this scale: Dr *Kim*." in words(at)
    assert "On the patches that a reader scored for it" in words(at)
    assert "**The scale changes**: scores are then on “scale: Dr *Kim*”" in words(at)


def test_two_sets_stand_side_by_side_with_what_must_be_known(tmp_path: Path, other: str) -> None:
    at = app("models")
    heads, *rows = table_rows(at, -1)
    assert heads[0] == "Method and model set"
    assert [row[0] for row in rows[:2]] == [
        "Nuclei features GBT A: breast-1",
        "Nuclei features GBT B: other",
    ]
    assert len(rows) == 2 * len(open_set("breast-1").methods)
    assert rows[0][1:] == rows[1][1:]
    assert not at.warning
    assert "Both: weak TC scale, not a pathologist's." in words(at)

    def change(manifest: dict[str, Any]) -> None:
        manifest["scale"] = "Dr Kim"
        manifest["methods"]["gbt"]["figures"]["n"] = 7

    make_set(tmp_path, "kim", change)
    scale, patches = map(unmarked, cautions(open_set("breast-1"), open_set("kim")))
    assert "not on the same scale (breast-1: weak TC scale, not a pathologist's" in scale
    assert patches.startswith(f"Not measured on the same patches: {METHOD_NAMES['gbt']}. ")


def test_a_set_that_cannot_be_opened_is_named_and_the_others_are_shown(
    tmp_path: Path, other: str
) -> None:
    (tmp_path / "models" / "other" / "manifest.json").write_text("{}")
    at = app("models")
    assert "The manifest of the model set 'other' cannot be used" in at.warning[0].value
    assert len(table_rows(at)) == 1 + len(open_set("breast-1").methods)


# Who puts a set in use, and what follows


def test_without_a_choice_the_default_scores_and_nothing_is_warned_of() -> None:
    at = app("models", reader="Ada")
    assert "In use: **breast-1** (the software's default; nobody has chosen another)." in words(at)
    assert not at.warning
    assert not at.error
    assert not any("models.switch" in str(button.key) for button in at.button)


def test_where_the_default_is_missing_the_first_scores_and_that_is_said(
    other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models_active, "DEFAULT_SET", "lost")
    told = words(app("models", reader="Ada"))
    assert "In use: **breast-1** (the first in the folder; nobody has chosen another)." in told


def test_a_switch_says_what_it_changes_and_every_page_scores_by_it(other: str) -> None:
    before, after = (shown_values(scored_by(name)) for name in ("breast-1", other))
    assert before != after
    watching = drop(app(reader="Kim"))
    assert cards(watching) == before
    at = app("models", reader="Ada")
    at.selectbox(key=state.CARD_OF).set_value(other).run()
    assert "are scored by **other** instead of **breast-1**, for everybody" in words(at)
    assert "none is running now" in words(at)
    assert active() is None
    at.button(key=switch_key(other)).click().run()
    assert at.success[0].value == "“other” is in use now."
    chosen = active()
    assert chosen is not None
    assert (chosen.name, chosen.sha256, chosen.chosen_by) == (other, open_set(other).sha256, "Ada")
    assert f"In use: **other** (chosen by Ada, {chosen.chosen_at:%d %B %Y, %H:%M} UTC)" in words(at)
    assert not any("models.switch" in str(button.key) for button in at.button)
    assert cards(watching.run()) == after
    assert cards(drop(app(reader="Lee"))) == after


def test_a_choice_of_ones_own_is_said_and_ends_with_a_switch(tmp_path: Path, other: str) -> None:
    make_set(tmp_path, "third", lambda manifest: manifest.update(mpp=0.4))
    at = drop(app(reader="Kim"))
    [box] = [box for box in at.selectbox if box.label == "Models"]
    assert box.options == ["breast-1 (in use)", "other", "third"]
    box.set_value(other).run()
    assert cards(at) == shown_values(scored_by(other))
    assert "Your own choice, for you alone; everybody else scores with breast-1." in words(at)
    put_in_use("third", reader="Ada")
    assert cards(at.run()) == shown_values(scored_by("third"))
    assert "Your own choice" not in words(at)


def test_who_may_not_switch_is_told_who_may(other: str) -> None:
    app(person="ada")  # the first account is admin
    for role in ("reader", "coordinator"):
        app(person="kim")
        with transaction(store()) as db:
            records.set_role(db, name="kim", role=role, actor="ada")
        at = app("models", "kim")
        at.selectbox(key=state.CARD_OF).set_value(other).run()
        assert "An admin puts another model set in use." in words(at)
        assert not any("models.switch" in str(button.key) for button in at.button)
    assert active() is None
    put_in_use(other, "ada")
    assert active().chosen_by == "ada"


def test_an_admin_who_is_one_no_more_cannot_switch(other: str) -> None:
    app(person="ada")
    app(person="kim")
    with transaction(store()) as db:
        records.set_role(db, name="kim", role="admin", actor="ada")
    at = app("models", "kim")
    at.selectbox(key=state.CARD_OF).set_value(other).run()
    with transaction(store()) as db:
        records.set_role(db, name="kim", role="reader", actor="ada")
    at.button(key=switch_key(other)).click().run()
    assert "This is for admins only" in at.error[0].value
    assert active() is None


def test_on_one_machine_a_name_is_asked_for_first(other: str) -> None:
    at = app("models")
    at.selectbox(key=state.CARD_OF).set_value(other).run()
    assert "Type your name first." in words(at)
    assert not any("models.switch" in str(button.key) for button in at.button)


def damage(folder: Path) -> str:
    """Alter a file that the manifest names."""
    path = folder / "gbt.txt"
    text = path.read_text()
    path.unlink()  # it may be the shipped file itself, under a second name
    path.write_text(text + "\n")
    return "The file 'gbt.txt' of the model set 'other' has the checksum"


def replace(folder: Path) -> str:
    """Another training under the same name."""
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"mpp": 0.7}))
    return "The folder of the model set 'other' now holds another one"


def remove(folder: Path) -> str:
    """The folder is gone."""
    folder.rename(folder.parent.parent / "gone")
    return "There is no model set 'other'"


@pytest.mark.parametrize("harm", [damage, replace, remove])
def test_a_chosen_set_that_is_not_there_as_chosen_is_warned_of_on_every_page(
    tmp_path: Path, other: str, harm: Callable[[Path], str]
) -> None:
    put_in_use(other, reader="Ada")
    why = harm(tmp_path / "models" / other)
    at = app("models", reader="Ada")
    told = unmarked(at.error[0].value)
    assert "The models that were chosen cannot be used." in told
    assert "Ada chose “other” on" in told
    assert why in told
    assert "Until then scores come from “breast-1”" in told
    assert "In use:" not in words(at)
    at = drop(app(reader="Kim"))
    assert cards(at) == shown_values(scored_by("breast-1"))
    assert "The models that were chosen cannot be used." in words(at)


def test_a_damaged_set_cannot_be_put_in_use(tmp_path: Path, other: str) -> None:
    why = damage(tmp_path / "models" / other)
    at = put_in_use(other, reader="Ada")
    assert "“other” was not put in use." in at.error[0].value
    assert why in at.error[0].value
    assert active() is None


def test_a_set_that_changed_since_the_page_was_drawn_is_not_put_in_use(
    tmp_path: Path, other: str
) -> None:
    at = app("models", reader="Ada")
    at.selectbox(key=state.CARD_OF).set_value(other).run()
    key = switch_key(other)
    replace(tmp_path / "models" / other)
    at.button(key=key).click().run()
    assert "was not put in use" in at.error[0].value
    assert active() is None


def test_a_choice_can_be_made_again_after_a_fault(tmp_path: Path, other: str) -> None:
    put_in_use(other, reader="Ada")
    remove(tmp_path / "models" / other)
    at = app("models", reader="Ada")
    at.button(key=switch_key("breast-1")).click().run()
    assert active().name == "breast-1"
    assert not at.error


def test_only_one_place_opens_a_scorer() -> None:
    users = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "pages").rglob("*.py"))
        if re.search(r"Scorer\.open|\bScorer\(|DEFAULT_SET", path.read_text(encoding="utf-8"))
    ]
    assert users == ["pages/parts/models_active.py", "pages/parts/scoring.py"]


# Studies


def study_form() -> AppTest:
    """The form of a new study, filled in."""
    at = app("studies", reader="Coord")
    with transaction(store()) as db:
        records.enrol(db, name="Mae")
    at.run()
    next(u for u in at.file_uploader if str(u.key).startswith(state.STUDY_UPLOAD)).set_value(
        [png()]
    ).run()
    at.multiselect(key="studies.readers").set_value(["Mae"]).run()
    at.text_input(key="studies.name").set_value("Trial").run()
    at.radio(key="studies.arm").set_value("before-after").run()
    assert not at.exception, at.exception
    return at


def only_study() -> records.StudyRecord:
    with snapshot(store()) as db:
        [study] = records.studies(db)
    return study


def test_an_open_study_keeps_the_models_it_was_made_with(other: str) -> None:
    first = scored_by("breast-1")
    at = study_form()
    at.button(key=state.STUDY_CREATE).click().run()
    assert not at.exception
    study = only_study()
    assert (study.state, study.model_set) == ("open", "breast-1")
    put_in_use(other, reader="Ada")
    assert active().name == other
    study = only_study()
    assert (study.model_set, study.model_sha256) == ("breast-1", open_set("breast-1").sha256)
    with transaction(store()) as db:
        step = records.next_assignment(db, study_id=study.id, reader="Mae")
        assert isinstance(step, records.AssignmentRecord)
        records.commit_reading(
            db,
            assignment_id=step.id,
            reader="Mae",
            phase="before",
            cellularity=0.3,
            cannot_score_reason=None,
            confidence=None,
            seconds=1.0,
            seen_models=False,
            software="test",
            token="t",
        )
    with transaction(store()) as db:
        shown = records.reveal(db, assignment_id=step.id, reader="Mae").model_scores
    assert {m: (s.value, s.low, s.high) for m, s in shown.items()} == {
        m: (s.value, s.low, s.high) for m, s in first.scores.items()
    }
    assert {(s.model_set, s.model_sha256) for s in shown.values()} == {
        ("breast-1", open_set("breast-1").sha256)
    }
    at = app("models", reader="Ada")
    at.selectbox(key=state.CARD_OF).set_value("breast-1").run()
    assert "The study that is running keeps the set it was made with." in words(at)


def test_a_new_study_takes_the_set_in_use(other: str) -> None:
    put_in_use(other, reader="Ada")
    at = study_form()
    at.button(key=state.STUDY_CREATE).click().run()
    assert only_study().model_set == other


def test_a_switch_behind_the_form_is_said_before_a_study_is_made(other: str) -> None:
    at = study_form()
    put_in_use(other, reader="Ada")
    at.button(key=state.STUDY_CREATE).click().run()
    with snapshot(store()) as db:
        assert records.studies(db) == []
    assert "No study was created yet: “other” was put in use" in words(at)
    at.button(key=state.STUDY_CREATE).click().run()
    assert only_study().model_set == other


def test_no_set_at_all_is_an_error_in_words(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("CELLULARITY_MODELS", str(tmp_path))
    with pytest.raises(ModelError, match="There are no models"):
        scoring.active_set()
