"""The page Models: what it tells of a set."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from models_support import app, make_other, make_set, own_models, table_rows, unmarked, words

from cellularity_core import quality
from cellularity_core.model_store import open_set
from cellularity_core.uncertainty import SCALES, Interval
from pages.parts import models_data, state
from pages.parts.models_compare import cautions
from pages.parts.models_data import Curve, Measured
from pages.parts.models_figures import curve_figure
from pages.parts.models_quality import read_rates
from pages.parts.words import METHOD_NAMES


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with own_models(tmp_path, monkeypatch):
        yield


@pytest.fixture
def other(tmp_path: Path) -> str:
    return make_other(tmp_path)


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
        "Combined mean mean of Nuclei features, Nuclei maps, Image to number and Image to grade",
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
            {"ingredient": "old", "icc": 0.5, "mse": 0.05, "remark": "By <b>old</b> code."},
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
        ["old (1)", "0.500", "0.0500", "–", "–"],
    ]
    assert "(1) By <b>old</b> code." in words(at).replace("\\", "")
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
        manifest |= {"recalibrated_from": {"name": "breast-1"}, "scale": "Dr *Kim*"}

    make_set(tmp_path, "kim", change)
    at = app("models", reader="Ada")
    at.selectbox(key=state.CARD_OF).set_value("kim").run()
    assert unmarked(at.info[0].value).startswith(
        "A recalibrated set: it finds what “breast-1” finds"
    )
    assert "Reference: scores on this scale: Dr *Kim*." in words(at)
    told = words(at)
    assert "On the patches that a reader scored for it" in told
    assert "Nuclei as “breast-1” finds and tells them apart, measured when that set" in told
    # What is true of the set it was made from only is not said of it.
    assert "had not learnt from" not in told
    assert "never seen" not in told
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
