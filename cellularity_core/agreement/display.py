"""A report of agreement as tables in a terminal."""

import sys
from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cellularity_core.agreement.coverage import CASE_SD, ERROR_SD, READER_SD, Coverage, Setting
from cellularity_core.agreement.report import AgreementReport
from cellularity_core.agreement.spread import Comparison
from cellularity_core.agreement.statistic import Statistic
from cellularity_core.messages import printable

GROUP_NAMES: Final = {
    "icc_1": "ICC(1,1)",
    "icc_a1": "ICC(A,1)",
    "icc_c1": "ICC(C,1)",
    "icc_1k": "ICC(1,k)",
    "icc_ak": "ICC(A,k)",
    "icc_ck": "ICC(C,k)",
    "fleiss_kappa4": "Fleiss' kappa, 4 bins",
    "krippendorff_interval": "Krippendorff's alpha, interval",
    "gwet_ac1_bins4": "Gwet's AC1, 4 bins",
    "gwet_ac2_quadratic_bins4": "Gwet's AC2, quadratic",
}


def show_report(report: AgreementReport) -> None:
    """Print a report on standard output."""
    console = _console()
    console.print(_group(report))
    if report.pairs:
        console.print(_pairs(report))
    if report.model_vs_readers:
        console.print(_models(report))
    if report.repeatability:
        console.print(_repeats(report))
    console.print(_counts(report))


def _group(report: AgreementReport) -> Table:
    rows = (
        (
            name,
            _number(statistic),
            _limits(statistic),
            str(statistic.n),
            statistic.interval or "",
            statistic.reason or "",
        )
        for key, name in GROUP_NAMES.items()
        for statistic in [getattr(report, key)]
    )
    return _table(
        f"{report.n_readers} readers, {report.n_cases} cases of {report.n_patients} patients, "
        f"{report.n_cases_complete} scored by every reader",
        ("readers together", "value", "95 % interval", "cases", "interval by", "why not"),
        rows,
        numbers=(1, 2, 3),
    )


def _pairs(report: AgreementReport) -> Table:
    rows = (
        (
            pair.a,
            pair.b,
            str(pair.n),
            *(
                _both(statistic, "\n")
                for statistic in (
                    pair.icc_a1,
                    pair.kappa4,
                    pair.kappa4_quadratic,
                    pair.pk,
                    pair.mse,
                    pair.bland_altman.bias,
                )
            ),
            f"{_number(pair.bland_altman.loa_low)} to {_number(pair.bland_altman.loa_high)}",
        )
        for pair in report.pairs
    )
    return _table(
        "Two by two: b is the reference, bias is the mean of a - b",
        (
            "a",
            "b",
            "cases",
            "ICC(A,1)",
            "kappa, 4 bins",
            "quadratic",
            "PK",
            "MSE",
            "bias",
            "limits of agreement",
        ),
        rows,
        numbers=range(2, 10),
    )


def _models(report: AgreementReport) -> Table:
    def row(model: str, name: str, found: Comparison) -> tuple[str, ...]:
        compared = (found.model, found.readers, found.difference)
        return model, name, *map(_both, compared), f"{found.verdict}: {found.words}"

    rows = [
        row(entry.model, name, found)
        for entry in report.model_vs_readers
        for name, found in (
            ("ICC(A,1)", entry.icc_a1),
            ("quadratic kappa", entry.kappa4_quadratic),
        )
    ]
    return _table(
        "Models beside the readers' spread",
        ("model", "by", "with readers", "readers among themselves", "difference", "the model"),
        rows,
        numbers=(2, 3, 4),
    )


def _repeats(report: AgreementReport) -> Table:
    rows = (
        (
            entry.rater,
            str(entry.n_cases),
            *map(_both, (entry.within_sd, entry.coefficient, entry.icc, entry.shift)),
        )
        for entry in report.repeatability
    )
    return _table(
        "Repeats: each rater with itself",
        ("rater", "cases", "within-subject SD", "repeatability coefficient", "ICC(1,1)", "shift"),
        rows,
        numbers=range(1, 6),
    )


def _counts(report: AgreementReport) -> Table:
    rows = (
        (
            count.rater,
            count.kind,
            *map(str, (count.scored, count.cannot_score, count.missing, count.repeats)),
        )
        for count in report.counts
    )
    return _table(
        "Reads",
        ("rater", "kind", "scored", "cannot be scored", "missing", "repeats"),
        rows,
        numbers=range(2, 6),
        caption="Research use only. `--json F` writes every figure.",
    )


def _table(
    title: str,
    names: Sequence[str],
    rows: Iterable[Sequence[str]],
    numbers: Iterable[int],
    caption: str | None = None,
    unbroken: int = 0,
) -> Table:
    """A table; `numbers` are columns to the right, the first `unbroken` keep one line."""
    table = Table(title=title, title_justify="left", caption=caption)
    right = set(numbers)
    for place, name in enumerate(names):
        table.add_column(
            name, justify="right" if place in right else "left", no_wrap=place < unbroken
        )
    for row in rows:
        table.add_row(*(Text("\n".join(map(printable, cell.split("\n")))) for cell in row))
    return table


def _number(statistic: Statistic) -> str:
    return "-" if statistic.value is None else _digits(statistic.value)


def _limits(statistic: Statistic) -> str:
    if statistic.low is None or statistic.high is None:
        return "-"
    return f"{_digits(statistic.low)} to {_digits(statistic.high)}"


def _both(statistic: Statistic, between: str = " ") -> str:
    if statistic.low is None or statistic.high is None:
        return _number(statistic)
    limits = f"({_digits(statistic.low)}, {_digits(statistic.high)})"
    return f"{_number(statistic)}{between}{limits}"


def _digits(value: float) -> str:
    """Two decimals; more where a small value would show as nothing."""
    return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}"


def show_coverage(found: Sequence[Coverage]) -> None:
    """Print how often the intervals held the truth, a formula a row."""
    settings = list(dict.fromkeys(entry.setting for entry in found))
    cells: dict[tuple[str, str, bool], dict[Setting, str]] = {}
    for entry in found:
        row = cells.setdefault((entry.statistic, entry.formula, entry.default), {})
        row[entry.setting] = f"{entry.covered:.1%}\n({entry.width:.2f})"
    table = _table(
        "Share of 95 % intervals that hold the truth (and their median width)",
        (
            "statistic",
            "interval",
            "shown",
            *map(str, settings),
        ),
        (
            (name, formula, "yes" if shown else "", *(row.get(s, "-") for s in settings))
            for (name, formula, shown), row in cells.items()
        ),
        numbers=range(3, 3 + len(settings)),
        unbroken=2,
        caption="Small and large: the readers' offsets have a standard deviation of "
        + " and ".join(f"{value:g}" for value in READER_SD.values())
        + f", cases of {CASE_SD:g}, errors of {ERROR_SD:g}.",
    )
    _console().print(table)


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 160)
