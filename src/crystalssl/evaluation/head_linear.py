"""Linear heads: ridge regression for numbers, logistic regression for classes.

Both standardise with the training rows, limit other rows to the range seen there (as the linear
probe does, for all feature sets alike), and choose their strength inside the training rows.
Source: ridge.py; logistic regression of scikit-learn.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from crystalssl.evaluation._columns import standardise
from crystalssl.evaluation.heads import Groups, Kind, inner_split, label_columns, stacked
from crystalssl.evaluation.moments import Features, Floats, Index, parts
from crystalssl.evaluation.ridge import LinearModel, fit_ridge, training_range
from crystalssl.evaluation.spectrum import Limits, Scaler, decompose, fit_scaler


@dataclass(frozen=True, kw_only=True, slots=True)
class Standardised:
    """Columns standardised with training rows and limited to the range seen there.

    Attributes:
        scaler: statistics of the training rows.
        low: (p,) least standardised value of each column that varies.
        high: (p,) greatest.
    """

    scaler: Scaler
    low: npt.NDArray[np.float32]
    high: npt.NDArray[np.float32]

    @staticmethod
    def fit(matrix: Features, rows: Index, widest: float = np.inf) -> Standardised:
        """Statistics and ranges of the training rows.

        Args:
            matrix: (n, p) features.
            rows: training rows.
            widest: standard deviations from the mean at which values are limited in any case.

        Raises:
            InputError: if a value is not finite, or no column varies.
        """
        scaler = fit_scaler(matrix, rows)
        ends = [
            np.clip((end[scaler.columns] - scaler.centre) / scaler.scale, -widest, widest)
            for end in training_range(matrix, rows)
        ]
        return Standardised(
            scaler=scaler, low=ends[0].astype(np.float32), high=ends[1].astype(np.float32)
        )

    def chunk(self, matrix: Features, rows: Index) -> npt.NDArray[np.float32]:
        """(m, p) standardised float32 copy of some rows."""
        scaled = np.empty((len(rows), len(self.low)), np.float32)
        self._fill(scaled, matrix, rows)
        return scaled

    def _fill(self, scaled: npt.NDArray[np.float32], matrix: Features, rows: Index) -> None:
        scaler, narrow = self.scaler, np.float32
        part = matrix[rows].astype(narrow, copy=False)
        centre, scale = scaler.centre.astype(narrow), scaler.scale.astype(narrow)
        standardise(part, scaler.columns, centre, scale, self.low, self.high, scaled)

    def whole(self, matrix: Features, rows: Index, multiple: int = 1) -> npt.NDArray[np.float32]:
        """The same for many rows, filled in chunks.

        Args:
            matrix: (n, p) features.
            rows: (m,) rows.
            multiple: columns of zeros are added up to a multiple of this.
        """
        width = len(self.low)
        filled = np.empty((len(rows), width + -width % multiple), np.float32)
        filled[:, width:] = 0.0
        for part in parts(len(rows), matrix.shape[1]):
            self._fill(filled[part], matrix, rows[part])
        return filled


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedRidge:
    """Ridge regression after fitting.

    Attributes:
        model: coefficients of every label, with the chosen strengths.
        limits: range of each column over the training rows.
        single: whether labels were of one dimension.
    """

    model: LinearModel
    limits: Limits
    single: bool

    def predict(self, matrix: Features, rows: Index) -> Floats:
        """(m,) or (m, t) predictions."""
        found = self.model.predict(matrix, rows, self.limits)
        return found[:, 0] if self.single else found


@dataclass(frozen=True, kw_only=True, slots=True)
class Ridge:
    """Ridge regression as in the linear probe: formulas left out one at a time choose it."""

    name: str = "ridge"
    """Name of the head."""
    kind: Kind = "regression"
    """What labels are."""

    def fit(
        self, matrix: Features, rows: Index, labels: Floats, groups: Groups | None, seed: int
    ) -> FittedRidge:
        """See :meth:`crystalssl.evaluation.heads.Head.fit`."""
        spectrum = decompose(matrix, label_columns(labels, rows, self.kind), rows)
        alike = None if groups is None else groups[rows]
        model = fit_ridge(spectrum, matrix, groups=alike, seed=seed)
        return FittedRidge(
            model=model, limits=training_range(matrix, rows), single=labels.ndim == 1
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedLogistic:
    """Logistic regression after fitting.

    Attributes:
        scaler: standardisation of the columns.
        models: one ``sklearn.linear_model.LogisticRegression`` a label.
        strengths: its chosen ``C``, one a label.
        single: whether labels were of one dimension.
    """

    scaler: Standardised
    models: list[Any]
    strengths: list[float]
    single: bool

    def predict(self, matrix: Features, rows: Index) -> Floats:
        """(m,) or (m, t) probabilities of class 1."""
        inputs = self.scaler.whole(matrix, rows)
        found = [model.predict_proba(inputs)[:, 1].astype(np.float64) for model in self.models]
        return stacked(found, self.single)


@dataclass(frozen=True, kw_only=True, slots=True)
class Logistic:
    """Logistic regression whose strength has the least loss on an inner part of the rows."""

    name: str = "ridge"
    """Name of the head; it takes the place of ridge where labels are classes."""
    kind: Kind = "classification"
    """What labels are."""
    strengths: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    """Inverse strengths ``C`` that are tried."""
    iterations: int = 200
    """Steps of the solver at most."""

    def fit(
        self, matrix: Features, rows: Index, labels: Floats, groups: Groups | None, seed: int
    ) -> FittedLogistic:
        """See :meth:`crystalssl.evaluation.heads.Head.fit`."""
        columns = label_columns(labels, rows, self.kind)
        scaler = Standardised.fit(matrix, rows)
        fit, check = inner_split(rows, groups, seed)
        inputs = scaler.whole(matrix, rows)
        models, chosen = [], []
        for column in columns[rows].T:
            strength = self.strengths[len(self.strengths) // 2]
            if len(np.unique(column[fit])) > 1:  # few rows may leave one class to fit on
                losses = [
                    _loss(self._solve(inputs[fit], column[fit], c), inputs[check], column[check])
                    for c in self.strengths
                ]
                strength = self.strengths[int(np.argmin(losses))]
            chosen.append(strength)
            models.append(self._solve(inputs, column, strength))
        return FittedLogistic(
            scaler=scaler, models=models, strengths=chosen, single=labels.ndim == 1
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
    share = np.clip(model.predict_proba(inputs)[:, 1], 1e-7, 1 - 1e-7)
    return float(-np.where(truth > 0.5, np.log(share), np.log(1 - share)).mean())
