"""Training rows of a feature matrix -> the eigendecomposition that all linear models share.

The smaller of the two Gram matrices is decomposed: over columns when there are more rows (primal),
over rows otherwise (dual). Raw FTCP has thousands of columns but a rank of some hundreds: a pivoted
Cholesky factor tells that rank, and only a matrix of that size is decomposed. After gram.py.
Sources: Hastie, Tibshirani, Friedman, The Elements of Statistical Learning, sections 3.4 and 18.3;
Higham, Accuracy and Stability of Numerical Algorithms, section 10.3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import eigh
from scipy.linalg.lapack import dpstrf

from crystalssl.errors import InputError
from crystalssl.models.arrays import Features, Floats, Index, chunks
from crystalssl.models.ridge.gram import SufficientStatistics, row_gram
from crystalssl.models.scaling import Scaler, fit_scaler

WORTHWHILE = 0.6
"""Fraction of full rank above which the whole matrix is decomposed at once."""
STEP = 512
"""Columns that are moved at a time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decomposition:
    """Principal axes of standardised training rows Xs, and the targets along them.

    With Xs = U diag(sqrt(values)) V', ``basis`` is V (primal) or U (dual).

    Attributes:
        scaler: statistics of the training rows.
        rows: (n,) training rows of the matrix.
        values: (r,) eigenvalues of the Gram matrix, decreasing, those above rounding only.
        basis: (p, r) axes when primal, (n, r) scores of unit length when dual.
        dual: which of the two ``basis`` is.
        targets: (n, t) centred training targets.
        target_mean: (t,) means that were subtracted.
        projections: (r, t) V' Xs' targets.
        cache: scores that were asked for, kept for truncated decompositions; None keeps nothing.
    """

    scaler: Scaler
    rows: Index
    values: Floats
    basis: Floats
    dual: bool
    targets: Floats
    target_mean: Floats
    projections: Floats
    cache: dict[bytes, Floats] | None = None

    def truncate(self, rank: int) -> Decomposition:
        """The first ``rank`` principal axes: exactly a PCA fitted on the training rows."""
        return replace(
            self,
            values=self.values[:rank],
            basis=self.basis[:, :rank],
            projections=self.projections[:rank],
        )

    def scores(self, matrix: Features, positions: Index) -> Floats:
        """(m, r) Xs V for some of the training rows, given by position among them."""
        if self.dual:
            return self.basis[positions] * np.sqrt(self.values)
        cache = {} if self.cache is None else self.cache
        key, rank = positions.tobytes(), len(self.values)
        if key not in cache or cache[key].shape[1] < rank:
            cache[key] = np.empty((len(positions), rank))
            for chunk in chunks(len(positions), len(self.scaler.columns)):
                rows = self.rows[positions[chunk]]
                cache[key][chunk] = self.scaler.transform(matrix, rows, np.float64) @ self.basis
        return cache[key][:, :rank]

    def coefficients(self, matrix: Features, weights: Floats) -> Floats:
        """(p, t) coefficients V @ weights on the standardised columns, from (r, t) weights."""
        if not self.dual:
            return self.basis @ weights
        # V = Xs' U diag(1 / sqrt(values))
        along_rows = self.basis @ (weights / np.sqrt(self.values)[:, None])  # (n, t)
        coefficients = np.empty((len(self.scaler.columns), weights.shape[1]))
        for chunk in chunks(len(self.scaler.columns), len(self.rows)):
            scaled = self.scaler.transform_columns(matrix, self.rows, chunk)  # (n, chunk)
            coefficients[chunk] = scaled.T @ along_rows
        return coefficients


def decompose(
    matrix: Features,
    targets: Floats,
    rows: Index,
    statistics: SufficientStatistics | None = None,
) -> Decomposition:
    """Standardise the training rows and decompose their Gram matrix.

    Eigenvalues below ``max(n, p)`` times the float64 rounding of the largest are dropped: the
    rank-revealing cut of ``numpy.linalg.lstsq``, applied to the Gram matrix. In terms of
    singular values it lies near the rounding of float32, in which features are stored.

    Args:
        matrix: (crystals, columns) features.
        targets: (crystals, t) labels; only training rows are read.
        rows: (n,) training rows.
        statistics: sufficient statistics of these rows, where they are known already.

    Raises:
        InputError: if there are fewer than two training rows, a value is not finite, or no column
            varies.
    """
    if len(rows) < 2:
        raise InputError(f"Got {len(rows)} training rows; expected at least 2. Use more data.")
    labels = targets[rows].astype(np.float64)  # (n, t)
    mean = labels.mean(axis=0)
    labels = labels - mean
    dual = len(rows) < matrix.shape[1]
    if dual:
        scaler = fit_scaler(matrix, rows)
        gram, cross = row_gram(matrix, rows, scaler), labels
    else:
        # statistics made here are nobody else's, and their Gram matrix may be overwritten
        known = statistics or SufficientStatistics.of(matrix, targets, rows)
        scaler, gram, cross = known.standardised(overwrite=statistics is None)
        del known
    values, basis = principal_axes(gram, max(len(rows), len(scaler.columns)))
    del gram
    projections = basis.T @ cross  # (r, t)
    if dual:
        projections *= np.sqrt(values)[:, None]
    return Decomposition(
        scaler=scaler,
        rows=rows,
        values=values,
        basis=basis,
        dual=dual,
        targets=labels,
        target_mean=mean,
        projections=projections,
    )


def principal_axes(gram: Floats, size: int) -> tuple[Floats, Floats]:
    """Eigenvalues above rounding, decreasing, and their eigenvectors.

    Args:
        gram: (m, m) column-major, symmetric, no negative eigenvalues; only the upper triangle is
            read. It is overwritten: a copy of a few thousand columns is half a gigabyte.
        size: the larger side of the matrix that ``gram`` was made from. Eigenvalues below
            ``size`` times the rounding of the largest are dropped.

    Returns:
        (r,) eigenvalues and (m, r) orthonormal eigenvectors.
    """
    diagonal = gram.diagonal().copy()
    _mirror(gram)
    factor, pivots, rank, _ = dpstrf(gram, lower=0, overwrite_a=1)  # leaves the lower triangle
    if rank > WORTHWHILE * len(gram):
        np.fill_diagonal(factor, diagonal)
        values, vectors = eigh(
            factor, lower=True, overwrite_a=True, check_finite=False, driver="evd"
        )
    else:
        rows = np.empty((len(gram), rank))  # gram = rows @ rows'
        for start in range(0, len(gram), STEP):
            block = slice(start, start + STEP)
            rows[pivots[block] - 1] = np.triu(factor[:rank, block], -start).T
        orthonormal, small = np.linalg.qr(rows)  # (m, rank), (rank, rank)
        # as exact as the whole matrix would be: what it cannot tell is below the cut anyway
        values, left = eigh(small @ small.T, overwrite_a=True, check_finite=False, driver="evd")
        vectors = orthonormal @ left
    values, vectors = values[::-1], vectors[:, ::-1]
    keep = values > size * np.finfo(np.float64).eps * values[0]
    return values[keep].copy(), vectors[:, keep]


def _mirror(gram: Floats) -> None:
    """Copy the upper triangle into the lower one, in place."""
    for start in range(0, len(gram), STEP):
        stop = start + STEP
        gram[stop:, start:stop] = gram[start:stop, stop:].T
        corner = gram[start:stop, start:stop]
        corner[...] = np.triu(corner) + np.triu(corner, 1).T
