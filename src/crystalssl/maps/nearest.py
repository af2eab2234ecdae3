"""Features -> the nearest crystals of each one, for the list beside a chosen crystal.

Exact Euclidean distances among the leading principal components of the standardised features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import NearestNeighbors

from crystalssl.report.projection import principal_axes

AXES = 128
"""Principal components that distances are taken on, at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Nearest:
    """Neighbours of n crystals.

    Attributes:
        rows: (n, k) rows of the nearest others, the nearest first.
        distances: (n, k) how far they are.
        metric: what the distance is, in words.
    """

    rows: npt.NDArray[np.int64]
    distances: npt.NDArray[np.float64]
    metric: str


def nearest_of(matrix: npt.NDArray[np.floating], count: int) -> Nearest | None:
    """The nearest other crystals of each; None without others.

    Args:
        matrix: (n, p) features.
        count: neighbours of each, at most.
    """
    count = min(count, len(matrix) - 1)
    if count < 1:
        return None
    axes, _ = principal_axes(matrix, AXES)
    search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(axes.astype(np.float32))
    distances, rows = search.kneighbors()
    metric = f"Euclidean distance on {axes.shape[1]} principal components of standardised features"
    return Nearest(rows=rows.astype(np.int64), distances=distances, metric=metric)
