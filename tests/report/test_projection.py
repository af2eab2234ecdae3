import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from crystalssl.report.projection import principal_plane


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
