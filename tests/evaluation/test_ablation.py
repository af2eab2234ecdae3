import numpy as np
import pytest

from crystalssl.errors import InputError
from crystalssl.evaluation.ablation import Ablation, ablation
from crystalssl.evaluation.block_fits import BlockSet
from crystalssl.evaluation.draws import LabelDraws
from crystalssl.evaluation.feature_sets import FeatureSet
from crystalssl.evaluation.linear_probe import linear_probe
from crystalssl.evaluation.scoring import Target
from crystalssl.evaluation.store import Store

N = 450
GROUPS = np.repeat([f"A{i}B" for i in range(N // 3)], 3)
IDS = np.array([f"id-{i}" for i in range(N)])
TESTED = np.arange(N) >= 300
WIDTHS = {"one": 3, "two": 4, "three": 2}


def block_set(name, matrix, widths=None):
    part = FeatureSet(
        name=name,
        label=name,
        matrix=matrix.astype(np.float32),
        valid=np.ones(N, bool),
        width=matrix.shape[1],
    )
    return BlockSet(part=part, widths=WIDTHS if widths is None else widths)


@pytest.fixture(scope="module")
def world():
    """Block two holds most of the label, block one some, block three nothing."""
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(N, 9))
    labels = matrix[:, 0] + 3 * matrix[:, 4] + 0.1 * rng.normal(size=N)
    sets = [block_set("ssl", matrix), block_set("untrained", rng.normal(size=(N, 9)))]
    return sets, Target(name="energy", unit="eV", values=labels)


def run(world, folder, **options):
    sets, target = world
    store = Store(folder)
    protocol = LabelDraws(pool=~TESTED, test=TESTED, kind="held-out", fractions=(1.0,), draws=1)
    return ablation(sets, [target], GROUPS, IDS, protocol, store, **options), store


@pytest.fixture(scope="module")
def found(world, tmp_path_factory):
    return run(world, tmp_path_factory.mktemp("parts"))[0]


def rmse(found, name, model="ridge"):
    (row,) = found.table.where(feature_set=name, model=model, metric="rmse")
    return row.value


def test_every_block_is_taken_alone_and_left_out_by_both_models(found):
    names = {row.feature_set for row in found.table.where(metric="rmse", model="ols")}
    selections = ["all", *(f"{kind} {name}" for kind in ("only", "without") for name in WIDTHS)]
    assert names == {f"{source}: {one}" for source in ("ssl", "untrained") for one in selections}
    widths = {row.feature_set: row.n_features for row in found.table.rows}
    assert (widths["ssl: all"], widths["ssl: only two"], widths["ssl: without two"]) == (9, 4, 5)


def test_what_holds_the_label_is_missed_and_does_well_alone(found):
    assert rmse(found, "ssl: all") < 0.2 < rmse(found, "ssl: without two")
    assert rmse(found, "ssl: only two") < rmse(found, "ssl: only one")
    assert rmse(found, "ssl: without three") == pytest.approx(rmse(found, "ssl: all"), abs=0.02)


def test_differences_come_with_intervals(found):
    rows = {(row["feature_set"], row["baseline"], row["model"], row["metric"]): row
            for row in found.summary.to_pylist()}  # fmt: skip
    lost = rows["ssl: without two", "ssl: all", "ridge", "rmse_difference"]
    assert 0 < lost["low"] < lost["mean"] < lost["high"]
    gained = rows["ssl: only two", "untrained: only two", "ridge", "rmse_difference"]
    assert gained["high"] < 0
    assert gained["mean"] == pytest.approx(
        rmse(found, "ssl: only two") - rmse(found, "untrained: only two")
    )
    nothing = rows["ssl: only three", "untrained: only three", "ridge", "rmse_difference"]
    assert nothing["low"] < 0 < nothing["high"]


def test_shared_sums_give_what_the_linear_probe_gives_for_the_columns_alone(world, found):
    sets, target = world
    part = sets[0].part
    columns = part.matrix[:, [0, 1, 2, 7, 8]].astype(float)
    alone = block_set("x", columns, {}).part
    protocol = LabelDraws(pool=~TESTED, test=TESTED, kind="held-out", fractions=(1.0,), draws=1)
    table = linear_probe([alone], [target], GROUPS, IDS, protocol).table
    for model in ("ols", "ridge"):
        (row,) = table.where(metric="rmse", model=model)
        assert rmse(found, "ssl: without two", model) == pytest.approx(row.value, rel=1e-9)


def test_more_columns_than_rows_are_no_obstacle(tmp_path):
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(N, 400))
    target = Target(name="energy", unit="eV", values=matrix[:, 0])
    wide = [block_set("ssl", matrix, {"one": 50, "two": 350})]
    found, _ = run((wide, target), tmp_path)
    assert rmse(found, "ssl: only one") < rmse(found, "ssl: without one")


def test_a_second_run_computes_nothing_and_results_come_back(world, found, tmp_path):
    _, store = run(world, tmp_path)
    assert store.computed == 14
    again, store = run(world, tmp_path)
    assert store.computed == 0
    assert again.table.rows == found.table.rows
    again.save(tmp_path)
    loaded = Ablation.load(tmp_path)
    assert loaded.table == again.table
    assert loaded.summary.equals(again.summary)


def test_features_of_one_block_are_refused(world, tmp_path):
    _, target = world
    single = block_set("ssl", np.zeros((N, 3)), {"one": 3})
    with pytest.raises(InputError, match="at least two to leave one out"):
        run(([single], target), tmp_path)
