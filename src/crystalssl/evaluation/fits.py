"""One head on one feature set in one split -> predictions: read from the cache, or fitted now.

The only place where a head is fitted. Linear heads on sets that lie on one matrix share its Gram
matrix and decompositions. The key of a fit holds the content of its rows, labels and features, so
that scenarios that share a folder share fits. Before experiment.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from crystalssl.evaluation.cache import Arrays, Cache, digest
from crystalssl.evaluation.shared_gram import SharedStatistics
from crystalssl.evaluation.splits import GROUPED, Split
from crystalssl.models.arrays import Features, Floats, Groups
from crystalssl.models.contract import Fitted, Head, head_settings
from crystalssl.models.linear import LeastSquares, Ridge
from crystalssl.models.ridge import decompose, fit_ols, fit_ridge, predict_all

if TYPE_CHECKING:
    from crystalssl.evaluation.data import FeatureSet

LINEAR = (Ridge, LeastSquares)
"""Heads that share a decomposition."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """What one fitted head predicts.

    Attributes:
        predicted: (m,) predictions of the test rows.
        figures: ``fit_seconds``, and ``strength`` of linear heads.
    """

    predicted: Floats
    figures: dict[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """What is made of a fitted head beside its predictions.

    Attributes:
        make: gives arrays.
        settings: everything that they depend on, the fit apart.
    """

    make: Callable[[Fitted], Arrays]
    settings: dict[str, Any]


@dataclass(kw_only=True)
class Fitter:
    """Fits heads, each once.

    Attributes:
        hashes: digest of each feature set by name.
        groups: (n,) formula of each crystal.
        cache: keeps predictions.
        kind: what keys begin with.
        seed: seed of heads; None for the repeat of the split.
        keys: keys of everything asked for so far.
    """

    hashes: dict[str, str]
    groups: Groups
    cache: Cache
    kind: str
    seed: int | None = None
    keys: set[str] = field(default_factory=set)

    def fit(self, feature_set: FeatureSet, split: Split, head: Head, labels: Floats) -> list[Fit]:
        """One fit for each label.

        Those that are missing are fitted together, so that columns are standardised or binned
        once; each equals what it would be alone.

        Args:
            feature_set: columns to fit on.
            split: rows of both sides.
            head: model with its settings.
            labels: (n, t) labels; only training rows are read.
        """
        keys = [self._key(feature_set, split, head, column) for column in labels.T]
        with self.cache.gate(self._key(feature_set, split, head, None)):
            known = [self.cache.get(key) for key in keys]
            missing = [number for number, arrays in enumerate(known) if arrays is None]
            if missing:
                fitted, seconds = self._fitted(feature_set, split, head, labels[:, missing])
                predicted = fitted.predict(_columns(feature_set), split.test)  # (m, missing)
                for number, column in zip(missing, predicted.T, strict=True):
                    known[number] = {
                        "predicted": np.ascontiguousarray(column),
                        "fit_seconds": np.array(seconds / len(missing)),
                    }
                    self.cache.put(keys[number], known[number] or {})
        self.cache.count(computed=len(missing), reused=len(keys) - len(missing))
        return [_fit_of(arrays) for arrays in known if arrays is not None]

    def explain(
        self,
        feature_set: FeatureSet,
        split: Split,
        head: Head,
        labels: Floats,
        explanation: Explanation,
    ) -> tuple[Fit, Arrays]:
        """One fit and what is made of it; a cached fit is made again where that is new.

        Args:
            feature_set: columns to fit on.
            split: rows of both sides.
            head: model with its settings.
            labels: (n,) labels.
            explanation: what is made.
        """
        key = self._key(feature_set, split, head, labels)
        code = [__name__, explanation.make.__module__]
        made = self.cache.key(self.kind, {"of": key, **explanation.settings}, code=code)
        self.keys.add(made)
        arrays = self.cache.get(made)
        if arrays is None:
            fitted, seconds = self._fitted(feature_set, split, head, labels)
            if self.cache.get(key) is None:
                predicted = fitted.predict(_columns(feature_set), split.test)
                self.cache.put(key, {"predicted": predicted, "fit_seconds": np.array(seconds)})
                self.cache.count(computed=1, reused=-1)  # it is read back below
            arrays = explanation.make(fitted)
            self.cache.put(made, arrays)
        return self.fit(feature_set, split, head, labels[:, None])[0], arrays

    def fit_linear(
        self,
        sets: Sequence[FeatureSet],
        splits: Sequence[Split],
        heads: Sequence[Head],
        labels: Floats,
    ) -> Iterator[tuple[FeatureSet, Split, Head, list[Fit]]]:
        """Linear heads on sets that lie on one matrix, split by split.

        Args:
            sets: the same matrix, as a whole, some columns of it, or its leading principal axes.
            splits: in any order.
            heads: of the types ``LINEAR``.
            labels: (n, t) labels, known for every row in use.

        Yields:
            Set, split, head, and one fit for each label.
        """
        statistics = SharedStatistics(sets[0].matrix, labels, splits)
        # whole columns and their principal axes share a decomposition, a choice of columns has one
        sharing = [[each for each in sets if each.columns is None]]
        sharing += [[each] for each in sets if each.columns is not None]
        for split in sorted(splits, key=lambda s: (s.kind, s.repeat, len(s.train))):
            for together in filter(None, sharing):
                cells = [(each, head) for each in together for head in heads]
                keys = [[self._key(each, split, head, y) for y in labels.T] for each, head in cells]
                known = [[self.cache.get(key) for key in row] for row in keys]
                missing = sum(arrays is None for row in known for arrays in row)
                if missing:
                    known = self._linear(together, split, heads, labels, statistics)
                    for row, fresh in zip(keys, known, strict=True):
                        for key, arrays in zip(row, fresh, strict=True):
                            self.cache.put(key, arrays or {})
                total = len(cells) * labels.shape[1]
                self.cache.count(computed=missing, reused=total - missing)
                for (each, head), stored in zip(cells, known, strict=True):
                    yield each, split, head, [_fit_of(a) for a in stored if a is not None]

    def _linear(
        self,
        sets: Sequence[FeatureSet],
        split: Split,
        heads: Sequence[Head],
        labels: Floats,
        shared: SharedStatistics,
    ) -> list[list[Arrays | None]]:
        """Arrays of every head on every set, (sets x heads, t); seconds are those from scratch."""
        statistics, gathering = shared.of(split)
        start = time.perf_counter()
        matrix, columns = _columns(sets[0]), sets[0].columns
        if statistics is not None and columns is not None:
            statistics = statistics.select(columns)
        full = decompose(matrix, labels, split.train, statistics)
        del statistics
        full = replace(full, cache={} if len(sets) > 1 else None)
        common = gathering + time.perf_counter() - start
        # the strength is judged as the test part will be: on new formulas, or on new rows
        groups = self.groups[split.train] if split.kind in GROUPED else None
        models, seconds = [], []
        for each in sets:
            axes = full if each.rank is None else full.truncate(each.rank)
            for head in heads:
                start = time.perf_counter()
                if isinstance(head, LeastSquares):
                    models.append(fit_ols(axes, matrix))
                else:
                    seed = self._seed(split)
                    models.append(fit_ridge(axes, matrix, groups=groups, seed=seed))
                seconds.append(common + time.perf_counter() - start)
        predicted = predict_all(models, matrix, split.test)  # (m, t) each
        return [
            [
                {
                    "predicted": np.ascontiguousarray(values[:, number]),
                    "fit_seconds": np.array(spent),
                    "strength": model.strength[number],
                }
                for number in range(labels.shape[1])
            ]
            for values, model, spent in zip(predicted, models, seconds, strict=True)
        ]

    def _fitted(
        self, feature_set: FeatureSet, split: Split, head: Head, labels: Floats
    ) -> tuple[Fitted, float]:
        """The head after fitting, and the seconds that it took."""
        groups = self.groups if split.kind in GROUPED else None
        matrix, start = _columns(feature_set), time.perf_counter()
        fitted = head.fit(matrix, split.train, labels, groups, self._seed(split))
        return fitted, time.perf_counter() - start

    def _seed(self, split: Split) -> int:
        return split.repeat if self.seed is None else self.seed

    def _key(self, feature_set: FeatureSet, split: Split, head: Head, labels: Floats | None) -> str:
        """Digest of all that a fit depends on; without labels, of what fits of any label share."""
        grouped = split.kind in GROUPED
        settings = head_settings(head) | {"seed": self._seed(split), "grouped": grouped}
        known = (
            [self.groups[split.train]]
            if labels is None
            else [self.groups[split.train], labels[split.train]]
        )
        data = [self.hashes[feature_set.name], digest([split.train, split.test]), digest(known)]
        key = self.cache.key(self.kind, settings, data=data, code=[__name__, type(head).__module__])
        if labels is not None:
            self.keys.add(key)
        return key


def _fit_of(arrays: Arrays) -> Fit:
    figures = {name: float(value) for name, value in arrays.items() if name != "predicted"}
    return Fit(predicted=arrays["predicted"], figures=figures)


def _columns(feature_set: FeatureSet) -> Features:
    """(n, p) the columns of a set; a copy where it is a choice of them."""
    if feature_set.columns is None:
        return feature_set.matrix
    return np.ascontiguousarray(feature_set.matrix[:, feature_set.columns])
