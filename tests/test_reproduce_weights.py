"""Which rows of `reproduce` wait for weights, and that the waiting has an end."""

import time
from dataclasses import replace

import pytest

from cellularity_core.reproduce import weights
from cellularity_core.reproduce.weights import encoders_of, unavailable
from cellularity_core.training.recipes import recipe


def test_only_starts_from_imagenet_that_no_package_brings_are_asked_for() -> None:
    assert encoders_of(recipe("resnet34-r-random")) == set()
    assert encoders_of(recipe("breast-1")) == set()  # its encoders come with pip
    drawn = recipe("fpn-random")
    assert drawn.segmentation is not None and drawn.segmentation.encoder.endswith("-elu")
    begun = replace(drawn.segmentation, init="imagenet")
    assert encoders_of(replace(drawn, segmentation=begun)) == {"resnet34"}
    direct = recipe("resnet34-r-random").direct
    assert direct is not None
    both = {
        "direct": replace(direct, encoder="xception41", init="imagenet"),
        "direct_classes": replace(direct, encoder="resnet50", init="random"),
    }
    assert encoders_of(replace(drawn, **both)) == {"xception41"}


def test_each_encoder_is_answered_for_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Had, refused with a sentence, ended without one, and never answering."""
    script = """
import sys, time
name = sys.argv[1]
if name == "slow": time.sleep(60)
if name == "refused": sys.exit("a warning of a library\\nThere is no network here.\\n")
sys.exit(3 if name == "broken" else 0)
"""
    monkeypatch.setattr(weights, "_ASK", script)
    began = time.perf_counter()
    assert unavailable({"slow", "had", "refused", "broken"}, seconds=3) == {
        "slow": "they were not there within 3 s",
        "refused": "There is no network here.",
        "broken": "the download ended with exit code 3",
    }
    assert time.perf_counter() - began < 30
    assert unavailable([]) == {}


def test_the_process_that_asks_says_what_is_wrong() -> None:
    """The script itself, of a name that no network has; needs no network."""
    [reason] = unavailable(["resnet34x"]).values()
    assert reason.startswith("timm has no network 'resnet34x'; did you mean ")
