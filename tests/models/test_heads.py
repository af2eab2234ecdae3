import builtins
import doctest
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from crystalssl.errors import InputError, MissingExtraError, UnknownNameError
from crystalssl.models import HEADS, arrays, build_head, head_settings, registry
from crystalssl.models.contract import Training, check_labels
from crystalssl.models.scaling import fit_scaler

N = 300
GROUPS = np.repeat([f"A{i}B" for i in range(N // 3)], 3)
TRAIN, TEST = np.arange(0, N, 3), np.arange(1, N, 3)
QUICK = {
    "lightgbm": {"rounds": 60, "patience": 10},
    "mlp": {"hidden": (32,), "steps": 300, "epochs": 20, "learning_rate": 0.01},
    "random_forest": {"trees": 20, "column_share": 0.5},
}


def quick(name, kind="regression"):
    """A head with fewer trees or steps, on one thread."""
    head = build_head(name, kind=kind)
    if hasattr(head, "threads"):
        head = replace(head, threads=1)
    return replace(head, **QUICK.get(name, {}))


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(N, 12)).astype(np.float32)
    matrix[:, 11] = 3.0  # carries nothing
    labels = 5.0 + 2.0 * matrix[:, 0] + matrix[:, 1] + 0.05 * rng.normal(size=N)
    return matrix, labels


@pytest.mark.parametrize("name", HEADS)
def test_a_head_learns_what_the_features_hold(name, world):
    matrix, labels = world
    predicted = quick(name).fit(matrix, TRAIN, labels, None, 0).predict(matrix, TEST)
    assert predicted.shape == TEST.shape
    assert np.corrcoef(predicted, labels[TEST])[0, 1] > 0.8
    assert abs(predicted.mean() - labels[TEST].mean()) < 0.5


@pytest.mark.parametrize("name", [name for name in HEADS if name != "ols"])
def test_classes_are_predicted_as_probabilities(name, world):
    matrix, labels = world
    classes = (labels > 5.0).astype(float)
    predicted = (
        quick(name, "classification").fit(matrix, TRAIN, classes, None, 0).predict(matrix, TEST)
    )
    assert predicted.min() >= 0
    assert predicted.max() <= 1
    truth = classes[TEST] == 1
    assert predicted[truth].mean() > predicted[~truth].mean() + 0.3


@pytest.mark.parametrize("name", HEADS)
def test_the_same_seed_gives_the_same_predictions_and_labels_outside_training_do_not_matter(
    name, world
):
    matrix, labels = world
    head = quick(name)
    predictions = []
    for outside in (np.nan, 1e9):
        known = np.full(N, outside)
        known[TRAIN] = labels[TRAIN]
        predictions.append(head.fit(matrix, TRAIN, known, GROUPS, 3).predict(matrix, TEST))
    np.testing.assert_array_equal(*predictions)


@pytest.mark.parametrize("name", HEADS)
def test_several_labels_give_a_column_each(name, world):
    matrix, labels = world
    both = np.stack([labels, -labels], axis=1)
    head = quick(name)
    predicted = head.fit(matrix, TRAIN, both, None, 0).predict(matrix, TEST)
    alone = head.fit(matrix, TRAIN, labels, None, 0).predict(matrix, TEST)
    assert predicted.shape == (len(TEST), 2)
    np.testing.assert_allclose(predicted[:, 0], alone, atol=1e-6)
    assert np.corrcoef(predicted[:, 1], labels[TEST])[0, 1] < -0.8


def test_test_values_far_outside_the_training_range_do_not_run_away(world):
    matrix, labels = world
    wild = matrix.copy()
    wild[TEST, 2] = 1e8
    for name in HEADS:
        predicted = quick(name).fit(wild, TRAIN, labels, None, 0).predict(wild, TEST)
        assert np.abs(predicted).max() < 30, name


def test_standardising_clips_to_the_range_seen_and_drops_constant_columns(world):
    matrix, _ = world
    scaler = fit_scaler(matrix, TRAIN)
    inputs = scaler.transform(matrix, np.arange(N), np.float32)
    assert inputs.dtype == np.float32
    assert inputs.shape == (N, 11)
    np.testing.assert_allclose(inputs[TRAIN].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(inputs[TRAIN].std(axis=0), 1, atol=1e-5)
    assert (inputs.max(axis=0) <= inputs[TRAIN].max(axis=0) + 1e-5).all()
    assert scaler.clipped(1.5).transform(matrix, TRAIN, np.float32).max() == 1.5


def test_rows_to_stop_by_share_no_formula_with_rows_to_fit_on():
    fit, check = Training(np.empty((N, 0)), np.arange(N), np.zeros(N), GROUPS, 0).inner_split()
    assert sorted([*fit, *check]) == list(range(N))
    assert not set(GROUPS[fit]) & set(GROUPS[check])
    assert 0.1 < len(check) / N < 0.2


@pytest.mark.parametrize(
    ("rows", "labels", "kind", "message"),
    [
        ([0], [1.0, 2.0], "regression", "expected at least 2"),
        ([0, 1], [1.0, np.nan], "regression", "have no label"),
        ([0, 1], [1.0, 1.0], "classification", "both 0 and 1"),
    ],
)
def test_labels_that_cannot_be_fitted_are_refused(rows, labels, kind, message):
    with pytest.raises(InputError, match=message):
        check_labels(np.array(labels)[rows, None], kind)


def test_least_squares_refuses_classes():
    with pytest.raises(InputError, match="Use the head 'ridge'"):
        build_head("ols", kind="classification")


def test_all_rows_are_predicted_where_none_are_named_and_none_where_there_are_none(world):
    matrix, labels = world
    fitted = build_head("ridge").fit(matrix, TRAIN, labels)
    predicted = fitted.predict(matrix)
    assert predicted.shape == (N,)
    np.testing.assert_allclose(predicted[TEST], fitted.predict(matrix, TEST), rtol=1e-12)
    assert fitted.predict(matrix, TEST[:0]).shape == (0,)


def test_predictions_do_not_depend_on_the_chunk_size(world, monkeypatch):
    matrix, labels = world
    for name in HEADS:
        fitted = quick(name).fit(matrix, TRAIN, np.stack([labels, -labels], axis=1))
        whole = fitted.predict(matrix)
        with monkeypatch.context() as patch:
            patch.setattr(arrays, "CHUNK_BYTES", 1)
            np.testing.assert_allclose(fitted.predict(matrix), whole, rtol=1e-5, err_msg=name)


def test_importing_heads_leaves_torch_and_evaluation_alone():
    code = (
        "import sys, crystalssl.models as m; m.build_head('lightgbm'); m.build_head('ridge'); "
        "print([n for n in sys.modules if n == 'torch' or n.startswith('crystalssl.evaluation')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_the_example_of_build_head_runs():
    tried = doctest.testmod(registry)
    assert tried.attempted > 4 and tried.failed == 0


def test_an_unknown_head_and_a_missing_package_are_named(monkeypatch, world):
    with pytest.raises(UnknownNameError, match="Did you mean 'ridge'"):
        build_head("rigde")
    real = builtins.__import__

    def without(name, *rest):
        if name == "lightgbm":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"crystalssl\[fit\]"):
        build_head("lightgbm")


def test_settings_hold_what_the_result_depends_on():
    one, two = build_head("lightgbm", threads=1), build_head("lightgbm", threads=2)
    assert head_settings(one) == head_settings(two)
    assert "learning_rate" in head_settings(one)


def test_a_network_has_as_many_inputs_as_columns_vary_whatever_it_was_trained_with():
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(80, 21)).astype(np.float32)
    matrix[:, 3] = 1.0
    head = replace(build_head("mlp"), hidden=(8,), steps=20)
    fitted = head.fit(matrix, np.arange(60), matrix[:, 0].astype(float), None, 0)
    first = fitted.networks[0][0]
    assert (first.in_features, tuple(first.weight.shape)) == (20, (8, 20))
    inputs = fitted.scaler.transform(matrix, np.arange(60, 80), np.float32)
    assert inputs.shape == (20, 20)
    padded = fitted.scaler.transform(matrix, np.arange(60, 80), np.float32, 16)
    assert padded.shape == (20, 32)
    np.testing.assert_array_equal(padded[:, :20], inputs)
    assert not padded[:, 20:].any()
