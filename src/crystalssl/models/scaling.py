"""Training rows of a feature matrix -> a scaler; any rows -> standardised, clipped copies of them.

Every model that needs columns of one size uses this scaler. The passes are compiled: NumPy would
make an array as large as the rows for every step of them. Numbers are NumPy's, bit-identical.
After arrays.py, before ridge/, linear.py and mlp.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError
from crystalssl.models.arrays import Features, Floats, Index, chunks
from crystalssl.representation._compiled import compiled

Numbers = npt.NDArray[np.floating]
Real = TypeVar("Real", np.float32, np.float64)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaler:
    """Centre, scale and range of the p columns that vary over the training rows.

    Values outside the range are clipped to it. Columns that are all but constant in training can
    be anything in a test row: a column of raw FTCP with 1e-8 of rounding in training and 0.7 in
    one test crystal moves that prediction by a million. The same is done for every feature set.

    Attributes:
        centre: (p,) means.
        scale: (p,) standard deviations.
        low: (p,) least standardised value.
        high: (p,) greatest standardised value.
        columns: (p,) indices of these columns in the matrix.
    """

    centre: Floats
    scale: Floats
    low: Floats
    high: Floats
    columns: Index

    @staticmethod
    def of(origin: Floats, shift: Floats, squares: Floats, low: Floats, high: Floats) -> Scaler:
        """Scaler from statistics of all columns; those that do not vary are left out.

        Args:
            origin: (columns,) any row; variances are of differences to it.
            shift: (columns,) mean difference.
            squares: (columns,) mean squared difference.
            low: (columns,) least value.
            high: (columns,) greatest value.

        Raises:
            InputError: if a value is not finite, or no column varies.
        """
        if not np.isfinite(squares).all():
            bad = int(np.flatnonzero(~np.isfinite(squares))[0])
            raise InputError(
                f"Feature column {bad} holds a value that is not finite; expected numbers only. "
                "Drop those rows or extract the features again."
            )
        deviation = np.sqrt(np.maximum(squares - shift**2, 0.0))  # var(x) = <d^2> - <d>^2
        mean = origin + shift
        varies = deviation > 4 * np.finfo(np.float32).eps * np.abs(mean)
        columns = np.flatnonzero(varies).astype(np.int64)
        if not len(columns):
            raise InputError(
                f"None of the {len(origin)} feature columns varies over the training rows; "
                "expected at least one. Check that the features belong to these structures."
            )
        centre, scale = mean[columns], deviation[columns]
        low, high = ((end[columns] - centre) / scale for end in (low, high))
        return Scaler(centre=centre, scale=scale, low=low, high=high, columns=columns)

    def clipped(self, deviations: float) -> Scaler:
        """The same with values clipped at some standard deviations from the mean too."""
        low, high = (np.clip(end, -deviations, deviations) for end in (self.low, self.high))
        return replace(self, low=low, high=high)

    def transform(
        self, matrix: Features, rows: Index, dtype: type[Real], multiple: int = 1
    ) -> npt.NDArray[Real]:
        """(m, p) standardised, clipped copy of some rows.

        Args:
            matrix: (n, all columns) features.
            rows: (m,) rows.
            dtype: precision of the arithmetic and of the copy.
            multiple: columns of zeros are added up to a multiple of this.
        """
        width = len(self.columns)
        scaled = np.empty((len(rows), width + -width % multiple), dtype)
        scaled[:, width:] = 0
        centre, scale = self.centre.astype(dtype), self.scale.astype(dtype)
        low, high = self.low.astype(dtype), self.high.astype(dtype)
        for chunk in chunks(len(rows), matrix.shape[1]):
            values = matrix[rows[chunk]]
            if scaled.itemsize < values.itemsize:
                values = values.astype(np.float32)
            _standardise(values, self.columns, centre, scale, low, high, scaled[chunk])
        return scaled

    def transform_columns(self, matrix: Features, rows: Index, some: slice) -> Floats:
        """(m, some) standardised float64 copy of training rows, of some of the p columns."""
        scaled = matrix[rows[:, None], self.columns[some]].astype(np.float64)
        scaled -= self.centre[some]
        scaled /= self.scale[some]
        return scaled


def fit_scaler(matrix: Features, rows: Index) -> Scaler:
    """Statistics over some rows, in one pass.

    Args:
        matrix: (n, columns) features.
        rows: (k,) training rows.

    Raises:
        InputError: if a value is not finite, or no column varies.
    """
    origin = typical_row(matrix, rows)
    total, squares = np.zeros_like(origin), np.zeros_like(origin)
    low, high = np.full_like(origin, np.inf), np.full_like(origin, -np.inf)
    for chunk in chunks(len(rows), matrix.shape[1]):
        _add_rows(matrix[rows[chunk]], origin, total, squares, low, high)
    return Scaler.of(origin, total / len(rows), squares / len(rows), low, high)


def typical_row(matrix: Features, rows: Index) -> Floats:
    """(columns,) mean of a few rows. Sums of differences to it do not suffer from cancellation."""
    few = rows[:: max(1, len(rows) // 1024)]
    mean: Floats = matrix[few].mean(axis=0, dtype=np.float64)
    return mean


@compiled
def _add_rows(
    rows: Numbers, origin: Floats, total: Floats, squares: Floats, low: Floats, high: Floats
) -> None:
    """Add rows (m, p) to sums (p,) of differences to the origin and of their squares, and range."""
    for row in range(rows.shape[0]):
        for column in range(rows.shape[1]):
            difference = rows[row, column] - origin[column]
            total[column] += difference
            squares[column] += difference * difference
        _widen(rows[row], low, high)


@compiled
def subtract_origin(
    rows: Numbers, origin: Floats, differences: Floats, low: Floats, high: Floats
) -> None:
    """Differences to the origin, and the range of each column; NaN does not enter the range.

    Args:
        rows: (m, p) features.
        origin: (p,) typical row.
        differences: (m, p) is filled.
        low: (p,) least values so far; lowered.
        high: (p,) greatest values so far; raised.
    """
    for row in range(rows.shape[0]):
        for column in range(rows.shape[1]):
            differences[row, column] = rows[row, column] - origin[column]
        _widen(rows[row], low, high)  # a loop of its own, so that both vectorise


@compiled
def _widen(row: Numbers, low: Floats, high: Floats) -> None:
    """Widen the range (p,) of each column to hold a row (p,)."""
    for column in range(row.shape[0]):
        low[column] = min(low[column], row[column])
        high[column] = max(high[column], row[column])


@compiled
def _standardise(
    rows: Numbers,
    columns: Index,
    centre: Numbers,
    scale: Numbers,
    low: Numbers,
    high: Numbers,
    scaled: Numbers,
) -> None:
    """Fill (m, >= p) standardised values of p columns of (m, all) rows, clipped; NaN stays NaN.

    The precision of ``scaled`` and of the four (p,) arrays is that of the arithmetic.
    """
    for row in range(rows.shape[0]):
        for position in range(len(columns)):
            value = (rows[row, columns[position]] - centre[position]) / scale[position]
            if value < low[position]:
                value = low[position]
            if value > high[position]:
                value = high[position]
            scaled[row, position] = value
