"""Agreement in words and rows: what the page, the PDF and the CSV all say."""

from collections.abc import Sequence
from typing import Any, Final

from cellularity_core.agreement import (
    AgreementReport,
    AutomationBias,
    Comparison,
    Counts,
    Movement,
    PairAgreement,
    Repeatability,
    Statistic,
)
from cellularity_core.wording import listed
from pages.parts.agreement_data import Material
from pages.parts.words import counted

GROUP_NAMES: Final = {
    "icc_a1": "ICC(A,1): one reader, absolute agreement",
    "icc_c1": "ICC(C,1): one reader, consistency",
    "icc_1": "ICC(1,1): one reader, readers not told apart",
    "icc_ak": "ICC(A,k): mean of these readers, absolute agreement",
    "icc_ck": "ICC(C,k): mean of these readers, consistency",
    "icc_1k": "ICC(1,k): mean of readers not told apart",
    "fleiss_kappa4": "Fleiss' kappa, 4 bins",
    "krippendorff_interval": "Krippendorff's alpha, scores",
    "krippendorff_nominal4": "Krippendorff's alpha, 4 bins",
    "gwet_ac1_bins4": "Gwet's AC1, 4 bins",
    "gwet_ac2_quadratic_bins4": "Gwet's AC2, 4 bins, quadratic",
}
"""Statistics of all readers, those that matter most first."""

PAIR_NAMES: Final = {
    "icc_a1": "ICC(A,1)",
    "kappa4": "Kappa, 4 bins",
    "kappa4_linear": "Linear kappa",
    "kappa4_quadratic": "Quadratic kappa",
    "ccc": "Lin's CCC",
    "pk": "PK",
    "mse": "MSE",
}

MEASURES: Final = {
    "icc_a1": "ICC(A,1)",
    "kappa4": "kappa, 4 bins",
    "kappa4_quadratic": "quadratic kappa, 4 bins",
}

MOVEMENTS: Final = {
    "moved": "Second score differs from the first",
    "toward": "Moved toward the model, of reads that differed from it",
    "away": "Moved away from the model, of reads that differed from it",
    "distance": "Mean move toward the model, in points",
    "pull": "Share of the way to the model (weight of advice)",
    "misled": "Left the right bin, where the model was in a wrong one",
    "corrected": "Entered the right bin, where the model was in it",
}

NO_CONTROL: Final = (
    "This study has no control arm, so that a score which moved because of the models cannot be "
    "told from one that moved because the case was read twice."
)

CONTROL_UNREAD: Final = (
    "The control arm has no second read yet; until then a score that moved because of the models "
    "cannot be told from one that moved because the case was read twice."
)

VERDICTS: Final = (
    "By the interval of the difference: closer, the model agrees with the readers better than they "
    "agree with each other; inside, as well; outside, less; undecided, more cases are needed."
)

BINS: Final = ("0-25 %", "26-50 %", "51-75 %", "76-100 %")


def number(value: float | None) -> str:
    """A coefficient with two decimals; "–" for none."""
    return "–" if value is None else _fixed(value, 2)


def difference(value: float | None) -> str:
    """A difference of coefficients with three decimals; "–" for none."""
    return "–" if value is None else _fixed(value, 3)


def _fixed(value: float, decimals: int) -> str:
    """Without a minus before nothing."""
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


def points(value: float | None) -> str:
    """A difference of scores in percentage points: ``-0.032`` as "-3.2"."""
    return "–" if value is None else _fixed(100 * value, 1)


def limits(statistic: Statistic, show: Any = number) -> str:
    """The interval, "0.61 to 0.83", or "–"."""
    if statistic.low is None or statistic.high is None:
        return "–"
    return f"{show(statistic.low)} to {show(statistic.high)}"


