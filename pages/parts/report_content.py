"""What a report says, gathered once, whatever it is written as: pure, no widgets."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cellularity_core.agreement import (
    AgreementReport,
    AutomationBias,
    Statistic,
    TrendPoint,
    readers_mean,
    trend,
)
from cellularity_core.wording import listed
from db.records import AmendmentRecord, Head
from pages.parts.agreement_data import MEAN_OF_MODELS, Material, movement, span
from pages.parts.agreement_words import models_notes
from pages.parts.words import counted, models_scale

ARMS: Final[Mapping[str, str]] = {
    "before": "one blinded score of each case; readers never see the models",
    "before-after": "a blinded score of each case, then a second one with the models shown; "
    "no control arm",
    "before-after with control": "a blinded score of each case, then a second one, for half of "
    "each reader's cases with the models shown and for half without",
}


@dataclass(frozen=True, slots=True)
class Content:
    """Everything a report says.

    Attributes
    ----------
    material : Material
    report : AgreementReport
    mean : tuple of Statistic
        Of the pairs of readers, by ICC(A,1) and by quadratic kappa.
    batches : tuple of TrendPoint
        Agreement by batch of cases.
    movements : dict of str to AutomationBias
        By the model that second reads may have moved toward; empty without any.
    amendments : tuple of AmendmentRecord
    head : Head
        End of the audit trail when the report was made.
    note : str
        How far the blinding can be relied on.
    software : str
    made_at : datetime
        In UTC.
    made_by : str
    """

    material: Material
    report: AgreementReport
    mean: tuple[Statistic, Statistic]
    batches: tuple[TrendPoint, ...]
    movements: Mapping[str, AutomationBias]
    amendments: tuple[AmendmentRecord, ...]
    head: Head
    note: str
    software: str
    made_at: datetime
    made_by: str


def content(
    material: Material,
    report: AgreementReport,
    *,
    amendments: tuple[AmendmentRecord, ...],
    head: Head,
    note: str,
    software: str,
    made_at: datetime,
    made_by: str,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Content:
    """All that is to be said of `material`, of whose ratings `report` tells.

    `progress` is told how many steps are done, and how many there are.
    """
    table = material.table
    models = (MEAN_OF_MODELS, *report.models)
    found = {}
    for done, name in enumerate(models):
        progress(done, len(models) + 1)
        if (moved := movement(material, name)) is not None:
            found[name] = moved
    progress(len(models), len(models) + 1)
    return Content(
        material=material,
        report=report,
        mean=(readers_mean(table, "icc_a1"), readers_mean(table, "kappa4_quadratic")),
        batches=trend(table, by="batch"),
        movements=found,
        amendments=amendments,
        head=head,
        note=note,
        software=software,
        made_at=made_at,
        made_by=made_by,
    )


def design_rows(told: Content) -> list[tuple[str, str]]:
    """How the scores came about, a line each."""
    material, report = told.material, told.report
    study = material.study
    moments = [reading.created_at for reading in (*material.rows, *material.free)]
    rows: list[tuple[str, str]] = []
    if study is None:
        rows.append(("Source", "everyday scores of uploaded patches, outside any study"))
    else:
        repeats = f"{100 * study.repeat_share:.0f} % of the cases, hidden"
        if study.repeat_share:
            repeats += f"; at least {study.washout_days:g} days after the first read"
        state = {"open": "open: every number is interim", "closed": "closed"}
        rows += [
            ("Study", f"{study.name} (number {study.id})"),
            ("State", state.get(study.state, study.state)),
            ("Purpose", study.description or "not stated"),
            ("Arm", ARMS[study.arm]),
            ("Seed of all orders", str(study.seed)),
            ("Repeat reads", repeats if study.repeat_share else "none"),
            ("Training", _training(told)),
            ("Made", f"{study.created_at:%d %b %Y} by {study.created_by}"),
        ]
    readers = study.readers if study is not None else report.readers
    notes = models_notes(material)
    rows += [
        ("Readers", f"{len(readers)}: {listed(list(readers))}"),
        (
            "Cases",
            f"{len(material.table.cases)}, {report.n_cases} of them scored, "
            f"{report.n_cases_complete} by every reader",
        ),
        (
            "Patients",
            str(len(set(material.table.patients)))
            if study is not None
            else "not known; every patch counts as one",
        ),
        ("Read", span(moments) or "nothing yet"),
        (
            "Models",
            f"{material.model_set}, checksum {material.model_sha256}"
            if material.model_set
            else "none",
        ),
        *(
            [
                ("Scale of the models", models_scale(material.model_set, material.scale)),
                ("Models scored with", listed(list(material.model_software)) or "no score yet"),
                *([("To bear in mind", " ".join(notes))] if notes else []),
            ]
            if material.model_set
            else []
        ),
        ("Scored with", listed(sorted({r.software for r in (*material.rows, *material.free)}))),
    ]
    if material.n_seen:
        given = counted(material.n_seen, "score")
        rows.append(("Left out", f"{given} given by who had met the models' output for the patch"))
    if study is not None:
        rows.append(
            (
                "Amendments",
                f"{len(told.amendments)}; the statistics keep every score as it was committed",
            )
        )
    return rows


def _training(told: Content) -> str:
    study = told.material.study
    if study is None or not study.n_training:
        return "none"
    line = (
        f"; goes on with a mean error of {100 * study.proficiency:g} points or less"
        if study.proficiency is not None
        else ""
    )
    feedback = "with" if study.show_feedback else "without"
    return f"{counted(study.n_training, 'case')}, {feedback} the reference shown{line}"


def origin_rows(told: Content) -> list[tuple[str, str]]:
    """What the report was made with and what it can be held against."""
    return [
        ("Made", f"{told.made_at:%Y-%m-%d %H:%M:%S} UTC by {told.made_by}"),
        ("Software", told.software),
        ("Audit trail, last event", str(told.head.sequence)),
        ("Audit trail, hash of it", told.head.hash),
        ("Blinding", told.note),
    ]
