"""Trees on named columns beside a linear reading of learned features.

A tree cuts one column at a time. A learned feature means little by itself, and two thousand of them
hide the few columns that mean much from trees that draw columns at random. So trees read named
columns as they are, and of learned ones the leading principal axes and what a ridge predicts from
them; for training rows the ridge is one that has not seen their group, or trees would believe it
too much. A step of a tree makes stairs of a straight line, so that for numbers half of the answer
is the ridge itself with trees on what it leaves over. Sources: cross-fitting, Wolpert, Neural
Networks 5 (1992) 241; trees on residuals of a linear model, Zhang et al., arXiv:1904.10416.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import numpy as np

from crystalssl.datasets.splits import grouped_folds
from crystalssl.errors import InputError
from crystalssl.models.arrays import Features, Floats, Index
from crystalssl.models.boosting import FittedLightGBM, LightGBM
from crystalssl.models.contract import Fitted, Head, Training
from crystalssl.models.linear import Ridge
from crystalssl.models.principal_axes import fit_axes, scores_along
from crystalssl.models.ridge import LinearModel
from crystalssl.models.scaling import Scaler, fit_scaler


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedLinearBoosting(Fitted):
    """Trees and what they read, after fitting.

    Attributes:
        named: leading columns that trees read as they are.
        scaler: standardisation of the p learned columns.
        axes: (p, d) principal axes of these.
        linear: ridge on the learned columns, fitted to all training rows.
        trees: on ``named`` columns, d scores and t predictions of the ridge, side by side.
        residual: on the same columns, of what a cross-fitted ridge leaves over; None without.
    """

    named: int
    scaler: Scaler
    axes: Floats
    linear: LinearModel
    trees: FittedLightGBM
    residual: FittedLightGBM | None = None

    def _predict(self, matrix: Features, rows: Index) -> Floats:
        learned = matrix[:, self.named :]
        linear = self.linear.predict(learned, rows).reshape(len(rows), -1)  # (m, t)
        scores = scores_along(learned, rows, self.scaler, self.axes)  # (m, d)
        read = beside(matrix, rows, self.named, scores, linear)
        predicted = self.trees.predict(read).reshape(len(rows), -1)
        if self.residual is None:
            return predicted
        return 0.5 * (predicted + linear + self.residual.predict(read).reshape(len(rows), -1))


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearBoosting(Head):
    """Gradient-boosted trees on named columns, and principal axes and a ridge of the others."""

    name: str = "lightgbm_linear"
    """Name in the registry."""
    named: int = 0
    """Leading columns that trees read as they are; the others are learned features."""
    axes: int = 8
    """Principal axes of the learned features at most."""
    folds: int = 5
    """Folds in which the ridge predicts training rows that it was not fitted to."""
    widest: float = 5.0
    """Standard deviations at which learned features are clipped."""
    trees: LightGBM = field(default_factory=LightGBM)
    """Settings of the trees."""
    residuals: bool = True
    """Whether half of a predicted number is the ridge, with trees on what it leaves over."""

    def _fit(self, data: Training) -> FittedLinearBoosting:
        learned = data.matrix[:, self.named :]
        if not learned.shape[1]:
            raise InputError(
                f"Got {self.named} named columns of {self.named}, expected learned features behind "
                "them. Use LightGBM for named columns alone."
            )
        scaler = fit_scaler(learned, data.rows).clipped(self.widest)
        axes, _ = fit_axes(learned, data.rows, scaler, self.axes, data.seed)
        scores = scores_along(learned, data.rows, scaler, axes)
        unseen = self._cross_fitted(data)  # (k, t)
        read = beside(data.matrix, data.rows, self.named, scores, unseen)
        groups = None if data.groups is None else data.groups[data.rows]
        everything = np.arange(len(data.rows), dtype=np.int64)
        labels = data.labels[data.rows]
        trees = self.trees.fit(read, everything, labels, groups, data.seed)
        residual = None
        if self.residuals and self.kind == "regression":
            rest = labels - unseen.reshape(labels.shape)
            residual = self.trees.fit(read, everything, rest, groups, data.seed)
        linear = Ridge().fit(learned, data.rows, data.labels, data.groups, data.seed)
        return FittedLinearBoosting(
            named=self.named,
            scaler=scaler,
            axes=axes,
            linear=cast(LinearModel, linear),
            trees=cast(FittedLightGBM, trees),
            residual=cast(FittedLightGBM | None, residual),
            label_shape=data.label_shape,
        )

    def _cross_fitted(self, data: Training) -> Floats:
        """(k, t) predictions of training rows, each by a ridge that has not seen their group."""
        learned = data.matrix[:, self.named :]
        rows, predicted = data.rows, np.empty((len(data.rows), data.columns.shape[1]))
        names = np.arange(len(rows)).astype(np.str_) if data.groups is None else data.groups[rows]
        folds = grouped_folds(names, min(self.folds, len(np.unique(names))), data.seed)
        for held in folds:
            others = np.setdiff1d(np.arange(len(rows)), held)
            model = Ridge().fit(learned, rows[others], data.labels, data.groups, data.seed)
            predicted[held] = model.predict(learned, rows[held]).reshape(len(held), -1)
        return predicted


def beside(matrix: Features, rows: Index, named: int, scores: Floats, linear: Floats) -> Features:
    """(m, named + d + t) columns that trees read, float32."""
    return np.hstack([matrix[rows, :named], scores, linear], dtype=np.float32)
