import numpy as np
import pytest

from crystalssl.errors import InputError, UnknownNameError
from crystalssl.evaluation.feature_sets import FeatureSet, principal_axes
from crystalssl.evaluation.linear_probe import LinearProbe, linear_probe
from crystalssl.evaluation.protocols import HeldOutFolds, RepeatedSplits, Split
from crystalssl.evaluation.scoring import MEAN, Target, scores

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
    shifted = [Target(name="energy", unit="eV", values=target.values + 1)]
    other = linear_probe(sets, shifted, GROUPS, IDS, protocol())
    assert other.table.record.data_hash != probe.table.record.data_hash


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
