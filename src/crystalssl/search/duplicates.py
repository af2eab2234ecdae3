"""Two tables of features, or one -> pairs of crystals that are all but the same.

Rows of the first table lie in memory, as many as fit; those of the second go by in batches. A few
leading axes with the length of what they leave out bound every distance from below, so that most
pairs are never compared in full. What is reported is exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crystalssl.search.axes import Matrix, evenly
from crystalssl.search.nearest import Rows

LEADING = 32
"""Principal axes of the lower bound."""
FIT_ROWS = 4_096
"""Rows that these axes are fitted on; how well they fit changes time, not results."""
BLOCK_ROWS = 512
"""Rows of a batch compared with the first table at a time."""
PAIRS = 4_096
"""Pairs measured exactly at a time."""
SLACK = 2e-5
"""Rounding of the bound, in units of the largest length."""

Distances = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairs:
    """Pairs of crystals with the distance between their features.

    Attributes:
        first: (c,) rows of the first table, finite ones alone.
        second: (c,) rows of the second.
        distances: (c,) on the axes of the search.
    """

    first: Rows
    second: Rows
    distances: Distances

    def __len__(self) -> int:
        return len(self.first)

    @staticmethod
    def joined(pairs: Iterable[Pairs]) -> Pairs:
        """All of them, by rows of the first table, then of the second."""
        listed = [Pairs.none(), *pairs]
        first = np.concatenate([each.first for each in listed])
        second = np.concatenate([each.second for each in listed])
        distances = np.concatenate([each.distances for each in listed])
        order = np.lexsort((second, first))
        return Pairs(first=first[order], second=second[order], distances=distances[order])

    @staticmethod
    def none() -> Pairs:
        """No pair."""
        rows = np.zeros(0, np.int64)
        return Pairs(first=rows, second=rows, distances=np.zeros(0))


@dataclass(frozen=True, kw_only=True, slots=True)
class Bound:
    """Coordinates -> a few, between which distances are no larger than between all.

    Attributes:
        centre: (m,) what is subtracted.
        leading: (m, l) orthonormal axes.
    """

    centre: Matrix
    leading: Matrix

    @staticmethod
    def of(coordinates: Matrix) -> Bound:
        """Leading principal axes of some rows."""
        some = coordinates[evenly(len(coordinates), FIT_ROWS)]
        centre = some.mean(axis=0)
        some = some - centre
        _, vectors = np.linalg.eigh((some.T @ some).astype(np.float64))
        leading = vectors[:, ::-1][:, :LEADING]
        return Bound(centre=centre, leading=np.ascontiguousarray(leading, np.float32))

    def shorten(self, coordinates: Matrix) -> Matrix:
        """(n, l + 1) leading coordinates, and the length of what they leave out."""
        short = np.empty((len(coordinates), self.leading.shape[1] + 1), np.float32)
        for start in range(0, len(coordinates), PAIRS):
            centred = coordinates[start : start + PAIRS] - self.centre  # (rows, m)
            kept = centred @ self.leading  # (rows, l)
            rest = np.einsum("ij,ij->i", centred, centred) - np.einsum("ij,ij->i", kept, kept)
            short[start : start + PAIRS, :-1] = kept
            short[start : start + PAIRS, -1] = np.sqrt(np.maximum(rest, 0))
        return short


class Finder:
    """The first table, ready to be compared with batches of another."""

    def __init__(self, coordinates: Matrix) -> None:
        """Take the coordinates of the first table.

        Args:
            coordinates: (n, m) float32; kept, not copied.
        """
        self.coordinates = coordinates
        self.bound = Bound.of(coordinates)
        short = self.bound.shorten(coordinates)  # (n, l + 1)
        self.order = np.argsort(short[:, 0], kind="stable")  # by the leading coordinate
        self.short = short[self.order]
        self.norms = np.einsum("ij,ij->i", self.short, self.short)
        self.margin = SLACK * float(self.norms.max(initial=0))

    def pairs(
        self, coordinates: Matrix, threshold: float, after: Rows | None = None
    ) -> Iterator[Pairs]:
        """Pairs of the first table with a batch of rows.

        Args:
            coordinates: (q, m) rows of the batch.
            threshold: largest distance of a pair.
            after: (q,) only rows of the first table before this one are paired with each row,
                so that no pair comes twice where both tables are one; all rows if None.
        """
        short = self.bound.shorten(coordinates)
        order = np.argsort(short[:, 0], kind="stable")
        for start in range(0, len(order), BLOCK_ROWS):
            batch = order[start : start + BLOCK_ROWS]
            for first, second in self._close(short[batch], threshold):
                rows, others = self.order[first], batch[second]
                if after is not None:
                    earlier = rows < after[others]
                    rows, others = rows[earlier], others[earlier]
                yield from self._measured(rows, coordinates, others, threshold)

    def _close(self, short: Matrix, threshold: float) -> Iterator[tuple[Rows, Rows]]:
        """Positions of pairs whose lower bound is within the threshold.

        Args:
            short: (b, l + 1) shortened rows in order of their leading coordinate.
            threshold: largest distance.
        """
        norms = np.einsum("ij,ij->i", short, short)
        margin = self.margin + SLACK * float(norms.max(initial=0))
        reach = threshold + np.sqrt(margin)
        ends = short[0, 0] - reach, short[-1, 0] + reach
        low, high = np.searchsorted(self.short[:, 0], np.array(ends, np.float32))
        most = threshold**2 + margin
        for start in range(int(low), int(high), 16 * BLOCK_ROWS):
            block = slice(start, min(start + 16 * BLOCK_ROWS, int(high)))
            squares = short @ self.short[block].T  # (b, rows)
            squares *= -2
            squares += self.norms[block]
            squares += norms[:, None]
            second, first = np.nonzero(squares <= most)
            if len(first):
                yield first + start, second

    def _measured(
        self, rows: Rows, coordinates: Matrix, others: Rows, threshold: float
    ) -> Iterator[Pairs]:
        """Pairs whose distance, taken from differences in float64, is within the threshold."""
        for start in range(0, len(rows), PAIRS):
            first, second = rows[start : start + PAIRS], others[start : start + PAIRS]
            differences = self.coordinates[first].astype(np.float64)
            differences -= coordinates[second]  # (pairs, m)
            distances = np.sqrt(np.einsum("ij,ij->i", differences, differences))
            close = distances <= threshold
            if close.any():
                yield Pairs(first=first[close], second=second[close], distances=distances[close])
