"""Points -> clusters and the crystal in the middle of each: k-means, the same every time.

Used by ``selection.py``: crystals from the middle of clusters stand for many others, where those of
a design alone lean to the edge.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crystalssl.search.axes import Matrix, evenly
from crystalssl.search.nearest import Rows

ROUNDS = 8
"""Rounds of k-means; further ones change few labels."""
ROWS = 4_096
"""Rows compared with all centres at a time."""


def clusters(points: Matrix, count: int) -> tuple[Rows, npt.NDArray[np.float64]]:
    """Cluster of each point by k-means.

    Args:
        points: (n, l) coordinates.
        count: clusters at most; one that loses all its points keeps its number and none.

    Returns:
        (n,) number of the cluster, and (n,) squared distance to its centre.
    """
    centres = points[evenly(len(points), count)].copy()  # (k, l)
    labels, distances = _assigned(points, centres)
    for _ in range(ROUNDS):
        order = np.argsort(labels, kind="stable")
        filled, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
        sums = np.add.reduceat(points[order].astype(np.float64), starts, axis=0)  # (filled, l)
        centres[filled] = (sums / counts[:, None]).astype(np.float32)
        labels, distances = _assigned(points, centres)
    return labels, distances


def medoids(points: Matrix, count: int, taken: Rows | None = None) -> Rows:
    """The point nearest to the centre of each cluster, those of the largest clusters first.

    Args:
        points: (n, l) coordinates.
        count: clusters, and points at most; equal points make fewer.
        taken: points that stand for their clusters already; these give none.
    """
    known = np.zeros(0, np.int64) if taken is None else taken
    if count < 1:
        return np.zeros(0, np.int64)
    labels, distances = clusters(points, min(len(points), count + len(known)))
    order = np.lexsort((distances, labels))  # the first of each cluster is its middle
    names, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    free = ~np.isin(names, labels[known])
    middle = order[starts[free]]
    chosen: Rows = middle[np.lexsort((middle, -counts[free]))][:count]
    return chosen


def _assigned(points: Matrix, centres: Matrix) -> tuple[Rows, npt.NDArray[np.float64]]:
    """Nearest centre of each point and the squared distance to it."""
    labels = np.empty(len(points), np.int64)
    distances = np.empty(len(points))
    lengths = np.einsum("kl,kl->k", centres, centres)
    for start in range(0, len(points), ROWS):
        rows = points[start : start + ROWS]
        squares = lengths - 2 * rows @ centres.T  # (rows, k), but for the length of the row
        labels[start : start + ROWS] = squares.argmin(axis=1)
        own = np.einsum("ij,ij->i", rows, rows)
        distances[start : start + ROWS] = squares.min(axis=1) + own
    return labels, distances
