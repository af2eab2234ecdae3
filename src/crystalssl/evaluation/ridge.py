"""Shared eigendecomposition -> least squares and ridge, with the strength chosen inside training.

The strength is the one with the least exact leave-one-group-out error over training rows: a group
(a formula) is left out with all its rows, in closed form, so one eigendecomposition serves every
strength. After spectrum.py, before linear_probe.py.
Source: Golub, Heath, Wahba, Technometrics 21 (1979) 215, extended to groups by the block inverse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from crystalssl.evaluation.spectrum import (
    Features,
    Floats,
    Index,
    Limits,
    Scaler,
    Spectrum,
    _parts,
)

STRENGTHS: Floats = np.logspace(-8, 1, 19)
"""Strengths that are tried, per training row: the penalty is strength x n x |coefficients|^2."""

GROUP_ROWS = 4096
"""Training rows, drawn as whole groups, on which the strength is judged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearModel:
    """A fitted linear model on standardised columns.

    Attributes:
        scaler: statistics of the training rows.
        coefficients: (p, t) on the standardised columns that vary.
        intercept: (t,) mean of the training targets.
        strength: (t,) chosen strength per training row; 0 for least squares.
        rank: number of principal axes in use.
    """

    scaler: Scaler
    coefficients: Floats
    intercept: Floats
    strength: Floats
    rank: int

    def predict(
        self, matrix: Features, rows: Index | None = None, limits: Limits | None = None
    ) -> Floats:
        """(m, t) predictions for some rows (all when None) of a matrix with the same columns.

        Args:
            matrix: features with the columns of the training matrix.
            rows: rows to predict.
            limits: range of each column; values outside are brought to its ends.
        """
        index = np.arange(len(matrix)) if rows is None else rows
        predicted = np.empty((len(index), self.coefficients.shape[1]))
        ends = None if limits is None else self._standardised(limits)
        for part in _parts(len(index), len(self.scaler.columns)):
            chunk = self.scaler.chunk(matrix, index[part], ends)
            predicted[part] = chunk @ self.coefficients
        return predicted + self.intercept

    def _standardised(self, limits: Limits) -> tuple[Floats, Floats]:
        columns, scaler = self.scaler.columns, self.scaler
        low, high = ((end[columns] - scaler.centre) / scaler.scale for end in limits)
        return low, high


def predict_all(
    models: Sequence[LinearModel], matrix: Features, rows: Index, limits: Limits
) -> list[Floats]:
    """(m, t) predictions of each of some models with one scaler; rows are standardised once.

    Args:
        models: at least one, all from one decomposition.
        matrix: features with the columns of the training matrix.
        rows: (m,) rows to predict.
        limits: range of each column; values outside are brought to its ends.
    """
    together = replace(
        models[0],
        coefficients=np.concatenate([model.coefficients for model in models], axis=1),
        intercept=np.concatenate([model.intercept for model in models]),
    )
    found = together.predict(matrix, rows, limits)
    return np.split(found, len(models), axis=1)


def training_range(matrix: Features, rows: Index) -> Limits:
    """Least and largest value of each column over the training rows.

    Columns that are all but constant in training can be anything in a test row: a column of raw
    FTCP with 1e-8 of rounding in training and 0.7 in one test crystal moves that prediction by a
    million. Limiting test rows to the range seen in training keeps such a column from deciding a
    comparison; it is done for every feature set alike.

    Args:
        matrix: (crystals, columns) features.
        rows: training rows.
    """
    low = np.full(matrix.shape[1], np.inf)
    high = -low
    for part in _parts(len(rows), matrix.shape[1]):
        chunk = matrix[rows[part]]
        np.minimum(low, chunk.min(axis=0), out=low)
        np.maximum(high, chunk.max(axis=0), out=high)
    return low, high


def fit_ols(spectrum: Spectrum, matrix: Features) -> LinearModel:
    """Unregularised least squares (of least norm), cut where the spectrum was cut.

    Args:
        spectrum: from :func:`~crystalssl.evaluation.spectrum.decompose`.
        matrix: the matrix it was made from.
    """
    weights = spectrum.projections / spectrum.values[:, None]
    return _model(spectrum, matrix, weights, np.zeros(weights.shape[1]))


