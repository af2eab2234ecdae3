"""The grid: what is fitted, on which rows, how often, and what is kept of it."""

from dataclasses import replace

import numpy as np
import pytest

from crystalssl.errors import InputError, UnknownNameError
from crystalssl.evaluation.analysis import rows_of
from crystalssl.evaluation.baselines import principal_axes
from crystalssl.evaluation.cache import Cache
from crystalssl.evaluation.data import Dataset
from crystalssl.evaluation.experiment import Experiment
from crystalssl.evaluation.fits import Fitter
from crystalssl.evaluation.overlap import Overlap
from crystalssl.evaluation.results import MEAN, Results, prediction_table, select
from crystalssl.evaluation.scenarios.linear_probe import linear_probe
from crystalssl.evaluation.shared_gram import SharedStatistics
from crystalssl.evaluation.splits import Combined, HeldOutFolds, RepeatedSplits, Split
from crystalssl.models.registry import build_head
from crystalssl.models.ridge import SufficientStatistics
from small_data import dataset, feature_set, formulas, target

N = 240
GROUPS = formulas(N)
HEADS = ("ols", "ridge")


@pytest.fixture
def world() -> Dataset:
    """One set holds the label, one does not; the third are principal axes of that one."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(N, 5))
    labels = hidden @ rng.normal(size=5) + 0.05 * rng.normal(size=N)
    good = feature_set("good", np.concatenate([hidden, rng.normal(size=(N, 10))], axis=1))
    bad = feature_set("bad", rng.normal(size=(N, 300)))
    return dataset([good, bad, principal_axes(bad, 20)], target(labels))


def protocol(folds=3):
    return HeldOutFolds(held_out=np.arange(N) >= 120, folds=folds)


def run(world, splits=None, **options):
    return linear_probe(world, splits or protocol(), **options)


def means(results, metric="rmse"):
    return {(s.feature_set, s.head): s.mean for s in select(results.summary, metric=metric)}


def numbers(results):
    return [row for row in results.rows if row.metric != "fit_seconds"]


def test_features_that_hold_the_answer_beat_those_that_do_not(world):
    results = run(world)
    errors = means(results)
    assert errors["good", "ridge"] < 0.1 < errors["bad", "ridge"]
    assert errors["bad", "ridge"] == pytest.approx(errors[MEAN, MEAN], rel=0.15)
    assert errors["bad", "ols"] > errors[MEAN, MEAN]
    assert {entry.repeats for entry in results.summary} == {3}


def test_every_head_set_and_metric_has_its_row_in_the_order_given(world):
    results = run(world)
    rows = select(results.rows, fold=0, metric="r2")
    assert [(r.feature_set, r.head) for r in rows] == [
        (MEAN, MEAN),
        *((each.name, head) for each in world.sets for head in HEADS),
    ]
    assert {r.metric for r in results.rows} == {"rmse", "mae", "r2", "fit_seconds", "strength"}
    assert results.record.labels["bad_pca"] == "bad, PCA 20"


def test_predictions_belong_to_the_rows_that_were_tested(world):
    table = run(world).predictions.to_pandas()
    part = table[(table.feature_set == "good") & (table["head"] == "ridge")]
    assert sorted(part.immutable_id) == sorted(world.ids[120:])
    known = dict(zip(world.ids, world.targets[0].values, strict=True))
    groups = dict(zip(world.ids, world.groups, strict=True))
    for row in part.to_dict("records"):
        assert known[row["immutable_id"]] == row["true"]
        assert groups[row["immutable_id"]] == row["group"]


def test_the_stored_predictions_give_the_stored_rows(world):
    results = run(world, RepeatedSplits(repeats=2, fractions=(0.8,)))
    frame = results.predictions.to_pandas()
    keys = ["target", "split", "train_fraction", "repeat", "fold", "feature_set", "head"]
    squares = (frame.predicted - frame["true"]) ** 2
    again = squares.groupby([frame[key] for key in keys], observed=True).mean() ** 0.5
    stored = select(results.rows, metric="rmse")
    assert len(again) == len(stored)
    for row in stored:
        assert again[tuple(getattr(row, key) for key in keys)] == pytest.approx(row.value)


def test_the_comparison_uses_the_crystals_that_every_set_holds(world):
    good, bad, _ = world.sets
    lame = replace(bad, name="lame", valid=np.arange(N) % 4 != 0)
    values = world.targets[0].values.copy()
    values[5] = np.nan
    results = run(dataset([good, lame], target(values)))
    assert results.record.counts == {
        "crystals": N,
        "compared": N * 3 // 4,
        "not held by lame": N // 4,
        "with energy": N * 3 // 4 - 1,
        "trained on for energy": max(row.n_train for row in results.rows),
        "tested for energy": 90,
    }
    tested = set(results.predictions["immutable_id"].to_pylist())
    assert tested == {world.ids[i] for i in range(120, N) if i % 4}


def test_labels_of_test_rows_do_not_reach_a_head(world):
    splits = RepeatedSplits(fractions=(0.7,), kinds=("grouped",), repeats=1)
    (split,) = splits.splits(np.arange(N), GROUPS)
    changed = world.targets[0].values.copy()
    changed[split.test] = 1e6 * np.arange(len(split.test))
    first, second = (
        run(replace(world, targets=(target(values),)), splits).predictions["predicted"].to_numpy()
        for values in (world.targets[0].values, changed)
    )
    np.testing.assert_array_equal(first, second)


def test_a_protocol_that_leaks_labels_is_stopped(world):
    class Leaky(RepeatedSplits):
        def splits(self, rows, groups):
            return [
                Split(
                    kind="grouped", train_fraction=0.5, repeat=0, fold=0,
                    train=rows[::2], test=rows[1::2],
                )
            ]  # fmt: skip

    with pytest.raises(InputError, match=r"formulas .* are in both parts"):
        run(world, Leaky())


def test_targets_known_for_the_same_crystals_give_the_same_as_one_by_one(world):
    other = target(np.cos(world.targets[0].values), "gap")
    both = run(replace(world, targets=(*world.targets, other)))
    alone = run(replace(world, targets=(other,)))
    for row in select(alone.rows, metric="rmse"):
        (same,) = select(
            both.rows, target="gap", metric="rmse", fold=row.fold, feature_set=row.feature_set,
            head=row.head,
        )  # fmt: skip
        assert same.value == pytest.approx(row.value, rel=1e-9)


def test_results_are_saved_and_read_back_and_their_hash_follows_the_data(world, tmp_path):
    results = run(world)
    results.save(tmp_path)
    again = Results.load(tmp_path, "linear_probe")
    assert (again.rows, again.record) == (results.rows, results.record)
    assert again.differences == results.differences and len(again.differences) == 8
    shifted = replace(world, targets=(target(world.targets[0].values + 1),))
    assert run(shifted).record.data_hash != results.record.data_hash


def test_splits_that_share_their_gram_matrices_give_what_each_gives_alone(world):
    part = replace(world, sets=world.sets[:1])
    together = RepeatedSplits(repeats=1)
    rows = select(run(part, together).rows, metric="rmse")
    for kind in together.kinds:
        for fraction in together.fractions:
            alone = RepeatedSplits(kinds=(kind,), fractions=(fraction,), repeats=1)
            expected = [r.value for r in select(run(part, alone).rows, metric="rmse")]
            got = [r.value for r in rows if (r.split, r.train_fraction) == (kind, fraction)]
            np.testing.assert_allclose(got, expected, rtol=1e-9)


def test_linear_heads_that_share_decompositions_give_what_each_gives_alone(world):
    together = run(world)
    labels = world.targets[0].values[:, None]
    fitter = Fitter(hashes=world.hashes, groups=world.groups, cache=Cache(), kind="any")
    for split in protocol().splits(np.arange(N), world.groups):
        for head in HEADS:
            (fit,) = fitter.fit(world.sets[1], split, build_head(head), labels)
            (row,) = select(
                together.rows, feature_set="bad", head=head, fold=split.fold, metric="rmse"
            )
            error = fit.predicted - labels[split.test, 0]
            assert row.value == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-9)


def test_protocols_can_be_combined(world):
    both = Combined(protocols=(protocol(), RepeatedSplits(repeats=1, fractions=(0.8,))))
    results = run(world, both)
    rows = select(results.rows, feature_set="good", head="ridge", metric="r2")
    assert [row.split for row in rows] == [*["held-out"] * 3, "random", "grouped"]
    assert "no encoder saw" in results.record.protocol and "80/20" in results.record.protocol


def test_a_stopped_run_goes_on_and_gives_what_it_would_have_given_in_one_go(world, tmp_path):
    splits = RepeatedSplits(repeats=1, fractions=(0.9, 0.8))

    def stop(done, total, text):
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(world, splits, cache=Cache(tmp_path / "stopped"), progress=stop)
    cache = Cache(tmp_path / "stopped")
    again = run(world, splits, cache=cache)
    assert 0 < cache.reused < 24 and cache.reused + cache.computed == 24
    whole = run(world, splits, cache=Cache(tmp_path / "whole"))
    assert numbers(again) == numbers(whole)
    assert again.differences == whole.differences
    assert again.predictions.to_pylist() == whole.predictions.to_pylist()


def test_a_second_run_computes_only_what_changed_and_forgets_what_is_not_asked_for(world, tmp_path):
    first, second, third = (Cache(tmp_path) for _ in range(3))
    run(world, cache=first)
    run(world, cache=second)
    assert (first.computed, second.computed, second.reused) == (18, 0, 18)
    changed = replace(world.sets[0], matrix=world.sets[0].matrix * 2)
    run(replace(world, sets=(changed, *world.sets[1:])), cache=third)
    assert (third.computed, third.reused) == (6, 12)
    assert len(list(tmp_path.glob("*.npz"))) == 18


def test_other_labels_rows_groups_or_seeds_are_other_fits(world):
    labels = world.targets[0].values
    (split,) = RepeatedSplits(fractions=(0.7,), kinds=("grouped",), repeats=1).splits(
        np.arange(N), GROUPS
    )
    kinds = [
        split,
        replace(split, train=split.train[1:]),
        replace(split, test=split.train),
        replace(split, kind="random"),
        replace(split, repeat=1),
    ]
    fitter = Fitter(hashes=world.hashes, groups=world.groups, cache=Cache(), kind="any")
    other = replace(fitter, groups=np.roll(world.groups, 1), keys=fitter.keys)
    head = build_head("ridge")
    for each in kinds:
        fitter.fit(world.sets[0], each, head, labels[:, None])
    fitter.fit(world.sets[0], split, head, labels[:, None] + 1)
    fitter.fit(world.sets[1], split, head, labels[:, None])
    other.fit(world.sets[0], split, head, labels[:, None])
    assert len(fitter.keys) == len(kinds) + 3
    changed = labels.copy()
    changed[split.test] = 9.0  # no head reads these
    fitter.fit(world.sets[0], split, head, changed[:, None])
    assert len(fitter.keys) == len(kinds) + 3


def overlap(unknown=""):
    seen = np.isin(GROUPS, GROUPS[120:150])
    structures = seen & (np.arange(N) % 3 < 1)
    return Overlap(weights="w", unknown=unknown, formulas=seen, structures=structures)


def test_seen_crystals_are_counted_and_can_be_dropped_from_the_test_rows(world):
    kept = run(world, overlap=overlap())
    counts = kept.record.counts
    assert counts["tested"] == 120 and counts["tested with a seen formula"] == 30
    assert counts["tested structures seen"] == 10 and counts["tested formulas seen"] == 10
    dropped = run(world, overlap=overlap(), drop_seen="formulas")
    assert set(dropped.predictions["immutable_id"].to_pylist()) == set(world.ids[150:])
    assert dropped.record.config["overlap"]["drop_seen"] == "formulas"
    trained = {(r.fold, r.n_train) for r in kept.rows}
    assert {(r.fold, r.n_train) for r in dropped.rows} == trained
    with pytest.raises(InputError, match="nobody knows"):
        run(world, overlap=overlap("nobody knows"), drop_seen="formulas")
    with pytest.raises(InputError, match="without their overlap"):
        run(world, drop_seen="formulas")


def test_progress_counts_to_the_end(world):
    steps = []
    run(world, progress=lambda done, total, _: steps.append((done, total)))
    assert steps == [(i + 1, 18) for i in range(18)]


def test_unknown_heads_and_feature_sets_are_named(world):
    with pytest.raises(UnknownNameError, match="Did you mean 'ridge'"):
        run(world, heads=["rigde"])
    with pytest.raises(UnknownNameError, match="Did you mean 'good'"):
        run(world, proposed=["goood"])
    with pytest.raises(InputError, match="at least one head"):
        run(world, heads=[])


@pytest.mark.parametrize("name", ["lightgbm", "mlp", "random_forest"])
def test_targets_fitted_together_get_the_numbers_that_each_gets_alone(world, name):
    pytest.importorskip("lightgbm")
    other = target(np.cos(world.targets[0].values), "gap")
    head = build_head(name, threads=1)
    splits = RepeatedSplits(fractions=(0.7,), kinds=("grouped",), repeats=1)

    def predictions(*targets):
        experiment = Experiment(
            scenario="any",
            dataset=replace(world, targets=targets, sets=world.sets[:1]),
            protocol=splits,
            heads=[head],
            cache=Cache(),
        )
        return {cell.target: cell.predicted for cell in experiment.run() if cell.head == name}

    together = predictions(*world.targets, other)
    assert set(together) == {"energy", "gap"}
    for each in (*world.targets, other):
        np.testing.assert_array_equal(predictions(each)[each.name], together[each.name])


def test_a_fit_of_one_target_is_reused_beside_another_target(world, tmp_path):
    other = target(np.cos(world.targets[0].values), "gap")
    splits = RepeatedSplits(fractions=(0.7,), kinds=("grouped",), repeats=1)
    head = replace(build_head("random_forest", threads=1), trees=3)

    def filled(*targets):
        cache = Cache(tmp_path)
        experiment = Experiment(
            scenario="any",
            dataset=replace(world, targets=targets),
            protocol=splits,
            heads=[head],
            cache=cache,
        )
        return experiment.run(), cache

    filled(*world.targets)
    cells, cache = filled(*world.targets, other)
    assert (cache.reused, cache.computed) == (3, 3)
    assert len(rows_of(cells)) == 2 * 3 + 6 * 4
    assert len(prediction_table(cells)) == 8 * len(cells[0].true)


@pytest.fixture(scope="module")
def columns():
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


def test_splits_of_one_seed_share_gram_matrices_and_each_gets_its_own_rows(columns):
    matrix, labels = columns
    groups = np.arange(400).astype(str)
    splits = RepeatedSplits(kinds=("random",), repeats=2).splits(np.arange(400), groups)
    shared = SharedStatistics(matrix, labels, splits)
    for split in splits:
        statistics, seconds = shared.of(split)
        assert statistics is not None and seconds > 0
        own = SufficientStatistics.of(matrix, labels, split.train)
        assert statistics.count == len(split.train)
        shift = statistics.origin - own.origin
        np.testing.assert_allclose(
            statistics.row_sum + statistics.count * shift, own.row_sum, atol=1e-8
        )
        np.testing.assert_array_equal(statistics.high, own.high)


def test_nested_splits_are_added_to_one_another_and_no_row_is_summed_twice(columns, monkeypatch):
    matrix, labels = columns
    summed, add = [], SufficientStatistics._add
    monkeypatch.setattr(
        SufficientStatistics,
        "_add",
        lambda own, m, y, rows: (summed.append(len(rows)), add(own, m, y, rows)),
    )
    groups = np.arange(400).astype(str)
    splits = RepeatedSplits(kinds=("random",), repeats=1).splits(np.arange(400), groups)
    shared = SharedStatistics(matrix, labels, splits)
    for split in sorted(splits, key=lambda split: len(split.train)):
        statistics, _ = shared.of(split)
        assert statistics.count == len(split.train)
    assert sum(summed) == max(len(split.train) for split in splits)
    summed.clear()
    SharedStatistics(matrix, labels, splits).of(max(splits, key=lambda split: len(split.train)))
    assert sum(summed) == max(len(split.train) for split in splits)


def test_folds_add_to_the_rows_that_all_have(columns):
    matrix, labels = columns
    groups, held_out = np.arange(400).astype(str), np.arange(400) < 60
    splits = HeldOutFolds(held_out=held_out, folds=3).splits(np.arange(400), groups)
    shared = SharedStatistics(matrix, labels, splits)
    for split in splits:
        statistics, _ = shared.of(split)
        own = SufficientStatistics.of(matrix, labels, split.train)
        shift = statistics.origin - own.origin
        np.testing.assert_allclose(
            statistics.row_sum + statistics.count * shift, own.row_sum, atol=1e-8
        )


def test_fewer_rows_than_columns_need_no_shared_statistics(columns):
    matrix, labels = columns
    splits = RepeatedSplits(kinds=("random",), repeats=1).splits(
        np.arange(40), np.arange(400).astype(str)
    )
    wide = np.tile(matrix, (1, 2))
    assert SharedStatistics(wide, labels, splits).of(splits[-1]) == (None, 0.0)
