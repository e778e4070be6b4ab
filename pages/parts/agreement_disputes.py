"""Cases in the order of their disagreement: pure, no widgets."""

from dataclasses import dataclass

import numpy as np

from cellularity_core.agreement import RatingTable
from pages.parts.agreement_data import single_models


@dataclass(frozen=True, slots=True)
class Disputed:
    """A case of the disagreement queue.

    Attributes
    ----------
    case : str
    scores : dict of str to float
        First reads of readers and scores of models, by rater.
    refused : tuple of str
        Readers who said that it cannot be scored.
    spread : float or None
        Largest less smallest score of readers; None with fewer than two.
    gap : float or None
        Mean of the models (see `single_models`) less mean of the readers; None without one
        of both.
    """

    case: str
    scores: dict[str, float]
    refused: tuple[str, ...]
    spread: float | None
    gap: float | None


def queue(table: RatingTable, *, by_gap: bool) -> list[Disputed]:
    """Cases with a disagreement, the largest first, by readers' spread or models' gap.

    Where two differ by as much, the case that somebody could not score comes first.
    """
    scores: dict[str, dict[str, float]] = {case: {} for case in table.cases}
    refused: dict[str, list[str]] = {case: [] for case in table.cases}
    for rating in table.ratings:
        if rating.repeat:
            continue
        if rating.score is not None:
            scores[rating.case_id][rating.reader] = rating.score
        elif rating.cannot_score and rating.kind == "reader":
            refused[rating.case_id].append(rating.reader)
    single = single_models(table.ratings)
    found = []
    for case, given in scores.items():
        readers = [score for name, score in given.items() if table.kinds[name] == "reader"]
        models = [score for name, score in given.items() if name in single]
        found.append(
            Disputed(
                case=case,
                scores=given,
                refused=tuple(refused[case]),
                spread=max(readers) - min(readers) if len(readers) > 1 else None,
                gap=float(np.mean(models) - np.mean(readers)) if models and readers else None,
            )
        )

    def size(entry: Disputed) -> tuple[float, int, str]:
        amount = entry.gap if by_gap else entry.spread
        return (1.0 if amount is None else -abs(amount), -len(entry.refused), entry.case)

    return sorted(found, key=size)
