from dataclasses import replace

import numpy as np
import pytest

from crystalssl.errors import InputError, UnknownNameError
from crystalssl.evaluation.feature_sets import FeatureSet, principal_axes
from crystalssl.evaluation.linear_probe import LinearProbe, linear_probe, targets_of
from crystalssl.evaluation.overlap import Overlap
from crystalssl.evaluation.protocols import HeldOutFolds, RepeatedSplits, Split, Together
from crystalssl.evaluation.scoring import MEAN, Target, scores
from crystalssl.evaluation.store import Store

N = 240
GROUPS = np.repeat([f"A{i}B" for i in range(N // 3)], 3)
IDS = np.array([f"id-{i}" for i in range(N)])


def feature_set(name, matrix, valid=None):
    valid = np.ones(N, bool) if valid is None else valid
    matrix = matrix.astype(np.float32)
    return FeatureSet(name=name, label=name, matrix=matrix, valid=valid, width=matrix.shape[1])


@pytest.fixture
def world():
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(N, 5))
    labels = hidden @ rng.normal(size=5) + 0.05 * rng.normal(size=N)
    good = feature_set("good", np.concatenate([hidden, rng.normal(size=(N, 10))], axis=1))
    bad = feature_set("bad", rng.normal(size=(N, 300)))
    return [good, bad, principal_axes(bad, 20)], Target(name="energy", unit="eV", values=labels)


def protocol(folds=3):
    return HeldOutFolds(held_out=np.arange(N) >= 120, folds=folds)


def test_features_that_hold_the_answer_beat_those_that_do_not(world):
    sets, target = world
    probe = linear_probe(sets, [target], GROUPS, IDS, protocol())
    errors = {s.key: s for s in probe.table.summarize(["feature_set", "model"], metric="rmse")}
    assert errors["good", "ridge"].mean < 0.1 < errors["bad", "ridge"].mean
    assert errors["bad", "ridge"].mean == pytest.approx(errors[MEAN, MEAN].mean, rel=0.15)
    assert errors["bad", "ols"].mean > errors[MEAN, MEAN].mean
    assert all(entry.count == 3 for entry in errors.values())


def test_every_model_set_and_metric_has_its_row(world):
    sets, target = world
    probe = linear_probe(sets, [target], GROUPS, IDS, protocol())
    rows = probe.table.where(fold=0, metric="r2")
    assert {(r.feature_set, r.model) for r in rows} == {
        *((part.name, model) for part in sets for model in ("ols", "ridge")),
        (MEAN, MEAN),
    }
    assert {r.metric for r in probe.table.rows} == {"rmse", "mae", "r2", "fit_seconds", "strength"}
    assert probe.table.record.labels["bad_pca"] == "bad, PCA 20"


def test_predictions_belong_to_the_rows_that_were_tested(world):
    sets, target = world
    table = linear_probe(sets, [target], GROUPS, IDS, protocol()).predictions.to_pandas()
    part = table[(table.feature_set == "good") & (table.model == "ridge")]
    assert sorted(part.immutable_id) == sorted(IDS[120:])
    truth = dict(zip(IDS, target.values, strict=True))
    assert all(truth[row.immutable_id] == row.y_true for row in part.itertuples())


def test_the_comparison_uses_the_crystals_that_every_set_holds(world):
    (good, bad, _), target = world
    lame = feature_set("lame", bad.matrix, valid=np.arange(N) % 4 != 0)
    values = target.values.copy()
    values[5] = np.nan
    probe = linear_probe(
        [good, lame], [Target(name="energy", unit="eV", values=values)], GROUPS, IDS, protocol()
    )
    counts = probe.table.record.counts
    assert counts == {
        "crystals": N,
        "compared": N * 3 // 4,
        "not held by lame": N // 4,
        "with energy": N * 3 // 4 - 1,
    }
    tested = set(probe.predictions["immutable_id"].to_pylist())
    assert tested == {IDS[i] for i in range(120, N) if i % 4}


def test_labels_of_test_rows_do_not_reach_the_model(world):
    sets, target = world
    splits = RepeatedSplits(fractions=(0.7,), kinds=("grouped",), repeats=1)
    (split,) = splits.splits(np.arange(N), GROUPS)
    changed = target.values.copy()
    changed[split.test] = 1e6 * np.arange(len(split.test))
    found = [
        linear_probe(sets, [Target(name="energy", unit="", values=v)], GROUPS, IDS, splits)
        for v in (target.values, changed)
    ]
    first, second = (probe.predictions["y_pred"].to_numpy() for probe in found)
    np.testing.assert_array_equal(first, second)


def test_a_protocol_that_leaks_labels_is_stopped(world):
    class Leaky(RepeatedSplits):
        def splits(self, rows, groups):
            return [
                Split(
                    kind="grouped", train_fraction=0.5, seed=0, fold=0,
                    train=rows[::2], test=rows[1::2],
                )
            ]  # fmt: skip

    sets, target = world
    with pytest.raises(InputError, match=r"formulas .* are in both parts"):
        linear_probe(sets, [target], GROUPS, IDS, Leaky())


def test_targets_known_for_the_same_crystals_give_the_same_as_one_by_one(world):
    sets, target = world
    other = Target(name="gap", unit="eV", values=np.cos(target.values))
    both = linear_probe(sets, [target, other], GROUPS, IDS, protocol()).table
    alone = linear_probe(sets, [other], GROUPS, IDS, protocol()).table
    for row in alone.where(metric="rmse"):
        (same,) = both.where(
            property="gap", metric="rmse", fold=row.fold, feature_set=row.feature_set,
            model=row.model,
        )  # fmt: skip
        assert same.value == pytest.approx(row.value, rel=1e-9)


def test_a_probe_is_saved_and_read_back_and_its_hash_follows_the_data(world, tmp_path):
    sets, target = world
    probe = linear_probe(sets, [target], GROUPS, IDS, protocol())
    probe.save(tmp_path)
    again = LinearProbe.load(tmp_path)
    assert again.table == probe.table
    assert again.predictions.to_pylist() == probe.predictions.to_pylist()
    assert again.margins == probe.margins and len(again.margins) == 4
    assert (tmp_path / "linear_probe_wins.csv").is_file()
    shifted = [Target(name="energy", unit="eV", values=target.values + 1)]
    other = linear_probe(sets, shifted, GROUPS, IDS, protocol())
    assert other.table.record.data_hash != probe.table.record.data_hash


def test_every_champion_is_held_against_every_other_set_with_an_interval(world):
    sets, target = world
    probe = linear_probe(sets, [target], GROUPS, IDS, protocol(), champions=["good", "bad"])
    pairs = {(m.champion, m.baseline, m.model) for m in probe.margins}
    assert pairs == {
        (a, b, model)
        for a in ("good", "bad")
        for b in ("good", "bad", "bad_pca")
        for model in ("ols", "ridge")
        if a != b
    }
    best = next(m for m in probe.margins if (m.champion, m.model) == ("good", "ridge"))
    assert 0 < best.margin_low < best.margin < best.margin_high
    with pytest.raises(UnknownNameError, match="Did you mean 'good'"):
        linear_probe(sets, [target], GROUPS, IDS, protocol(), champions=["goood"])


def test_splits_that_share_their_sums_give_what_each_gives_alone(world):
    (good, *_), target = world
    together = RepeatedSplits(repeats=1)
    rows = linear_probe([good], [target], GROUPS, IDS, together).table.where(metric="rmse")
    for kind in together.kinds:
        for share in together.fractions:
            alone = RepeatedSplits(kinds=(kind,), fractions=(share,), repeats=1)
            found = linear_probe([good], [target], GROUPS, IDS, alone).table
            expected = [r.value for r in found.where(metric="rmse")]
            got = [r.value for r in rows if (r.split_kind, r.train_fraction) == (kind, share)]
            np.testing.assert_allclose(got, expected, rtol=1e-9)


def test_protocols_can_be_put_together(world):
    sets, target = world
    both = Together(parts=(protocol(), RepeatedSplits(repeats=1, fractions=(0.8,))))
    table = linear_probe(sets, [target], GROUPS, IDS, both).table
    assert [r.split_kind for r in table.where(feature_set="good", model="ridge", metric="r2")] == [
        *["held-out"] * 3,
        "random",
        "grouped",
    ]
    assert "no encoder saw" in table.record.protocol and "80/20" in table.record.protocol


def test_a_stopped_probe_goes_on_and_gives_what_it_would_have_given_in_one_go(world, tmp_path):
    sets, target = world
    splits = RepeatedSplits(repeats=1, fractions=(0.9, 0.8))

    def stop(done, total, text):
        if done == 4:
            raise KeyboardInterrupt

    def run(store, progress=None):
        return linear_probe(
            sets, [target], GROUPS, IDS, splits, store=Store(store), progress=progress
        )

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", stop)
    store = Store(tmp_path / "stopped")
    again = linear_probe(sets, [target], GROUPS, IDS, splits, store=store)
    assert 0 < store.reused < 12 and store.reused + store.computed == 12
    whole = run(tmp_path / "whole")

    def scores_of(probe):
        return [r for r in probe.table.rows if r.metric != "fit_seconds"]

    assert scores_of(again) == scores_of(whole)
    assert again.margins == whole.margins
    assert again.predictions.to_pylist() == whole.predictions.to_pylist()


def test_a_second_run_computes_only_what_changed(world, tmp_path):
    sets, target = world
    first, second, third = (Store(tmp_path) for _ in range(3))
    linear_probe(sets, [target], GROUPS, IDS, protocol(), store=first)
    linear_probe(sets, [target], GROUPS, IDS, protocol(), store=second)
    assert (first.computed, second.computed, second.reused) == (9, 0, 9)
    changed = [replace(sets[0], matrix=sets[0].matrix * 2), *sets[1:]]
    linear_probe(changed, [target], GROUPS, IDS, protocol(), store=third)
    assert (third.computed, third.reused) == (3, 6)


def overlap(unknown=""):
    formulas = np.isin(GROUPS, GROUPS[120:150])
    return Overlap(
        weights="w",
        unknown=unknown,
        formulas=formulas,
        structures=formulas & (np.arange(N) % 3 < 1),
    )


def test_seen_crystals_are_counted_and_can_be_dropped_from_the_test_rows(world):
    sets, target = world
    kept = linear_probe(sets, [target], GROUPS, IDS, protocol(), overlap=overlap())
    counts = kept.table.record.counts
    assert counts["tested"] == 120 and counts["tested with a seen formula"] == 30
    assert counts["tested structures seen"] == 10 and counts["tested formulas seen"] == 10
    dropped = linear_probe(
        sets, [target], GROUPS, IDS, protocol(), overlap=overlap(), drop_seen="formulas"
    )
    assert set(dropped.predictions["immutable_id"].to_pylist()) == set(IDS[150:])
    assert dropped.table.record.config["overlap"]["drop_seen"] == "formulas"
    trained = {(r.fold, r.n_train) for r in kept.table.rows}
    assert {(r.fold, r.n_train) for r in dropped.table.rows} == trained
    with pytest.raises(InputError, match="nobody knows"):
        linear_probe(
            sets, [target], GROUPS, IDS, protocol(),
            overlap=overlap("nobody knows"), drop_seen="formulas",
        )  # fmt: skip


def test_progress_counts_to_the_end(world):
    sets, target = world
    seen = []
    linear_probe(
        sets,
        [target],
        GROUPS,
        IDS,
        protocol(),
        progress=lambda done, total, _: seen.append((done, total)),
    )
    assert seen == [(i + 1, 9) for i in range(9)]


def test_bad_input_is_named(world):
    sets, target = world
    with pytest.raises(UnknownNameError, match="Did you mean 'ridge'"):
        linear_probe(sets, [target], GROUPS, IDS, protocol(), models=["rigde"])
    with pytest.raises(InputError, match="repeat a name"):
        linear_probe([sets[0]] * 2, [target], GROUPS, IDS, protocol())
    with pytest.raises(InputError, match="expected one row each"):
        linear_probe(sets, [target], GROUPS[:-1], IDS, protocol())
    empty = Target(name="gap", unit="", values=np.full(N, np.nan))
    with pytest.raises(InputError, match="known for 0 crystals"):
        linear_probe(sets, [empty], GROUPS, IDS, protocol())


def test_scores_are_those_of_scikit_learn():
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    rng = np.random.default_rng(0)
    truth, guess = rng.normal(size=(2, 50))
    assert scores(truth, guess) == pytest.approx(
        {
            "rmse": root_mean_squared_error(truth, guess),
            "mae": mean_absolute_error(truth, guess),
            "r2": r2_score(truth, guess),
        }
    )


def test_a_target_may_be_the_logarithm_of_a_column():
    from crystalssl.datasets.bundled import load_bundled

    crystals = load_bundled().take(range(400))
    plain, log = targets_of(crystals, ["bulk_modulus_vrh", "log10(bulk_modulus_vrh)"])
    known = np.isfinite(log.values)
    assert known.sum() > 10 and log.unit == "log10 GPa"
    np.testing.assert_allclose(10 ** log.values[known], plain.values[known])
    with pytest.raises(UnknownNameError):
        targets_of(crystals, ["log10(bulk_modulus)"])
