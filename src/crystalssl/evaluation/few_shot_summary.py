"""Scored draws of few_shot.py -> paired differences, and means with intervals.

Differences are taken draw by draw: both sides saw the same labels and were tested on the same
crystals. After few_shot.py, before the table on screen and the report.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from crystalssl.evaluation.bench import THEN
from crystalssl.evaluation.intervals import (
    OVER_DRAWS,
    OVER_FORMULAS,
    Estimate,
    Metric,
    Resamples,
    percentile_interval,
    t_interval,
)
from crystalssl.evaluation.scenario import ScenarioResult
from crystalssl.evaluation.scoring import MEAN
from crystalssl.models.arrays import Floats, Index

COMPARED: tuple[Metric, ...] = ("r2", "rmse")
"""Metrics of which differences are taken."""
UNKNOWN = "none"
"""Kind of interval where one draw gives none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """One model on one feature set in one draw, for one property.

    Attributes:
        rows: its tidy rows.
        test: (m,) test rows.
        truth: (m,) what was to be predicted.
        guess: (m,) predictions.
    """

    rows: tuple[ScenarioResult, ...]
    test: Index
    truth: Floats
    guess: Floats

    def value(self, metric: str) -> float:
        """The number of a metric."""
        return next(row.value for row in self.rows if row.metric == metric)


Cell = tuple[str, float, str, str]
"""Property, share of labels, feature set, model."""
Draws = dict[tuple[int, int], Scored]
"""Scored draws by seed and fold."""


def cells_of(found: Iterable[Scored]) -> dict[Cell, Draws]:
    """Scored draws of each cell."""
    cells: dict[Cell, Draws] = {}
    for entry in found:
        row = entry.rows[0]
        key = (row.property, row.train_fraction, row.feature_set, row.model)
        cells.setdefault(key, {})[row.seed, row.fold] = entry
    return cells


def _pairs(cells: dict[Cell, Draws], ours: Sequence[str]) -> list[tuple[Cell, Cell]]:
    """Cells of ours, each with those of every other feature set under the same model."""
    return [
        (mine, other)
        for mine in cells
        if mine[2] in ours
        for other in cells
        if other[:2] == mine[:2]
        and other[3] == mine[3]
        and other[2] not in (*ours, MEAN)
        and THEN not in other[2]
    ]


def differences(found: Sequence[Scored], ours: Sequence[str]) -> list[ScenarioResult]:
    """Rows ``r2_difference`` and ``rmse_difference``, ours minus each baseline, draw by draw.

    Args:
        found: scored draws.
        ours: feature sets of interest.
    """
    cells = cells_of(found)
    return [
        replace(
            entry.rows[0],
            feature_set=f"{mine[2]} - {other[2]}",
            metric=f"{metric}_difference",
            value=entry.value(metric) - cells[other][seed].value(metric),
        )
        for mine, other in _pairs(cells, ours)
        for seed, entry in cells[mine].items()
        if seed in cells[other]
        for metric in COMPARED
    ]


def estimates(
    found: Sequence[Scored], groups: npt.NDArray[np.str_], ours: Sequence[str], base: str
) -> list[Estimate]:
    """Means with intervals of every number and of every difference.

    Against ``base`` there is one more difference: each model of ours against the model that
    serves the baseline best on the test part, a choice that favours the baseline.

    Args:
        found: scored draws of properties known for the same crystals.
        groups: (n,) formula of each crystal.
        ours: feature sets of interest.
        base: name of the main baseline.
    """
    if not found:
        return []
    cells = cells_of(found)
    resamples = Resamples.draw(groups[found[0].test])
    single = [estimate for cell in cells.values() for estimate in alone_estimates(cell, resamples)]
    paired = [
        estimate
        for mine, other in _pairs(cells, ours)
        for estimate in difference_estimates(cells[mine], cells[other], other[2], resamples)
    ]
    for mine in [cell for cell in cells if cell[2] in ours]:
        rivals = [cell for cell in cells if cell[:2] == mine[:2] and cell[2] == base]
        if rivals:
            best = max(rivals, key=lambda cell: _mean(cells[cell], "r2"))
            name = f"{base}, best head ({best[3]})"
            paired += difference_estimates(cells[mine], cells[best], name, resamples)
    return [*single, *paired]


def _mean(draws: Draws, metric: str) -> float:
    return float(np.mean([entry.value(metric) for entry in draws.values()]))


def alone_estimates(draws: Draws, resamples: Resamples) -> list[Estimate]:
    """Estimates of every metric of one model on one feature set.

    Args:
        draws: its scored draws.
        resamples: test parts for the interval of a single draw.
    """
    first = next(iter(draws.values()))
    found = []
    for metric in [row.metric for row in first.rows]:
        mean, low, high = t_interval([entry.value(metric) for entry in draws.values()])
        kind = OVER_DRAWS
        if len(draws) == 1:
            drawn = {"r2": "r2", "rmse": "rmse", "contribution": "r2"}.get(metric)
            low, high, kind = np.nan, np.nan, UNKNOWN
            if drawn is not None:
                measure: Metric = "rmse" if drawn == "rmse" else "r2"
                values = resamples.metric(measure, first.truth, first.guess)
                (low, high), kind = percentile_interval(values), OVER_FORMULAS
        found.append(_estimate(first.rows[0], "", metric, (mean, low, high), len(draws), kind))
    return found


def difference_estimates(
    mine: Draws, other: Draws, name: str, resamples: Resamples
) -> list[Estimate]:
    """Estimates of ours minus a baseline, over the draws that both have.

    Args:
        mine: scored draws of ours.
        other: those of the baseline.
        name: what goes to the column of the baseline.
        resamples: test parts for the interval of a single draw.
    """
    shared = [seed for seed in mine if seed in other]
    if not shared:
        return []
    found = []
    for metric in COMPARED:
        values = [mine[seed].value(metric) - other[seed].value(metric) for seed in shared]
        mean, low, high = t_interval(values)
        kind = OVER_DRAWS
        if len(shared) == 1:
            ours, theirs = mine[shared[0]], other[shared[0]]
            drawn = resamples.metric(metric, ours.truth, ours.guess) - resamples.metric(
                metric, theirs.truth, theirs.guess
            )
            (low, high), kind = percentile_interval(drawn), OVER_FORMULAS
        row = mine[shared[0]].rows[0]
        ends = (mean, low, high)
        found.append(_estimate(row, name, f"{metric}_difference", ends, len(shared), kind))
    return found


def _estimate(
    row: ScenarioResult,
    baseline: str,
    metric: str,
    ends: tuple[float, float, float],
    draws: int,
    kind: str,
) -> Estimate:
    return Estimate(
        property=row.property,
        unit=row.unit,
        train_fraction=row.train_fraction,
        n_train=row.n_train,
        n_test=row.n_test,
        feature_set=row.feature_set,
        baseline=baseline,
        model=row.model,
        metric=metric,
        mean=ends[0],
        low=ends[1],
        high=ends[2],
        draws=draws,
        interval=kind,
    )
