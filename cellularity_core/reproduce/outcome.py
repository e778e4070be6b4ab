"""What became of a row: its figures, or the sentence that says why there are none."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from cellularity_core.agreement import Statistic
from cellularity_core.reproduce import measure
from cellularity_core.reproduce.charts import Curve
from cellularity_core.reproduce.kept import RUN, TREES, log_rows, read_overlaps, read_scores
from cellularity_core.reproduce.learning import Runner
from cellularity_core.reproduce.material import Split
from cellularity_core.reproduce.rows import Row
from cellularity_core.training.loop import LOG

Status = Literal["done", "not run", "failed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A row and what came of it.

    Attributes
    ----------
    row : Row
    status : {"done", "not run", "failed"}
    reason : str
        Why not done; empty where done.
    agreement : mapping
        Truth to statistic, see `measure.agreement`.
    jaccard : mapping
        See `measure.jaccard`; of a cascade after its phases.
    fields : mapping
        See `measure.fields`.
    n, patients : int
        Patches with a truth (segmentations: with points), and their patients.
    seconds : float
    weights : mapping
        Path to SHA-256.
    recipe : mapping
        Its settings.
    command : str
        That makes this row alone.
    """

    row: Row
    status: Status
    reason: str = ""
    agreement: Mapping[str, Mapping[str, Statistic]] = field(default_factory=dict)
    jaccard: Mapping[str, Statistic] = field(default_factory=dict)
    fields: Mapping[str, float | int | None] = field(default_factory=dict)
    n: int = 0
    patients: int = 0
    seconds: float = 0.0
    weights: Mapping[str, str] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""

    @property
    def headline(self) -> Mapping[str, Statistic]:
        """Statistics that tables print first; none where it was not measured."""
        return measure.headline(self.agreement) if self.agreement else {}

    def plain(self) -> dict[str, Any]:
        """As ``results.json`` holds it."""
        return {
            "row": self.row.name,
            "title": self.row.title,
            "method": self.row.kind,
            "start": self.row.init,
            "status": self.status,
            "reason": self.reason,
            "n": self.n,
            "patients": self.patients,
            "agreement": {
                truth: {name: asdict(found) for name, found in statistics.items()}
                for truth, statistics in self.agreement.items()
            },
            "jaccard": {name: asdict(found) for name, found in self.jaccard.items()},
            "fields": dict(self.fields),
            "paper": {name: list(figure) for name, figure in self.row.paper.items()},
            "paper_source": self.row.source if self.row.paper else "",
            "seconds": self.seconds,
            "weights": dict(self.weights),
            "recipe": dict(self.recipe),
            "command": self.command,
        }


def measured(runner: Runner, row: Row, splits: Sequence[Split], command: str) -> Outcome:
    """Figures of a row whose runs are done, over the patients of all its splits."""
    import json

    folders = [runner.folder(row.name, split) for split in splits]
    scored = [one for folder in folders for one in read_scores(folder)]
    overlaps = [one for folder in folders for one in read_overlaps(folder)]
    told = [json.loads((folder / RUN).read_text(encoding="utf-8")) for folder in folders]
    graded = [one for one in scored if one.truths] or overlaps
    return Outcome(
        row=row,
        status="done",
        agreement=measure.agreement(scored, runner.material.truth_word) if scored else {},
        jaccard=measure.jaccard(overlaps) if overlaps or row.kind == "segmentation" else {},
        fields=measure.fields(scored) if any(one.field for one in scored) else {},
        n=len(graded),
        patients=len({one.patient for one in graded}),
        seconds=sum(float(one["seconds"]) for one in told),
        weights={
            f"{folder.relative_to(runner.out).as_posix()}/{name}": checksum
            for folder, one in zip(folders, told, strict=True)
            for name, checksum in one["weights"].items()
        },
        recipe=recipe_of(runner, row),
        command=command,
    )


def recipe_of(runner: Runner, row: Row) -> dict[str, Any]:
    """Settings of a row's recipe; none for the classical peer, which has no recipe."""
    return {} if row.kind == "classical" else asdict(runner.recipes(row.name))


def jaccard_curve(runner: Runner, row: Row, split: Split) -> Curve:
    """Mean Jaccard index on the measured patients by epoch."""
    return _curve([runner.folder(row.name, split) / LOG], "jaccard")


def mse_curve(runner: Runner, row: Row, split: Split) -> Curve:
    """MSE by epoch; of a cascade its phases one after the other."""
    folder = runner.folder(row.name, split)
    phases = ("frozen", "joint") if row.kind == "cascade" else ("",)
    return _curve([folder / phase / LOG for phase in phases], "mse")


def gain(runner: Runner, row: Row, split: Split) -> dict[str, float]:
    """Total gain of every feature in a row's trees."""
    from cellularity_core.boosting import BoostedTrees

    return BoostedTrees.load(runner.folder(row.name, split) / TREES).gain()


def _curve(logs: Sequence[Any], column: str) -> Curve:
    points: list[tuple[float, float]] = []
    before = 0.0
    for path in logs:
        rows = log_rows(path)
        points += [
            (before + float(row["epoch"]), float(row[column])) for row in rows if row.get(column)
        ]
        before += float(rows[-1]["epoch"]) if rows else 0.0
    return points