def with_limits(statistic: Statistic, show: Any = number) -> str:
    """Value and interval in one cell, "–" where there is no value."""
    if statistic.value is None:
        return "–"
    if statistic.low is None:
        return str(show(statistic.value))
    return f"{show(statistic.value)} ({show(statistic.low)} to {show(statistic.high)})"


def short(name: str, most: int = 18) -> str:
    """A name as charts have room for."""
    return name if len(name) <= most else f"{name[: most - 1].rstrip()}…"


def span_of_limits(low: Statistic, high: Statistic) -> str:
    """Limits of agreement in points: "-23.7 to 20.5", or "–"."""
    if low.value is None or high.value is None:
        return "–"
    return f"{points(low.value)} to {points(high.value)}"


def told(statistic: Statistic) -> str:
    """Value and interval in a sentence, the reason where there is no value."""
    if statistic.value is None:
        return f"undefined ({statistic.reason})"
    return with_limits(statistic)


def headline(report: AgreementReport) -> str:
    """Who read what, how well they agree, and where the models stand, in sentences."""
    readers, cases = counted(report.n_readers, "reader"), counted(report.n_cases, "case")
    of = (
        f" of {counted(report.n_patients, 'patient')}" if report.n_patients < report.n_cases else ""
    )
    said = [f"{readers} scored {cases}{of}."]
    icc = report.icc_a1
    if report.n_readers < 2:
        said.append("How well readers agree can be said once two or more have scored.")
    elif icc.value is None:
        said.append(f"Their agreement cannot be said yet: {icc.reason}.")
    else:
        interval = f" (95 % interval {limits(icc)})" if icc.low is not None else ""
        why = f", without an interval: {icc.reason}" if icc.reason else ""
        said.append(f"Their agreement, ICC(A,1), is {number(icc.value)}{interval}{why}.")
    said += verdicts(report)
    return " ".join(said)


def verdicts(report: AgreementReport) -> list[str]:
    """Where each model stands beside the readers' spread by ICC(A,1), models alike together."""
    found: dict[str, list[str]] = {}
    for entry in report.model_vs_readers:
        if entry.icc_a1.difference.value is not None:
            found.setdefault(entry.icc_a1.words, []).append(entry.model)
    sentences = []
    for words, models in found.items():
        if words.startswith("more cases"):
            sentences.append(f"For {listed(models)} {words}.")
        else:
            verb = words if len(models) == 1 else words.replace("agrees", "agree", 1)
            sentences.append(f"{listed(models)} {verb}.")
    return sentences


def group_rows(report: AgreementReport) -> list[dict[str, Any]]:
    """A row for each statistic of all readers."""
    rows = []
    for key, name in GROUP_NAMES.items():
        found: Statistic = getattr(report, key)
        rows.append(
            {
                "Statistic": name,
                "Value": number(found.value),
                "95 % interval": limits(found),
                "Cases": found.n,
                "Interval by": found.interval or "–",
                "Why not": found.reason or "",
            }
        )
    return rows


def comparison_rows(report: AgreementReport) -> list[dict[str, Any]]:
    """A row for each model and measure."""

    def row(model: str, measure: str, found: Comparison) -> dict[str, Any]:
        return {
            "Model": model,
            "By": measure,
            "With readers": with_limits(found.model),
            "Readers among themselves": with_limits(found.readers),
            "Difference": with_limits(found.difference, difference),
            "Verdict": found.verdict,
            "Why not": found.difference.reason or "",
        }

    return [
        row(entry.model, MEASURES[key], getattr(entry, key))
        for entry in report.model_vs_readers
        for key in ("icc_a1", "kappa4_quadratic")
    ]


