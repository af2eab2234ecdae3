"""Feature sets on one matrix and many splits -> predictions of every model, shared work done once.

Splits of one kind and seed have most training rows in common, and raw columns and their principal
axes share one matrix: sums over common rows, and decompositions, are made once. What is stored
already is not computed again. Between linear_probe.py above and ridge.py below.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import numpy.typing as npt

from crystalssl.evaluation import scoring
from crystalssl.evaluation._model_code import LINEAR
from crystalssl.evaluation.feature_sets import FeatureSet
from crystalssl.evaluation.protocols import GROUPED, Split
from crystalssl.evaluation.scenario import digest
from crystalssl.evaluation.scoring import Scorer
from crystalssl.evaluation.store import Part, Store
from crystalssl.models.arrays import Features, Floats, Index
from crystalssl.models.ridge import (
    LinearModel,
    SufficientStatistics,
    decompose,
    fit_ols,
    fit_ridge,
    predict_all,
)

CODE = (*LINEAR, scoring)
"""Modules that make the numbers; a change there makes stored parts outdated."""
ERRORS, PREDICTIONS = "errors", "predictions"
"""Names of the stored array (models, targets, test rows) of errors, and of the table for parity."""


class SharedSums:
    """Sums over the training rows of splits; rows that splits have in common are summed once.

    A family is the splits of one kind and seed, stored results or not, so that a resumed run adds
    up in the same order. A split whose rows hold those of a smaller one adds what it has more;
    others add to the rows that all have in common. Splits of a family should be asked for from
    the smallest to the largest: what no larger one needs is let go.
    """

    def __init__(self, matrix: Features, labels: Floats, splits: Sequence[Split]) -> None:
        self._matrix, self._labels = matrix, labels
        families: dict[tuple[str, int], list[Index]] = {}
        for split in sorted(splits, key=lambda split: len(split.train)):
            families.setdefault((split.kind, split.seed), []).append(split.train)
        self._families = {name: _steps(rows) for name, rows in families.items()}
        self._family: tuple[str, int] | None = None
        self._held: dict[int, tuple[SufficientStatistics, float]] = {}  # of that family, by step

    def of(self, split: Split) -> tuple[SufficientStatistics | None, float]:
        """Sums over the training rows, and the seconds that they take from scratch.

        None where there are fewer rows than columns: then no sums over rows are needed.
        """
        if len(split.train) < self._matrix.shape[1]:
            return None, 0.0
        family = (split.kind, split.seed)
        if family != self._family:
            self._family, self._held = family, {}  # frees the sums of the family before
        steps = self._families[family]
        place = next(p for p, s in enumerate(steps) if p and np.array_equal(s.rows, split.train))
        found = self._sums(steps, place)
        needed = {step.before for step in steps[place + 1 :]}
        self._held = {key: sums for key, sums in self._held.items() if key in needed}
        return found

    def _sums(self, steps: Sequence[_Step], place: int) -> tuple[SufficientStatistics, float]:
        """Sums over the rows of a step, and their seconds from scratch."""
        if place in self._held:
            return self._held[place]
        step, seconds = steps[place], 0.0
        if step.before is None:
            start = time.perf_counter()
            sums = SufficientStatistics.of(self._matrix, self._labels, step.rows)
        else:
            sums, seconds = self._sums(steps, step.before)
            start = time.perf_counter()
            rest = np.setdiff1d(step.rows, steps[step.before].rows)
            if len(rest):
                sums = sums.plus(self._matrix, self._labels, rest)
        self._held[place] = sums, seconds + time.perf_counter() - start
        return self._held[place]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Step:
    """Rows to sum over, and the step whose rows are among them; None where none is worth it."""

    rows: Index
    before: int | None


def _steps(families: Sequence[Index]) -> list[_Step]:
    """How the rows of splits, few first, are summed; the first step is what all have in common."""
    common = reduce(np.intersect1d, families)
    steps = [_Step(rows=common, before=None)]
    for rows in families:
        within = [p for p, s in enumerate(steps) if not len(np.setdiff1d(s.rows, rows))]
        worth = [place for place in within if 2 * len(steps[place].rows) >= len(rows)]
        steps.append(_Step(rows=rows, before=worth[-1] if worth else None))
    return steps


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What all fits of one comparison share.

    Attributes:
        labels: (n, t) labels, known for every row in use.
        groups: (n,) formula of each crystal.
        models: ``ols`` and/or ``ridge``.
        scorer: makes an empty scorer for a split.
        store: keeps finished parts; None computes everything.
        data: digest of labels, formulas and ids.
    """

    labels: Floats
    groups: npt.NDArray[np.str_]
    models: tuple[str, ...]
    scorer: Callable[[Split], Scorer]
    store: Store | None
    data: str


