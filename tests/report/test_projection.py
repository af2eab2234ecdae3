"""Features -> the plane of their principal axes, and a map of neighbours of either size."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from crystalssl.report import projection
from crystalssl.report.projection import principal_plane


@pytest.mark.long  # UMAP compiles for half a minute; in short tests the report draws a map
@pytest.mark.parametrize("count", [240, projection.DENSE + 200])
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


@pytest.mark.parametrize("width", [2, 3, 30])
def test_the_plane_is_that_of_scikit_learn(width):
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(200, width)) @ rng.normal(size=(width, width))
    points, explained = principal_plane(matrix.astype(np.float32))
    scaled = StandardScaler().fit_transform(matrix)
    oracle = PCA(2).fit(scaled)
    expected = oracle.transform(scaled)
    assert explained == pytest.approx(oracle.explained_variance_ratio_, abs=1e-5)
    same = np.abs(np.einsum("nk,nk->k", points, expected))
    lengths = np.linalg.norm(points, axis=0) * np.linalg.norm(expected, axis=0)
    np.testing.assert_allclose(same, lengths, rtol=1e-3)


def test_features_that_do_not_vary_give_a_point():
    points, explained = principal_plane(np.ones((5, 4), np.float32))
    assert not points.any()
    assert explained == (0.0, 0.0)