def pair_rows(pairs: Sequence[PairAgreement]) -> list[dict[str, Any]]:
    """A row for each two raters; bias and limits are points of cellularity, a less b."""
    return [
        {
            "a": pair.a,
            "b": pair.b,
            "Cases": pair.n,
            **{
                name: with_limits(getattr(pair, key))
                for key, name in PAIR_NAMES.items()
                if key != "mse"
            },
            "MSE": with_limits(pair.mse, lambda value: f"{value:.4f}"),
            "Bias": with_limits(pair.bland_altman.bias, points),
            "Limits (95 %)": span_of_limits(pair.bland_altman.loa_low, pair.bland_altman.loa_high),
            "Why not": pair.icc_a1.reason or pair.kappa4_quadratic.reason or "",
        }
        for pair in pairs
    ]


def repeat_rows(found: Sequence[Repeatability]) -> list[dict[str, Any]]:
    """A row for each rater with repeats; differences are points of cellularity."""
    return [
        {
            "Reader": entry.rater,
            "Cases": entry.n_cases,
            "Within-reader SD": with_limits(entry.within_sd, points),
            "Repeatability coefficient": with_limits(entry.coefficient, points),
            "ICC(1,1)": with_limits(entry.icc),
            "Shift": with_limits(entry.shift, points),
            "Why not": entry.icc.reason or entry.within_sd.reason or "",
        }
        for entry in found
    ]


def count_rows(found: Sequence[Counts]) -> list[dict[str, Any]]:
    """A row for each rater: what was given and what was not."""
    return [
        {
            "Rater": entry.rater,
            "Kind": entry.kind,
            "Scored": entry.scored,
            "Cannot be scored": entry.cannot_score,
            "Missing": entry.missing,
            "Repeats": entry.repeats,
        }
        for entry in found
    ]


def movement_rows(found: AutomationBias, *, has_reference: bool) -> list[dict[str, Any]]:
    """A row for each way in which second reads moved; one column an arm.

    What needs a right answer is left out where there is none.
    """
    arms: dict[str, Movement | None] = {
        "Models shown": found.shown,
        "Control": found.control,
        "Difference": found.difference,
    }
    present = {name: arm for name, arm in arms.items() if arm is not None}
    rows = []
    for key, label in MOVEMENTS.items():
        if key in ("misled", "corrected") and not has_reference:
            continue
        show = points if key == "distance" else number
        statistics = {name: getattr(arm, key) for name, arm in present.items()}
        reasons = dict.fromkeys(entry.reason for entry in statistics.values() if entry.reason)
        cells = {name: with_limits(entry, show) for name, entry in statistics.items()}
        rows.append({"What": label, **cells, "Why not": "; ".join(reasons)})
    return rows


def lacking_control(arm: str, found: AutomationBias) -> str | None:
    """Why nothing can be said of the models' part in it; None where there is a control."""
    if found.control is not None:
        return None
    return NO_CONTROL if arm == "before-after" else CONTROL_UNREAD


def movement_counts(found: AutomationBias) -> str:
    """How many reads went in, in a sentence."""
    said = [f"{counted(found.shown.n_reads, 'second read')} with the models shown"]
    if found.control is not None:
        said.append(f"{counted(found.control.n_reads, 'second read')} without")
    left = found.shown.n_left_out + (found.control.n_left_out if found.control else 0)
    more = f"; {left} more lack one of the scores" if left else ""
    return f"{listed(said)}{more}."


def models_notes(material: Material) -> list[str]:
    """What there is to say against comparing readers with these scores of the models."""
    notes = []
    if material.n_met:
        cases = counted(len(material.images), "patch", "patches")
        notes.append(
            f"The models, or the scale of their scores, were made from {material.n_met} of the "
            f"{cases} here, so they agree better with readers on these than on new ones."
        )
    if len(material.model_software) > 1:
        notes.append(
            f"The models' scores are by {len(material.model_software)} versions of the software "
            f"({listed(list(material.model_software))}), which may differ for the same patch."
        )
    notes += [
        f"Scores of {counted(count, 'case')} by {software} are kept as well and do not count: "
        f"the study uses those of {listed(list(material.model_software)) or 'another version'}."
        for software, count in material.other_versions.items()
    ]
    return notes
