"""SHAP shares: explanations that add up, shares and intervals, and a scenario that can say no."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow.compute as pc
import pytest
import torch
from torch import nn

from crystalssl.errors import InputError, UnknownNameError
from crystalssl.evaluation.attribution import explain_network, explain_trees, share_values
from crystalssl.evaluation.baselines import side_by_side
from crystalssl.evaluation.cache import Cache
from crystalssl.evaluation.data import Dataset, Section
from crystalssl.evaluation.overlap import Overlap
from crystalssl.evaluation.results import MEAN, Results, select
from crystalssl.evaluation.scenarios import shap_share as scenario
from crystalssl.evaluation.scenarios.few_shot import FewShotConfig, few_shot
from crystalssl.evaluation.scenarios.shap_share import ShapConfig, shap_share
from crystalssl.evaluation.splits import TrainFractions
from crystalssl.models.mlp import FittedMLP
from crystalssl.models.registry import build_head
from crystalssl.models.scaling import fit_scaler
from small_data import feature_set, formulas, target

pytest.importorskip("lightgbm")
shap = pytest.importorskip("shap")

N, RAW, ALL_RAW = 240, 30, 100
WIDTHS = {"one": 6, "two": 4}
TESTED = np.arange(N) >= 180
PROTOCOL = TrainFractions(pool=~TESTED, test=TESTED, kind="held-out", fractions=(1.0,), repeats=1)


@pytest.fixture(scope="module")
def both():
    """Raw FTCP of 30 columns that vary among 100, and two blocks with one column that does not."""
    rng = np.random.default_rng(0)
    raw, ssl = rng.normal(size=(N, RAW)), rng.normal(size=(N, 10))
    ssl[:, 3] = 1.0
    section = Section(name="raw_ftcp", columns=RAW, width=ALL_RAW, learned=False)
    raw = replace(feature_set("raw_ftcp", raw), width=ALL_RAW, sections=(section,))
    return side_by_side("hybrid", [raw, feature_set("ssl", ssl, sections=WIDTHS)])


def label(both, columns):
    """A target that is the sum of some columns."""
    return target(both[0].matrix[:, columns].astype(float).sum(axis=1))


@pytest.fixture
def quick(monkeypatch):
    """Heads that are fitted in a moment."""

    def build(name, *, threads=0):
        head = build_head(name, threads=1)
        changes = {"mlp": {"epochs": 15, "steps": 150, "dropout": 0.0}, "lightgbm": {"rounds": 60}}
        return replace(head, **changes.get(name, {}))

    monkeypatch.setattr(scenario, "build_head", build)


CONFIG = ShapConfig(trees=5, explained=40, background=20, samples=40, resamples=200)


def run(both, *targets, config=CONFIG, **options):
    hybrid, parts = both
    data = Dataset(
        ids=np.array([f"id-{i}" for i in range(N)]),
        groups=formulas(N, 2),
        targets=targets,
        sets=(*parts, hybrid),
    )
    return shap_share(data, PROTOCOL, config=config, **options)


def value(results, metric, part, head, end="mean"):
    (entry,) = select(results.summary, metric=metric, feature_set=part, head=head)
    return getattr(entry, end)


def test_values_of_trees_are_those_of_shaps_tree_explainer(both):
    matrix = both[0].matrix
    labels = label(both, [0, 31, 32]).values
    head = replace(build_head("lightgbm", threads=1), rounds=30)
    fitted = head.fit(matrix, np.arange(180), labels, None, 0)
    rows = np.arange(180, 240)
    each = {str(i): np.arange(40) == i for i in range(40)}
    found = explain_trees(fitted, matrix, rows, each)
    explainer = shap.TreeExplainer(fitted.boosters[0])
    explainer.model.model_type = "internal"  # shap's own algorithm, not LightGBM's
    expected = explainer.shap_values(matrix[rows])
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
    fitted = network(both[0].matrix, train, nn.Sequential(layer))
    varying = fitted.scaler.columns
    each = {str(i): np.arange(40) == i for i in range(40)}
    found = explain_network(fitted, both[0].matrix, rows, np.array([5]), each, samples=3, seed=0)
    inputs = fitted.scaler.transform(both[0].matrix, rows, np.float32)
    inputs -= fitted.scaler.transform(both[0].matrix, np.array([5]), np.float32)
    expected = np.zeros((10, 40))
    expected[:, varying] = 2.0 * inputs * layer.weight.numpy()
    np.testing.assert_allclose(found.absolute, np.abs(expected), atol=1e-5)
    assert found.base == pytest.approx(fitted.predict(both[0].matrix, np.array([5]))[0])
    np.testing.assert_allclose(found.total, found.predicted, atol=1e-5)


def test_values_of_a_network_add_up_better_with_more_samples_and_leave_numpys_generator(both):
    train, rows = np.arange(180), np.arange(180, 200)
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(39, 32), nn.ReLU(), nn.Linear(32, 1))
    fitted = network(both[0].matrix, train, layers)
    groups = {"all": np.ones(40, bool)}
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    gaps = [
        explain_network(
            fitted, both[0].matrix, rows, np.arange(30), groups, samples=samples, seed=0
        ).gaps.mean()
        for samples in (10, 400)
    ]
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert gaps[1] < 0.3 * gaps[0]
    assert gaps[1] < 0.1


def test_shares_are_ratios_of_sums():
    absolute = np.array([[1.0, 2.0, 1.0], [3.0, 0.0, 1.0]])
    members = np.array([[0, 1.0, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1]])
    columns = np.array([80.0, 15, 5]), np.array([8.0, 8, 4])
    found = share_values(absolute, members, columns, 50, 0)
    assert found.share == pytest.approx([4 / 8, 4 / 8, 2 / 8, 2 / 8])
    assert found.of_all == pytest.approx([0.2, 0.8, 0.15, 0.05])
    assert found.of_varying == pytest.approx([0.6, 0.4, 0.4, 0.2])


def test_intervals_follow_the_rows_and_the_seed():
    absolute = np.random.default_rng(0).exponential(size=(400, 2))

    def interval(rows, seed=0):
        members, columns = np.array([[1.0], [0.0]]), (np.ones(2), np.ones(2))
        found = share_values(rows, members, columns, 2000, seed)
        assert found.low[0] < found.share[0] < found.high[0]
        return found.low[0], found.high[0]

    few, many = interval(absolute[:40]), interval(absolute)
    assert few[1] - few[0] > 2 * (many[1] - many[0])
    assert interval(absolute) == many != interval(absolute, seed=1)
    # the ratio's standard deviation by the delta method, for independent rows
    shares = absolute.sum(axis=0) / absolute.sum()
    residual = absolute[:, 0] - shares[0] * absolute.sum(axis=1)
    deviation = residual.std() / absolute.sum(axis=1).mean() / np.sqrt(len(absolute))
    assert many[1] - many[0] == pytest.approx(2 * 1.96 * deviation, rel=0.1)


def test_features_that_hold_the_answer_get_the_share_of_it(both, quick):
    results = run(both, label(both, [30, 31, 36]))
    for head in ("mlp", "lightgbm"):
        shares = [value(results, "shap_share", part, head) for part in ("raw_ftcp", "one", "two")]
        assert sum(shares) == pytest.approx(1.0)
        assert value(results, "shap_share", "ssl", head) == pytest.approx(sum(shares[1:]))
        assert shares[1] > shares[2] > 0.1
        share = value(results, "shap_share", "ssl", head)
        assert share > 0.5
        assert value(results, "enrichment_all", "ssl", head) == pytest.approx(share / (10 / 110))
        assert value(results, "enrichment_varying", "ssl", head) == pytest.approx(share / (9 / 39))
        assert value(results, "enrichment_all", "ssl", head, "low") > 5
        assert value(results, "enrichment_varying", "ssl", head, "low") > 2
        assert value(results, "columns_varying", "hybrid", head) == 39
        assert value(results, "r2", "ssl", head) > value(results, "r2", "raw_ftcp", head) + 0.5
    claims = [v for v in results.record.verdicts if "SHAP" in v.claim]
    assert len(claims) == 2 and not any(v.failed for v in claims)


def test_features_that_hold_nothing_do_not(both, quick):
    results = run(both, label(both, [0, 1, 2]))
    for head in ("mlp", "lightgbm"):
        assert value(results, "enrichment_varying", "ssl", head, "high") < 1
        assert value(results, "r2", "raw_ftcp", head) > value(results, "r2", "ssl", head) + 0.5
    assert all(v.failed for v in results.record.verdicts if "SHAP" in v.claim)


def test_explanations_add_up_to_the_predictions(both, quick):
    results = run(both, label(both, [0, 30]))
    assert value(results, "additivity_max", "hybrid", "lightgbm") < 1e-9
    assert 0 < value(results, "additivity_mean", "hybrid", "mlp") < 0.3


def test_every_head_is_scored_on_every_set_and_only_the_joint_ones_are_explained(both, quick):
    results = run(both, label(both, [0, 30]))
    scored = {(row.feature_set, row.head) for row in select(results.rows, metric="r2")}
    sets, heads = ("raw_ftcp", "ssl", "hybrid"), ("mlp", "lightgbm", "random_forest")
    assert scored == {(MEAN, MEAN), *((part, head) for part in sets for head in heads)}
    explained = {(row.feature_set, row.head) for row in select(results.rows, metric="shap_share")}
    parts = ("ssl", "raw_ftcp", "one", "two")
    assert explained == {(part, head) for part in parts for head in ("mlp", "lightgbm")}
    widths = {row.feature_set: row.n_features for row in results.rows}
    assert widths == {"mean": 0, "raw_ftcp": 100, "ssl": 10, "hybrid": 110, "one": 6, "two": 4}
    joint = {(d.feature_set, d.baseline) for d in results.differences}
    assert ("hybrid", "raw_ftcp") in joint


def test_stored_rows_of_the_explained_crystals_give_the_shares(both, quick, tmp_path):
    results = run(both, label(both, [0, 30]))
    results.save(tmp_path)
    again = Results.load(tmp_path, "shap_share")
    assert (again.rows, again.record) == (results.rows, results.record)
    frame = again.tables["explained"].to_pandas()
    part = frame[frame["head"] == "lightgbm"]
    assert part.immutable_id.nunique() == CONFIG.explained
    assert set(part.immutable_id) <= {f"id-{i}" for i in range(180, N)}
    share = part[part.section == "raw_ftcp"].absolute.sum() / part.absolute.sum()
    assert share == pytest.approx(value(again, "shap_share", "raw_ftcp", "lightgbm"))


def test_labels_of_test_rows_reach_no_head(both, quick):
    one = label(both, [0, 30])
    other = replace(one, values=np.where(TESTED, 99.0, one.values))
    config = replace(CONFIG, heads=("lightgbm",))
    first, second = run(both, one, config=config), run(both, other, config=config)
    fitted = [r.predictions.filter(pc.field("head") == "lightgbm") for r in (first, second)]
    assert fitted[0]["predicted"].equals(fitted[1]["predicted"])
    assert first.tables["explained"].equals(second.tables["explained"])


def test_a_stopped_run_goes_on_and_repeats_its_numbers(both, quick, tmp_path):
    one = label(both, [0, 30])
    config = replace(CONFIG, heads=("lightgbm", "random_forest"))

    def stop(done, total, _text):
        assert total == 6
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(both, one, config=config, cache=Cache(tmp_path), progress=stop)
    cache = Cache(tmp_path)
    resumed = run(both, one, config=config, cache=cache)
    assert (cache.reused, cache.computed) == (4, 2)
    fresh = run(both, one, config=config)

    def numbers(results):
        return [row for row in results.rows if row.metric != "fit_seconds"]

    assert numbers(resumed) == numbers(fresh)
    assert resumed.tables["explained"].equals(fresh.tables["explained"])
    run(both, one, config=replace(config, resamples=50), cache=cache)
    assert cache.computed == 2  # the bootstrap is not part of a fit
    assert len(list(tmp_path.glob("*.npz"))) == 7
    run(both, one, config=replace(config, heads=("lightgbm",)), cache=cache)
    assert len(list(tmp_path.glob("*.npz"))) == 4  # fits of the forest are gone


@pytest.fixture
def fits_made(monkeypatch, quick):
    """Head and columns of every fit."""
    made = []
    from crystalssl.evaluation.fits import Fitter

    fitted = Fitter._fitted

    def noted(self, feature_set, split, head, labels):
        made.append((head.name, feature_set.matrix.shape[1]))
        return fitted(self, feature_set, split, head, labels)

    monkeypatch.setattr(Fitter, "_fitted", noted)
    return made


def test_shap_share_and_few_shot_share_fits_on_all_labels(both, fits_made, tmp_path, monkeypatch):
    monkeypatch.setattr("crystalssl.evaluation.scenarios.few_shot.build_head", scenario.build_head)
    hybrid, parts = both
    one, cache = label(both, [0, 30]), Cache(tmp_path, shared=True)
    data = Dataset(
        ids=np.array([f"id-{i}" for i in range(N)]),
        groups=formulas(N, 2),
        targets=(one,),
        sets=(*parts, hybrid),
    )
    heads = ("mlp", "lightgbm")
    config = FewShotConfig(heads=heads, residual_heads=(), proposed=("ssl", "hybrid"))
    few = few_shot(data, PROTOCOL, config=config, cache=cache)
    fits_made.clear()
    shared = shap_share(data, PROTOCOL, config=replace(CONFIG, heads=heads), cache=cache)
    assert sorted(fits_made) == [("lightgbm", 40), ("mlp", 40)]  # only what is to be explained
    for row in select(shared.rows, metric="r2", feature_set="hybrid"):
        (other,) = select(few.rows, metric="r2", feature_set="hybrid", head=row.head)
        assert other.value == row.value
    fits_made.clear()
    again = few_shot(data, PROTOCOL, config=config, cache=cache)
    assert fits_made == [] and again.rows == few.rows


def test_seen_crystals_can_be_left_out_and_are_counted(both, quick):
    seen = np.arange(N) >= 210
    overlap = Overlap(weights="some", unknown="", formulas=seen, structures=np.zeros(N, bool))
    config = replace(CONFIG, heads=("lightgbm",), explained=20)
    one = label(both, [0, 30])
    dropped = run(both, one, config=config, overlap=overlap, drop_seen="formulas")
    assert set(dropped.predictions["immutable_id"].to_pylist()) == {
        f"id-{i}" for i in range(180, 210)
    }
    assert dropped.record.counts["tested with a seen formula"] == 0
    assert dropped.record.config["overlap"]["drop_seen"] == "formulas"
    kept = run(both, one, config=config, overlap=overlap)
    assert kept.record.counts["tested with a seen formula"] == 30


def test_bad_input_is_named(both, quick):
    hybrid, parts = both
    with pytest.raises(InputError, match="expected raw_ftcp, ssl and hybrid"):
        run((hybrid, parts[:1]), label(both, [0]))


def test_an_unknown_head_is_named(both):
    with pytest.raises(UnknownNameError, match="Did you mean 'mlp'"):
        run(both, label(both, [0]), config=replace(CONFIG, heads=("mpl",)))
