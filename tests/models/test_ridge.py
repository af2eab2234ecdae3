from dataclasses import replace

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from crystalssl.errors import InputError
from crystalssl.models import arrays
from crystalssl.models.ridge import (
    decompose,
    fit_ols,
    fit_ridge,
    left_out_errors,
    predict_all,
)
from crystalssl.models.scaling import fit_scaler


def problem(n, p, seed=0, targets=2):
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(n, p)) @ rng.normal(size=(p, p)) / np.sqrt(p)
    matrix = (mixed * rng.uniform(0.1, 50, p) + rng.normal(0, 100, p)).astype(np.float32)
    weights = rng.normal(size=(p, targets)) / matrix.std(axis=0)[:, None]
    labels = matrix.astype(np.float64) @ weights + rng.normal(size=(n, targets))
    return matrix, labels


def inside(matrix, rows):
    """Every row with its values clipped to the range of some rows."""
    return np.clip(matrix, matrix[rows].min(axis=0), matrix[rows].max(axis=0))


@pytest.fixture(params=[(300, 40), (60, 200)], ids=["primal", "dual"])
def case(request):
    return problem(*request.param)


def test_ridge_of_a_given_strength_equals_scikit_learn(case):
    matrix, labels = case
    rows = np.arange(0, len(matrix), 2)
    model = fit_ridge(decompose(matrix, labels, rows), matrix, strengths=0.03)
    oracle = make_pipeline(StandardScaler(), Ridge(alpha=0.03 * len(rows)))
    oracle.fit(matrix[rows].astype(np.float64), labels[rows])
    expected = oracle.predict(inside(matrix, rows).astype(np.float64))
    np.testing.assert_allclose(model.predict(matrix), expected, rtol=1e-7, atol=1e-7)


def test_least_squares_equals_scikit_learn_with_full_column_rank():
    matrix, labels = problem(300, 40)
    rows = np.arange(200)
    model = fit_ols(decompose(matrix, labels, rows), matrix)
    oracle = LinearRegression().fit(matrix[rows].astype(np.float64), labels[rows])
    expected = oracle.predict(inside(matrix, rows).astype(np.float64))
    np.testing.assert_allclose(model.predict(matrix), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(200, 60), (50, 120)])
def test_least_squares_equals_numpy_lstsq_where_columns_depend_on_one_another(shape):
    matrix, labels = problem(*shape)
    matrix[:, 5] = matrix[:, 3]
    matrix[:, 7] = -2 * matrix[:, 9]
    rows = np.arange(len(matrix))
    model = fit_ols(decompose(matrix, labels, rows), matrix)
    scaled = StandardScaler().fit_transform(matrix.astype(np.float64))
    expected, _, rank, _ = np.linalg.lstsq(scaled, labels - labels.mean(axis=0), rcond=1e-7)
    assert model.rank == rank
    np.testing.assert_allclose(model.coefficients, expected, rtol=1e-5, atol=1e-6)


def test_models_together_predict_what_each_predicts(case):
    matrix, labels = case
    rows = np.arange(0, len(matrix), 2)
    full = decompose(matrix, labels, rows)
    models = [
        fit(axes, matrix) for axes in (full, full.truncate(9)) for fit in (fit_ols, fit_ridge)
    ]
    together = predict_all(models, matrix, rows + 1)
    for model, predicted in zip(models, together, strict=True):
        expected = model.predict(matrix, rows + 1)
        np.testing.assert_allclose(predicted, expected, rtol=1e-9, atol=1e-9)


def test_cached_scores_are_those_of_the_truncated_decomposition(case):
    matrix, labels = case
    rows = np.arange(0, len(matrix), 2)
    full = replace(decompose(matrix, labels, rows), cache={})
    groups = rows // 6
    fit_ridge(full, matrix, groups=groups)
    assert full.cache or full.dual
    cached = fit_ridge(full.truncate(9), matrix, groups=groups)
    again = fit_ridge(replace(full, cache=None).truncate(9), matrix, groups=groups)
    np.testing.assert_array_equal(cached.strength, again.strength)
    np.testing.assert_allclose(cached.coefficients, again.coefficients, rtol=1e-9)


def test_columns_that_do_not_vary_on_the_training_rows_get_no_weight():
    matrix, labels = problem(100, 10)
    matrix[:50, 4] = 7.0
    rows = np.arange(50)
    model = fit_ols(decompose(matrix, labels, rows), matrix)
    assert 4 not in model.scaler.columns
    changed = matrix.copy()
    changed[:, 4] = 1e6
    np.testing.assert_array_equal(model.predict(matrix), model.predict(changed))


