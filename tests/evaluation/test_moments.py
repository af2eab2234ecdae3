import numpy as np
import pytest

from crystalssl.evaluation import moments as module
from crystalssl.evaluation.moments import Moments, take
from crystalssl.evaluation.probe_fits import SharedSums
from crystalssl.evaluation.protocols import HeldOutFolds, RepeatedSplits
from crystalssl.evaluation.ridge import fit_ols, fit_ridge, training_range
from crystalssl.evaluation.spectrum import decompose


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


def test_sums_are_those_of_numpy_in_double_precision(world, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_BYTES", 1)
    matrix, labels = world
    rows = np.arange(0, 400, 3)
    found = Moments.of(matrix, labels, rows)
    x = matrix[rows].astype(float) - found.origin
    y = labels[rows] - found.label_origin
    np.testing.assert_allclose(np.triu(found.gram), np.triu(x.T @ x), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.along, x.T @ y, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.total, x.sum(axis=0), atol=1e-9)
    np.testing.assert_array_equal(found.low, matrix[rows].min(axis=0))
    np.testing.assert_array_equal(found.high, matrix[rows].max(axis=0))


def test_rows_added_later_give_the_same_model_as_all_at_once(world):
    matrix, labels = world
    base = Moments.of(matrix, labels, np.arange(250))
    before = base.gram.copy()
    rows = np.arange(390)
    together = base.plus(matrix, labels, rows[250:])
    np.testing.assert_array_equal(base.gram, before)
    for fit in (fit_ols, fit_ridge):
        shared = fit(decompose(matrix, labels, rows, together), matrix)
        alone = fit(decompose(matrix, labels, rows), matrix)
        limits = training_range(matrix, rows)
        np.testing.assert_array_equal(shared.scaler.columns, alone.scaler.columns)
        np.testing.assert_allclose(
            shared.predict(matrix, limits=limits), alone.predict(matrix, limits=limits),
            rtol=1e-5, atol=1e-5,
        )  # fmt: skip


def test_splits_of_one_seed_share_sums_and_each_gets_its_own_rows(world):
    matrix, labels = world
    groups = np.arange(400).astype(str)
    splits = RepeatedSplits(kinds=("random",), repeats=2).splits(np.arange(400), groups)
    sums = SharedSums(matrix, labels, splits)
    for split in splits:
        found, seconds = sums.of(split)
        assert found is not None and seconds > 0
        own = Moments.of(matrix, labels, split.train)
        assert found.count == len(split.train)
        shift = found.origin - own.origin
        np.testing.assert_allclose(found.total + found.count * shift, own.total, atol=1e-8)
        np.testing.assert_array_equal(found.high, own.high)


def test_nested_splits_are_added_to_one_another_and_no_row_is_summed_twice(world, monkeypatch):
    matrix, labels = world
    summed, add = [], Moments._add
    monkeypatch.setattr(
        Moments, "_add", lambda own, m, y, rows: (summed.append(len(rows)), add(own, m, y, rows))
    )
    groups = np.arange(400).astype(str)
    splits = RepeatedSplits(kinds=("random",), repeats=1).splits(np.arange(400), groups)
    sums = SharedSums(matrix, labels, splits)
    for split in sorted(splits, key=lambda split: len(split.train)):
        found, _ = sums.of(split)
        assert found.count == len(split.train)
    assert sum(summed) == max(len(split.train) for split in splits)
    summed.clear()
    SharedSums(matrix, labels, splits).of(max(splits, key=lambda split: len(split.train)))
    assert sum(summed) == max(len(split.train) for split in splits)


def test_folds_add_to_the_rows_that_all_have(world):
    matrix, labels = world
    groups, held_out = np.arange(400).astype(str), np.arange(400) < 60
    splits = HeldOutFolds(held_out=held_out, folds=3).splits(np.arange(400), groups)
    sums = SharedSums(matrix, labels, splits)
    for split in splits:
        found, _ = sums.of(split)
        own = Moments.of(matrix, labels, split.train)
        shift = found.origin - own.origin
        np.testing.assert_allclose(found.total + found.count * shift, own.total, atol=1e-8)


def test_fewer_rows_than_columns_need_no_sums(world):
    matrix, labels = world
    splits = RepeatedSplits(kinds=("random",), repeats=1).splits(
        np.arange(40), np.arange(400).astype(str)
    )
    wide = np.tile(matrix, (1, 2))
    assert SharedSums(wide, labels, splits).of(splits[-1]) == (None, 0.0)


def test_rows_that_follow_one_another_are_not_copied(world):
    matrix, _ = world
    assert np.shares_memory(take(matrix, np.arange(5, 9)), matrix)
    np.testing.assert_array_equal(take(matrix, np.array([3, 1, 2])), matrix[[3, 1, 2]])
    np.testing.assert_array_equal(take(matrix, np.array([1, 1, 3])), matrix[[1, 1, 3]])
