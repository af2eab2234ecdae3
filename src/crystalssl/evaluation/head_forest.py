"""Random forest head, of scikit-learn: the third model of the published comparison.

Trees see a share of the columns at each split; nothing is chosen inside the training rows. Columns
of many values are binned first, as boosted trees do: a split then sorts few distinct values.
Source: Breiman, Machine Learning 45 (2001) 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from crystalssl.evaluation._bins import Bins
from crystalssl.evaluation.heads import Groups, Kind, label_columns, stacked
from crystalssl.evaluation.moments import Features, Floats, Index, parts
from crystalssl.processes import usable_cores


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedForest:
    """A forest after fitting.

    Attributes:
        bins: what values become before trees see them.
        forests: one scikit-learn forest a label.
        kind: what labels are.
        single: whether labels were of one dimension.
    """

    bins: Bins
    forests: list[Any]
    kind: Kind
    single: bool

    def predict(self, matrix: Features, rows: Index) -> Floats:
        """(m,) or (m, t) predictions; probabilities of class 1 where labels were classes."""
        found = [np.empty(len(rows)) for _ in self.forests]
        for part in parts(len(rows), matrix.shape[1]):
            chunk = self.bins.binned(matrix, rows[part])
            for forest, values in zip(self.forests, found, strict=True):
                if self.kind == "classification":
                    values[part] = forest.predict_proba(chunk)[:, 1]
                else:
                    values[part] = forest.predict(chunk)
        return stacked(found, self.single)


@dataclass(frozen=True, kw_only=True, slots=True)
class RandomForest:
    """Averaged trees, each on a bootstrap sample of the rows."""

    name: str = "random_forest"
    """Name of the head."""
    kind: Kind = "regression"
    """What labels are."""
    threads: int = 0
    """Threads at most; 0 for all cores."""
    trees: int = 200
    """Number of trees."""
    column_share: float = 0.05
    """Share of the columns that each split may use."""
    leaf_rows: int = 1
    """Rows in a leaf at least."""
    bins: int = 255
    """Bins of a column; a column of fewer values is left as it is."""
    bin_rows: int = 5_000
    """Rows from which bins are made at most; no label is looked at."""

    def fit(
        self, matrix: Features, rows: Index, labels: Floats, groups: Groups | None, seed: int
    ) -> FittedForest:
        """See :meth:`crystalssl.evaluation.heads.Head.fit`."""
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        columns = label_columns(labels, rows, self.kind)[rows]
        bins = Bins.of(matrix, rows, self.bins, self.bin_rows)
        inputs = bins.binned(matrix, rows, self.threads or usable_cores())
        grow = RandomForestClassifier if self.kind == "classification" else RandomForestRegressor
        forests = [
            grow(
                n_estimators=self.trees,
                max_features=self.column_share,
                min_samples_leaf=self.leaf_rows,
                n_jobs=self.threads or -1,
                random_state=seed,
            ).fit(inputs, column)
            for column in columns.T
        ]
        return FittedForest(bins=bins, forests=forests, kind=self.kind, single=labels.ndim == 1)
