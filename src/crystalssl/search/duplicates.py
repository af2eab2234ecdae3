"""Two tables of features, or one -> pairs of crystals that are all but the same.

Rows of the first table lie in memory, as many as fit; those of the second go by in batches. A few
leading axes with the length of what they leave out bound every distance from below, so that most
pairs are never compared in full. What is reported is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError, Skip
from crystalssl.search.axes import Axes, Matrix, evenly
from crystalssl.search.nearest import Rows
from crystalssl.search.points import Points, Source, batches, project, row_count

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

HELD = 2**28
"""Numbers of the first table in memory at a time (1 GiB)."""
MOST_PAIRS = 20_000_000
"""Pairs that are kept; so many take 0.5 GiB."""

Distances = npt.NDArray[np.float64]
Ids = npt.NDArray[np.str_]


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

    def moved(self, first: int, second: int) -> Pairs:
        """The same where rows are counted from so many rows before."""
        return Pairs(
            first=self.first + first, second=self.second + second, distances=self.distances
        )

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


Watch = Callable[[int, int], None]
"""Told of rows done and rows in all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Duplicates:
    """Pairs of near-duplicates by id.

    Attributes:
        first: (c,) ids of the first table.
        second: (c,) ids of the second, or of later rows of the first.
        distances: (c,) root mean square differences.
        rows: number of rows compared of each table.
        skipped: crystals left out because their features are not finite.
    """

    first: Ids
    second: Ids
    distances: Distances
    rows: tuple[int, int]
    skipped: list[Skip]

    def __len__(self) -> int:
        return len(self.first)


def find_duplicates(
    first: Source,
    second: Source | None = None,
    *,
    threshold: float,
    axes: Axes,
    held: int = HELD,
    watch: Watch = lambda done, total: None,
) -> Duplicates:
    """All pairs of crystals no farther apart than a threshold.

    Args:
        first: features, or their file.
        second: likewise; None for pairs within ``first``.
        threshold: largest distance of a pair.
        axes: how features become coordinates.
        held: numbers of the first table in memory at a time; a larger one is done in pieces.
        watch: told how far it is.

    Raises:
        InputError: if features are of other widths, or there are more than ``MOST_PAIRS`` pairs.
    """
    within = second is None
    other = first if second is None else second
    rows = max(1, held // max(1, axes.count))
    counts = row_count(first), row_count(other)
    total = -(-counts[0] // rows) * counts[1]
    pairs: list[Pairs] = []
    ids: list[Ids] = []
    others: list[Ids] = []
    skipped: list[Skip] = []
    done = kept = start = 0
    for piece in _pieces(first, rows, axes):
        ids.append(piece.ids)
        skipped += piece.skipped
        finder = Finder(piece.coordinates)
        others, before = [], 0
        for batch in batches(other):
            compared = project([batch], axes)
            others.append(compared.ids)
            numbers = np.arange(before, before + len(compared.ids))
            before += len(compared.ids)
            done += len(batch)
            if not within or before > start:
                after = numbers - start if within else None
                for close in finder.pairs(compared.coordinates, threshold, after):
                    pairs.append(close.moved(start, int(numbers[0])))
                    kept += len(close)
                    _check_count(kept, threshold)
            watch(done, total)
        start += len(piece.ids)
    joined = Pairs.joined(pairs)
    names, theirs = _together(ids), _together(others)
    return Duplicates(
        first=names[joined.first],
        second=theirs[joined.second],
        distances=joined.distances,
        rows=(len(names), len(theirs)),
        skipped=skipped,
    )


def _pieces(source: Source, rows: int, axes: Axes) -> Iterator[Points]:
    """Points, so many at a time; their coordinates are written where they stay."""
    room = min(rows, row_count(source))
    coordinates = np.empty((room, axes.count), np.float32)
    ids: list[Ids] = []
    skipped: list[Skip] = []
    filled = 0
    for batch in batches(source):
        points = project([batch], axes)
        skipped += points.skipped
        start = 0
        while start < len(points.ids):
            stop = start + min(room - filled, len(points.ids) - start)
            coordinates[filled : filled + stop - start] = points.coordinates[start:stop]
            ids.append(points.ids[start:stop])
            filled, start = filled + stop - start, stop
            if filled == room:
                yield Points(
                    ids=np.concatenate(ids), coordinates=coordinates, axes=axes, skipped=skipped
                )
                ids, skipped, filled = [], [], 0
    if filled:
        held = coordinates[:filled]
        yield Points(ids=np.concatenate(ids), coordinates=held, axes=axes, skipped=skipped)


def _together(names: list[Ids]) -> Ids:
    return np.concatenate([np.zeros(0, np.str_), *names])


def _check_count(count: int, threshold: float) -> None:
    if count > MOST_PAIRS:
        raise InputError(
            f"More than {MOST_PAIRS:,} pairs are within {threshold:g}; that is no threshold for "
            "duplicates. Give a smaller --threshold."
        )
