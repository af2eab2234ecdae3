from dataclasses import replace

import numpy as np
import pytest

from crystalssl.evaluation.analysis import (
    IntervalRule,
    Pair,
    against_all,
    analyse,
    count_better,
    rows_of,
)
from crystalssl.evaluation.results import MEAN, select
from crystalssl.evaluation.statistics import (
    BOOTSTRAP,
    T_INTERVAL,
    Bootstrap,
    percentile_interval,
    scores,
    t_interval,
)
from small_data import formulas
from small_results import cell, difference

N = 600
FORMULAS = formulas(N)
ALWAYS = IntervalRule(over_repeats=False, resamples=1000)


def made(feature_set, errors, rows=None, true=None, **other):
    """A cell whose predictions are off by ``errors``, three test rows to a formula."""
    rows = np.arange(len(errors)) if rows is None else rows
    true = np.arange(len(errors)) % 7.0 if true is None else true
    ids = np.array([f"id-{row}" for row in rows])
    known = {"ids": ids[rows] if len(ids) > len(rows) else ids, "groups": FORMULAS[rows]}
    return cell(feature_set, true[rows], (true + errors)[rows], **known, **other)


def rmse(values):
    return float(np.sqrt(np.mean(np.square(values))))


@pytest.fixture
def errors():
    rng = np.random.default_rng(0)
    other = rng.normal(size=N)
    return {"ours": 0.9 * other + 0.1 * rng.normal(size=N), "other": other}


def compared(cells, rule=ALWAYS, pairs=None):
    return analyse(cells, rows_of(cells), rule, pairs or against_all(("ours",)))


def test_scores_are_those_of_scikit_learn():
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    true, predicted = np.random.default_rng(0).normal(size=(2, 50))
    assert scores(true, predicted) == pytest.approx(
        {
            "rmse": root_mean_squared_error(true, predicted),
            "mae": mean_absolute_error(true, predicted),
            "r2": r2_score(true, predicted),
        }
    )
    assert scores(np.ones(3), np.zeros(3))["r2"] == 0.0


def test_the_t_interval_of_repeats_is_that_of_the_textbook():
    from scipy import stats

    values = [0.8, 0.9, 0.85, 0.7, 0.95]
    ends = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert t_interval(values) == pytest.approx((ends.low, ends.high))
    assert t_interval([0.5]) == (0.5, 0.5)


def test_resampled_metrics_equal_scores_of_the_rows_of_each_drawn_formula():
    true, predicted = np.random.default_rng(0).normal(size=(2, N))
    one = made("x", predicted - true, true=true)
    metrics = Bootstrap([one.groups], 3, seed=5).metrics([[one]])
    names = np.unique(FORMULAS)
    drawn = np.random.default_rng(5).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=3
    )
    for number, counts in enumerate(drawn):
        rows = np.concatenate(
            [np.flatnonzero(n == FORMULAS) for n, c in zip(names, counts, strict=True)
             for _ in range(c)]
        )  # fmt: skip
        expected = scores(true[rows], predicted[rows])
        for metric in ("r2", "rmse"):
            assert metrics[metric][0, number] == pytest.approx(expected[metric])


