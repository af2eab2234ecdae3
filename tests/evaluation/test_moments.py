import numpy as np
import pytest

from crystalssl.evaluation.probe_fits import SharedSums
from crystalssl.evaluation.protocols import HeldOutFolds, RepeatedSplits
from crystalssl.models.ridge import SufficientStatistics


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


def test_splits_of_one_seed_share_sums_and_each_gets_its_own_rows(world):
    matrix, labels = world
    groups = np.arange(400).astype(str)
    splits = RepeatedSplits(kinds=("random",), repeats=2).splits(np.arange(400), groups)
    sums = SharedSums(matrix, labels, splits)
    for split in splits:
        found, seconds = sums.of(split)
        assert found is not None and seconds > 0
        own = SufficientStatistics.of(matrix, labels, split.train)
        assert found.count == len(split.train)
        shift = found.origin - own.origin
        np.testing.assert_allclose(found.row_sum + found.count * shift, own.row_sum, atol=1e-8)
        np.testing.assert_array_equal(found.high, own.high)


def test_nested_splits_are_added_to_one_another_and_no_row_is_summed_twice(world, monkeypatch):
    matrix, labels = world
    summed, add = [], SufficientStatistics._add
    monkeypatch.setattr(
        SufficientStatistics,
        "_add",
        lambda own, m, y, rows: (summed.append(len(rows)), add(own, m, y, rows)),
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
        own = SufficientStatistics.of(matrix, labels, split.train)
        shift = found.origin - own.origin
        np.testing.assert_allclose(found.row_sum + found.count * shift, own.row_sum, atol=1e-8)


def test_fewer_rows_than_columns_need_no_sums(world):
    matrix, labels = world
    splits = RepeatedSplits(kinds=("random",), repeats=1).splits(
        np.arange(40), np.arange(400).astype(str)
    )
    wide = np.tile(matrix, (1, 2))
    assert SharedSums(wide, labels, splits).of(splits[-1]) == (None, 0.0)
