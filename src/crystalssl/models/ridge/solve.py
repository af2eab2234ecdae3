"""Shared eigendecomposition -> least squares and ridge, with the strength chosen inside training.

The strength is the one with the least exact leave-one-group-out error over training rows: a group
(a formula) is left out with all its rows, in closed form, so one eigendecomposition serves every
strength. After decomposition.py, before the heads of linear.py.
Source: Golub, Heath, Wahba, Technometrics 21 (1979) 215, extended to groups by the block inverse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from crystalssl.models.arrays import Features, Floats, Index
from crystalssl.models.contract import Fitted
from crystalssl.models.ridge.decomposition import Decomposition
from crystalssl.models.scaling import Scaler

STRENGTHS: Floats = np.logspace(-8, 1, 19)
"""Strengths that are tried, per training row: the penalty is strength x n x |coefficients|^2."""

GROUP_ROWS = 4096
"""Training rows, sampled as whole groups, on which the strength is judged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearModel(Fitted):
    """A fitted linear model on standardised columns; it clips as its scaler does.

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

    def _predict(self, matrix: Features, rows: Index) -> Floats:
        scaled = self.scaler.transform(matrix, rows, np.float64)  # (m, p)
        return scaled @ self.coefficients + self.intercept


def predict_all(models: Sequence[LinearModel], matrix: Features, rows: Index) -> list[Floats]:
    """(m, t) predictions of each of some models with one scaler; rows are standardised once.

    Args:
        models: at least one, all from one decomposition.
        matrix: features with the columns of the training matrix.
        rows: (m,) rows to predict.
    """
    together = replace(
        models[0],
        coefficients=np.concatenate([model.coefficients for model in models], axis=1),
        intercept=np.concatenate([model.intercept for model in models]),
        label_shape=(sum(len(model.intercept) for model in models),),
    )
    return np.split(together.predict(matrix, rows), len(models), axis=1)


def fit_ols(decomposition: Decomposition, matrix: Features) -> LinearModel:
    """Unregularised least squares (of least norm), cut where the decomposition was cut.

    Args:
        decomposition: from :func:`~crystalssl.models.ridge.decompose`.
        matrix: the matrix it was made from.
    """
    return _model(decomposition, matrix, np.zeros(decomposition.targets.shape[1]))


def fit_ridge(
    decomposition: Decomposition,
    matrix: Features,
    *,
    groups: npt.NDArray[np.generic] | None = None,
    strengths: npt.ArrayLike | None = None,
    seed: int = 0,
) -> LinearModel:
    """Ridge regression; each target gets the strength with its least left-out error.

    Args:
        decomposition: from :func:`~crystalssl.models.ridge.decompose`.
        matrix: the matrix it was made from.
        groups: (n,) group of each training row; a group is left out as a whole. None: each row
            is its own group.
        strengths: strengths to try, per training row. None: ``STRENGTHS``.
        seed: samples the groups when there are more than ``GROUP_ROWS`` training rows.
    """
    tried = np.atleast_1d(np.asarray(STRENGTHS if strengths is None else strengths, dtype=float))
    if len(tried) == 1:
        chosen = np.repeat(tried, decomposition.targets.shape[1])
    else:
        errors = left_out_errors(decomposition, matrix, tried, groups=groups, seed=seed)
        chosen = tried[errors.argmin(axis=0)]
    return _model(decomposition, matrix, chosen)


def left_out_errors(
    decomposition: Decomposition,
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
        decomposition: the decomposed training rows.
        matrix: the matrix it was made from.
        strengths: (s,) strengths per training row.
        groups: (n,) group of each training row; None: each row its own.
        seed: samples the groups when there are too many rows.
    """
    count, projections = len(decomposition.rows), decomposition.projections
    labels = np.arange(count) if groups is None else np.unique(groups, return_inverse=True)[1]
    squares, scored = np.zeros((len(strengths), projections.shape[1])), 0
    inverse = 1.0 / (decomposition.values[:, None] + strengths * count)  # (r, s)
    for positions in _groups_by_size(labels, GROUP_ROWS, seed):  # (groups, size)
        scores = decomposition.scores(matrix, positions.ravel())  # (groups x size, r)
        truth = decomposition.targets[positions]  # (groups, size, t)
        scored += positions.size
        leverage = _leverage(scores, inverse, count) if positions.shape[1] == 1 else None
        for number, factors in enumerate(inverse.T):
            fitted = scores @ (projections * factors[:, None])
            residuals = truth - fitted.reshape(truth.shape)
            if leverage is None:
                left_out = _solve_groups(scores, factors, residuals, count)
            else:
                left_out = residuals / (1.0 - leverage[:, number])[:, None, None]
            squares[number] += np.einsum("gst,gst->t", left_out, left_out)
    return squares / scored


def _leverage(scores: Floats, inverse: Floats, count: int) -> Floats:
    """(rows, strengths) diagonal of the smoother, kept below one."""
    leverage: Floats = 1.0 / count + np.square(scores) @ inverse
    return np.minimum(leverage, 1.0 - 1e-12)


def _solve_groups(scores: Floats, inverse: Floats, residuals: Floats, count: int) -> Floats:
    """(groups, size, t) residuals of each group had it been left out; ``inverse`` is (r,)."""
    groups, size = residuals.shape[:2]
    stacked = scores.reshape(groups, size, -1)
    smoother = 1.0 / count + (stacked * inverse) @ stacked.transpose(0, 2, 1)  # H_gg
    # the jitter only matters where a group's rows determine the fit entirely
    system = np.eye(size) * (1.0 + 1e-12) - smoother
    return np.asarray(np.linalg.solve(system, residuals), dtype=np.float64)


def _groups_by_size(labels: Index, limit: int, seed: int) -> list[Index]:
    """Positions of whole groups, at most about ``limit`` rows, one (groups, size) array a size."""
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    sizes = np.diff(np.append(starts, len(order)))
    sampled = np.random.default_rng(seed).permutation(len(starts))
    enough = max(1, int(np.searchsorted(np.cumsum(sizes[sampled]), limit)) + 1)
    sampled = np.sort(sampled[:enough])
    return [
        order[starts[sampled[sizes[sampled] == size]][:, None] + np.arange(size)]
        for size in np.unique(sizes[sampled])
    ]


def _model(decomposition: Decomposition, matrix: Features, strength: Floats) -> LinearModel:
    """Coefficients V (values + strength n)^-1 V' Xs' y, for a strength (t,) of each target."""
    shrunk = decomposition.values[:, None] + strength * len(decomposition.rows)  # (r, t)
    return LinearModel(
        scaler=decomposition.scaler,
        coefficients=decomposition.coefficients(matrix, decomposition.projections / shrunk),
        intercept=decomposition.target_mean,
        strength=strength,
        rank=len(decomposition.values),
        label_shape=strength.shape,
    )
