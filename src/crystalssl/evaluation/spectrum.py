"""Training rows of a feature matrix -> the eigendecomposition that all linear models share.

Columns are standardised with the statistics of the training rows, streamed in chunks in float64,
and never held as a dense float64 copy. The smaller of the two Gram matrices is decomposed: over
columns when there are more rows (primal), over rows otherwise (dual).
Source: Hastie, Tibshirani, Friedman, The Elements of Statistical Learning, sections 3.4 and 18.3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg.blas import dsyr, dsyrk

from crystalssl.errors import InputError
from crystalssl.evaluation._columns import add_sums, standardise
from crystalssl.evaluation.low_rank import principal_axes
from crystalssl.evaluation.moments import Features, Floats, Index, Moments, typical_row
from crystalssl.evaluation.moments import parts as _parts

__all__ = [
    "Features",
    "Floats",
    "Index",
    "Limits",
    "Scaler",
    "Spectrum",
    "_parts",
    "decompose",
    "fit_scaler",
]

Limits = tuple[Floats, Floats]
"""Least and greatest value of each column."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaler:
    """Centre and scale of each column, from training rows only.

    Attributes:
        centre: (p,) means of the columns that vary.
        scale: (p,) standard deviations of the columns that vary.
        columns: (p,) indices of those columns in the matrix.
    """

    centre: Floats
    scale: Floats
    columns: Index

    def chunk(self, matrix: Features, rows: Index, limits: Limits | None = None) -> Floats:
        """(rows, p) float64 standardised copy of some rows.

        Args:
            matrix: (n, all columns) features.
            rows: rows to copy.
            limits: (p,) least and greatest standardised values; None: no limits.
        """
        scaled = np.empty((len(rows), len(self.columns)))
        wide = np.full(len(self.columns), np.inf)
        low, high = limits or (-wide, wide)
        standardise(matrix[rows], self.columns, self.centre, self.scale, low, high, scaled)
        return scaled

    def column_chunk(self, matrix: Features, rows: Index, part: slice) -> Floats:
        """(rows, some columns) float64 standardised copy of some of the columns that vary."""
        scaled = matrix[rows[:, None], self.columns[part]].astype(np.float64)
        scaled -= self.centre[part]
        scaled /= self.scale[part]
        return scaled


@dataclass(frozen=True, kw_only=True, slots=True)
class Spectrum:
    """Principal axes of standardised training rows, and the targets along them.

    With Xs = U diag(sqrt(values)) V', ``basis`` is V (primal) or U (dual).

    Attributes:
        scaler: statistics of the training rows.
        rows: (n,) training rows of the matrix.
        values: (r,) eigenvalues of the Gram matrix, decreasing, those above rounding only.
        basis: (p, r) axes when primal, (n, r) scores of unit length when dual.
        dual: which of the two ``basis`` is.
        targets: (n, t) centred training targets.
        target_mean: (t,) means that were taken away.
        projections: (r, t) V' Xs' targets.
        remembered: scores that were asked for, kept for truncated spectra; None keeps nothing.
    """

    scaler: Scaler
    rows: Index
    values: Floats
    basis: Floats
    dual: bool
    targets: Floats
    target_mean: Floats
    projections: Floats
    remembered: dict[bytes, Floats] | None = None

    def truncate(self, rank: int) -> Spectrum:
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
        known = self.remembered or {}
        key, rank = positions.tobytes(), len(self.values)
        if key in known and known[key].shape[1] >= rank:
            return known[key][:, :rank]
        scores = np.empty((len(positions), rank))
        for part in _parts(len(positions), len(self.scaler.columns)):
            chunk = self.scaler.chunk(matrix, self.rows[positions[part]])
            scores[part] = chunk @ self.basis
        if self.remembered is not None:
            self.remembered[key] = scores
        return scores

    def coefficients(self, matrix: Features, weights: Floats) -> Floats:
        """(p, t) coefficients V @ weights on the standardised columns, from (r, t) weights."""
        if not self.dual:
            return self.basis @ weights
        along_rows = self.basis @ (weights / np.sqrt(self.values)[:, None])
        coefficients = np.empty((len(self.scaler.columns), weights.shape[1]))
        for part in _parts(len(self.scaler.columns), len(self.rows)):
            chunk = self.scaler.column_chunk(matrix, self.rows, part)
            coefficients[part] = chunk.T @ along_rows
        return coefficients


