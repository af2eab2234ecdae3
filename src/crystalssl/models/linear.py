"""Linear heads: ridge regression and least squares for numbers, logistic regression for classes.

All standardise with the training rows, clip other rows to the range seen there (as the linear
probe does, for all feature sets alike), and choose their strength inside the training rows.
Source: ridge/; logistic regression of scikit-learn.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from crystalssl.models.arrays import Features, Floats, Index
from crystalssl.models.contract import Fitted, Head, Kind, Training
from crystalssl.models.ridge import LinearModel, decompose, fit_ols, fit_ridge
from crystalssl.models.scaling import Scaler, fit_scaler


@dataclass(frozen=True, kw_only=True, slots=True)
class Ridge(Head):
    """Ridge regression; its strength has the least error on groups left out one at a time."""

    name: str = "ridge"
    """Name in the registry."""

    def _fit(self, data: Training) -> LinearModel:
        decomposition = decompose(data.matrix, data.columns, data.rows)
        groups = None if data.groups is None else data.groups[data.rows]
        model = fit_ridge(decomposition, data.matrix, groups=groups, seed=data.seed)
        return replace(model, label_shape=data.label_shape)


@dataclass(frozen=True, kw_only=True, slots=True)
class LeastSquares(Head):
    """Unregularised least squares of least norm: the baseline that shows what ridge is worth."""

    name: str = "ols"
    """Name in the registry."""

    def _fit(self, data: Training) -> LinearModel:
        model = fit_ols(decompose(data.matrix, data.columns, data.rows), data.matrix)
        return replace(model, label_shape=data.label_shape)


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedLogistic(Fitted):
    """Logistic regression after fitting.

    Attributes:
        scaler: standardisation of the columns.
        models: one ``sklearn.linear_model.LogisticRegression`` a label.
        strengths: its chosen ``C``, one a label.
    """

    scaler: Scaler
    models: list[Any]
    strengths: list[float]

    def _predict(self, matrix: Features, rows: Index) -> Floats:
        inputs = self.scaler.transform(matrix, rows, np.float32)  # (m, p)
        return np.stack([model.predict_proba(inputs)[:, 1] for model in self.models], axis=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Logistic(Head):
    """Logistic regression whose strength has the least loss on an inner part of the rows."""

    name: str = "ridge"
    """Name in the registry; it takes the place of ridge where labels are classes."""
    kind: Kind = "classification"
    """What labels are."""
    strengths: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    """Inverse strengths ``C`` that are tried."""
    iterations: int = 200
    """Steps of the solver at most."""

    def _fit(self, data: Training) -> FittedLogistic:
        scaler = fit_scaler(data.matrix, data.rows)
        inputs = scaler.transform(data.matrix, data.rows, np.float32)  # (k, p)
        fit, check = data.inner_split()
        models, chosen = [], []
        for target in data.targets:
            strength = self.strengths[len(self.strengths) // 2]
            if len(np.unique(target[fit])) > 1:  # few rows may leave one class to fit on
                losses = [
                    _loss(self._solve(inputs[fit], target[fit], c), inputs[check], target[check])
                    for c in self.strengths
                ]
                strength = self.strengths[int(np.argmin(losses))]
            chosen.append(strength)
            models.append(self._solve(inputs, target, strength))
        return FittedLogistic(
            scaler=scaler, models=models, strengths=chosen, label_shape=data.label_shape
        )

    def _solve(self, inputs: npt.NDArray[np.float32], labels: Floats, strength: float) -> Any:
        """A fitted model; unfinished where the steps run out, which only the weakest do."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return LogisticRegression(C=strength, max_iter=self.iterations).fit(inputs, labels)


def _loss(model: Any, inputs: npt.NDArray[np.float32], truth: Floats) -> float:
    """Mean negative log-likelihood of classes."""
    probability = np.clip(model.predict_proba(inputs)[:, 1], 1e-7, 1 - 1e-7)
    return float(-np.where(truth > 0.5, np.log(probability), np.log(1 - probability)).mean())
