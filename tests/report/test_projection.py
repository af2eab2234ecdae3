"""Features -> a map of neighbours, below and above the size for which all distances are made."""

from __future__ import annotations

import numpy as np
import pytest

from crystalssl.report import projection


@pytest.mark.parametrize(
    "count", [240, pytest.param(projection.DENSE + 200, marks=pytest.mark.long)]
)
def test_two_groups_are_apart_on_the_map(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("umap")
    monkeypatch.setattr(projection, "DENSE", min(projection.DENSE, count - 1))
    rng = np.random.default_rng(0)
    first = np.arange(count) < count // 3  # groups of two sizes: who is near whom is not mutual
    matrix = rng.normal(size=(count, 8)) + np.where(first, 0.0, 8.0)[:, None]
    points = projection.neighbour_map(matrix, None)
    assert points is not None and np.isfinite(points).all()
    centres = points[first].mean(axis=0), points[~first].mean(axis=0)
    nearer = np.linalg.norm(points - centres[0], axis=1) < np.linalg.norm(
        points - centres[1], axis=1
    )
    assert (nearer == first).mean() > 0.99
