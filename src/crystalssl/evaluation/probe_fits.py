"""Feature sets on one matrix and many splits -> predictions of every model, shared work done once.

Splits of one kind and seed have most training rows in common, and raw columns and their principal
axes share one matrix: sums over common rows, and decompositions, are made once. What is stored
already is not computed again. Between linear_probe.py above and ridge.py below.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt

from crystalssl.evaluation import low_rank, moments, ridge, scoring, spectrum
from crystalssl.evaluation.feature_sets import FeatureSet
from crystalssl.evaluation.moments import Features, Floats, Index, Moments
from crystalssl.evaluation.protocols import GROUPED, Split
from crystalssl.evaluation.ridge import Limits, LinearModel, fit_ols, fit_ridge, training_range
from crystalssl.evaluation.scenario import digest
from crystalssl.evaluation.scoring import Scorer
from crystalssl.evaluation.spectrum import decompose
from crystalssl.evaluation.store import Part, Store

CODE = (low_rank, moments, ridge, scoring, spectrum)
"""Modules that make the numbers; a change there makes stored parts outdated."""
ERRORS, PREDICTIONS = "errors", "predictions"
"""Names of the stored array (models, targets, test rows) of errors, and of the table for parity."""


class SharedSums:
    """Sums over the training rows of splits; rows common to a family of splits are summed once.

    A family is the splits of one kind and seed. Its common rows are those of all its splits,
    stored results or not, so that a resumed run adds up in the same order.
    """

    def __init__(self, matrix: Features, labels: Floats, splits: Sequence[Split]) -> None:
        self._matrix, self._labels = matrix, labels
        families: dict[tuple[str, int], list[Index]] = {}
        for split in splits:
            families.setdefault((split.kind, split.seed), []).append(split.train)
        self._common = {name: reduce(np.intersect1d, rows) for name, rows in families.items()}
        self._held: tuple[tuple[str, int], Moments, float] | None = None

    def of(self, split: Split) -> tuple[Moments | None, float]:
        """Sums over the training rows, and the seconds that they take from scratch.

        None where there are fewer rows than columns: then no sums over rows are needed.
        """
        if len(split.train) < self._matrix.shape[1]:
            return None, 0.0
        family = (split.kind, split.seed)
        common = self._common[family]
        if len(common) < len(split.train) // 2:
            common = split.train
        if self._held is None or self._held[0] != family or self._held[1].count != len(common):
            self._held = None  # frees the sums of the family before
            start = time.perf_counter()
            base = Moments.of(self._matrix, self._labels, common)
            self._held = (family, base, time.perf_counter() - start)
        _, base, seconds = self._held
        rest = np.setdiff1d(split.train, common)
        if not len(rest):
            return base, seconds
        start = time.perf_counter()
        whole = base.plus(self._matrix, self._labels, rest)
        return whole, seconds + time.perf_counter() - start


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
        splits: in any order; families should stand together.
        job: what they share.

    Yields:
        Set, split, key of the stored part, and the part: tidy rows, errors, predictions.
    """
    matrix = sets[0].matrix
    content = digest([matrix]) if job.store is not None else ""
    sums = SharedSums(matrix, job.labels, splits)
    for split in splits:
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
    limits = (known.low, known.high) if known else training_range(matrix, split.train)
    common = gathering + time.perf_counter() - start
    # the strength is judged as the test part will be: on new formulas, or on new rows
    alike = job.groups[split.train] if split.kind in GROUPED else None
    found: list[Part | None] = []
    for part in sets:
        spectrum = full if part.rank is None else full.truncate(part.rank)
        score, errors = job.scorer(split), []
        for model in job.models:
            begin = time.perf_counter()
            if model == "ols":
                fitted = fit_ols(spectrum, matrix)
            else:
                fitted = fit_ridge(spectrum, matrix, groups=alike, seed=split.seed)
            seconds = common + time.perf_counter() - begin
            errors.append(_score(score, part, model, fitted, limits, seconds))
        found.append(
            Part(
                rows=tuple(score.rows),
                tables={PREDICTIONS: score.prediction_table()},
                arrays={ERRORS: np.stack(errors)},
            )
        )
    return found


def _score(
    score: Scorer,
    part: FeatureSet,
    model: str,
    fitted: LinearModel,
    limits: Limits,
    seconds: float,
) -> Floats:
    """Score a fitted model on the test rows; returns its errors, (targets, test rows)."""
    predicted = fitted.predict(part.matrix, score.split.test, limits)
    score.add(part, model, predicted, fitted, seconds)
    errors: Floats = (predicted - score.labels[score.split.test]).T
    return errors
