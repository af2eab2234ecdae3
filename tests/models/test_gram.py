import numpy as np
import pytest

from crystalssl.models import arrays
from crystalssl.models.arrays import take_rows
from crystalssl.models.ridge import SufficientStatistics, decompose, fit_ols, fit_ridge


@pytest.fixture(scope="module")
def world():
    """Columns of many sizes: far from zero, constant but for one row, tiny noise."""
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(400, 30)) @ rng.normal(size=(30, 30))
    matrix[:, 3] += 1e4
    matrix[:, 5] = 0.0
    matrix[7, 5] = 0.7
    matrix[:, 6] = 1e-8 * rng.normal(size=400)
    matrix[350, 6] = 0.7
    labels = matrix[:, :2] + rng.normal(size=(400, 2))
    return matrix.astype(np.float32), labels


def test_statistics_are_those_of_numpy_in_double_precision(world, monkeypatch):
    monkeypatch.setattr(arrays, "CHUNK_BYTES", 1)
    matrix, labels = world
    rows = np.arange(0, 400, 3)
    statistics = SufficientStatistics.of(matrix, labels, rows)
    x = matrix[rows].astype(float) - statistics.origin
    y = labels[rows] - statistics.label_origin
    np.testing.assert_allclose(np.triu(statistics.gram), np.triu(x.T @ x), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(statistics.cross, x.T @ y, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(statistics.row_sum, x.sum(axis=0), atol=1e-9)
    np.testing.assert_array_equal(statistics.low, matrix[rows].min(axis=0))
    np.testing.assert_array_equal(statistics.high, matrix[rows].max(axis=0))


def test_rows_added_later_give_the_same_model_as_all_at_once(world):
    matrix, labels = world
    base = SufficientStatistics.of(matrix, labels, np.arange(250))
    before = base.gram.copy()
    rows = np.arange(390)
    together = base.plus(matrix, labels, rows[250:])
    np.testing.assert_array_equal(base.gram, before)
    for fit in (fit_ols, fit_ridge):
        shared = fit(decompose(matrix, labels, rows, together), matrix)
        alone = fit(decompose(matrix, labels, rows), matrix)
        np.testing.assert_array_equal(shared.scaler.columns, alone.scaler.columns)
        np.testing.assert_allclose(
            shared.predict(matrix), alone.predict(matrix), rtol=1e-5, atol=1e-5
        )


def test_rows_that_follow_one_another_are_not_copied(world):
    matrix, _ = world
    assert np.shares_memory(take_rows(matrix, np.arange(5, 9)), matrix)
    np.testing.assert_array_equal(take_rows(matrix, np.array([3, 1, 2])), matrix[[3, 1, 2]])
    np.testing.assert_array_equal(take_rows(matrix, np.array([1, 1, 3])), matrix[[1, 1, 3]])


def test_statistics_of_some_columns_are_those_of_a_matrix_of_these_columns(world):
    matrix, labels = world
    columns, rows = np.array([0, 3, 5, 6, 21]), np.arange(0, 400, 2)
    some = SufficientStatistics.of(matrix, labels, rows).select(columns)
    alone = SufficientStatistics.of(np.ascontiguousarray(matrix[:, columns]), labels, rows)
    for name in ("origin", "row_sum", "cross", "low", "high"):
        np.testing.assert_allclose(getattr(some, name), getattr(alone, name), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(np.triu(some.gram), np.triu(alone.gram), rtol=1e-10, atol=1e-12)
    assert some.gram.flags.f_contiguous
