"""Ratings to test on, and what to look for in what is said of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cellularity_core.agreement import Rating

KEYS = {
    "n_cases",
    "n_readers",
    "readers",
    "icc_1",
    "icc_a1",
    "icc_c1",
    "icc_1k",
    "icc_ak",
    "icc_ck",
    "fleiss_kappa4",
    "krippendorff_interval",
    "gwet_ac1_bins4",
    "gwet_ac2_quadratic_bins4",
    "pairs",
}
PAIR_KEYS = {
    "a",
    "b",
    "n",
    "kinds",
    "kappa4",
    "kappa4_linear",
    "kappa4_quadratic",
    "icc_a1",
    "ccc",
    "pk",
    "mse",
    "bland_altman",
}


def write(path: Path, *lines: str, header: str = "case_id,reader,score") -> Path:
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def study(
    n: int = 30, readers: int = 3, *, seed: int = 0, cases_a_patient: int = 1
) -> list[Rating]:
    """Readers and a model on the same cases; the first reader repeats every fifth."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n)
    found = []
    for reader in range(readers):
        offset = rng.normal(0, 0.05)
        for case in range(n):
            score = float(np.clip(truth[case] + offset + rng.normal(0, 0.08), 0, 1).round(2))
            patient = f"p{case // cases_a_patient}"
            found.append(Rating(f"c{case}", f"R{reader}", score, patient))
            if reader == 0 and case % 5 == 0:
                again = float(np.clip(score + rng.normal(0, 0.05), 0, 1).round(2))
                found.append(Rating(f"c{case}", "R0", again, patient, repeat=1))
    for case in range(n):
        score = float(np.clip(truth[case] + rng.normal(0, 0.06), 0, 1))
        found.append(Rating(f"c{case}", "gbt", score, f"p{case // cases_a_patient}", kind="model"))
    return found


def numbers(content: Any) -> Iterator[float]:
    if isinstance(content, dict):
        for value in content.values():
            yield from numbers(value)
    elif isinstance(content, (list, tuple)):
        for value in content:
            yield from numbers(value)
    elif isinstance(content, float):
        yield content


def statistics(content: Any) -> Iterator[dict[str, Any]]:
    if isinstance(content, dict):
        if {"value", "low", "high", "reason"} <= set(content):
            yield content
        for value in content.values():
            yield from statistics(value)
    elif isinstance(content, (list, tuple)):
        for value in content:
            yield from statistics(value)
