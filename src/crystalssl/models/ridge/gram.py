"""Rows of a feature matrix -> its Gram matrix and what else a linear model needs of them.

Over columns: sufficient statistics, to which rows can be added later, so that splits with most of
their training rows in common share most of the work. Over rows, where there are fewer of them: the
Gram matrix alone. Rows stream through in float64 chunks. Before decomposition.py.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg.blas import dsyr, dsyrk

from crystalssl.models.arrays import Features, Floats, Index, chunks, take_rows
from crystalssl.models.scaling import Scaler, subtract_origin, typical_row


@dataclass(kw_only=True, slots=True)
class SufficientStatistics:
    """Sums over some rows of a matrix, x being a row less the origin, y its labels less theirs.

    Attributes:
        origin: (p,) typical row; differences to it keep sums free of cancellation.
        label_origin: (t,) typical labels.
        count: number of rows.
        row_sum: (p,) sum of x.
        label_sum: (t,) sum of y.
        gram: (p, p) sum of x x', upper triangle, column-major.
        cross: (p, t) sum of x y'.
        low: (p,) least value of each column.
        high: (p,) greatest value of each column.
    """

    origin: Floats
    label_origin: Floats
    count: int
    row_sum: Floats
    label_sum: Floats
    gram: Floats
    cross: Floats
    low: Floats
    high: Floats

    @staticmethod
    def of(matrix: Features, labels: Floats, rows: Index) -> SufficientStatistics:
        """Statistics of some rows.

        Args:
            matrix: (crystals, p) features.
            labels: (crystals, t) labels; only those of the rows are read.
            rows: (n,) rows, at least one.
        """
        origin, label_origin = typical_row(matrix, rows), labels[rows].mean(axis=0)
        width, label_count = len(origin), len(label_origin)
        statistics = SufficientStatistics(
            origin=origin,
            label_origin=label_origin,
            count=0,
            row_sum=np.zeros(width),
            label_sum=np.zeros(label_count),
            gram=np.zeros((width, width), order="F"),  # the order in which BLAS adds in place
            cross=np.zeros((width, label_count)),
            low=np.full(width, np.inf),
            high=np.full(width, -np.inf),
        )
        statistics._add(matrix, labels, rows)
        return statistics

    def plus(self, matrix: Features, labels: Floats, rows: Index) -> SufficientStatistics:
        """Statistics of these rows and others; the ones here stay as they are."""
        union = deepcopy(self)
        union._add(matrix, labels, rows)
        return union

    def select(self, columns: Index) -> SufficientStatistics:
        """Statistics of some columns, in rising order, so that the upper triangle stays one."""
        return replace(
            self,
            origin=self.origin[columns],
            row_sum=self.row_sum[columns],
            # indexed as its transpose, which is row-major, so that the copy is column-major
            gram=self.gram.T[np.ix_(columns, columns)].T,
            cross=self.cross[columns],
            low=self.low[columns],
            high=self.high[columns],
        )

    def standardised(self, *, overwrite: bool) -> tuple[Scaler, Floats, Floats]:
        """What standardised rows Xs and centred labels y would have given.

        Args:
            overwrite: whether the Gram matrix here may become the one that is returned.

        Returns:
            The scaler, (p, p) Xs' Xs (upper triangle) and (p, t) Xs' y, of columns that vary.

        Raises:
            InputError: if a value is not finite, or no column varies.
        """
        count, mean = self.count, self.row_sum / self.count
        squares = np.diag(self.gram) / count
        scaler = Scaler.of(self.origin, mean, squares, self.low, self.high)
        columns, scale, gram = scaler.columns, scaler.scale, self.gram
        if len(columns) < len(gram):
            gram = gram.T[np.ix_(columns, columns)].T  # column-major, as in ``select``
        elif not overwrite:
            gram = gram.copy(order="F")
        if overwrite:
            self.gram = gram  # frees the wider one
        # Xs' Xs = (X'X - n m m') / (s s'), m the mean and s the scale
        gram /= scale
        gram /= scale[:, None]
        gram = dsyr(-count, mean[columns] / scale, a=gram, overwrite_a=True)
        cross = self.cross - np.outer(self.row_sum, self.label_sum / count)
        return scaler, gram, cross[columns] / scale[:, None]

    def _add(self, matrix: Features, labels: Floats, rows: Index) -> None:
        batches = [rows[chunk] for chunk in chunks(len(rows), matrix.shape[1])]
        # double buffer: fresh memory would be zeroed page by page for every chunk
        buffers = np.empty((min(2, len(batches)), max(map(len, batches)), matrix.shape[1]))

        def read(number: int) -> Floats:
            """Differences of a batch to the origin; their range enters that of all."""
            batch: npt.NDArray[Any] = np.ascontiguousarray(take_rows(matrix, batches[number]))
            differences = buffers[number % 2, : len(batch)]
            subtract_origin(batch, self.origin, differences, self.low, self.high)
            return differences

        # the next batch is read while BLAS works on this one
        with ThreadPoolExecutor(1) as pool:
            pending = [pool.submit(read, 0)]
            for number, batch in enumerate(batches):
                x = pending.pop().result()  # (batch, p)
                if number + 1 < len(batches):
                    pending.append(pool.submit(read, number + 1))
                y = labels[batch] - self.label_origin  # (batch, t)
                self.gram = dsyrk(1.0, x.T, beta=1.0, c=self.gram, overwrite_c=True)
                sums = np.vstack([y.T, np.ones(len(y))]) @ x  # (t + 1, p) in one pass over x
                self.cross += sums[:-1].T
                self.row_sum += sums[-1]
                self.label_sum += y.sum(axis=0)
        self.count += len(rows)


def row_gram(matrix: Features, rows: Index, scaler: Scaler) -> Floats:
    """(n, n) Xs Xs' (upper triangle) of n standardised training rows, summed over columns.

    Args:
        matrix: (crystals, columns) features.
        rows: (n,) training rows.
        scaler: their statistics.
    """
    gram: Floats = np.zeros((len(rows), len(rows)), order="F")
    for chunk in chunks(len(scaler.columns), len(rows)):
        scaled = scaler.transform_columns(matrix, rows, chunk)  # (n, chunk)
        gram = dsyrk(1.0, scaled.T, beta=1.0, c=gram, overwrite_c=True, trans=True)
    return gram
