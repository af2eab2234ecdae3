"""SHAP shares: explanations that add up, shares and intervals, and a scenario that can say no."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from crystalssl.errors import InputError, UnknownNameError
from crystalssl.evaluation import shap_share as scenario
from crystalssl.evaluation.attribution import explain_network, explain_trees
from crystalssl.evaluation.feature_sets import FeatureSet
from crystalssl.evaluation.hybrid import hybrid
from crystalssl.evaluation.overlap import Overlap
from crystalssl.evaluation.protocols import Split
from crystalssl.evaluation.scenario import ResultTable
from crystalssl.evaluation.scoring import MEAN, Target
from crystalssl.evaluation.shap_share import shap_share
from crystalssl.evaluation.shap_units import ShapConfig
from crystalssl.evaluation.shares import share_values
from crystalssl.evaluation.store import Store
from crystalssl.models import build_head
from crystalssl.models.mlp import FittedMLP
from crystalssl.models.scaling import fit_scaler

pytest.importorskip("lightgbm")
shap = pytest.importorskip("shap")

N, RAW, ALL_RAW = 240, 30, 100
WIDTHS = {"one": 6, "two": 4}
GROUPS = np.repeat([f"A{i}B" for i in range(N // 2)], 2)
IDS = np.array([f"id-{i}" for i in range(N)])
SPLIT = Split(
    kind="held-out", train_fraction=0.75, seed=0, fold=0, train=np.arange(180),
    test=np.arange(180, N),
)  # fmt: skip


def feature_set(name, matrix, width):
    return FeatureSet(
        name=name, label=name, matrix=matrix.astype(np.float32), valid=np.ones(N, bool), width=width
    )


@pytest.fixture(scope="module")
def both():
    rng = np.random.default_rng(0)
    raw, ssl = rng.normal(size=(N, RAW)), rng.normal(size=(N, 10))
    ssl[:, 3] = 1.0  # a column that does not vary
    return hybrid(feature_set("raw_ftcp", raw, ALL_RAW), feature_set("ssl", ssl, 10), WIDTHS)


def target_from(matrix, columns, name="energy"):
    values = matrix[:, columns].astype(float).sum(axis=1)
    return Target(name=name, unit="eV", values=values)


@pytest.fixture
def quick(monkeypatch):
    """Heads that are fitted in a moment."""

    def build(name, *, threads=0):
        head = build_head(name, threads=1)
        changes = {"mlp": {"epochs": 15, "steps": 150, "dropout": 0.0}, "lightgbm": {"rounds": 60}}
        return replace(head, **changes.get(name, {}))

    monkeypatch.setattr(scenario, "build_head", build)


CONFIG = ShapConfig(trees=5, explained=40, background=20, samples=40, draws=200)


def run(both, target, config=CONFIG, store=None, progress=None):
    split = SPLIT
    return shap_share(
        both, [target], [split], GROUPS, IDS, config=config, store=store, progress=progress
    )


def value(table, metric, part, model):
    (row,) = table.where(metric=metric, feature_set=part, model=model)
    return row.value


def test_values_of_trees_are_those_of_shaps_tree_explainer(both):
    target = target_from(both.matrix, [0, 31, 32])
    head = replace(build_head("lightgbm", threads=1), rounds=30)
    fitted = head.fit(both.matrix, np.arange(180), target.values, None, 0)
    rows = np.arange(180, 240)
    each = {str(i): np.arange(40) == i for i in range(40)}
    found = explain_trees(fitted, both.matrix, rows, each)
    explainer = shap.TreeExplainer(fitted.boosters[0])
    explainer.model.model_type = "internal"  # shap's own algorithm, not LightGBM's
    expected = explainer.shap_values(both.matrix[rows])
    np.testing.assert_allclose(found.absolute, np.abs(expected), atol=1e-6)
    np.testing.assert_allclose(found.columns, np.abs(expected).mean(axis=0), atol=1e-6)
    assert found.base == pytest.approx(float(np.ravel(explainer.expected_value)[0]))
    np.testing.assert_allclose(found.total, found.predicted, atol=1e-9)


def network(matrix, rows, layers, scale=2.0, centre=5.0):
    return FittedMLP(
        scaler=fit_scaler(matrix, rows), networks=[layers.eval().requires_grad_(False)],
        centre=np.array([centre]), scale=np.array([scale]), kind="regression", label_shape=(),
    )  # fmt: skip


def test_values_of_a_linear_network_are_slope_times_distance_from_the_background(both):
    train, rows = np.arange(180), np.arange(180, 190)
    torch.manual_seed(0)
    layer = nn.Linear(39, 1)
    fitted = network(both.matrix, train, nn.Sequential(layer))
    varying = fitted.scaler.columns
    each = {str(i): np.arange(40) == i for i in range(40)}
    found = explain_network(fitted, both.matrix, rows, np.array([5]), each, samples=3, seed=0)
    inputs = fitted.scaler.transform(both.matrix, rows, np.float32)
    inputs -= fitted.scaler.transform(both.matrix, np.array([5]), np.float32)
    expected = np.zeros((10, 40))
    expected[:, varying] = 2.0 * inputs * layer.weight.numpy()
    np.testing.assert_allclose(found.absolute, np.abs(expected), atol=1e-5)
    assert found.base == pytest.approx(fitted.predict(both.matrix, np.array([5]))[0])
    np.testing.assert_allclose(found.total, found.predicted, atol=1e-5)


def test_values_of_a_network_add_up_better_with_more_samples_and_leave_numpys_generator(both):
    train, rows = np.arange(180), np.arange(180, 200)
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(39, 32), nn.ReLU(), nn.Linear(32, 1))
    fitted = network(both.matrix, train, layers)
    groups = {"all": np.ones(40, bool)}
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    gaps = [
        explain_network(
            fitted, both.matrix, rows, np.arange(30), groups, samples=samples, seed=0
        ).gaps.mean()
        for samples in (10, 400)
    ]
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert gaps[1] < 0.3 * gaps[0]
    assert gaps[1] < 0.1


def test_shares_and_enrichment_are_ratios_of_sums():
    absolute = np.array([[1.0, 2.0, 1.0], [3.0, 0.0, 1.0]])
    members = np.array([[0, 1.0, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1]])
    found = share_values(
        absolute, members, np.array([80.0, 15, 5]), np.array([8.0, 8, 4]), draws=50, seed=0
    )
    assert [part.share for part in found] == pytest.approx([4 / 8, 4 / 8, 2 / 8, 2 / 8])
    assert found[0].metrics()["enrichment_all"] == pytest.approx(0.5 / 0.2)
    assert found[0].metrics()["enrichment_varying"] == pytest.approx(0.5 / 0.6)
    assert found[1].metrics()["enrichment_varying_low"] == pytest.approx(found[1].low / 0.4)


def test_intervals_follow_the_rows_and_the_seed():
    rng = np.random.default_rng(0)
    absolute = rng.exponential(size=(400, 2))

    def interval(rows, seed=0, draws=2000):
        (part,) = share_values(
            rows, np.array([[1.0], [0.0]]), np.ones(2), np.ones(2), draws=draws, seed=seed
        )
        assert part.low < part.share < part.high
        return part.low, part.high

    few, many = interval(absolute[:40]), interval(absolute)
    assert few[1] - few[0] > 2 * (many[1] - many[0])
    assert interval(absolute) == many != interval(absolute, seed=1)
    # the ratio's spread by the delta method, for independent rows
    shares = absolute.sum(axis=0) / absolute.sum()
    residual = absolute[:, 0] - shares[0] * absolute.sum(axis=1)
    spread = residual.std() / absolute.sum(axis=1).mean() / np.sqrt(len(absolute))
    assert many[1] - many[0] == pytest.approx(2 * 1.96 * spread, rel=0.1)


def test_a_hybrid_holds_both_parts_without_copies(both):
    assert both.matrix.shape == (N, RAW + 10)
    assert both.width == ALL_RAW + 10
    assert [(s.name, s.start, s.stop, s.width) for s in both.sections] == [
        ("raw_ftcp", 0, 30, 100),
        ("one", 30, 36, 6),
        ("two", 36, 40, 4),
    ]
    assert np.shares_memory(both.raw.matrix, both.matrix)
    assert np.array_equal(both.ssl.matrix, both.matrix[:, 30:])
    with pytest.raises(InputError, match="Blocks of 7 features for 10 columns"):
        hybrid(both.raw, both.ssl, {"one": 7})


def test_features_that_hold_the_answer_get_the_share_of_it(both, quick):
    table = run(both, target_from(both.matrix, [30, 31, 36])).table
    for model in ("mlp", "lightgbm"):
        shares = [value(table, "shap_share", part, model) for part in ("raw_ftcp", "one", "two")]
        assert sum(shares) == pytest.approx(1.0)
        assert value(table, "shap_share", "ssl", model) == pytest.approx(sum(shares[1:]))
        assert shares[1] > shares[2] > 0.1
        assert value(table, "shap_share", "ssl", model) > 0.5
        assert value(table, "enrichment_all_low", "ssl", model) > 5
        assert value(table, "enrichment_varying_low", "ssl", model) > 2
        assert value(table, "columns_varying", "hybrid", model) == 39
        assert value(table, "r2", "ssl", model) > value(table, "r2", "raw_ftcp", model) + 0.5


def test_features_that_hold_nothing_do_not(both, quick):
    table = run(both, target_from(both.matrix, [0, 1, 2])).table
    for model in ("mlp", "lightgbm"):
        assert value(table, "enrichment_varying_high", "ssl", model) < 1
        assert value(table, "r2", "raw_ftcp", model) > value(table, "r2", "ssl", model) + 0.5


def test_explanations_add_up_to_the_predictions(both, quick):
    table = run(both, target_from(both.matrix, [0, 30])).table
    assert value(table, "additivity_max", "hybrid", "lightgbm") < 1e-9
    assert 0 < value(table, "additivity_mean", "hybrid", "mlp") < 0.3


def test_every_head_is_scored_on_every_set_and_only_the_joint_ones_are_explained(both, quick):
    found = run(both, target_from(both.matrix, [0, 30]))
    scored = {(row.feature_set, row.model) for row in found.table.where(metric="r2")}
    sets, heads = ("raw_ftcp", "ssl", "hybrid"), ("mlp", "lightgbm", "random_forest")
    assert scored == {(MEAN, MEAN), *((part, head) for part in sets for head in heads)}
    explained = {(row.feature_set, row.model) for row in found.table.where(metric="shap_share")}
    parts = ("ssl", "raw_ftcp", "one", "two")
    assert explained == {(part, head) for part in parts for head in ("mlp", "lightgbm")}
    widths = {row.feature_set: row.n_features for row in found.table.rows}
    assert widths == {"mean": 0, "raw_ftcp": 100, "ssl": 10, "hybrid": 110, "one": 6, "two": 4}


def test_stored_rows_of_the_explained_crystals_give_the_shares(both, quick, tmp_path):
    found = run(both, target_from(both.matrix, [0, 30]))
    found.save(tmp_path)
    again = ResultTable.load(tmp_path / "shap_share.parquet")
    assert again == found.table
    frame = found.explained.to_pandas()
    part = frame[frame.model == "lightgbm"]
    assert part.immutable_id.nunique() == CONFIG.explained
    assert set(part.immutable_id) <= set(IDS[SPLIT.test])
    share = part[part.section == "raw_ftcp"].absolute.sum() / part.absolute.sum()
    assert share == pytest.approx(value(again, "shap_share", "raw_ftcp", "lightgbm"))


def test_labels_of_test_rows_reach_no_model(both, quick):
    target = target_from(both.matrix, [0, 30])
    other = replace(target, values=np.where(np.arange(N) >= 180, 99.0, target.values))
    config = replace(CONFIG, heads=("lightgbm",))
    one, two = run(both, target, config), run(both, other, config)
    assert one.predictions["y_pred"].to_pylist() == two.predictions["y_pred"].to_pylist()
    assert one.explained.equals(two.explained)


def test_a_stopped_run_goes_on_and_repeats_its_numbers(both, quick, tmp_path):
    target = target_from(both.matrix, [0, 30])
    config = replace(CONFIG, heads=("lightgbm", "random_forest"))
    seen = []

    def stop(done, total, _text):
        seen.append((done, total))
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(both, target, config, Store(tmp_path), stop)
    assert seen == [(i, 6) for i in range(5)]
    store = Store(tmp_path)
    resumed = run(both, target, config, store)
    assert (store.reused, store.computed) == (4, 2)
    fresh = run(both, target, config)

    def numbers(result):
        return [row for row in result.table.rows if row.metric != "fit_seconds"]

    assert numbers(resumed) == numbers(fresh)
    assert resumed.explained.equals(fresh.explained)
    run(both, target, replace(config, draws=50), store)
    assert store.computed == 2  # the bootstrap is not part of a unit
    assert len(list(tmp_path.glob("*.json"))) == 6
    run(both, target, replace(config, heads=("lightgbm",)), store)
    assert len(list(tmp_path.glob("*.json"))) == 3  # parts of the forest are gone


def test_seen_crystals_can_be_left_out_and_are_counted(both, quick):
    seen = np.arange(N) >= 210
    overlap = Overlap(weights="some", unknown="", formulas=seen, structures=np.zeros(N, bool))
    config = replace(CONFIG, heads=("lightgbm",), explained=20)
    target = target_from(both.matrix, [0, 30])
    found = shap_share(
        both, [target], [SPLIT], GROUPS, IDS, config=config, overlap=overlap, drop_seen="formulas"
    )
    assert set(found.predictions["immutable_id"].to_pylist()) == set(IDS[180:210])
    assert found.table.record.counts["tested with a seen formula"] == 0
    assert found.table.record.config["overlap"]["drop_seen"] == "formulas"
    kept = shap_share(both, [target], [SPLIT], GROUPS, IDS, config=config, overlap=overlap)
    assert kept.table.record.counts["tested with a seen formula"] == 30


def test_bad_input_is_named(both, quick):
    target = target_from(both.matrix, [0])
    with pytest.raises(InputError, match="0 splits for 1 properties"):
        shap_share(both, [target], [], GROUPS, IDS)
    leak = replace(SPLIT, test=np.arange(179, 240))
    with pytest.raises(InputError, match="in both the training and the test part"):
        shap_share(both, [target], [leak], GROUPS, IDS)


def test_an_unknown_head_is_named(both):
    with pytest.raises(UnknownNameError, match="Did you mean 'mlp'"):
        run(both, target_from(both.matrix, [0]), replace(CONFIG, heads=("mpl",)))
