"""Coordinates and queries -> the nearest rows, exactly, in blocks by matrix products.

A product in float32 loses small differences of long vectors, so it only proposes candidates; their
distances are then taken from differences in float64. Memory is that of one block, whatever the
number of rows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

BLOCK_ROWS = 16_384
"""Rows compared with queries at a time."""
BLOCK_QUERIES = 256
"""Queries at a time."""
MARGIN = 16
"""Further candidates, in case rounding has exchanged some at the end of the list."""


def squared_norms(coordinates: Matrix) -> Matrix:
    """(n,) squared length of each row."""
    norms: Matrix = np.einsum("ij,ij->i", coordinates, coordinates)
    return norms


def nearest(
    coordinates: Matrix,
    norms: Matrix,
    queries: Matrix,
    k: int,
    allowed: npt.NDArray[np.bool_] | None = None,
) -> tuple[Rows, npt.NDArray[np.float64]]:
    """The k nearest rows of every query.

    Args:
        coordinates: (n, m) rows.
        norms: (n,) their :func:`squared_norms`.
        queries: (q, m).
        k: neighbours of each query.
        allowed: (n,) rows that may be neighbours; all if None.

    Returns:
        Rows and distances, both (q, min(k, n)), nearest first, the first row of equal ones first.
        Rows that are not allowed have an infinite distance and stand last.
    """
    kept = min(k + MARGIN, len(coordinates))
    rows = np.empty((len(queries), kept), np.int64)
    for start in range(0, len(queries), BLOCK_QUERIES):
        chunk = slice(start, start + BLOCK_QUERIES)
        rows[chunk] = _candidates(coordinates, norms, queries[chunk], kept, allowed)
    return ranked(coordinates, queries, rows, k, allowed)


def ranked(
    coordinates: Matrix,
    queries: Matrix,
    rows: Rows,
    k: int,
    allowed: npt.NDArray[np.bool_] | None = None,
) -> tuple[Rows, npt.NDArray[np.float64]]:
    """The k nearest of candidates (q, c) of each query, as :func:`nearest` gives them."""
    distances = exact_distances(coordinates, queries, rows)
    if allowed is not None:
        distances[~allowed[rows]] = np.inf
    order = np.lexsort((rows, distances), axis=1)[:, : min(k, len(coordinates))]
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(distances, order, axis=1)


def exact_distances(coordinates: Matrix, queries: Matrix, rows: Rows) -> npt.NDArray[np.float64]:
    """(q, c) distances of queries (q, m) to their rows (q, c), from differences in float64."""
    distances = np.empty(rows.shape)
    for query, (row, chosen) in enumerate(zip(queries, rows, strict=True)):
        differences = coordinates[chosen].astype(np.float64) - row  # (c, m)
        distances[query] = np.sqrt(np.einsum("ij,ij->i", differences, differences))
    return distances


def _candidates(
    coordinates: Matrix,
    norms: Matrix,
    queries: Matrix,
    kept: int,
    allowed: npt.NDArray[np.bool_] | None,
) -> Rows:
    """(q, kept) rows that are nearest as far as float32 tells, in no order."""
    best = np.empty((len(queries), 0), np.float32)
    rows = np.empty((len(queries), 0), np.int64)
    doubled = np.ascontiguousarray(-2 * queries.T)  # (m, q)
    for start in range(0, len(coordinates), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        # |x - q|^2 - |q|^2 = |x|^2 - 2 x.q orders rows as distance does
        order = (coordinates[block] @ doubled + norms[block, None]).T  # (q, rows)
        if allowed is not None:
            order[:, ~allowed[block]] = np.inf
        count = min(kept, order.shape[1])
        chosen = np.argpartition(order, count - 1, axis=1)[:, :count]  # (q, count)
        best = np.concatenate([best, np.take_along_axis(order, chosen, axis=1)], axis=1)
        rows = np.concatenate([rows, chosen + start], axis=1)
        if best.shape[1] > kept:
            chosen = np.argpartition(best, kept - 1, axis=1)[:, :kept]
            best = np.take_along_axis(best, chosen, axis=1)
            rows = np.take_along_axis(rows, chosen, axis=1)
    return rows
