from dataclasses import asdict, replace

import numpy as np
import pytest

from crystalssl.evaluation import bench, shap_share
from crystalssl.evaluation.bench import FewShotConfig
from crystalssl.evaluation.draws import LabelDraws
from crystalssl.evaluation.feature_sets import FeatureSet
from crystalssl.evaluation.few_shot import few_shot
from crystalssl.evaluation.hybrid import hybrid
from crystalssl.evaluation.scoring import Target
from crystalssl.evaluation.shap_units import ShapConfig
from crystalssl.evaluation.shared_fits import SharedFits
from crystalssl.evaluation.store import Store
from crystalssl.models import build_head

pytest.importorskip("lightgbm")
pytest.importorskip("shap")

N = 240
GROUPS = np.repeat([f"A{i}B" for i in range(N // 3)], 3)
IDS = np.array([f"id-{i}" for i in range(N)])
TESTED = np.arange(N) >= 180
DRAWS = LabelDraws(pool=~TESTED, test=TESTED, kind="held-out", fractions=(0.5, 1.0), draws=1)
HEADS = ("mlp", "lightgbm")


@pytest.fixture
def fits_made(monkeypatch):
    """Heads that are fitted in a moment; every fit adds (head, columns, labels) to the list."""
    made = []

    def build(name, *, threads=0):
        head = build_head(name, threads=1)
        changes = {"mlp": {"epochs": 3, "steps": 30}, "lightgbm": {"rounds": 20}}
        kind = type(head)

        class Counted(kind):
            __slots__ = ()

            def fit(self, matrix, rows, labels, groups, seed):
                count = 1 if labels.ndim == 1 else labels.shape[1]
                made.append((self.name, matrix.shape[1], count))
                return kind.fit(self, matrix, rows, labels, groups, seed)

        Counted.__module__ = kind.__module__
        return Counted(**asdict(replace(head, **changes[name])))

    monkeypatch.setattr(shap_share, "build_head", build)
    monkeypatch.setattr(bench, "build_head", build)
    return made


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(N, 14)).astype(np.float32)
    parts = [
        FeatureSet(name=n, label=n, matrix=m, valid=np.ones(N, bool), width=m.shape[1])
        for n, m in (("raw_ftcp", matrix[:, :9]), ("ssl", matrix[:, 9:]))
    ]
    targets = [
        Target(name=name, unit="eV", values=matrix[:, column] + matrix[:, 0])
        for name, column in (("energy", 9), ("gap", 10))
    ]
    return hybrid(*parts, {"one": 2, "two": 3}), targets


def explain(world, fits, targets=None):
    both, known = world
    targets = targets or known
    splits = [replace(DRAWS, fractions=(1.0,)).splits(np.arange(N), GROUPS)[0]] * len(targets)
    config = ShapConfig(heads=HEADS, explained=5, background=5, samples=5, draws=20)
    return shap_share.shap_share(both, targets, splits, GROUPS, IDS, config=config, fits=fits)


def few(world, folder, fits):
    both, targets = world
    config = FewShotConfig(heads=HEADS, residual_heads=(), ours=("ssl", "hybrid"))
    sets = both.feature_sets()
    return few_shot(sets, targets, GROUPS, IDS, DRAWS, Store(folder), config=config, fits=fits)


def numbers(found):
    return {
        (r.property, r.feature_set, r.model, r.train_fraction, r.metric): r.value
        for r in found.table.rows
        if r.metric != "fit_seconds"
    }


def test_few_labels_read_what_shap_share_fitted_and_get_their_own_numbers(
    world, tmp_path, fits_made
):
    alone = few(world, tmp_path / "alone", None)
    fitted_alone = len(fits_made)
    fits = SharedFits(store=Store(tmp_path / "fits"))
    shared = explain(world, fits)
    fits_made.clear()
    found = few(world, tmp_path / "few", fits)
    assert numbers(found) == numbers(alone)
    assert len(fits_made) == fitted_alone - 6  # two heads on three sets, both targets together
    for row in shared.table.where(metric="r2", feature_set="hybrid"):
        same = {"property": row.property, "model": row.model, "train_fraction": 1.0}
        (own,) = found.table.where(metric="r2", feature_set="hybrid", **same)
        assert own.value == row.value


def test_shap_share_fits_again_only_what_it_has_to_explain(world, tmp_path, fits_made):
    fits = SharedFits(store=Store(tmp_path / "fits"))
    few(world, tmp_path / "few", fits)
    fits_made.clear()
    found = explain(world, fits)
    assert sorted(fits_made) == [("lightgbm", 14, 1)] * 2 + [("mlp", 14, 1)] * 2
    assert numbers(found) == numbers(explain(world, None))


def test_other_labels_or_rows_are_other_fits(world, tmp_path, fits_made):
    fits = SharedFits(store=Store(tmp_path / "fits"))
    explain(world, fits)
    fits_made.clear()
    _, (energy, gap) = world
    other = replace(energy, values=np.where(np.arange(N) == 0, 9.0, energy.values))
    explain(world, fits, [other, gap])
    assert len(fits_made) == 6 + 2  # all of the changed label; the explained two of the other
    split = replace(DRAWS, fractions=(1.0,)).splits(np.arange(N), GROUPS)[0]
    head = build_head("lightgbm")
    keys = {
        fits.key(head, "x", rows, energy.values, GROUPS, seed)
        for rows in (split, replace(split, train=split.train[1:]), replace(split, test=split.train))
        for seed in (0, 1)
    }
    assert len(keys) == 6


def test_a_damaged_prediction_is_fitted_again(world, tmp_path, fits_made):
    fits = SharedFits(store=Store(tmp_path / "fits"))
    explain(world, fits)
    for path in (tmp_path / "fits").glob("*.guess.npy"):
        path.write_bytes(b"half")
    fits_made.clear()
    explain(world, fits)
    assert len(fits_made) == 12
