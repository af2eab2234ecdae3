import numpy as np
import pyarrow as pa
import pytest

from crystalssl.errors import InputError, UnknownNameError
from crystalssl.evaluation.protocols import choose_protocol, run_protocol, train_fractions
from crystalssl.evaluation.splits import (
    Combined,
    HeldOutFolds,
    RepeatedSplits,
    Split,
    TrainFractions,
    check_split,
    inner_folds,
)
from small_data import formulas, target

GROUPS = formulas(120)
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


def test_all_folds_have_the_same_nominal_fraction():
    fractions = {split.train_fraction for split in held_out().splits(ROWS, GROUPS)}
    assert len(fractions) == 1 and fractions.pop() == pytest.approx(105 / 120, abs=0.01)


def test_too_few_held_out_formulas_are_refused():
    marks = np.zeros(len(GROUPS), bool)
    marks[:3] = True
    with pytest.raises(InputError, match="1 labelled formulas held out"):
        HeldOutFolds(held_out=marks).splits(ROWS, GROUPS)


def test_repeated_splits_cover_kinds_fractions_and_seeds():
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
    split = Split(kind=kind, train_fraction=0.5, repeat=0, fold=0, train=ROWS[:61], test=ROWS[61:])
    with pytest.raises(InputError, match=r"formulas .* are in both parts"):
        check_split(split, GROUPS)


def test_a_split_that_leaks_a_row_is_refused_even_when_random():
    split = Split(
        kind="random", train_fraction=0.5, repeat=0, fold=0, train=ROWS[:61], test=ROWS[60:]
    )
    with pytest.raises(InputError, match=r"1 crystals .row 60 first. are in both"):
        check_split(split, GROUPS)


def test_fractions_and_kinds_that_make_no_sense_are_refused():
    with pytest.raises(InputError, match="0 < fraction < 1"):
        RepeatedSplits(fractions=(1.0,)).splits(ROWS, GROUPS)
    with pytest.raises(InputError, match="random and/or grouped"):
        RepeatedSplits(kinds=("sorted",)).splits(ROWS, GROUPS)


N = 600
MANY = formulas(N)


def fractions_of(fractions=(0.1, 0.5, 1.0), count=3):
    tested = np.arange(N) >= 450
    return TrainFractions(
        pool=~tested, test=tested, kind="held-out", fractions=fractions, repeats=count
    )


def test_train_fractions_are_seeded_nested_and_of_the_pool_alone():
    splits = fractions_of().splits(np.arange(N), MANY)
    assert [len(split.train) for split in splits] == [45] * 3 + [225] * 3 + [450]
    second = [split for split in splits if split.repeat == 1]
    assert set(second[0].train) < set(second[1].train)
    assert not np.array_equal(splits[0].train, splits[1].train)
    assert all(split.test.tolist() == list(range(450, N)) for split in splits)
    again = fractions_of().splits(np.arange(N), MANY)
    assert all(np.array_equal(a.train, b.train) for a, b in zip(splits, again, strict=True))


def test_a_formula_that_is_tested_is_never_trained_on():
    tested = np.arange(N) >= 449  # one row of a formula whose other rows are in the pool
    protocol = TrainFractions(pool=~tested, test=tested, kind="grouped", fractions=(1.0,))
    (split,) = protocol.splits(np.arange(N), MANY)
    assert not set(MANY[split.train]) & set(MANY[split.test])
    assert len(split.train) == 447


@pytest.mark.parametrize(("fraction", "message"), [(0.001, "is 0 rows"), (1.5, "fraction <= 1")])
def test_fractions_that_cannot_be_drawn_are_refused(fraction, message):
    with pytest.raises(InputError, match=message):
        fractions_of((fraction,)).splits(np.arange(N), MANY)


def with_split(crystals):
    names = (["train", "val", "test"] * len(crystals))[: len(crystals)]
    return crystals.with_columns(pa.table({"split": names})), np.array(names)


def test_the_split_column_says_what_is_trained_on_and_tested(many_crystals):
    crystals, names = with_split(many_crystals)
    held = train_fractions(crystals, fractions=(1.0,), repeats=1)
    assert held.kind == "held-out"
    assert held.pool.tolist() == (names == "train").tolist()
    assert held.test.tolist() == (names == "test").tolist()
    free = train_fractions(many_crystals, fractions=(1.0,), repeats=1)
    assert free.kind == "grouped"
    assert 0.1 < free.test.mean() < 0.3
    assert not (free.pool & free.test).any()


def test_the_protocol_follows_the_choice_and_the_split_column(many_crystals):
    crystals, names = with_split(many_crystals)
    labels = [target(np.arange(float(len(crystals))))]
    both, why = choose_protocol(crystals, labels, seed=3)
    assert isinstance(both, Combined) and why == ""
    assert both.protocols[0].held_out.tolist() == (names == "test").tolist()
    assert both.protocols[0].seed == 3
    assert isinstance(choose_protocol(crystals, labels, "held-out")[0], HeldOutFolds)
    repeated, _ = choose_protocol(crystals, labels, "repeated", repeats=2)
    assert repeated == RepeatedSplits(repeats=2)
    assert choose_protocol(many_crystals, labels)[0] == RepeatedSplits(repeats=1)
    assert run_protocol(many_crystals) == RepeatedSplits(kinds=("grouped",))
    assert isinstance(run_protocol(crystals), HeldOutFolds)


def test_a_protocol_that_cannot_be_had_is_refused_or_said(many_crystals):
    crystals, names = with_split(many_crystals)
    labels = [target(np.arange(float(len(crystals))))]
    with pytest.raises(InputError, match="need a column 'split'"):
        choose_protocol(many_crystals, labels, "both")
    with pytest.raises(UnknownNameError, match="Did you mean 'repeated'"):
        choose_protocol(crystals, labels, "repeatd")
    few = [target(np.where(names == "test", np.nan, 1.0))]
    protocol, why = choose_protocol(crystals, few)
    assert isinstance(protocol, RepeatedSplits) and "held out from pre-training" in why
    with pytest.raises(InputError, match="0 labelled formulas held out"):
        choose_protocol(crystals, few, "held-out")


def test_inner_folds_test_every_training_row_once_and_share_no_formula():
    (split,) = fractions_of((1.0,)).splits(np.arange(N), MANY)
    folds = inner_folds(split, MANY, 4)
    assert sorted(np.concatenate([fold.test for fold in folds])) == split.train.tolist()
    for fold in folds:
        check_split(fold, MANY)
        assert not set(fold.train) & set(split.test)
