"""Bins of a forest's columns: numbers as numpy finds them, order kept, few values left alone."""

import numpy as np
import pytest

from crystalssl.models.bins import Bins
from crystalssl.models.boosting import RandomForest

ROWS = np.arange(3_000)


@pytest.fixture(scope="module")
def matrix():
    rng = np.random.default_rng(3)
    numbers = rng.standard_normal((3_000, 300))
    numbers[:, 7] = rng.integers(0, 20, 3_000)
    numbers[:, 8] = 0.0
    numbers[:, 9] = np.exp(8 * numbers[:, 9])
    numbers[:2_900, 10] = 0.0
    return numbers.astype(np.float32)


@pytest.mark.parametrize("count", [2, 60, 255])
def test_numbers_are_those_of_searchsorted(matrix, count):
    bins = Bins.of(matrix, ROWS, count, 5_000)
    numbers = bins.transform(matrix, ROWS[::-1], threads=2)
    for column, edges in zip(bins.columns, bins.edges, strict=True):
        expected = np.searchsorted(edges, matrix[::-1, column], side="right")
        np.testing.assert_array_equal(numbers[:, column], expected)
        assert expected.max() < count


def test_repeated_values_take_one_bin_and_leave_the_others_to_the_rest(matrix):
    bins = Bins.of(matrix[:, [11]] * (ROWS % 3 == 0)[:, None], ROWS, 255, 5_000)
    numbers = bins.transform(matrix[:, [11]], ROWS[ROWS % 3 == 0])
    assert len(np.unique(numbers)) > 250


def test_bins_hold_about_as_many_rows_each(matrix):
    bins = Bins.of(matrix, ROWS, 100, 5_000)
    counts = np.unique(bins.transform(matrix, ROWS)[:, 9], return_counts=True)[1]
    assert counts.min() >= 29 and counts.max() <= 31


def test_columns_of_few_values_stay_as_they_are(matrix):
    bins = Bins.of(matrix, ROWS, 255, 5_000)
    left = np.setdiff1d(np.arange(300), bins.columns)
    assert left.tolist() == [7, 8, 10]
    np.testing.assert_array_equal(bins.transform(matrix, ROWS)[:, left], matrix[:, left])


def test_larger_values_never_get_a_lower_number_and_unknown_ones_stay_unknown(matrix):
    bins = Bins.of(matrix, ROWS[:1_000], 255, 500)
    wild = np.tile(np.array([[-1e30], [np.nan], [0.0], [1e30]], np.float32), (1, 300))
    numbers = bins.transform(wild, np.arange(4))[:, bins.columns]
    assert np.isnan(numbers[1]).all()
    assert (numbers[0] <= numbers[2]).all() and (numbers[2] <= numbers[3]).all()
    assert (numbers[0] == 0).all() and (numbers[3] == 254).all()


@pytest.mark.long
def test_a_forest_on_bins_is_as_good_as_on_the_values_themselves(matrix):
    noise = 0.3 * np.random.default_rng(1).standard_normal(len(matrix))
    labels = np.sin(matrix[:, 0]) + matrix[:, 1] + noise
    errors = {}
    for count in (255, 4_000):  # the second leaves all columns as they are
        forest = RandomForest(trees=20, column_share=0.5, bins=count).fit(
            matrix, ROWS[:2_000], labels, None, 0
        )
        predicted = forest.predict(matrix, ROWS[2_000:])
        errors[count] = float(np.sqrt(np.mean((predicted - labels[2_000:]) ** 2)))
    assert errors[255] < 1.05 * errors[4_000] < 0.5 * labels.std()


def test_threads_do_not_matter(matrix):
    bins = Bins.of(matrix, ROWS, 255, 5_000)
    one, four = (bins.transform(matrix, ROWS, threads) for threads in (1, 4))
    np.testing.assert_array_equal(one, four)
