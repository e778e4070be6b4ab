"""Tables 1 to 3 beside the paper's, as a report and as CSV hold them."""

from collections.abc import Sequence
from typing import Any, Final

from cellularity_core.agreement import Statistic
from cellularity_core.conventions import CHANNELS
from cellularity_core.export import csv_text
from cellularity_core.reproduce.document import Table, number, published, with_limits
from cellularity_core.reproduce.measure import MEAN
from cellularity_core.reproduce.outcome import Outcome
from cellularity_core.reproduce.rows import CHALLENGE, PAPER

CSV_COLUMNS: Final = (
    "row",
    "title",
    "start",
    "status",
    "scale",
    "truth",
    "statistic",
    "value",
    "low",
    "high",
    "n",
    "patients",
    "interval",
    "paper_value",
    "paper_low",
    "paper_high",
    "paper_data",
    "reason",
)
STARTS: Final = {"random": "random", "imagenet": "ImageNet", "": "–"}
WHERE: Final = "Brackets: 95 % intervals, bootstrap by patient."


def table_1(outcomes: Sequence[Outcome]) -> Table:
    """Jaccard index of each decoder and start."""
    rows = []
    for one in outcomes:
        if one.row.kind == "segmentation":
            rows.append(_jaccard_row(one.row.title, one))
        elif one.row.kind == "cascade" and one.jaccard:
            rows.append(_jaccard_row("FPN decoder, after SR's training", one))
    return Table(
        "Table 1. Segmentation: Jaccard index by decoder and start",
        ("Decoder", "Start", "Mean of 4", *CHANNELS, "n (patients)", "Paper, BreastPathQ"),
        rows,
        f"{WHERE} Pixels of all held-out patches with nuclei points, mask at 0.5. The paper's: "
        f"{PAPER}; it does not say which classes its mean is over.",
        (20, 9, 17, 15, 15, 15, 15, 10, 11),
    )


def _jaccard_row(title: str, one: Outcome) -> tuple[str, ...]:
    return (
        title,
        STARTS[one.row.init],
        _value(one, one.jaccard.get("jaccard"), 2),
        *(with_limits(one.jaccard.get(f"jaccard_{name}"), 2) for name in CHANNELS),
        f"{one.n} ({one.patients})" if one.status == "done" else "–",
        published(one.row.paper.get("jaccard")),
    )


def table_2(outcomes: Sequence[Outcome], word: str) -> Table:
    """MSE of each model and start."""
    return Table(
        f"Table 2. MSE of {word}",
        ("Model", "Start", f"MSE of {word}", "n (patients)", "Paper, BreastPathQ"),
        [
            (
                one.row.title,
                STARTS[one.row.init],
                _value(one, one.headline.get("mse"), 4),
                f"{one.n} ({one.patients})" if one.status == "done" else "–",
                published(one.row.paper.get("mse")),
            )
            for one in _scored(outcomes)
        ],
        f"{WHERE} {_over(outcomes)}The paper's: {PAPER}.",
        (34, 10, 24, 12, 20),
    )


def table_3(outcomes: Sequence[Outcome], word: str) -> Table:
    """Kappa, ICC and PK of each model and start."""
    return Table(
        f"Table 3. Agreement on {word}: kappa on 4 bins, ICC and PK",
        (
            "Model",
            "Start",
            "Kappa, 4 bins",
            "Paper's kappa",
            "ICC(A,1)",
            "Paper's ICC",
            "ICC(C,1)",
            "PK",
        ),
        [
            (
                one.row.title,
                STARTS[one.row.init],
                _value(one, one.headline.get("kappa4")),
                published(one.row.paper.get("kappa4")),
                with_limits(one.headline.get("icc_a1")),
                published(one.row.paper.get("icc_a1")),
                with_limits(one.headline.get("icc_c1")),
                with_limits(one.headline.get("pk")),
            )
            for one in _scored(outcomes)
        ],
        f"{WHERE} {_over(outcomes)}All figures are of {word}; the paper's are of pathologists' "
        f"scores: {PAPER}. {_sources(outcomes)}{CHALLENGE}",
        (22, 10, 18, 14, 18, 14, 18, 18),
    )


def each_pathologist(outcomes: Sequence[Outcome], word: str) -> Table | None:
    """The same figures against each pathologist; None where there is one truth."""
    rows = [
        (
            one.row.title,
            STARTS[one.row.init],
            truth,
            with_limits(statistics["mse"], 4),
            with_limits(statistics["kappa4"]),
            with_limits(statistics["icc_a1"]),
            with_limits(statistics["icc_c1"]),
            with_limits(statistics["pk"]),
        )
        for one in outcomes
        if MEAN in one.agreement
        for truth, statistics in one.agreement.items()
        if truth != MEAN
    ]
    if not rows:
        return None
    return Table(
        f"Against each pathologist: {word}",
        ("Model", "Start", "Truth", "MSE", "Kappa, 4 bins", "ICC(A,1)", "ICC(C,1)", "PK"),
        rows,
        WHERE,
        (20, 10, 12, 20, 18, 18, 18, 18),
    )


