"""Heads of trees: LightGBM, the baseline that raw FTCP gets in every scenario, and random forest.

Boosting stops on an inner part of the training rows with formulas kept whole; where rows are few
the model is then fitted again to all of them. The forest, of scikit-learn, is the third model of
the published comparison and chooses nothing; its columns are binned first, as for boosting. The
settings were chosen on validation rows of raw FTCP, not of our features. Extra: ``boosting``.
Sources: Ke et al., NeurIPS 2017, https://lightgbm.readthedocs.io; Breiman, Machine Learning 45
(2001) 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from crystalssl.errors import missing_extra
from crystalssl.models.arrays import Features, Floats, Index
from crystalssl.models.bins import Bins
from crystalssl.models.contract import Fitted, Head, Kind, Training
from crystalssl.processes import usable_cores


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedLightGBM(Fitted):
    """Boosted trees after fitting.

    Attributes:
        boosters: one ``lightgbm.Booster`` a label, for instance for ``shap.TreeExplainer``.
        rounds: its number of trees, one a label.
    """

    boosters: list[Any]
    rounds: list[int]

    def _predict(self, matrix: Features, rows: Index) -> Floats:
        values = matrix[rows]
        return np.stack([booster.predict(values) for booster in self.boosters], axis=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class LightGBM(Head):
    """Gradient-boosted trees on histograms."""

    name: str = "lightgbm"
    """Name in the registry."""
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
    """Fraction of the columns that each tree may use."""
    least_columns: int = 100
    """Columns that each tree may use at least."""
    row_share: float = 0.8
    """Fraction of the rows that each tree is grown on."""
    ridge: float = 1.0
    """L2 penalty of leaf values."""
    bins: int = 63
    """Bins of a column at most."""
    bin_rows: int = 5_000
    """Rows from which bins are made at most; no label is looked at."""
    absolute: bool = False
    """Whether absolute errors of numbers are minimised, and not squared ones."""
    refit_below: int = 10_000
    """Training rows below which the model is fitted again to all of them, inner part included."""

    def _fit(self, data: Training) -> FittedLightGBM:
        lightgbm = import_lightgbm()
        settings = self._settings(data.matrix.shape[1], data.seed)
        # binned once; subsets of it share the bins, which know no label
        whole = lightgbm.Dataset(data.matrix[data.rows], params=settings).construct()
        fit, check = data.inner_split()
        outer, inner = (whole.subset(rows.tolist()).construct() for rows in (fit, check))
        boosters = [
            lightgbm.train(
                settings,
                outer.set_label(target[fit]),
                num_boost_round=self.rounds,
                valid_sets=[inner.set_label(target[check])],
                callbacks=[lightgbm.early_stopping(self.patience, verbose=False)],
            )
            for target in data.targets
        ]
        rounds = [booster.best_iteration for booster in boosters]
        if len(data.rows) < self.refit_below:
            boosters = [
                lightgbm.train(settings, whole.set_label(target), num_boost_round=count)
                for target, count in zip(data.targets, rounds, strict=True)
            ]
        return FittedLightGBM(boosters=boosters, rounds=rounds, label_shape=data.label_shape)

    def _settings(self, width: int, seed: int) -> dict[str, Any]:
        """Parameters in LightGBM's words."""
        numbers = "regression_l1" if self.absolute else "regression"
        return {
            "objective": numbers if self.kind == "regression" else "binary",
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


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedForest(Fitted):
    """A forest after fitting.

    Attributes:
        bins: what values become before trees see them.
        forests: one scikit-learn forest a label.
        kind: what labels are.
    """

    bins: Bins
    forests: list[Any]
    kind: Kind

    def _predict(self, matrix: Features, rows: Index) -> Floats:
        values = self.bins.transform(matrix, rows)
        if self.kind == "classification":
            return np.stack([f.predict_proba(values)[:, 1] for f in self.forests], axis=1)
        return np.stack([forest.predict(values) for forest in self.forests], axis=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class RandomForest(Head):
    """Averaged trees, each on a bootstrap sample of the rows.

    Not LightGBM with ``boosting="rf"``: in one measurement on raw FTCP of the bundled crystals
    (docs/experiments.md) its error was 5 % larger and it took three times as long, untuned.
    """

    name: str = "random_forest"
    """Name in the registry."""
    threads: int = 0
    """Threads at most; 0 for all cores."""
    trees: int = 200
    """Number of trees."""
    column_share: float = 0.05
    """Fraction of the columns that each split may use."""
    leaf_rows: int = 1
    """Rows in a leaf at least."""
    bins: int = 255
    """Bins of a column; a column of fewer values is left as it is."""
    bin_rows: int = 5_000
    """Rows from which bins are made at most; no label is looked at."""

    def _fit(self, data: Training) -> FittedForest:
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        bins = Bins.of(data.matrix, data.rows, self.bins, self.bin_rows)
        values = bins.transform(data.matrix, data.rows, self.threads or usable_cores())
        grow = RandomForestClassifier if self.kind == "classification" else RandomForestRegressor
        forests = [
            grow(
                n_estimators=self.trees,
                max_features=self.column_share,
                min_samples_leaf=self.leaf_rows,
                n_jobs=self.threads or -1,
                random_state=data.seed,
            ).fit(values, target)
            for target in data.targets
        ]
        return FittedForest(
            bins=bins, forests=forests, kind=self.kind, label_shape=data.label_shape
        )


def import_lightgbm() -> ModuleType:
    """The package.

    Raises:
        MissingExtraError: if it is not installed.
    """
    try:
        import lightgbm
    except ImportError as error:
        raise missing_extra("lightgbm", "fit", "Gradient boosting") from error
    module: ModuleType = lightgbm
    return module
