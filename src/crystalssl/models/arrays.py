"""A feature matrix -> slices over its rows, each small enough to be held in float64.

The lowest file of models/: the types of matrices, labels and rows, and how much of a matrix is
copied at a time. Everything here that passes over a matrix goes through ``chunks``.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
Features = npt.NDArray[np.float32] | npt.NDArray[np.float64]
Groups = npt.NDArray[np.str_]
"""(n,) name of the group of each row, for crystals the reduced formula."""

CHUNK_BYTES = 128 * 2**20
"""Size of one float64 chunk of a matrix."""


def chunks(length: int, width: int) -> Iterator[slice]:
    """Slices over ``length`` whose float64 chunk of ``width`` stays within ``CHUNK_BYTES``."""
    step = max(256, CHUNK_BYTES // (8 * max(width, 1)))
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))


def take_rows(matrix: Features, rows: Index) -> Features:
    """Some rows; a view instead of a copy where they follow one another."""
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
        return matrix[rows[0] : rows[-1] + 1]
    return matrix[rows]