def field_table(outcomes: Sequence[Outcome], word: str) -> Table | None:
    """Scores of fields labelled as a whole; None where there are none."""
    rows = [
        (
            one.row.title,
            STARTS[one.row.init],
            f"{number(one.fields['benign_mean'])} ({one.fields['benign_n']})",
            f"{number(one.fields['malignant_mean'])} ({one.fields['malignant_n']})",
            number(one.fields["auc"]),
        )
        for one in outcomes
        if one.fields
    ]
    if not rows:
        return None
    return Table(
        f"Benign and malignant fields: mean {word}",
        ("Model", "Start", "Benign fields (n)", "Malignant fields (n)", "AUC"),
        rows,
        "Held-out fields; a benign field holds no malignant nucleus, so 0 is right for it.",
    )


def missing(outcomes: Sequence[Outcome]) -> Table | None:
    """Rows that have no figures, and why; None where all have."""
    rows = [(one.row.name, one.status, one.reason) for one in outcomes if one.status != "done"]
    if not rows:
        return None
    return Table("Not run, and why", ("Row", "What became of it", "Reason"), rows, "", (20, 15, 65))


def commands(outcomes: Sequence[Outcome], seed: int) -> Table:
    """How each row is made again."""
    return Table(
        "Commands",
        ("Row", "Command", "Seed", "Seconds"),
        [
            (one.row.name, one.command, str(seed), f"{one.seconds:.0f}")
            for one in outcomes
            if one.status == "done"
        ],
        "Rows on the same segmentation share its run, whose seconds are those of its own row.",
        (16, 66, 6, 8),
    )


def checksums(outcomes: Sequence[Outcome]) -> Table:
    """SHA-256 of all trained weights."""
    return Table(
        "Checksums of weights (SHA-256)",
        ("File", "SHA-256"),
        [(path, checksum) for one in outcomes for path, checksum in one.weights.items()],
        "",
        (40, 60),
    )


def csv_rows(outcomes: Sequence[Outcome], scale: str) -> str:
    """Every figure, a row each, the paper's beside it."""
    rows: list[dict[str, Any]] = []
    for one in outcomes:
        figures: list[tuple[str, str, Statistic]] = [
            (truth, name, found)
            for truth, statistics in one.agreement.items()
            for name, found in statistics.items()
        ]
        figures += [("nuclei points", name, found) for name, found in one.jaccard.items()]
        figures += [
            ("field labels", name, Statistic(None if value is None else float(value)))
            for name, value in one.fields.items()
        ]
        for truth, name, found in figures:
            rows.append(_csv_row(one, scale, truth, name, found))
        if one.status != "done":
            for name in one.row.paper:
                rows.append(_csv_row(one, scale, "", name, Statistic(None, reason=one.reason)))
            if not one.row.paper:
                rows.append(_csv_row(one, scale, "", "", Statistic(None, reason=one.reason)))
    return csv_text(rows, CSV_COLUMNS)


def _csv_row(one: Outcome, scale: str, truth: str, name: str, found: Statistic) -> dict[str, Any]:
    value, low, high = one.row.paper.get(name, (None, None, None))
    return {
        "row": one.row.name,
        "title": one.row.title,
        "start": one.row.init,
        "status": one.status,
        "scale": scale,
        "truth": truth,
        "statistic": name,
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "n": found.n or "",
        "patients": one.patients or "",
        "interval": found.interval or "",
        "paper_value": value,
        "paper_low": low,
        "paper_high": high,
        "paper_data": "BreastPathQ" if value is not None else "",
        "reason": found.reason or "",
    }


def _scored(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return [one for one in outcomes if one.row.kind != "segmentation"]


def _value(one: Outcome, found: Statistic | None, digits: int = 3) -> str:
    """A figure, or in its place what became of the row."""
    if one.status == "done":
        return with_limits(found, digits)
    return one.reason.partition(" (")[0] if one.status == "not run" else "failed; see below"


def _over(outcomes: Sequence[Outcome]) -> str:
    if any(MEAN in one.agreement for one in outcomes):
        return "Figures are means over those against each pathologist. "
    return ""


def _sources(outcomes: Sequence[Outcome]) -> str:
    found = dict.fromkeys(
        f"{one.row.title}: {one.row.source}. "
        for one in outcomes
        if one.row.paper and one.row.source != PAPER
    )
    return "".join(found)
