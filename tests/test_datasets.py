"""Loaders on the real layouts and on a made-up copy of BreastPathQ's."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cellularity_core import datasets
from cellularity_core.errors import DataError

SEDEEN = (
    '<?xml version="1.0"?>\r\n<session>\r\n<image identifier="x">\r\n<overlays>\r\n'
    '<graphic type="point" name="POINT" description="IDC">\r\n<point-list>\r\n'
    "<point>12,20</point>\r\n</point-list>\r\n</graphic>\r\n</overlays>\r\n</session>\r\n"
)


@pytest.fixture
def breastpathq(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for folder in ("train", "validation", "test_patches", "cells"):
        (tmp_path / folder).mkdir()
    for name in (
        "train/101_1",
        "train/101_2",
        "train/102_1",
        "validation/201_1",
        "cells/103_Region 1_crop",
    ):
        pixels = rng.integers(0, 255, (80, 80, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.tif")
    (tmp_path / "train_labels.csv").write_text("slide,rid,y\n101,1,0.2\n101,2,0.9\n102,1,0\n")
    (tmp_path / "val_labels.csv").write_text("slide,rid,p1,p2\n201,1,0.3,0.5\n")
    (tmp_path / "patient_ids.csv").write_text("slide,patient_id\n101,A\n102,A\n103,C\n")
    (tmp_path / "cells" / "103_Region 1_key.xml").write_text(SEDEEN, newline="")
    return tmp_path


def test_breastpathq_layout(breastpathq):
    samples = {s.name: s for s in datasets.load(f"breastpathq:{breastpathq}")}
    assert samples["101_1"].scores == (0.2,)
    assert samples["201_1"].scores == (0.3, 0.5)
    assert samples["201_1"].part == "validation"
    assert samples["101_1"].patient == samples["102_1"].patient == "A"
    assert samples["201_1"].patient == "201"
    cell = samples["103_Region 1_crop"]
    np.testing.assert_array_equal(cell.points.xy, [[12, 20]])


def test_slides_without_a_patient_are_told_once(breastpathq, caplog):
    datasets.load(f"breastpathq:{breastpathq}")
    (said,) = caplog.messages
    assert "No patient is known of 1 slide, so it counts as a patient" in said
    caplog.clear()
    (breastpathq / "patient_ids.csv").unlink()
    samples = datasets.load(f"breastpathq:{breastpathq}")
    assert {s.patient for s in samples} == {"101", "102", "103", "201"}
    (said,) = caplog.messages
    assert "No patient is known of 4 slides, so each counts as a patient" in said


def test_all_known_patients_leave_nothing_to_tell(breastpathq, caplog):
    with (breastpathq / "patient_ids.csv").open("a") as file:
        file.write("201,V\n")
    assert datasets.unknown_patients(datasets.load(f"breastpathq:{breastpathq}")) == []
    assert not caplog.messages


def test_patches_that_are_not_there_are_told_together(breastpathq, caplog):
    (breastpathq / "test_labels.csv").write_text("slide,rid,p1,p2\n301,1,0,0\n301,2,1,1\n")
    samples = datasets.breastpathq(breastpathq)
    assert not any(s.part == "test" for s in samples)
    assert caplog.messages == [
        "test_labels.csv names 2 patches that are not in test_patches, the first is 301_1.tif"
    ]


def test_one_column_p_is_read_too(breastpathq):
    (breastpathq / "val_labels.csv").write_text("Slide,RID,p\n201,1,0.4\n")
    assert {s.name: s for s in datasets.breastpathq(breastpathq)}["201_1"].scores == (0.4,)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("slide,rid,y\n101,1,1.2\n", "line 2 has the score .* between 0 and 1"),
        ("slide,rid,y\n101,1,high\n", "a number from 0 to 1"),
        ("slide,rid,grade\n101,1,0.3\n", "looked for the columns y, p"),
        ("slide,y\n101,1\n", "lacks the column rid"),
    ],
)
def test_unusable_labels_say_what_is_wrong(breastpathq, text, match):
    (breastpathq / "train_labels.csv").write_text(text)
    with pytest.raises(DataError, match=match):
        datasets.breastpathq(breastpathq)


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ("nothing", "KIND:FOLDER"),
        ("other:x", "KIND:FOLDER"),
        ("ucsb:/not/there", "no folder"),
    ],
)
def test_unusable_names_say_what_to_write(spec, match):
    with pytest.raises(DataError, match=match):
        datasets.load(spec)


def test_real_sets(data_root):
    patches = datasets.load(f"brca-m2c:{data_root / 'brca_m2c'}")
    assert len(patches) == 90
    assert len({s.patient for s in patches}) == 83
    assert sum(len(s.points.label) for s in patches) == 4899 + 10689 + 6192
    # Two patients stand in both published lists; each is on one side here.
    parts = {}
    for s in patches:
        assert parts.setdefault(s.patient, s.part) == s.part
    fields = datasets.load(f"ucsb:{data_root / 'ucsb_breast'}")
    assert [sum(s.field == f for s in fields) for f in ("benign", "malignant")] == [17, 17]


@pytest.mark.parametrize("k", [2, 3, 5])
def test_folds_keep_patients_whole_and_spread_sites(data_root, k):
    samples = datasets.load(f"brca-m2c:{data_root / 'brca_m2c'}")
    fold = datasets.patient_folds(samples, k, seed=3)
    of: dict[str, int] = {}
    for s, f in zip(samples, fold, strict=True):
        assert of.setdefault(s.patient, f) == f
    for site in {s.site for s in samples}:
        patients = {s.patient for s in samples if s.site == site}
        sizes = np.bincount([of[p] for p in patients], minlength=k)
        assert sizes.max() - sizes.min() <= 1
    np.testing.assert_array_equal(fold, datasets.patient_folds(samples, k, seed=3))
    assert (fold != datasets.patient_folds(samples, k, seed=4)).any()
