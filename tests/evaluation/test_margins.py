import numpy as np
import pytest

from crystalssl.evaluation.compare import Comparison
from crystalssl.evaluation.margins import (
    Bootstrap,
    SplitErrors,
    count_wins,
    margin_table,
    read_margins,
    with_intervals,
)
from crystalssl.evaluation.protocols import Split

N = 600
FORMULAS = np.repeat([f"A{i}B" for i in range(N // 3)], 3)


def errors_of(sets, rows=None, fold=0, kind="grouped"):
    test = np.arange(N) if rows is None else rows
    split = Split(
        kind=kind, train_fraction=0.9, seed=0, fold=fold, train=np.array([0, 1]), test=test
    )
    found = {name: values[None, None, test] for name, values in sets.items()}
    return SplitErrors(split=split, properties=("energy",), models=("ridge",), errors=found)


def comparison(mine, theirs, kind="grouped"):
    return Comparison(
        property="energy", unit="eV", split_kind=kind, train_fraction=0.9, model="ridge",
        champion="ours", baseline="theirs", champion_rmse=mine, baseline_rmse=theirs,
        margin=theirs - mine, margin_spread=0.0, wins=int(theirs > mine), splits=1,
    )  # fmt: skip


def rmse(values):
    return float(np.sqrt(np.mean(np.square(values))))


@pytest.fixture
def sets():
    rng = np.random.default_rng(0)
    theirs = rng.normal(size=N)
    return {"ours": 0.9 * theirs + 0.1 * rng.normal(size=N), "theirs": theirs}


def test_the_interval_holds_the_margin_and_is_narrower_paired_than_apart(sets):
    entry = comparison(rmse(sets["ours"]), rmse(sets["theirs"]))
    (found,) = with_intervals([entry], [errors_of(sets)], FORMULAS)
    assert found.margin_low < found.margin < found.margin_high
    assert found.champion_low < found.champion_rmse < found.champion_high
    assert found.margin_high - found.margin_low < 0.5 * (found.champion_high - found.champion_low)
    assert found.margin_low > 0


def test_comparisons_of_several_kinds_keep_their_order(sets):
    found = [errors_of(sets), errors_of(sets, rows=np.arange(0, N, 2), kind="random")]
    mixed = [comparison(1.0, 2.0, kind) for kind in ("random", "grouped", "random")]
    together = with_intervals(mixed, found, FORMULAS)
    alone = [with_intervals([entry], found, FORMULAS)[0] for entry in mixed]
    assert together == alone
    assert together[0].margin_low != together[1].margin_low


def test_equal_features_have_no_margin_in_any_draw(sets):
    same = {"ours": sets["ours"], "theirs": sets["ours"]}
    (found,) = with_intervals([comparison(1.0, 1.0)], [errors_of(same)], FORMULAS)
    assert found.margin_low == found.margin_high == 0.0


def test_crystals_of_one_formula_are_drawn_together():
    rng = np.random.default_rng(1)
    tripled = {"x": np.repeat(rng.normal(size=N // 3), 3)}
    draws = {
        "together": Bootstrap([errors_of(tripled)], FORMULAS),
        "apart": Bootstrap([errors_of(tripled)], np.arange(N).astype(str)),
    }
    spread = {name: found.rmse("x", "ridge", "energy").std() for name, found in draws.items()}
    assert spread["together"] / spread["apart"] == pytest.approx(np.sqrt(3), rel=0.15)


def test_draws_equal_those_of_resampling_rows_of_each_drawn_formula():
    rng = np.random.default_rng(2)
    values = rng.normal(size=N)
    found = Bootstrap([errors_of({"x": values})], FORMULAS, seed=5).rmse("x", "ridge", "energy")
    names = np.unique(FORMULAS)
    counts = np.random.default_rng(5).multinomial(len(names), np.full(len(names), 1 / len(names)))
    rows = np.concatenate(
        [np.flatnonzero(n == FORMULAS) for n, c in zip(names, counts, strict=True) for _ in [0] * c]
    )
    assert found[0] == pytest.approx(rmse(values[rows]), rel=1e-5)


def test_folds_count_as_one_comparison_by_the_mean_of_their_errors(sets):
    halves = (np.arange(300), np.arange(300, N))
    folds = [errors_of(sets, rows, fold, "held-out") for fold, rows in enumerate(halves)]
    parts = [rmse(sets["ours"][:300]), rmse(sets["ours"][300:])]
    found = Bootstrap(folds, FORMULAS).rmse("ours", "ridge", "energy")
    assert found.mean() == pytest.approx(np.mean(parts), rel=0.01)


def test_wins_count_comparisons_and_say_the_range_of_margins():
    entries = [comparison(0.5, 1.0), comparison(0.9, 1.0), comparison(1.1, 1.0)]
    (wins,) = count_wins(entries)
    assert (wins.won, wins.surely, wins.of) == (2, 0, 3)
    assert wins.least == pytest.approx(-0.1) and wins.most == pytest.approx(0.5)


def test_margins_come_back_from_their_table(sets):
    entries = with_intervals([comparison(0.5, 1.0)], [errors_of(sets)], FORMULAS)
    assert read_margins(margin_table([*entries, comparison(1.0, 2.0)])) == (
        *entries,
        comparison(1.0, 2.0),
    )
