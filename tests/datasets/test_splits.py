import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalssl.datasets.splits import grouped_folds, grouped_split
from crystalssl.errors import InputError

GROUPS = st.lists(st.integers(0, 30).map(lambda i: f"X{i}"), min_size=1, max_size=200)


@given(groups=GROUPS, seed=st.integers(0, 99))
def test_no_group_is_on_two_sides_and_no_row_is_lost(groups, seed):
    groups = [*groups, "A", "B", "C"]
    parts = grouped_split(groups, (0.7, 0.2, 0.1), seed)
    assert sorted(np.concatenate(parts)) == list(range(len(groups)))
    names = [{groups[row] for row in part} for part in parts]
    assert all(names)
    assert not (names[0] & names[1] or names[0] & names[2] or names[1] & names[2])


@given(groups=GROUPS, k=st.integers(2, 5), seed=st.integers(0, 99))
def test_folds_are_disjoint_in_groups_and_complete(groups, k, seed):
    groups = [*groups, *(f"Y{i}" for i in range(k))]
    folds = grouped_folds(groups, k, seed)
    assert len(folds) == k
    assert sorted(np.concatenate(folds)) == list(range(len(groups)))
    names = [{groups[row] for row in fold} for fold in folds]
    assert sum(map(len, names)) == len(set(groups))


def test_shares_are_met_to_within_a_group():
    groups = np.random.default_rng(0).integers(0, 2000, 10_000).astype(str)
    parts = grouped_split(groups, (0.8, 0.1, 0.1), 1)
    assert np.allclose([len(part) / 10_000 for part in parts], (0.8, 0.1, 0.1), atol=0.003)


def test_the_same_seed_gives_the_same_split_and_another_seed_another():
    groups = np.random.default_rng(0).integers(0, 50, 300).astype(str)
    one, two, other = (grouped_split(groups, (0.5, 0.5), seed) for seed in (3, 3, 4))
    assert np.array_equal(one[0], two[0]) and not np.array_equal(one[0], other[0])


@pytest.mark.parametrize("fractions", [(0.5, 0.4), (1.2, -0.2), ()])
def test_shares_that_do_not_add_up_are_refused(fractions):
    with pytest.raises(InputError, match="add up to 1"):
        grouped_split(["a", "b", "c"], fractions)


def test_more_parts_than_groups_are_refused():
    with pytest.raises(InputError, match="1 groups for 2 parts"):
        grouped_split(["a", "a"], (0.5, 0.5))
    with pytest.raises(InputError, match="at least 2"):
        grouped_folds(["a", "a"], 1)
