"""Did seeing a model's score move the readers toward it?"""

import numpy as np
import pytest

from cellularity_core.agreement import SecondReads, automation_bias


def test_movement_by_hand() -> None:
    before = np.array([0.2, 0.2, 0.5, 0.5, 0.9, 0.4, np.nan])
    model = np.array([0.6, 0.6, 0.5, 0.1, 0.5, 0.8, 0.3])
    after = np.array([0.4, 0.2, 0.6, 0.6, 0.7, 0.4, 0.3])
    found = automation_bias(before, after, model).shown
    assert (found.n_reads, found.n_left_out) == (6, 1)
    assert found.moved.value == pytest.approx(4 / 6)
    assert found.toward.value == pytest.approx(2 / 5)  # the third agreed with the model before
    assert found.away.value == pytest.approx(1 / 5)
    assert found.distance.value == pytest.approx((0.2 + 0 - 0.1 + 0.2 + 0) / 5)
    gap, move = model[:6] - before[:6], after[:6] - before[:6]
    assert found.pull.value == pytest.approx((gap * move).sum() / (gap**2).sum())
    assert found.misled.reason == "no read was right where the model was wrong"


def test_reads_that_agree_with_the_model_tell_nothing_of_its_pull() -> None:
    # a hair from the model, then 0.05 away: no share of the way, least of all a tenfold one
    before = np.array([0.30, 0.40, 0.15, 0.65, 0.25, 0.70, 0.55])
    model = before + np.array([2.1, 3.7, 1.4, -1.2, 1.2, 3.9, -1.3]) / 1000
    alone = automation_bias(before, before + 0.05, model).shown
    assert alone.pull.value is None and alone.pull.reason == alone.toward.reason
    more = automation_bias([*before, 0.4], [*before + 0.05, 0.5], [*model, 0.6]).shown
    assert more.pull.value == pytest.approx(0.5)


def test_right_reads_turned_wrong_are_counted() -> None:
    reference = [0.1, 0.1, 0.1, 0.1, 0.9, 0.9, 0.9]
    before = [0.2, 0.2, 0.2, 0.2, 0.3, 0.3, 0.3]
    model = [0.6, 0.6, 0.6, 0.2, 0.9, 0.9, 0.9]
    after = [0.4, 0.2, 0.2, 0.6, 0.8, 0.4, 0.9]
    found = automation_bias(before, after, model, reference=reference).shown
    assert found.misled.value == pytest.approx(1 / 3)
    assert found.corrected.value == pytest.approx(2 / 3)


def arm(rng: np.random.Generator, n: int, pull: float, prefix: str) -> dict:
    before = rng.random(n)
    model = np.clip(before + rng.normal(0, 0.2, n), 0, 1)
    after = before + pull * (model - before) + rng.normal(0, 0.03, n)
    patients = [f"{prefix}{i // 2}" for i in range(n)]
    return {"before": before, "after": after.clip(0, 1), "model": model, "patients": patients}


def test_the_control_arm_is_taken_off() -> None:
    rng = np.random.default_rng(8)
    shown, unseen = arm(rng, 300, 0.4, "p"), arm(rng, 200, 0.0, "q")
    found = automation_bias(**shown, control=SecondReads(**unseen))
    assert found.shown.pull.value == pytest.approx(0.4, abs=0.05)
    assert found.control.pull.low < 0 < found.control.pull.high
    difference = found.difference
    assert difference.n_reads == 500
    for name in ("moved", "toward", "away", "distance", "pull"):
        expected = getattr(found.shown, name).value - getattr(found.control, name).value
        assert getattr(difference, name).value == pytest.approx(expected), name
    assert difference.pull.low > 0.3
    assert difference.toward.low > 0
    alone = automation_bias(**shown)
    assert (alone.control, alone.difference) == (None, None)
    assert alone.shown == found.shown


def test_rereading_alone_is_no_automation_bias() -> None:
    rng = np.random.default_rng(9)
    first, second = arm(rng, 300, 0.1, "p"), arm(rng, 300, 0.1, "q")
    found = automation_bias(**first, control=SecondReads(**second))
    assert found.shown.pull.low > 0
    assert found.difference.pull.low < 0 < found.difference.pull.high


def test_patients_in_both_arms_are_drawn_together() -> None:
    """The same reads in both arms differ by exactly nothing, in every resample."""
    reads = arm(np.random.default_rng(10), 60, 0.3, "p")
    found = automation_bias(**reads, control=SecondReads(**reads)).difference
    assert found.pull.value == 0
    assert found.pull.reason == "every resample gives the same value"
    apart = dict(reads, patients=[f"q{i // 2}" for i in range(60)])
    found = automation_bias(**reads, control=SecondReads(**apart)).difference
    assert found.pull.low < 0 < found.pull.high


def test_the_difference_of_two_shares_stays_within_its_ends() -> None:
    """Nearly all moved in one arm and nearly none in the other, of a few patients."""
    before, model = np.full(8, 0.2), np.full(8, 0.8)
    followed = np.where(np.arange(8) == 0, 0.2, 0.8)
    stayed = np.where(np.arange(8) == 7, 0.8, 0.2)
    found = automation_bias(before, followed, model, control=SecondReads(before, stayed, model))
    assert found.difference is not None
    moved = found.difference.moved
    assert moved.value == pytest.approx(0.75)
    assert moved.low is not None
    assert moved.high is not None
    assert -1 <= moved.low < 0.75 < moved.high <= 1


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="belong to the same reads"):
        automation_bias([0.1, 0.2], [0.1], [0.1, 0.2])
    with pytest.raises(ValueError, match="belong to the same reads"):
        automation_bias([0.1, 0.2], [0.1, 0.2], [0.1, 0.2], patients=["a"])
