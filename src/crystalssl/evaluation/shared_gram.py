"""Sufficient statistics (Gram matrices) of the training rows of many splits, shared among them.

Splits of one kind and repeat have most training rows in common: statistics of common rows are made
once, and each split adds what it has more. Between models/ridge and fits.py.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from crystalssl.models.arrays import Features, Floats, Index
from crystalssl.models.ridge import SufficientStatistics

if TYPE_CHECKING:
    from crystalssl.evaluation.splits import Split


@dataclass(frozen=True, kw_only=True, slots=True)
class _Step:
    """Rows to sum over, and the number of the step whose rows are among them, if any is worth it.

    Attributes:
        rows: (k,) rows.
        before: number of the step that this one starts from; None: from nothing.
    """

    rows: Index
    before: int | None


class SharedStatistics:
    """Statistics of the training rows of splits; rows that splits have in common are summed once.

    A family is the splits of one kind and repeat, cached or not, so that a resumed run adds up in
    the same order. A split whose rows contain those of a smaller one adds what it has more; others
    add to the rows that all have in common. Splits of a family should be asked for from the
    smallest to the largest: what no larger one needs is freed.
    """

    def __init__(self, matrix: Features, labels: Floats, splits: Sequence[Split]) -> None:
        self._matrix, self._labels = matrix, labels
        families: dict[tuple[str, int], list[Index]] = {}
        for split in sorted(splits, key=lambda split: len(split.train)):
            families.setdefault((split.kind, split.repeat), []).append(split.train)
        self._families = {name: _steps(rows) for name, rows in families.items()}
        self._family: tuple[str, int] | None = None
        self._kept: dict[int, tuple[SufficientStatistics, float]] = {}  # of that family, by step

    def of(self, split: Split) -> tuple[SufficientStatistics | None, float]:
        """Statistics of the training rows, and the seconds that they take from scratch.

        None where they would be nobody else's, or there are fewer rows than columns.
        """
        family = (split.kind, split.repeat)
        if family != self._family:
            self._family, self._kept = family, {}  # frees those of the family before
        steps = self._families[family]
        number = next(
            n for n, step in enumerate(steps) if n and np.array_equal(step.rows, split.train)
        )
        needed = {step.before for step in steps[number + 1 :]}
        alone = steps[number].before is None and number not in needed
        if alone or len(split.train) < self._matrix.shape[1]:
            return None, 0.0
        statistics = self._sum(steps, number)
        self._kept = {key: kept for key, kept in self._kept.items() if key in needed}
        return statistics

    def _sum(self, steps: Sequence[_Step], number: int) -> tuple[SufficientStatistics, float]:
        """Statistics of the rows of a step, and their seconds from scratch."""
        if number in self._kept:
            return self._kept[number]
        step, seconds = steps[number], 0.0
        if step.before is None:
            start = time.perf_counter()
            statistics = SufficientStatistics.of(self._matrix, self._labels, step.rows)
        else:
            statistics, seconds = self._sum(steps, step.before)
            start = time.perf_counter()
            rest = np.setdiff1d(step.rows, steps[step.before].rows)
            if len(rest):
                statistics = statistics.plus(self._matrix, self._labels, rest)
        self._kept[number] = statistics, seconds + time.perf_counter() - start
        return self._kept[number]


def _steps(families: Sequence[Index]) -> list[_Step]:
    """How the rows of splits, few first, are summed; step 0 is what all have in common."""
    steps = [_Step(rows=reduce(np.intersect1d, families), before=None)]
    for rows in families:
        within = [n for n, step in enumerate(steps) if not len(np.setdiff1d(step.rows, rows))]
        worth = [n for n in within if 2 * len(steps[n].rows) >= len(rows)]
        steps.append(_Step(rows=rows, before=worth[-1] if worth else None))
    return steps
