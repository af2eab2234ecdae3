"""Passes over the rows of a feature matrix, each in one go: sums of columns, standardised copies.

NumPy makes an array as large as the rows for every step of these; here nothing is made. Numbers
are those of NumPy to the last bit. Used by moments.py, spectrum.py and head_linear.py.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crystalssl.representation._compiled import compiled

Floats = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.floating]


@compiled
def add_sums(rows: Numbers, origin: Floats, total: Floats, squares: Floats) -> None:
    """Add differences to the origin, and their squares, over some rows.

    Args:
        rows: (m, p) features.
        origin: (p,) typical row.
        total: (p,) sum of the differences so far; added to.
        squares: (p,) sum of their squares so far; added to.
    """
    for row in range(rows.shape[0]):
        for column in range(rows.shape[1]):
            away = rows[row, column] - origin[column]
            total[column] += away
            squares[column] += away * away


@compiled
def shift(rows: Numbers, origin: Floats, found: Floats, low: Floats, high: Floats) -> None:
    """Differences to the origin, and the range of each column; NaN does not enter the range.

    Args:
        rows: (m, p) features.
        origin: (p,) typical row.
        found: (m, p) is filled with the differences.
        low: (p,) least values so far; lowered.
        high: (p,) greatest values so far; raised.
    """
    for row in range(rows.shape[0]):
        for column in range(rows.shape[1]):
            found[row, column] = rows[row, column] - origin[column]
        for column in range(rows.shape[1]):  # apart, so that both loops vectorise
            low[column] = min(low[column], rows[row, column])
            high[column] = max(high[column], rows[row, column])


@compiled
def standardise(
    rows: Numbers,
    columns: Index,
    centre: Numbers,
    scale: Numbers,
    low: Numbers,
    high: Numbers,
    found: Numbers,
) -> None:
    """Fill (m, k) standardised values of some columns, limited to a range; NaN stays NaN.

    Args:
        rows: (m, p) features.
        columns: (k,) columns.
        centre: (k,) means.
        scale: (k,) standard deviations.
        low: (k,) least standardised value.
        high: (k,) greatest.
        found: (m, k) is filled, columns beyond k left as they are; its precision, and that of the
            numbers above, is the precision of the work.
    """
    for row in range(rows.shape[0]):
        for place in range(len(columns)):
            value = (rows[row, columns[place]] - centre[place]) / scale[place]
            if value < low[place]:
                value = low[place]
            if value > high[place]:
                value = high[place]
            found[row, place] = value