def test_crystals_of_one_formula_are_drawn_together():
    tripled = np.repeat(np.random.default_rng(1).normal(size=N // 3), 3)
    together = made("x", tripled)
    apart = replace(together, groups=np.arange(N).astype(str))
    deviation = [
        Bootstrap([each.groups], 1000).metrics([[each]])["rmse"].std() for each in (together, apart)
    ]
    assert deviation[0] / deviation[1] == pytest.approx(np.sqrt(3), rel=0.15)


def test_the_bootstrap_interval_covers_the_true_error_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    groups = np.array([f"g{i}" for i in range(200)])
    inside = 0
    for number in range(100):
        one = replace(made("x", rng.normal(size=200)), groups=groups)
        values = Bootstrap([groups], 200, seed=number).metrics([[one]])["rmse"]
        low, high = percentile_interval(values[0])
        inside += low < 1.0 < high
    assert 85 <= inside <= 100


def test_folds_count_as_one_comparison_by_the_mean_of_their_errors(errors):
    halves = (np.arange(300), np.arange(300, N))
    folds = [made("ours", errors["ours"], rows, fold=n) for n, rows in enumerate(halves)]
    drawn = Bootstrap([fold.groups for fold in folds], 1000).metrics([folds])["rmse"]
    parts = [rmse(errors["ours"][rows]) for rows in halves]
    assert drawn.mean() == pytest.approx(np.mean(parts), rel=0.01)
    (entry,) = select(compared(folds)[0], metric="rmse")
    assert entry.mean == pytest.approx(np.mean(parts))
    assert entry.standard_deviation == pytest.approx(np.std(parts, ddof=1))
    assert (entry.repeats, entry.interval) == (2, BOOTSTRAP)


def test_the_interval_holds_the_difference_and_is_narrower_paired_than_apart(errors):
    cells = [made(name, values) for name, values in errors.items()]
    summary, differences = compared(cells)
    (one,) = select(differences, metric="rmse")
    assert one.difference == pytest.approx(rmse(errors["ours"]) - rmse(errors["other"]))
    assert one.low < one.difference < one.high < 0
    (ours,) = select(summary, feature_set="ours", metric="rmse")
    assert one.high - one.low < 0.5 * (ours.high - ours.low)
    assert (one.better, one.repeats, one.baseline) == (1, 1, "other")


def test_equal_features_have_no_difference_in_any_resample(errors):
    cells = [made(name, errors["ours"]) for name in ("ours", "other")]
    (one,) = select(compared(cells)[1], metric="rmse")
    assert one.low == one.difference == one.high == 0.0
    assert not one.significant


def test_settings_do_not_mix_and_keep_the_order_of_targets(errors):
    settings = [
        {"target": target, "split": split, "train_fraction": fraction}
        for target in ("gap", "energy")
        for split, fraction in (("random", 0.9), ("grouped", 0.9), ("random", 0.8))
    ]
    cells = [
        made(name, values * (1 + number), **setting)
        for number, setting in enumerate(settings)
        for name, values in errors.items()
    ]
    summary, differences = compared(cells)
    assert list(dict.fromkeys(entry.target for entry in differences)) == ["gap", "energy"]
    for number, setting in enumerate(settings):
        (one,) = select(differences, metric="rmse", **setting)
        assert one.value == pytest.approx((1 + number) * rmse(errors["ours"]))
        alone = compared([c for c in cells if all(getattr(c, k) == v for k, v in setting.items())])
        assert select(alone[1], metric="rmse") == [one]
    assert len(select(summary, metric="rmse")) == 12


def test_repeats_give_students_t_of_paired_differences_and_single_ones_a_bootstrap(errors):
    repeats = [
        made(name, values * scale, repeat=number)
        for number, scale in enumerate((1.0, 1.1, 1.3))
        for name, values in errors.items()
    ]
    rule = IntervalRule(over_repeats=True)
    summary, differences = compared(repeats, rule)
    (one,) = select(differences, metric="rmse")
    paired = [
        rmse(errors["ours"] * scale) - rmse(errors["other"] * scale) for scale in (1.0, 1.1, 1.3)
    ]
    assert (one.low, one.high) == pytest.approx(t_interval(paired))
    assert (one.interval, one.repeats, one.better) == (T_INTERVAL, 3, 3)
    single, _ = compared(repeats[:2], rule)
    assert {entry.interval for entry in select(single, metric="rmse")} == {BOOTSTRAP}
    (mae,) = select(single, metric="mae", feature_set="ours")
    assert np.isnan(mae.low) and mae.interval == ""  # the bootstrap does not know it
    assert {entry.interval for entry in summary} == {T_INTERVAL}


def test_proposed_features_are_compared_with_all_others_under_the_same_head_and_the_best(errors):
    cells = [
        made(name, errors["other"] * scale, head=head)
        for name, scale in (("ours", 1.0), ("raw", 0.9), ("raw > ours", 0.5))
        for head in ("ridge", "mlp")
    ]
    best = cells[3]  # the perceptron serves raw best
    cells[3] = replace(best, predicted=(best.true + best.predicted) / 2)
    cells.append(made(MEAN, errors["other"], head=MEAN))
    _, differences = compared(cells, pairs=against_all(("ours",), "raw"))
    found = {
        (d.feature_set, d.head, d.baseline, d.baseline_head, d.best_head)
        for d in select(differences, metric="r2")
    }
    assert found == {
        ("ours", "ridge", "raw", "ridge", False),
        ("ours", "mlp", "raw", "mlp", False),
        ("ours", "ridge", "raw", "mlp", True),
        ("ours", "mlp", "raw", "mlp", True),
    }


def test_pairs_may_be_any(errors):
    cells = [made(name, values) for name, values in errors.items()]
    pair = Pair(proposed=("other", "ridge"), baseline=("ours", "ridge"))
    _, differences = compared(cells, pairs=lambda models, r2: [pair])
    assert [(d.feature_set, d.baseline) for d in differences] == [("other", "ours")] * 2


def test_comparisons_are_counted_with_the_range_of_gains():
    entries = [
        difference("ours", "other", "rmse", -0.5, value=0.5, baseline_value=1.0),
        difference("ours", "other", "rmse", -0.1, reach=0.2, value=0.9, baseline_value=1.0),
        difference("ours", "other", "rmse", 0.1, value=1.1, baseline_value=1.0),
        difference("ours", "other", "rmse", 0.1, best_head=True),
        difference("ours", "other", "r2", 0.1),
    ]
    (tally,) = count_better(entries)
    assert (tally.better, tally.significant, tally.comparisons) == (2, 1, 3)
    assert tally.least == pytest.approx(-0.1) and tally.most == pytest.approx(0.5)
