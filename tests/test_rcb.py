"""Residual Cancer Burden against worked examples, its edges, and a simulation."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from cellularity_core.cli import main
from cellularity_core.errors import DataError
from cellularity_core.rcb import (
    CLASSES,
    CUTS,
    NOT_RCB_0,
    Burden,
    class_of,
    rcb,
    sentences,
    to_json,
    written,
)

percent = st.floats(0, 100)
mm = st.floats(0.1, 300)


def test_worked_examples(data_root):
    cases = json.loads((data_root.parent / "oracles" / "agreement.json").read_text())["rcb"]
    assert len(cases) == 4
    for case in cases:
        found = rcb(Burden(*(v for k, v in case.items() if k not in ("rcb", "class"))))
        assert_allclose(found.index, case["rcb"], atol=5e-5)
        assert found.name == case["class"]


@pytest.mark.parametrize(
    ("index", "text"),
    [
        (3.28, "3.28"),
        (3.28 + 1e-12, "3.28"),
        (3.2804, "3.2804"),
        (3.283, "3.283"),
        (2.0, "2.00"),
        (1.364, "1.364"),
        (1.3551, "1.36"),
        (0.004, "0.004"),
        (0.0, "0.00"),
    ],
)
def test_an_index_is_written_on_the_side_of_the_cut_that_it_is_on(index, text):
    assert written(index) == text
    assert class_of(float(text)) == class_of(index)


@pytest.mark.parametrize(("cut", "name"), [(CUTS[0], "RCB-I"), (CUTS[1], "RCB-II")])
def test_a_cut_belongs_to_the_class_below(cut, name):
    size = (cut / 1.4) ** (1 / 0.17)
    on_it = Burden(size, size, 100, 0, 0, 0)
    assert_allclose(on_it.index, cut)
    assert rcb(on_it).name == name == class_of(cut)
    beyond = rcb(Burden(size * 1.001, size * 1.001, 100, 0, 0, 0))
    assert beyond.name == CLASSES[CLASSES.index(name) + 1]


@pytest.mark.parametrize(
    "none_left",
    [
        Burden(0, 0, 0, 0, 0, 0),
        Burden(30, 20, 0, 0, 0, 0),
        Burden(30, 20, 40, 100, 0, 0),
    ],
)
def test_nothing_invasive_is_class_0(none_left):
    found = rcb(none_left)
    assert (found.index, found.name) == (0.0, "RCB-0")


def test_nodes_alone_are_a_burden():
    found = rcb(Burden(0, 0, 0, 0, 1, 2))
    assert_allclose(found.index, (4 * 0.25 * 2) ** 0.17)
    assert found.name == "RCB-I"


@given(d1=mm, d2=mm, ca=st.floats(1, 100), cis=st.floats(0, 99), nodes=st.integers(0, 30))
def test_the_formula_term_by_term(d1, d2, ca, cis, nodes):
    met = 3.5 if nodes else 0
    primary = 1.4 * math.pow((1 - cis / 100) * (ca / 100) * math.sqrt(d1 * d2), 0.17)
    nodal = math.pow(4 * (1 - math.pow(0.75, nodes)) * met, 0.17) if nodes else 0.0
    assert_allclose(Burden(d1, d2, ca, cis, nodes, met).index, primary + nodal)


@given(
    ca=st.tuples(st.floats(0.5, 100), st.floats(0, 1), st.floats(0, 1)),
    d=mm,
    cis=percent,
    nodes=st.integers(0, 10),
)
def test_probabilities_sum_to_one_and_limits_are_in_order(ca, d, cis, nodes):
    value, down, up = ca
    met = 2.0 if nodes else 0
    found = rcb(
        Burden(d, d, value, cis, nodes, met),
        (value * (1 - down), min(100.0, value + up * (100 - value))),
    )
    assert found.interval[0] <= found.index <= found.interval[1]
    assert_allclose(sum(found.probabilities.values()), 1)
    assert all(0 <= p <= 1 for p in found.probabilities.values())


@pytest.mark.parametrize(
    ("burden", "limits"),
    [
        (Burden(20, 15, 30, 10, 2, 4), (12, 55)),
        (Burden(12, 9, 8, 0, 0, 0), (1, 30)),
        (Burden(4, 3, 10, 50, 0, 0), (0, 40)),
    ],
)
def test_probabilities_against_a_simulation(burden, limits):
    z = np.random.default_rng(0).normal(size=200_000)
    value = burden.cellularity_pct
    spread = np.where(z < 0, value - limits[0], limits[1] - value) / 1.959964
    drawn = (value + z * spread).clip(1e-12, 100)
    bed = math.sqrt(burden.d1_mm * burden.d2_mm) * (1 - burden.in_situ_pct / 100)
    index = 1.4 * (drawn / 100 * bed) ** 0.17 + burden.nodal_term
    found = rcb(burden, limits)
    edges = [-np.inf, 0, *CUTS, np.inf]
    for name, (low, high) in zip(CLASSES, pairwise(edges), strict=True):
        share = np.mean((index > low) & (index <= high))
        assert abs(found.probabilities[name] - share) < 0.004, name
    middle = np.quantile(index, [0.025, 0.5, 0.975])
    assert_allclose((found.interval[0], found.index, found.interval[1]), middle, atol=0.02)


def test_a_sure_cellularity_is_a_sure_class():
    found = rcb(Burden(20, 15, 30, 10, 2, 4), (30, 30))
    assert found.interval == (found.index, found.index)
    assert found.probabilities == {"RCB-0": 0, "RCB-I": 0, "RCB-II": 1, "RCB-III": 0}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((-1, 5, 10, 0, 0, 0), "First dimension.*-1 was given; 0 to 300 mm"),
        ((5, 500, 10, 0, 0, 0), "Second dimension.*500 was given"),
        ((5, 5, 130, 0, 0, 0), "Cellularity: 130 was given; 0 to 100 %"),
        ((5, 5, math.nan, 0, 0, 0), "Cellularity: nan"),
        ((5, 5, 10, 101, 0, 0), "Share in situ"),
        ((5, 5, 10, 0, 1.5, 2), "count whole nodes"),
        ((5, 0, 10, 0, 0, 0), "give both dimensions"),
        ((0, 0, 10, 0, 0, 0), "cannot hold 10 % cancer"),
        ((5, 5, 10, 0, 2, 0), "contradict each other"),
        ((5, 5, 10, 0, 0, 3), "contradict each other"),
    ],
)
def test_values_that_cannot_be(values, words):
    with pytest.raises(DataError, match=words):
        Burden(*values)


@pytest.mark.parametrize("limits", [(40, 50), (10, 20), (-1, 50), (10, 120), (math.nan, 50)])
def test_an_interval_must_hold_its_value(limits):
    with pytest.raises(DataError, match="it must hold that value"):
        rcb(Burden(5, 5, 30, 0, 0, 0), limits)


def test_class_0_is_seen_not_estimated():
    with pytest.raises(DataError, match="for a pathologist to see"):
        rcb(Burden(5, 5, 0, 0, 0, 0), (0, 5))


def test_the_command(capsys):
    given_ = ["--d1", "20", "--d2", "15", "--ca", "30", "--cis", "10", "--nodes", "2", "--met", "4"]
    assert main(["rcb", *given_, "--ca-low", "12", "--ca-high", "55"]) == 0
    said = capsys.readouterr().out
    assert "RCB 3.21, RCB-II (95% interval 2.9" in said
    assert "RCB-II 71%, RCB-III 29%" in said
    assert "Research use only" in said
    assert main(["rcb", *given_, "--json", "-"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert (written["rcb"], written["class"], written["interval"]) == (3.2119, "RCB-II", None)
    assert written["given"]["positive_nodes"] == 2


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (("--ca", "130"), 2, "Cellularity: 130 was given"),
        (("--ca-low", "10"), 2, "give both limits"),
        (("--nodes", "x"), 2, "--nodes"),
    ],
)
def test_the_command_refuses(capsys, change, code, words):
    given_ = {"--d1": "20", "--d2": "15", "--ca": "30", "--cis": "10", "--nodes": "2", "--met": "4"}
    given_[change[0]] = change[1]
    assert main(["rcb", *(part for pair in given_.items() for part in pair)]) == code
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("limits", "estimated", "nodes", "is_said"),
    [
        ((0.0, 18.0), False, 0, True),  # cancer need not be left
        ((1.0, 18.0), True, 0, True),  # only the models found any
        ((1.0, 18.0), False, 0, False),
        ((0.0, 18.0), True, 2, False),  # a positive node is no RCB-0
        (None, True, 0, False),
    ],
)
def test_that_nothing_may_be_left_is_said(limits, estimated, nodes, is_said):
    found = rcb(Burden(30, 20, 2.0, 0, nodes, 3.0 * (nodes > 0)), limits, estimated)
    assert (to_json(found)["note"] == NOT_RCB_0) is is_said
    assert (NOT_RCB_0 in sentences(found)) is is_said
    assert rcb(Burden(30, 20, 2.0, 100, 0, 0), (0.0, 18.0)).note is None
