import numpy as np
import pytest

from crystalssl.models.ridge import decomposition
from crystalssl.models.ridge.decomposition import principal_axes


@pytest.mark.parametrize("rank", [3, 40, 80])
def test_axes_equal_those_of_a_full_decomposition(rank):
    rng = np.random.default_rng(0)
    matrix = (rng.normal(size=(200, rank)) * np.logspace(0, -4, rank)) @ rng.normal(size=(rank, 80))
    gram = matrix.T @ matrix
    values, vectors = principal_axes(np.triu(gram), 200)
    assert len(values) == rank
    assert (np.diff(values) < 0).all()
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(rank), atol=1e-12)
    np.testing.assert_allclose((vectors * values) @ vectors.T, gram, atol=1e-10 * values[0])
    expected = np.linalg.eigvalsh(gram)[::-1][:rank]
    np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-13 * values[0])


def test_both_ways_give_the_same_axes(monkeypatch):
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(100, 20)) @ rng.normal(size=(20, 60))
    inverses = []
    for fraction in (0.0, 1.0):
        monkeypatch.setattr(decomposition, "WORTHWHILE", fraction)
        values, vectors = principal_axes(matrix.T @ matrix, 100)
        inverses.append((vectors / values) @ vectors.T)
    np.testing.assert_allclose(inverses[0], inverses[1], rtol=1e-7, atol=1e-12)
