import json

import numpy as np
import pytest

from crystalssl.errors import InputError, UnknownNameError
from crystalssl.evaluation.overlap import NOT_RECORDED, find_overlap
from crystalssl.evaluation.splits import Split
from crystalssl.features.features import UNTRAINED, Origin
from crystalssl.hub.seen import Seen
from crystalssl.hub.weights import save_weights
from crystalssl.structures.formulas import reduced_formulas


@pytest.fixture
def crystals(many_crystals):
    return many_crystals


@pytest.fixture
def formulas(crystals):
    return reduced_formulas(crystals)


@pytest.fixture
def weights(registered_toy, crystals, tmp_path):
    """A run that saw the first thirty crystals."""
    card = save_weights(
        registered_toy(registered_toy.Config()),
        tmp_path / "run" / "toy",
        seen=Seen.from_crystals(crystals.take(np.arange(30))),
    )
    return Origin(weights=str(tmp_path / "run"), sha256={"toy": card.sha256})


def split_of(crystals):
    rows = np.arange(len(crystals))
    return Split(
        kind="random", train_fraction=0.5, repeat=0, fold=0, train=rows[::2], test=rows[1::2]
    )


def test_crystals_and_formulas_of_the_corpus_are_counted_among_the_tested(
    weights, crystals, formulas
):
    overlap = find_overlap([weights], crystals)
    tested = np.arange(20, 60)
    counts = overlap.counts(np.concatenate([tested, tested]), formulas)
    known = np.isin(formulas, formulas[:30])
    assert counts == {
        "tested": 40,
        "tested formulas": len(set(formulas[20:60])),
        "tested formulas seen": len(set(formulas[20:60][known[20:60]])),
        "tested with a seen formula": known[20:60].sum(),
        "tested structures seen": overlap.structures[20:60].sum(),
    }
    assert overlap.structures[:30].all() and 10 <= counts["tested structures seen"] < 40
    assert f"Of 40 test crystals, {counts['tested structures seen']} were" in overlap.words(counts)
    assert 0 < overlap.false_positive_rate < 0.01
    assert "(of new ones 0.02 would be taken for seen ones" in overlap.words(counts)


@pytest.mark.parametrize("mode", ["formulas", "structures"])
def test_dropping_takes_seen_crystals_out_of_the_test_rows_only(weights, crystals, formulas, mode):
    overlap, split = find_overlap([weights], crystals), split_of(crystals)
    left = overlap.drop(split, mode)
    gone = np.setdiff1d(split.test, left.test)
    assert len(gone) and getattr(overlap, mode)[gone].all()
    assert not getattr(overlap, mode)[left.test].any()
    np.testing.assert_array_equal(left.train, split.train)
    assert overlap.counts(left.test, formulas)[f"tested {mode} seen"] == 0


def test_dropping_nothing_leaves_the_split_as_it_is(weights, crystals):
    split = split_of(crystals)
    np.testing.assert_array_equal(
        find_overlap([weights], crystals).drop(split, "none").test, split.test
    )


def test_untrained_encoders_have_seen_nothing(crystals, formulas):
    overlap = find_overlap([Origin(weights=UNTRAINED)], crystals)
    counts = overlap.counts(np.arange(9), formulas)
    assert overlap.unknown == "" and counts["tested formulas seen"] == 0


def test_features_that_do_not_say_where_they_come_from_are_unknown_and_cannot_be_dropped(
    crystals, formulas
):
    overlap = find_overlap([], crystals)
    assert overlap.unknown == NOT_RECORDED
    assert overlap.counts(np.arange(5), formulas).keys() == {"tested", "tested formulas"}
    assert "unknown: the features do not say" in overlap.words(
        overlap.counts(np.arange(5), formulas)
    )
    with pytest.raises(InputError, match=r"Cannot leave out seen formulas.*--drop-seen none"):
        overlap.drop(split_of(crystals), "formulas")


def test_weights_that_are_gone_changed_or_without_a_list_are_unknown_with_the_reason(
    weights, crystals, tmp_path
):
    gone = find_overlap([Origin(weights=str(tmp_path / "no"), sha256={"toy": "x"})], crystals)
    assert "no" in gone.unknown
    other = find_overlap([Origin(weights=weights.weights, sha256={"toy": "x"})], crystals)
    assert "are not those that the features were made with" in other.unknown
    path = tmp_path / "run/toy/card.json"
    card = json.loads(path.read_text())
    del card["data"]["seen"]
    path.write_text(json.dumps(card))
    assert "came without a list" in find_overlap([weights], crystals).unknown
    assert find_overlap([weights], crystals).weights.endswith("/run")


def test_what_any_of_several_weights_saw_counts(weights, crystals, registered_toy, tmp_path):
    card = save_weights(
        registered_toy(registered_toy.Config()),
        tmp_path / "other" / "toy",
        seen=Seen.from_crystals(crystals.take(np.arange(30, 70))),
    )
    second = Origin(weights=str(tmp_path / "other"), sha256={"toy": card.sha256})
    assert find_overlap([weights, second], crystals).structures.all()
    assert not find_overlap([weights], crystals).structures.all()


def test_a_test_part_that_dropping_would_empty_and_an_unknown_choice_are_refused(weights, crystals):
    overlap = find_overlap([weights], crystals)
    split = Split(
        kind="random", train_fraction=0.5, repeat=0, fold=0,
        train=np.arange(30, 70), test=np.arange(30),
    )  # fmt: skip
    with pytest.raises(InputError, match="Only 0 of 30 test crystals are left"):
        overlap.drop(split, "structures")
    with pytest.raises(UnknownNameError, match="Did you mean 'formulas'"):
        overlap.seen("formulae")
