"""Scenarios as declarations: few-shot with its residual protocol, ablation, and their verdicts."""

from dataclasses import replace

import numpy as np
import pytest

from crystalssl.errors import InputError, UnknownNameError
from crystalssl.evaluation.cache import Cache
from crystalssl.evaluation.overlap import Overlap
from crystalssl.evaluation.results import MEAN, Results, select
from crystalssl.evaluation.scenarios import few_shot as module
from crystalssl.evaluation.scenarios.ablation import ablation
from crystalssl.evaluation.scenarios.few_shot import FewShotConfig, few_shot
from crystalssl.evaluation.scenarios.linear_probe import linear_probe
from crystalssl.evaluation.splits import TrainFractions
from crystalssl.evaluation.statistics import scores
from small_data import dataset, feature_set, target

N = 600
QUICK = FewShotConfig(
    heads=("ridge",),
    residual_heads=("ridge",),
    residual_fractions=(0.1,),
    folds=3,
    proposed=("ssl",),
)


@pytest.fixture(scope="module")
def world():
    """Raw features hold one part of the label, ours another, untrained ones nothing."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(N, 4))
    labels = hidden @ [1.0, 1.0, 2.0, 2.0] + 0.05 * rng.normal(size=N)
    sets = [
        feature_set("raw_ftcp", np.concatenate([hidden[:, :2], rng.normal(size=(N, 5))], 1)),
        feature_set("untrained", rng.normal(size=(N, 5))),
        feature_set("ssl", hidden[:, 2:]),
    ]
    return dataset(sets, target(labels))


def fractions(values=(0.1, 1.0), repeats=3, tested=450):
    test = np.arange(N) >= tested
    return TrainFractions(pool=~test, test=test, kind="held-out", fractions=values, repeats=repeats)


def run(world, cache=None, config=QUICK, protocol=None, **options):
    return few_shot(world, protocol or fractions(), config=config, cache=cache, **options)


@pytest.fixture(scope="module")
def results(world):
    return run(world)


def test_every_set_head_and_repeat_has_its_rows(results):
    rows = select(results.rows, metric="r2", train_fraction=0.1)
    assert {(r.feature_set, r.head, r.repeat) for r in rows} == {
        (name, MEAN if name == MEAN else "ridge", repeat)
        for name in ("raw_ftcp", "untrained", "ssl", MEAN, "raw_ftcp > ssl", "raw_ftcp > untrained")
        for repeat in range(3)
    }
    assert len(select(results.rows, metric="r2", train_fraction=1.0)) == 4
    assert {row.n_test for row in results.rows} == {150}


def test_features_that_hold_more_of_the_label_win_with_an_interval_above_zero(results):
    kinds = {0.1: "t over repeats", 1.0: "bootstrap over test formulas"}
    for fraction, kind in kinds.items():
        (one,) = select(
            results.differences, metric="r2", baseline="raw_ftcp", train_fraction=fraction,
            best_head=False,
        )  # fmt: skip
        assert 0 < one.low < one.difference < one.high
        assert (one.interval, one.repeats) == (kind, 3 if fraction == 0.1 else 1)


def test_ours_explain_what_raw_leaves_over_and_untrained_do_not(results):
    ours = select(results.rows, feature_set="raw_ftcp > ssl", metric="contribution")
    nothing = select(results.rows, feature_set="raw_ftcp > untrained", metric="contribution")
    assert len(ours) == len(nothing) == 3
    assert min(row.value for row in ours) > 0.7
    assert max(row.value for row in nothing) < 0.1
    after = select(results.rows, feature_set="raw_ftcp > ssl", metric="r2")
    assert min(row.value for row in after) > 0.75
    assert results.record.labels["raw_ftcp > ssl"] == "ssl on the residual of raw_ftcp"


def test_a_contribution_is_the_r2_of_the_second_step_on_the_residual_of_the_first(results):
    frame = results.predictions.to_pandas()
    frame = frame[(frame.train_fraction == 0.1) & (frame.repeat == 1)]
    first = frame[frame.feature_set == "raw_ftcp"].set_index("immutable_id")
    both = frame[frame.feature_set == "raw_ftcp > ssl"].set_index("immutable_id")
    residual = (first["true"] - first.predicted).to_numpy()
    second = (both.predicted - first.predicted).to_numpy()
    (row,) = select(results.rows, feature_set="raw_ftcp > ssl", metric="contribution", repeat=1)
    assert row.value == pytest.approx(scores(residual, second)["r2"])
    (entry,) = select(results.summary, feature_set="raw_ftcp > ssl", metric="contribution")
    assert entry.low < entry.mean < entry.high and entry.interval == "t over repeats"


def test_the_contribution_of_a_single_repeat_has_a_bootstrap_interval(world):
    single = run(world, protocol=fractions((0.1,), 1))
    (entry,) = select(single.summary, feature_set="raw_ftcp > ssl", metric="contribution")
    assert entry.low < entry.mean < entry.high
    assert entry.interval == "bootstrap over test formulas"


def test_residuals_of_training_rows_come_from_heads_that_did_not_see_their_formula(
    world, monkeypatch
):
    """A head that remembers every formula has no residual in sample; out of fold it has all."""
    seen = []

    class Memory:
        name, kind = "memory", "regression"

        def fit(self, matrix, rows, labels, groups, seed):
            self.known = {groups[row]: labels[row] for row in rows}
            self.groups = groups
            seen.append((rows, labels.copy()))
            return self

        def predict(self, matrix, rows):
            return np.array([self.known.get(self.groups[row], np.zeros(1)) for row in rows])

    monkeypatch.setattr("crystalssl.evaluation.fits.head_settings", lambda head: {})
    monkeypatch.setattr("crystalssl.evaluation.experiment.head_settings", lambda head: {})
    monkeypatch.setattr(module, "build_head", lambda name, threads=0: Memory())
    run(world, protocol=fractions((0.1,), 1))
    rows, residual = seen[-1]  # the last fit is on residuals, of all training rows
    labels = world.targets[0].values
    np.testing.assert_array_equal(residual[rows, 0], labels[rows])


def test_labels_of_test_rows_do_not_reach_a_head(world):
    changed = world.targets[0].values.copy()
    changed[450:] = np.arange(150) * 1e3
    first, second = (
        run(replace(world, targets=(target(values),))).predictions["predicted"].to_numpy()
        for values in (world.targets[0].values, changed)
    )
    np.testing.assert_array_equal(first, second)
    assert len(np.unique(first)) > 1000


def test_a_second_run_reads_what_was_done_and_computes_what_changed(world, tmp_path):
    before = Cache(tmp_path)
    first = run(world, before)
    # 3 sets in 4 splits; of 3 residual units the out-of-fold fits of 3 folds and 2 second steps
    assert before.computed == 3 * 4 + 3 * (3 + 2)
    assert before.reused == 3  # the first step of the residual protocol is the direct fit
    again = Cache(tmp_path)
    assert run(world, again).rows == first.rows
    assert again.computed == 0
    ours = feature_set("ssl", world.sets[2].matrix * 2.0 + 1.0)
    changed = Cache(tmp_path)
    run(replace(world, sets=(*world.sets[:2], ours)), changed)
    # 4 direct fits of the changed set, and the second step of its 3 residual units
    assert changed.computed == 7


def test_a_stopped_run_goes_on_where_it_was(world, tmp_path):
    def stop(done, total, text):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(world, Cache(tmp_path), progress=stop)
    kept = len(list(tmp_path.glob("*.npz")))
    assert kept >= 5
    cache = Cache(tmp_path)
    run(world, cache)
    assert cache.computed + kept == len(list(tmp_path.glob("*.npz")))


def test_scenarios_that_share_a_folder_fit_once_what_both_ask_for(world, tmp_path):
    alone = run(world)
    shared = Cache(tmp_path, shared=True)
    linear_probe(world, fractions((1.0,), 1), heads=("ridge",), cache=shared)
    assert shared.computed == 3
    found = run(world, shared)
    assert shared.reused == 3 + 3  # the direct fits on all labels, and first steps as always
    assert [r for r in found.rows if r.metric not in ("fit_seconds",)] == [
        r for r in alone.rows if r.metric not in ("fit_seconds",)
    ]
    linear_probe(world, fractions((1.0,), 1), heads=("ols",), cache=shared)
    again = Cache(tmp_path, shared=True)
    run(world, again)
    assert again.computed == 0  # nothing was removed meanwhile


def test_results_come_back_as_they_were_saved(results, tmp_path):
    results.save(tmp_path)
    again = Results.load(tmp_path, "few_shot")
    assert (again.rows, again.differences) == (results.rows, results.differences)
    assert again.record == results.record
    assert again.record.config["heads"] == {"ridge": {"name": "ridge", "kind": "regression"}}
    assert again.record.config["settings"]["folds"] == 3


def test_seen_crystals_are_left_out_of_the_test_part(world):
    seen = np.arange(N) >= 500
    overlap = Overlap(weights="w", unknown="", formulas=seen, structures=seen)
    protocol = fractions((0.1,), 1)
    dropped = run(world, protocol=protocol, overlap=overlap, drop_seen="formulas")
    assert {row.n_test for row in dropped.rows} == {50}
    assert dropped.record.counts["tested formulas seen"] == 0
    kept = run(world, protocol=protocol, overlap=overlap)
    assert kept.record.counts["tested structures seen"] == 100


def test_unknown_heads_are_named_before_any_work(world):
    with pytest.raises(UnknownNameError, match="'boosting'"):
        run(world, config=FewShotConfig(heads=("boosting",)))


def test_few_shot_fails_where_ours_hold_nothing_and_not_where_they_hold_the_label(world, results):
    assert [v.failed for v in results.record.verdicts] == [False, False]
    swapped = [replace(world.sets[1], name="ssl"), replace(world.sets[2], name="untrained")]
    lost = run(replace(world, sets=(world.sets[0], *swapped)))
    assert [v.failed for v in lost.record.verdicts] == [True, True]
    assert "0 of 2 comparisons" in lost.record.verdicts[0].evidence


def test_the_linear_probe_fails_where_a_baseline_is_better(world):
    protocol = fractions((1.0,), 1)
    good = linear_probe(world, protocol, proposed=("ssl",))
    assert [v.failed for v in good.record.verdicts] == [False, False]
    lost = linear_probe(world, protocol, proposed=("untrained",))
    assert [v.failed for v in lost.record.verdicts] == [True]
    assert "raw_ftcp" in lost.record.verdicts[0].claim


WIDTHS = {"one": 3, "two": 4, "three": 2}


@pytest.fixture(scope="module")
def blocks():
    """Block two holds most of the label, block one some, block three nothing."""
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(N, 9))
    labels = matrix[:, 0] + 3 * matrix[:, 4] + 0.1 * rng.normal(size=N)
    sets = [feature_set("ssl", matrix, sections=WIDTHS)]
    sets.append(feature_set("untrained", rng.normal(size=(N, 9)), sections=WIDTHS))
    return dataset(sets, target(labels))


@pytest.fixture(scope="module")
def ablated(blocks):
    return ablation(blocks, fractions((1.0,), 1))


def rmse(results, name, head="ridge"):
    (row,) = select(results.rows, feature_set=name, head=head, metric="rmse")
    return row.value


def test_every_block_is_taken_alone_and_left_out_by_both_heads(ablated):
    names = {row.feature_set for row in select(ablated.rows, metric="rmse", head="ols")}
    selections = ["all", *(f"{kind} {name}" for kind in ("only", "without") for name in WIDTHS)]
    assert names == {f"{source}: {one}" for source in ("ssl", "untrained") for one in selections}
    widths = {row.feature_set: row.n_features for row in ablated.rows}
    assert (widths["ssl: all"], widths["ssl: only two"], widths["ssl: without two"]) == (9, 4, 5)
    assert ablated.record.config["blocks"] == {"ssl": WIDTHS, "untrained": WIDTHS}


def test_what_holds_the_label_is_missed_and_does_well_alone(ablated):
    assert rmse(ablated, "ssl: all") < 0.2 < rmse(ablated, "ssl: without two")
    assert rmse(ablated, "ssl: only two") < rmse(ablated, "ssl: only one")
    assert rmse(ablated, "ssl: without three") == pytest.approx(rmse(ablated, "ssl: all"), abs=0.02)


def test_what_is_lost_and_gained_comes_with_intervals(ablated):
    pairs = {
        (d.feature_set, d.baseline): d
        for d in select(ablated.differences, head="ridge", metric="rmse")
    }
    lost = pairs["ssl: without two", "ssl: all"]
    assert 0 < lost.low < lost.difference < lost.high
    gained = pairs["ssl: only two", "untrained: only two"]
    assert gained.high < 0
    assert gained.difference == pytest.approx(
        rmse(ablated, "ssl: only two") - rmse(ablated, "untrained: only two")
    )
    nothing = pairs["ssl: only three", "untrained: only three"]
    assert nothing.low < 0 < nothing.high
    assert ("untrained: without two", "untrained: all") in pairs


def test_selected_columns_give_what_the_linear_probe_gives_for_them_alone(blocks, ablated):
    alone = feature_set("x", blocks.sets[0].matrix[:, [0, 1, 2, 7, 8]])
    probe = linear_probe(replace(blocks, sets=(alone,)), fractions((1.0,), 1))
    for head in ("ols", "ridge"):
        assert rmse(ablated, "ssl: without two", head) == pytest.approx(
            rmse(probe, "x", head), rel=1e-9
        )


def test_more_columns_than_rows_are_no_obstacle():
    matrix = np.random.default_rng(0).normal(size=(N, 600))
    wide = feature_set("ssl", matrix, sections={"one": 50, "two": 550})
    results = ablation(dataset([wide], target(matrix[:, 0])), fractions((1.0,), 1))
    assert rmse(results, "ssl: only one") < rmse(results, "ssl: without one")


def test_a_second_ablation_computes_nothing(blocks, ablated, tmp_path):
    first, second = Cache(tmp_path), Cache(tmp_path)
    ablation(blocks, fractions((1.0,), 1), cache=first)
    assert (first.computed, first.reused) == (28, 0)
    ablation(blocks, fractions((1.0,), 1), cache=second)
    assert (second.computed, second.reused) == (0, 28)


def test_features_of_one_block_are_refused(blocks):
    single = feature_set("ssl", np.zeros((N, 3)), sections={"one": 3})
    with pytest.raises(InputError, match="at least two to leave one out"):
        ablation(replace(blocks, sets=(single,)), fractions((1.0,), 1))


def test_a_block_that_nobody_misses_fails(ablated):
    failed = {v.claim: v.failed for v in ablated.record.verdicts}
    assert failed["ssl, only two: better RMSE than untrained, only two, ridge"] is False
    assert failed["ssl, without two: worse RMSE than all blocks, ridge"] is False
    assert len(failed) == 6