def fit_ridge(
    spectrum: Spectrum,
    matrix: Features,
    *,
    groups: npt.NDArray[np.generic] | None = None,
    strengths: npt.ArrayLike | None = None,
    seed: int = 0,
) -> LinearModel:
    """Ridge regression; each target gets the strength with its least left-out error.

    Args:
        spectrum: from :func:`~crystalssl.evaluation.spectrum.decompose`.
        matrix: the matrix it was made from.
        groups: (n,) group of each training row; a group is left out as a whole. None: each row
            is its own group.
        strengths: strengths to try, per training row. None: ``STRENGTHS``.
        seed: draws the groups when there are more than ``GROUP_ROWS`` training rows.
    """
    tried = np.atleast_1d(np.asarray(STRENGTHS if strengths is None else strengths, dtype=float))
    if len(tried) == 1:
        chosen = np.repeat(tried, spectrum.projections.shape[1])
    else:
        errors = left_out_errors(spectrum, matrix, tried, groups=groups, seed=seed)
        chosen = tried[errors.argmin(axis=0)]
    weights = spectrum.projections / (spectrum.values[:, None] + chosen * len(spectrum.rows))
    return _model(spectrum, matrix, weights, chosen)


def left_out_errors(
    spectrum: Spectrum,
    matrix: Features,
    strengths: Floats,
    *,
    groups: npt.NDArray[np.generic] | None = None,
    seed: int = 0,
) -> Floats:
    """(strengths, t) mean squared error on groups left out of the fit one at a time.

    Exact for a fixed scaler, the refitted intercept included: with H the smoother, the residuals
    of a left-out group g are (I - H_gg)^-1 times its residuals in the full fit.

    Args:
        spectrum: the decomposed training rows.
        matrix: the matrix it was made from.
        strengths: (s,) strengths per training row.
        groups: (n,) group of each training row; None: each row its own.
        seed: draws the groups when there are too many rows.
    """
    count = len(spectrum.rows)
    labels = np.arange(count) if groups is None else np.unique(groups, return_inverse=True)[1]
    batches = _groups_by_size(labels, GROUP_ROWS, seed)
    squares, scored = np.zeros((len(strengths), spectrum.targets.shape[1])), 0
    shrunk = 1.0 / (spectrum.values[:, None] + strengths * count)  # (r, strengths)
    for positions in batches:
        scores = spectrum.scores(matrix, positions.ravel())
        truth = spectrum.targets[positions]  # (groups, size, t)
        scored += positions.size
        leverage = _leverage(scores, shrunk, count) if positions.shape[1] == 1 else None
        for row, factors in enumerate(shrunk.T):
            fitted = scores @ (spectrum.projections * factors[:, None])
            residuals = truth - fitted.reshape(truth.shape)
            if leverage is None:
                left_out = _solve_groups(scores, factors, residuals, count)
            else:
                left_out = residuals / (1.0 - leverage[:, row])[:, None, None]
            squares[row] += np.einsum("gst,gst->t", left_out, left_out)
    return squares / scored


def _leverage(scores: Floats, shrunk: Floats, count: int) -> Floats:
    """(rows, strengths) diagonal of the smoother, kept below one."""
    leverage: Floats = np.asarray(1.0 / count + np.square(scores) @ shrunk, dtype=np.float64)
    np.minimum(leverage, 1.0 - 1e-12, out=leverage)
    return leverage


def _solve_groups(scores: Floats, shrunk: Floats, residuals: Floats, count: int) -> Floats:
    """Residuals of each group had it been left out, (groups, size, t)."""
    groups, size = residuals.shape[:2]
    stacked = scores.reshape(groups, size, -1)
    smoother = 1.0 / count + (stacked * shrunk) @ stacked.transpose(0, 2, 1)
    # the jitter only matters where a group's own rows determine the fit entirely
    system = np.eye(size) * (1.0 + 1e-12) - smoother
    together: Floats = np.asarray(np.linalg.solve(system, residuals), dtype=np.float64)
    return together


def _groups_by_size(labels: Index, limit: int, seed: int) -> list[Index]:
    """Positions of whole groups, at most about ``limit`` rows, one (groups, size) array a size."""
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    sizes = np.diff(np.append(starts, len(order)))
    drawn = np.random.default_rng(seed).permutation(len(starts))
    drawn = np.sort(drawn[: max(1, int(np.searchsorted(np.cumsum(sizes[drawn]), limit)) + 1)])
    return [
        order[starts[drawn[sizes[drawn] == size]][:, None] + np.arange(size)]
        for size in np.unique(sizes[drawn])
    ]


def _model(spectrum: Spectrum, matrix: Features, weights: Floats, strength: Floats) -> LinearModel:
    """Bring weights along the principal axes back to the columns."""
    return LinearModel(
        scaler=spectrum.scaler,
        coefficients=spectrum.coefficients(matrix, weights),
        intercept=spectrum.target_mean,
        strength=strength,
        rank=len(spectrum.values),
    )
