import numpy as np
import pytest

from crystalssl.errors import InputError, UnknownNameError
from crystalssl.evaluation.bench import Bench, FewShotConfig
from crystalssl.evaluation.draws import LabelDraws, label_draws
from crystalssl.evaluation.feature_sets import FeatureSet
from crystalssl.evaluation.few_shot import FewShot, few_shot
from crystalssl.evaluation.overlap import Overlap
from crystalssl.evaluation.scoring import MEAN, Target
from crystalssl.evaluation.store import Store
from crystalssl.models import build_head

N = 600
GROUPS = np.repeat([f"A{i}B" for i in range(N // 3)], 3)
IDS = np.array([f"id-{i}" for i in range(N)])
QUICK = FewShotConfig(
    heads=("ridge",), residual_heads=("ridge",), residual_fractions=(0.1,), folds=3, ours=("ssl",)
)


def feature_set(name, matrix):
    return FeatureSet(
        name=name,
        label=name,
        matrix=matrix.astype(np.float32),
        valid=np.ones(N, bool),
        width=matrix.shape[1],
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
    return sets, Target(name="energy", unit="eV", values=labels)


def draws(fractions=(0.1, 1.0), count=3):
    tested = np.arange(N) >= 450
    return LabelDraws(
        pool=~tested, test=tested, kind="held-out", fractions=fractions, draws=count, full_draws=1
    )


def run(world, folder, config=QUICK, protocol=None, **options):
    sets, target = world
    store = Store(folder)
    found = few_shot(
        sets, [target], GROUPS, IDS, protocol or draws(), store, config=config, **options
    )
    return found, store


@pytest.fixture(scope="module")
def found(world, tmp_path_factory):
    return run(world, tmp_path_factory.mktemp("parts"))[0]


def test_draws_are_seeded_nested_and_of_the_pool_alone():
    splits = draws((0.1, 0.5, 1.0)).splits(np.arange(N), GROUPS)
    assert [len(split.train) for split in splits] == [45] * 3 + [225] * 3 + [450]
    by_seed = [split for split in splits if split.seed == 1]
    assert set(by_seed[0].train) < set(by_seed[1].train)
    assert not np.array_equal(splits[0].train, splits[1].train)
    assert all(split.test.tolist() == list(range(450, N)) for split in splits)
    again = draws((0.1, 0.5, 1.0)).splits(np.arange(N), GROUPS)
    assert all(np.array_equal(a.train, b.train) for a, b in zip(splits, again, strict=True))


def test_a_formula_that_is_tested_is_never_drawn():
    tested = np.arange(N) >= 449  # one row of a formula whose other rows are in the pool
    protocol = LabelDraws(pool=~tested, test=tested, kind="grouped", fractions=(1.0,))
    (split,) = protocol.splits(np.arange(N), GROUPS)
    assert not set(GROUPS[split.train]) & set(GROUPS[split.test])
    assert len(split.train) == 447


@pytest.mark.parametrize(("share", "message"), [(0.001, "is 0 rows"), (1.5, "share <= 1")])
def test_shares_that_cannot_be_drawn_are_refused(share, message):
    with pytest.raises(InputError, match=message):
        draws((share,)).splits(np.arange(N), GROUPS)


def test_the_split_column_says_what_is_drawn_and_tested(many_crystals):
    import pyarrow as pa

    names = ["train", "val", "test"] * 23 + ["train"]
    held = label_draws(
        many_crystals.with_columns(pa.table({"split": names})), fractions=(1.0,), draws=1
    )
    assert held.kind == "held-out"
    assert held.pool.tolist() == [name == "train" for name in names]
    assert held.test.tolist() == [name == "test" for name in names]
    free = label_draws(many_crystals, fractions=(1.0,), draws=1)
    assert free.kind == "grouped"
    assert 0.1 < free.test.mean() < 0.3
    assert not (free.pool & free.test).any()


def test_every_set_head_and_draw_has_its_rows(found):
    rows = found.table.where(metric="r2", train_fraction=0.1)
    assert {(r.feature_set, r.model, r.seed) for r in rows} == {
        (name, MEAN if name == MEAN else "ridge", seed)
        for name in ("raw_ftcp", "untrained", "ssl", MEAN)
        for seed in range(3)
    }
    assert len(found.table.where(metric="r2", train_fraction=1.0)) == 4
    assert {row.n_test for row in found.table.rows} == {150}


def test_features_that_hold_more_of_the_label_win_with_an_interval_above_zero(found):
    rows = found.summary.to_pylist()
    for share, kind in ((0.1, "t over draws"), (1.0, "bootstrap over test formulas")):
        (one,) = [
            row
            for row in rows
            if row["metric"] == "r2_difference"
            and row["baseline"] == "raw_ftcp"
            and row["train_fraction"] == share
        ]
        assert 0 < one["low"] < one["mean"] < one["high"]
        assert one["interval"] == kind
        assert one["draws"] == (3 if share == 0.1 else 1)


def test_differences_are_taken_draw_by_draw(found):
    for row in found.table.where(feature_set="ssl - raw_ftcp", metric="r2_difference"):
        same = {"train_fraction": row.train_fraction, "seed": row.seed, "metric": "r2"}
        (mine,) = found.table.where(feature_set="ssl", **same)
        (other,) = found.table.where(feature_set="raw_ftcp", **same)
        assert row.value == mine.value - other.value


def test_ours_explain_what_raw_leaves_over_and_untrained_do_not(found):
    ours = found.table.where(feature_set="raw_ftcp > ssl", metric="contribution")
    nothing = found.table.where(feature_set="raw_ftcp > untrained", metric="contribution")
    assert len(ours) == len(nothing) == 3
    assert min(row.value for row in ours) > 0.7
    assert max(row.value for row in nothing) < 0.1
    after = found.table.where(feature_set="raw_ftcp > ssl", metric="r2_after")
    assert min(row.value for row in after) > 0.75


def test_residuals_of_training_rows_come_from_models_that_did_not_see_their_formula(
    world, tmp_path, monkeypatch
):
    """A head that remembers every formula has no residual in sample; out of fold it has all."""

    class Memory:
        name, kind = "ridge", "regression"

        def fit(self, matrix, rows, labels, groups, seed):
            self.known = {groups[row]: labels[row] for row in rows}
            self.seen.append((set(rows.tolist()), labels.copy()))
            self.groups = groups
            return self

        def predict(self, matrix, rows):
            return np.array([self.known.get(self.groups[row], np.zeros(1)) for row in rows])

    Memory.seen = []
    monkeypatch.setattr("crystalssl.evaluation.bench.head_settings", lambda head: {})
    monkeypatch.setattr("crystalssl.evaluation.bench.head_code", lambda head: [])
    monkeypatch.setattr(Bench, "head", lambda self, name: Memory())
    run(world, tmp_path, protocol=draws((0.1,), 1))
    rows, residual = Memory.seen[-1]  # the last fit is on residuals, of all training rows
    _, target = world
    np.testing.assert_array_equal(residual[sorted(rows), 0], target.values[sorted(rows)])


def test_labels_of_test_rows_do_not_reach_a_model(world, tmp_path):
    sets, target = world
    changed = target.values.copy()
    changed[450:] = np.arange(150) * 1e3
    other = Target(name="energy", unit="eV", values=changed)
    first, second = tmp_path / "first", tmp_path / "second"
    run((sets, target), first)
    run((sets, other), second)
    guesses = []
    for folder in (first, second):
        arrays = [np.load(path) for path in folder.glob("*guess.npy")]
        guesses.append(sorted(float(np.abs(array).sum()) for array in arrays))
    assert guesses[0] == guesses[1]
    assert len(guesses[0]) > 10


def test_a_second_run_reads_what_was_done_and_computes_what_changed(world, tmp_path):
    sets, target = world
    first, before = run(world, tmp_path)
    assert before.reused < before.computed  # residual units share their first step
    again, store = run(world, tmp_path)
    assert store.computed == 0
    assert again.table.rows == first.table.rows
    changed = [*sets[:2], feature_set("ssl", sets[2].matrix * 2.0 + 1.0)]
    _, store = run((changed, target), tmp_path)
    # 4 direct units of the changed set, and the second step of its 3 residual units
    assert store.computed == 7


def test_units_of_a_target_are_found_again_beside_another_target(world, tmp_path):
    sets, target = world
    other = Target(name="gap", unit="eV", values=np.cos(target.values))
    config = FewShotConfig(heads=("random_forest",), residual_heads=(), ours=("ssl",))
    protocol = draws((0.1,), 1)
    few_shot(sets, [target], GROUPS, IDS, protocol, Store(tmp_path), config=config)
    store = Store(tmp_path)
    both = few_shot(sets, [target, other], GROUPS, IDS, protocol, store, config=config)
    assert (store.reused, store.computed) == (3, 3)
    assert len(both.table.where(metric="r2", model="random_forest")) == 6


@pytest.mark.parametrize("head", ["lightgbm", "mlp"])
def test_targets_fitted_together_get_the_numbers_that_each_gets_alone(world, tmp_path, head):
    pytest.importorskip("lightgbm")
    sets, target = world
    other = Target(name="gap", unit="eV", values=np.cos(target.values))
    config = FewShotConfig(heads=(head,), residual_heads=(), ours=("ssl",))
    found = [
        few_shot(
            sets, targets, GROUPS, IDS, draws((0.2,), 1), Store(tmp_path / str(n)), config=config
        )
        for n, targets in enumerate([[target, other], [target], [other]])
    ]
    together, *alone = (dict(_values(one)) for one in found)
    assert together == alone[0] | alone[1]


def _values(found):
    for row in found.table.rows:
        if row.metric != "fit_seconds":
            yield (row.property, row.feature_set, row.model, row.metric), row.value


def test_a_stopped_run_goes_on_where_it_was(world, tmp_path):
    def stop(done, total, text):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(world, tmp_path, progress=stop)
    kept = len(list(tmp_path.glob("*.json")))
    assert kept >= 5
    _, store = run(world, tmp_path)
    assert store.computed + kept == len(list(tmp_path.glob("*.json")))


def test_results_come_back_as_they_were_saved(found, tmp_path):
    found.save(tmp_path)
    again = FewShot.load(tmp_path)
    assert again.table == found.table
    assert again.summary.equals(found.summary)
    record = again.table.record
    assert record.labels["raw_ftcp > ssl"] == "ssl on the residual of raw_ftcp"
    assert record.config["head_settings"] == {"ridge": {"name": "ridge", "kind": "regression"}}


def test_seen_crystals_are_left_out_of_the_test_part(world, tmp_path):
    seen = np.arange(N) >= 500
    overlap = Overlap(weights="w", unknown="", formulas=seen, structures=seen)
    protocol = draws((0.1,), 1)
    found, _ = run(world, tmp_path, protocol=protocol, overlap=overlap, drop_seen="formulas")
    assert {row.n_test for row in found.table.rows} == {50}
    assert found.table.record.counts["tested formulas seen"] == 0
    found, _ = run(world, tmp_path, protocol=protocol, overlap=overlap)
    assert found.table.record.counts["tested structures seen"] == 100


def test_unknown_heads_are_named_before_any_work(world, tmp_path):
    with pytest.raises(UnknownNameError, match="'boosting'"):
        run(world, tmp_path, FewShotConfig(heads=("boosting",)))
    assert build_head("ridge").name == "ridge"
