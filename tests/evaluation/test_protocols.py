import numpy as np
import pytest

from crystalssl.errors import InputError
from crystalssl.evaluation.protocols import HeldOutFolds, RepeatedSplits, Split, check_split

GROUPS = np.repeat([f"A{i}B" for i in range(40)], 3)
ROWS = np.arange(len(GROUPS))


def held_out():
    marks = np.zeros(len(GROUPS), bool)
    marks[60:] = True
    return HeldOutFolds(held_out=marks, folds=4)


def test_every_held_out_row_is_tested_once_and_nothing_else_is():
    splits = held_out().splits(ROWS, GROUPS)
    tested = np.concatenate([split.test for split in splits])
    assert sorted(tested) == list(range(60, 120))


def test_all_other_formulas_are_trained_on_held_out_ones_included():
    for split in held_out().splits(ROWS, GROUPS):
        assert len(split.train) + len(split.test) == len(ROWS)
        assert not set(GROUPS[split.train]) & set(GROUPS[split.test])


def test_a_formula_that_is_also_in_pretraining_leaves_the_training_part():
    groups = GROUPS.copy()
    groups[0] = groups[100]
    for split in held_out().splits(ROWS, groups):
        check_split(split, groups)
        assert (0 in split.train) == (100 not in split.test)


def test_too_few_held_out_formulas_are_refused():
    marks = np.zeros(len(GROUPS), bool)
    marks[:3] = True
    with pytest.raises(InputError, match="1 labelled formulas held out"):
        HeldOutFolds(held_out=marks).splits(ROWS, GROUPS)


def test_repeated_splits_cover_kinds_shares_and_seeds():
    protocol = RepeatedSplits(repeats=3)
    splits = protocol.splits(ROWS, GROUPS)
    assert len(splits) == 2 * 4 * 3
    for split in splits:
        check_split(split, GROUPS)
        assert len(split.train) / len(ROWS) == pytest.approx(split.train_fraction, abs=0.03)
    assert len({split.test.tobytes() for split in splits}) == len(splits)
    assert protocol.splits(ROWS, GROUPS)[5].test.tolist() == splits[5].test.tolist()


@pytest.mark.parametrize("kind", ["grouped", "held-out"])
def test_a_split_that_leaks_a_formula_is_refused(kind):
    split = Split(kind=kind, train_fraction=0.5, seed=0, fold=0, train=ROWS[:61], test=ROWS[61:])
    with pytest.raises(InputError, match=r"formulas .* are in both parts"):
        check_split(split, GROUPS)


def test_a_split_that_leaks_a_row_is_refused_even_when_random():
    split = Split(
        kind="random", train_fraction=0.5, seed=0, fold=0, train=ROWS[:61], test=ROWS[60:]
    )
    with pytest.raises(InputError, match=r"1 crystals .row 60 first. are in both"):
        check_split(split, GROUPS)


def test_shares_and_kinds_that_make_no_sense_are_refused():
    with pytest.raises(InputError, match="0 < share < 1"):
        RepeatedSplits(fractions=(1.0,)).splits(ROWS, GROUPS)
    with pytest.raises(InputError, match="random and/or grouped"):
        RepeatedSplits(kinds=("sorted",)).splits(ROWS, GROUPS)