def test_test_rows_are_clipped_to_the_range_of_training(case):
    matrix, labels = case
    rows = np.arange(0, len(matrix), 2)
    model = fit_ridge(decompose(matrix, labels, rows), matrix, strengths=0.1)
    wild = matrix.copy()
    wild[1::2] *= 1e3
    clipped = model.predict(wild)
    np.testing.assert_allclose(clipped, model.predict(inside(wild, rows)), rtol=1e-9)
    np.testing.assert_array_equal(clipped[::2], model.predict(matrix, rows))


def test_left_out_errors_equal_those_of_refitting_without_each_group(case):
    matrix, labels = case
    rows = np.arange(len(matrix))
    groups = np.random.default_rng(1).integers(0, len(rows) // 3, len(rows))
    strength = 0.1
    errors = left_out_errors(
        decompose(matrix, labels, rows), matrix, np.array([strength]), groups=groups
    )
    scaled = StandardScaler().fit_transform(matrix.astype(np.float64))
    squares = np.zeros(labels.shape)
    for group in np.unique(groups):
        out = groups == group
        model = Ridge(alpha=strength * len(rows)).fit(scaled[~out], labels[~out])
        squares[out] = (labels[out] - model.predict(scaled[out])) ** 2
    np.testing.assert_allclose(errors[0], squares.mean(axis=0), rtol=1e-6)


def test_the_strength_with_the_least_left_out_error_is_taken(case):
    matrix, labels = case
    basis = decompose(matrix, labels, np.arange(len(matrix)))
    tried = np.array([1e-6, 1e-2, 1e2])
    errors = left_out_errors(basis, matrix, tried)
    model = fit_ridge(basis, matrix, strengths=tried)
    np.testing.assert_array_equal(model.strength, tried[errors.argmin(axis=0)])


def test_a_truncated_decomposition_is_a_pca_fitted_on_the_training_rows(case):
    matrix, labels = case
    rows = np.arange(0, len(matrix), 2)
    basis = decompose(matrix, labels, rows).truncate(12)
    model = fit_ridge(basis, matrix, strengths=0.01)
    oracle = make_pipeline(StandardScaler(), PCA(12, svd_solver="full"), Ridge(0.01 * len(rows)))
    oracle.fit(matrix[rows].astype(np.float64), labels[rows])
    expected = oracle.predict(inside(matrix, rows).astype(np.float64))
    np.testing.assert_allclose(model.predict(matrix), expected, rtol=1e-6, atol=1e-6)


def test_scaler_and_axes_do_not_see_rows_outside_training(case):
    matrix, labels = case
    rows = np.arange(0, len(matrix), 2)
    changed, other = matrix.copy(), labels.copy()
    changed[1::2] = 1e9
    other[1::2] = -1e9
    first, second = decompose(matrix, labels, rows), decompose(changed, other, rows)
    np.testing.assert_array_equal(first.scaler.centre, second.scaler.centre)
    np.testing.assert_array_equal(first.basis, second.basis)
    np.testing.assert_array_equal(first.projections, second.projections)


def test_the_result_does_not_depend_on_the_chunk_size(case, monkeypatch):
    matrix, labels = (np.tile(array, (4, 1)) for array in case)
    matrix = matrix + np.random.default_rng(2).normal(size=matrix.shape).astype(np.float32)
    rows = np.arange(len(matrix))
    whole = fit_ridge(decompose(matrix, labels, rows), matrix).predict(matrix)
    monkeypatch.setattr(arrays, "CHUNK_BYTES", 1)
    chunked = fit_ridge(decompose(matrix, labels, rows), matrix).predict(matrix)
    np.testing.assert_allclose(chunked, whole, rtol=1e-9, atol=1e-9)


def test_a_column_far_from_zero_keeps_its_standard_deviation():
    matrix = np.random.default_rng(0).normal(1e4, 1.0, (1000, 2)).astype(np.float32)
    scaler = fit_scaler(matrix, np.arange(1000))
    np.testing.assert_allclose(scaler.scale, matrix.astype(np.float64).std(axis=0), rtol=1e-9)


def test_values_that_are_not_finite_are_refused_with_their_column(case):
    matrix, labels = case
    matrix[3, 2] = np.nan
    with pytest.raises(InputError, match="column 2 holds a value that is not finite"):
        decompose(matrix, labels, np.arange(len(matrix)))


def test_features_that_never_vary_are_refused():
    with pytest.raises(InputError, match="None of the 3 feature columns varies"):
        decompose(np.ones((10, 3), np.float32), np.zeros((10, 1)), np.arange(10))
