"""Gradient boosting head: LightGBM, the opponent that raw FTCP is given in every scenario.

Rounds are stopped on an inner part of the training rows with formulas kept whole; where rows are
few the model is then fitted anew to all of them. Settings were chosen on validation rows of raw
FTCP, not of our features. Needs the extra ``boosting``.
Source: Ke et al., NeurIPS 2017; https://lightgbm.readthedocs.io
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from crystalssl.errors import missing_extra
from crystalssl.evaluation.heads import Groups, Kind, inner_split, label_columns, stacked
from crystalssl.evaluation.moments import Features, Floats, Index, parts


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedLightGBM:
    """Boosted trees after fitting.

    Attributes:
        boosters: one ``lightgbm.Booster`` a label, for instance for ``shap.TreeExplainer``.
        rounds: its number of trees, one a label.
        single: whether labels were of one dimension.
    """

    boosters: list[Any]
    rounds: list[int]
    single: bool

    def predict(self, matrix: Features, rows: Index) -> Floats:
        """(m,) or (m, t) predictions; probabilities of class 1 where labels were classes."""
        found = [np.empty(len(rows)) for _ in self.boosters]
        for part in parts(len(rows), matrix.shape[1]):
            chunk = matrix[rows[part]]
            for booster, values in zip(self.boosters, found, strict=True):
                values[part] = booster.predict(chunk)
        return stacked(found, self.single)


@dataclass(frozen=True, kw_only=True, slots=True)
class LightGBM:
    """Gradient-boosted trees on histograms."""

    name: str = "lightgbm"
    """Name of the head."""
    kind: Kind = "regression"
    """What labels are."""
    threads: int = 0
    """Threads at most; 0 for all cores. The result does not depend on it."""
    rounds: int = 1500
    """Trees at most."""
    patience: int = 30
    """Trees without a lower error on the inner part before it stops."""
    learning_rate: float = 0.1
    """Shrinkage of each tree."""
    leaves: int = 31
    """Leaves of a tree at most."""
    leaf_rows: int = 5
    """Rows in a leaf at least."""
    column_share: float = 0.05
    """Share of the columns that each tree may use."""
    least_columns: int = 100
    """Columns that each tree may use at least."""
    row_share: float = 0.8
    """Share of the rows that each tree is grown on."""
    ridge: float = 1.0
    """L2 penalty of leaf values."""
    bins: int = 63
    """Bins of a column at most."""
    bin_rows: int = 5_000
    """Rows from which bins are made at most; no label is looked at."""
    refit_below: int = 10_000
    """Training rows below which the model is fitted anew to all of them, inner part included."""

    def fit(
        self, matrix: Features, rows: Index, labels: Floats, groups: Groups | None, seed: int
    ) -> FittedLightGBM:
        """See :meth:`crystalssl.evaluation.heads.Head.fit`."""
        lightgbm = import_lightgbm()
        columns = np.ascontiguousarray(label_columns(labels, rows, self.kind)[rows].T)
        settings = self._settings(matrix.shape[1], seed)
        # binned once; parts of it share the bins, which know no label
        data = lightgbm.Dataset(matrix[rows], params=settings).construct()
        fit, check = inner_split(rows, groups, seed)
        outer = data.subset(fit.tolist()).construct()
        inner = data.subset(check.tolist()).construct()
        boosters = [
            lightgbm.train(
                settings,
                outer.set_label(column[fit]),
                num_boost_round=self.rounds,
                valid_sets=[inner.set_label(column[check])],
                callbacks=[lightgbm.early_stopping(self.patience, verbose=False)],
            )
            for column in columns
        ]
        rounds = [booster.best_iteration for booster in boosters]
        if len(rows) < self.refit_below:
            boosters = [
                lightgbm.train(settings, data.set_label(column), num_boost_round=count)
                for column, count in zip(columns, rounds, strict=True)
            ]
        return FittedLightGBM(boosters=boosters, rounds=rounds, single=labels.ndim == 1)

    def _settings(self, width: int, seed: int) -> dict[str, Any]:
        """Parameters in LightGBM's words."""
        return {
            "objective": "regression" if self.kind == "regression" else "binary",
            "learning_rate": self.learning_rate,
            "num_leaves": self.leaves,
            "min_data_in_leaf": self.leaf_rows,
            "feature_fraction": min(1.0, max(self.column_share, self.least_columns / width)),
            "bagging_fraction": self.row_share,
            "bagging_freq": 1,
            "lambda_l2": self.ridge,
            "max_bin": self.bins,
            "bin_construct_sample_cnt": self.bin_rows,
            # a bundle of sparse columns is counted whole when a tree draws one of them
            "enable_bundle": False,
            "force_col_wise": True,
            "deterministic": True,
            "seed": seed,
            "num_threads": self.threads,
            "verbosity": -1,
        }


def import_lightgbm() -> ModuleType:
    """The package.

    Raises:
        MissingExtraError: if it is not installed.
    """
    try:
        import lightgbm
    except ImportError as error:
        raise missing_extra("lightgbm", "boosting", "Gradient boosting") from error
    module: ModuleType = lightgbm
    return module