def fit_scaler(matrix: Features, rows: Index) -> Scaler:
    """Means and standard deviations over some rows; columns that do not vary there are left out.

    A column whose spread is within the rounding of float32 counts as constant.

    Args:
        matrix: (n, p) features.
        rows: training rows.

    Raises:
        InputError: if a value is not finite, or no column varies.
    """
    origin = typical_row(matrix, rows)
    total, squares = np.zeros_like(origin), np.zeros_like(origin)
    for part in _parts(len(rows), matrix.shape[1]):
        add_sums(matrix[rows[part]], origin, total, squares)
    return _scaler(origin, total / len(rows), squares / len(rows))


def _scaler(origin: Floats, shift: Floats, squares: Floats) -> Scaler:
    """Scaler from the mean and mean square of the differences to an origin."""
    if not np.isfinite(squares).all():
        bad = int(np.flatnonzero(~np.isfinite(squares))[0])
        raise InputError(
            f"Feature column {bad} holds a value that is not finite; expected numbers only. "
            "Drop those rows or extract the features again."
        )
    spread = np.sqrt(np.maximum(squares - shift**2, 0.0))
    centre = origin + shift
    varies = spread > 4 * np.finfo(np.float32).eps * np.abs(centre)
    columns = np.flatnonzero(varies).astype(np.int64)
    if not len(columns):
        raise InputError(
            f"None of the {len(origin)} feature columns varies over the training rows; expected "
            "at least one. Check that the features belong to these structures."
        )
    return Scaler(centre=centre[columns], scale=spread[columns], columns=columns)


def decompose(
    matrix: Features, targets: Floats, rows: Index, moments: Moments | None = None
) -> Spectrum:
    """Standardise the training rows and decompose their Gram matrix.

    Eigenvalues below ``max(n, p)`` times the float64 rounding of the largest are dropped: the
    rank-revealing cut of ``numpy.linalg.lstsq``, applied to the Gram matrix. In terms of
    singular values it lies near the rounding of float32, in which features are stored.

    Args:
        matrix: (crystals, columns) features.
        targets: (crystals, t) labels; only training rows are read.
        rows: (n,) training rows.
        moments: sums over these rows, where they are known already.

    Raises:
        InputError: if there are fewer than two training rows, or as in :func:`fit_scaler`.
    """
    if len(rows) < 2:
        raise InputError(f"Got {len(rows)} training rows; expected at least 2. Use more data.")
    labels = targets[rows].astype(np.float64)
    mean = labels.mean(axis=0)
    labels = labels - mean
    dual = len(rows) < matrix.shape[1]
    if dual:
        scaler = fit_scaler(matrix, rows)
        gram, along = _row_gram(matrix, rows, scaler), labels
    else:
        # sums made here are nobody else's, and their Gram matrix may be written over
        known = moments or Moments.of(matrix, targets, rows)
        scaler, gram, along = _column_gram(known, spare=moments is None)
        del known
    count, width = len(rows), len(scaler.columns)
    values, basis = principal_axes(gram, max(count, width))
    del gram
    projections = basis.T @ along
    if dual:
        projections *= np.sqrt(values)[:, None]
    return Spectrum(
        scaler=scaler,
        rows=rows,
        values=values,
        basis=basis,
        dual=dual,
        targets=labels,
        target_mean=mean,
        projections=projections,
    )


def _column_gram(moments: Moments, *, spare: bool) -> tuple[Scaler, Floats, Floats]:
    """The scaler, (p, p) Xs' Xs (upper triangle) and (p, t) Xs' y for centred labels.

    Where the moments are spare, their Gram matrix becomes the one that is returned.
    """
    count = moments.count
    mean = moments.total / count
    scaler = _scaler(moments.origin, mean, np.diag(moments.gram) / count)
    columns = scaler.columns
    gram = moments.gram
    if len(columns) < len(gram):
        # indexed as its transpose, which is row-major, so that the copy is column-major
        gram = gram.T[np.ix_(columns, columns)].T
    elif not spare:
        gram = gram.copy(order="F")
    if spare:
        moments.gram = gram  # frees the wider one
    shift = mean[columns] / scaler.scale
    gram /= scaler.scale
    gram /= scaler.scale[:, None]
    gram = dsyr(-count, shift, a=gram, overwrite_a=True)
    along = moments.along - np.outer(moments.total, moments.label_total / count)
    return scaler, gram, along[columns] / scaler.scale[:, None]


def _row_gram(matrix: Features, rows: Index, scaler: Scaler) -> Floats:
    """(n, n) Xs Xs' (upper triangle), summed over column chunks."""
    gram: Floats = np.zeros((len(rows), len(rows)), order="F")
    for part in _parts(len(scaler.columns), len(rows)):
        chunk = scaler.column_chunk(matrix, rows, part)
        gram = dsyrk(1.0, chunk.T, beta=1.0, c=gram, overwrite_c=True, trans=True)
    return gram
