"""``CrystalRegressor`` and ``CrystalClassifier`` among scikit-learn's tools."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from crystalssl.errors import InputError, UnknownNameError
from crystalssl.properties.estimators import CrystalClassifier, CrystalRegressor
from small_properties import TARGET, labelled

SMALL: dict[str, Any] = {
    "weights": "tiny", "folds": 3, "repeats": 1, "candidates": ["ridge"], "n_jobs": 1,
}  # fmt: skip
NOT_MEANT = {
    # rows of a matrix that repeat are crystals of their own: weights would say otherwise
    "check_sample_weight_equivalence_on_dense_data",
    "check_sample_weight_equivalence_on_sparse_data",
    # cross-validation needs three rows of each class and more
    "check_fit2d_1sample",
    "check_classifiers_one_label",
    # errors are the package's own, which say what to do
    "check_estimators_dtypes",
}


@pytest.mark.parametrize(
    "estimator", [CrystalRegressor, pytest.param(CrystalClassifier, marks=pytest.mark.long)]
)
def test_checks_of_scikit_learn_pass_on_matrices(estimator: Any) -> None:
    failed = {}
    for made, check in estimator_checks_generator(estimator(**SMALL)):
        name = check.func.__name__
        if name in NOT_MEANT:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                check(made)
            except BaseException as error:  # pytest's skip is no Exception
                if type(error).__name__ != "SkipTest":
                    failed[name] = f"{type(error).__name__}: {error}"[:300]
    assert not failed, failed


def test_regression_on_structures_gives_numbers_intervals_and_nan_for_what_cannot_be_used() -> None:
    crystals = labelled(40)
    structures = [*crystals.to_ase()[:39], {"not": "a structure"}]
    model = CrystalRegressor(**SMALL).fit(structures, crystals.column(TARGET))
    assert len(model.rows_) == 39
    predicted = model.predict(structures)
    assert np.isfinite(predicted[:39]).all()
    assert np.isnan(predicted[39])
    ends = model.predict_interval(structures, level=0.8)
    assert (ends[:39, 0] < predicted[:39]).all()
    assert (ends[:39, 1] > predicted[:39]).all()
    wider = model.predict_interval(structures, level=0.95)
    assert (np.diff(wider[:39]) >= np.diff(ends[:39])).all()
    again = clone(model).fit(structures, crystals.column(TARGET))
    np.testing.assert_array_equal(again.predict(structures), predicted)


def test_classes_of_any_name_get_probabilities_that_add_up() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(90, 5))
    classes = np.array(["low", "middle", "high"])[np.digitize(matrix[:, 0], [-0.5, 0.5])]
    model = CrystalClassifier(**SMALL).fit(matrix, classes)
    probabilities = model.predict_proba(matrix)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert (model.predict(matrix) == classes).mean() > 0.8
    assert model.classes_.tolist() == ["high", "low", "middle"]


def test_it_stands_in_pipelines_and_cross_validation() -> None:
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(60, 4))
    labels = matrix @ [1.0, 2.0, 0.0, -1.0]
    whole = make_pipeline(StandardScaler(), CrystalRegressor(**SMALL))
    predicted = cross_val_predict(whole, matrix, labels, cv=3)
    assert np.corrcoef(predicted, labels)[0, 1] > 0.98


def test_an_unknown_candidate_and_too_few_groups_say_so() -> None:
    matrix, labels = np.random.default_rng(2).normal(size=(30, 3)), np.arange(30.0)
    with pytest.raises(UnknownNameError, match="ridge"):
        CrystalRegressor(candidates=["rigde"]).fit(matrix, labels)
    with pytest.raises(InputError, match="2 groups"):
        CrystalRegressor(**SMALL).fit(matrix, labels, groups=["a"] * 15 + ["b"] * 15)