def fit_sets(
    sets: Sequence[FeatureSet], splits: Sequence[Split], job: Job
) -> Iterator[tuple[FeatureSet, Split, str, Part]]:
    """Results of feature sets that lie on one matrix, split by split.

    Args:
        sets: the same matrix, as columns or as its leading principal axes.
        splits: in any order.
        job: what they share.

    Yields:
        Set, split, key of the stored part, and the part: tidy rows, errors, predictions.
    """
    matrix = sets[0].matrix
    content = digest([matrix]) if job.store is not None else ""
    sums = SharedSums(matrix, job.labels, splits)
    for split in sorted(splits, key=lambda split: (split.kind, split.seed, len(split.train))):
        keys = [_key(part, split, job, content) for part in sets]
        stored = [_stored(job, key) for key in keys]
        missing = any(part is None for part in stored)
        if missing:
            stored = _fit(sets, split, job, sums)
        if job.store is not None:
            job.store.count(**{"computed" if missing else "reused": len(sets)})
            for key, part in zip(keys, stored, strict=True):
                if missing and part is not None:
                    job.store.put(key, part)
        for feature_set, key, part in zip(sets, keys, stored, strict=True):
            if part is not None:
                yield feature_set, split, key, part


def _stored(job: Job, key: str) -> Part | None:
    return None if job.store is None else job.store.get(key)


def _key(part: FeatureSet, split: Split, job: Job, content: str) -> str:
    if job.store is None:
        return ""
    settings = {
        "set": [part.name, part.width, part.rank],
        "models": job.models,
        "split": [split.kind, split.train_fraction, split.seed, split.fold],
        "predictions": split.keep_predictions,
    }
    rows = digest([split.train, split.test])
    return job.store.key("linear_probe", settings, data=[job.data, content, rows], code=CODE)


def _fit(sets: Sequence[FeatureSet], split: Split, job: Job, sums: SharedSums) -> list[Part | None]:
    """Every model on every set of one split; fit seconds are those from scratch."""
    matrix = sets[0].matrix
    known, gathering = sums.of(split)
    start = time.perf_counter()
    full = decompose(matrix, job.labels, split.train, known)
    full = replace(full, cache={} if len(sets) > 1 else None)
    common = gathering + time.perf_counter() - start
    # the strength is judged as the test part will be: on new formulas, or on new rows
    alike = job.groups[split.train] if split.kind in GROUPED else None
    fits: list[tuple[FeatureSet, str, LinearModel, float]] = []
    for part in sets:
        spectrum = full if part.rank is None else full.truncate(part.rank)
        for model in job.models:
            begin = time.perf_counter()
            if model == "ols":
                fitted = fit_ols(spectrum, matrix)
            else:
                fitted = fit_ridge(spectrum, matrix, groups=alike, seed=split.seed)
            fits.append((part, model, fitted, common + time.perf_counter() - begin))
    guesses = predict_all([fit[2] for fit in fits], matrix, split.test)
    found: list[Part | None] = []
    for part in sets:
        score, errors = job.scorer(split), []
        for (own, model, fitted, seconds), guess in zip(fits, guesses, strict=True):
            if own is part:
                score.add(part, model, guess, fitted, seconds)
                errors.append((guess - score.labels[split.test]).T)
        found.append(
            Part(
                rows=tuple(score.rows),
                tables={PREDICTIONS: score.prediction_table()},
                arrays={ERRORS: np.stack(errors)},
            )
        )
    return found
