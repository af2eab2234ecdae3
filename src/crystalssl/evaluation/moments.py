"""Rows of a feature matrix -> sums of which a linear model needs no more: counts, products, ranges.

Rows stream through in float64 chunks and can be added later, so splits that share most of their
training rows share most of the work. Sums are of differences to a typical row, which keeps them
free of cancellation. Before spectrum.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg.blas import dsyrk

from crystalssl.evaluation._columns import shift

Floats = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
Features = npt.NDArray[np.float32] | npt.NDArray[np.float64]

CHUNK_BYTES = 128 * 2**20
"""Size of one float64 chunk of the matrix."""


@dataclass(kw_only=True, slots=True)
class Moments:
    """Sums over some rows of a matrix, x being a row less the origin, y its labels less theirs.

    Attributes:
        origin: (p,) typical row.
        label_origin: (t,) typical labels.
        count: number of rows.
        total: (p,) sum of x.
        label_total: (t,) sum of y.
        gram: (p, p) sum of x x', upper triangle, column-major.
        along: (p, t) sum of x y'.
        low: (p,) least value of each column.
        high: (p,) greatest value of each column.
    """

    origin: Floats
    label_origin: Floats
    count: int
    total: Floats
    label_total: Floats
    gram: Floats
    along: Floats
    low: Floats
    high: Floats

    @staticmethod
    def of(matrix: Features, labels: Floats, rows: Index) -> Moments:
        """Sums over some rows.

        Args:
            matrix: (crystals, p) features.
            labels: (crystals, t) labels; only those of the rows are read.
            rows: (n,) rows, at least one.
        """
        origin, width = typical_row(matrix, rows), matrix.shape[1]
        typical = labels[rows].mean(axis=0)
        empty = Moments(
            origin=origin,
            label_origin=typical,
            count=0,
            total=np.zeros(width),
            label_total=np.zeros(len(typical)),
            gram=np.zeros((width, width), order="F"),  # the order in which BLAS adds in place
            along=np.zeros((width, len(typical))),
            low=np.full(width, np.inf),
            high=np.full(width, -np.inf),
        )
        empty._add(matrix, labels, rows)
        return empty

    def plus(self, matrix: Features, labels: Floats, rows: Index) -> Moments:
        """Sums over these rows and others; the ones here stay as they are."""
        more = Moments(
            origin=self.origin,
            label_origin=self.label_origin,
            count=self.count,
            total=self.total.copy(),
            label_total=self.label_total.copy(),
            gram=self.gram.copy(order="F"),
            along=self.along.copy(),
            low=self.low.copy(),
            high=self.high.copy(),
        )
        more._add(matrix, labels, rows)
        return more

    def _add(self, matrix: Features, labels: Floats, rows: Index) -> None:
        pieces = list(parts(len(rows), matrix.shape[1]))
        # two rooms, used in turn: fresh memory would be zeroed page by page for every chunk
        largest = max((piece.stop - piece.start for piece in pieces), default=0)
        rooms = np.empty((min(2, len(pieces)), largest, matrix.shape[1]))
        # the next chunk is converted while BLAS works on this one
        with ThreadPoolExecutor(1) as pool:
            coming = [pool.submit(self._chunk, matrix, rows[p], rooms[0]) for p in pieces[:1]]
            for place, piece in enumerate(pieces):
                chunk = coming.pop().result()
                if place + 1 < len(pieces):
                    room = rooms[(place + 1) % 2]
                    after = rows[pieces[place + 1]]
                    coming.append(pool.submit(self._chunk, matrix, after, room))
                known = labels[rows[piece]] - self.label_origin
                self.gram = dsyrk(1.0, chunk.T, beta=1.0, c=self.gram, overwrite_c=True)
                sums = np.vstack([known.T, np.ones(len(known))]) @ chunk
                self.along += sums[:-1].T
                self.total += sums[-1]
                self.label_total += known.sum(axis=0)
        self.count += len(rows)

    def _chunk(self, matrix: Features, rows: Index, room: Floats) -> Floats:
        """Differences of some rows to the origin (in ``room``); their range enters that of all."""
        chunk = room[: len(rows)]
        shift(np.ascontiguousarray(take(matrix, rows)), self.origin, chunk, self.low, self.high)
        return chunk


def typical_row(matrix: Features, rows: Index) -> Floats:
    """(p,) mean of a few rows. Sums of differences to it do not suffer from cancellation."""
    few = rows[:: max(1, len(rows) // 1024)]
    mean: Floats = matrix[few].mean(axis=0, dtype=np.float64)
    return mean


def take(matrix: Features, rows: Index) -> Features:
    """Some rows; without a copy where they follow one another."""
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
        return matrix[rows[0] : rows[-1] + 1]
    return matrix[rows]


def parts(length: int, width: int) -> Iterator[slice]:
    """Slices over ``length`` whose float64 chunk of ``width`` stays within ``CHUNK_BYTES``."""
    step = max(256, CHUNK_BYTES // (8 * max(width, 1)))
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))
