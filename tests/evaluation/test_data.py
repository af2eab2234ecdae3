from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from crystalssl.errors import InputError, MissingExtraError, UnknownNameError
from crystalssl.evaluation import baselines, magpie
from crystalssl.evaluation.baselines import build_dataset, principal_axes, raw_ftcp, side_by_side
from crystalssl.evaluation.cache import Cache
from crystalssl.evaluation.data import aligned, labelled, targets_of
from crystalssl.features.features import Features
from crystalssl.representation.ftcp import encode
from crystalssl.structures.crystals import Crystals
from small_data import dataset, feature_set, target


def crystals(count=12, elements=2, seed=0):
    rng = np.random.default_rng(seed)
    numbers = np.zeros((count * elements, 4), np.int16)
    numbers[:, 0] = rng.permuted(np.tile(np.arange(3, 30), (count, 1)), axis=1)[
        :, :elements
    ].ravel()
    occupancy = (numbers > 0).astype(np.float32)
    return Crystals(
        ids=np.array([f"c{i}" for i in range(count)]),
        lattice=np.eye(3) * rng.uniform(4, 6, (count, 3))[:, None, :],
        offsets=np.arange(0, count * elements + 1, elements),
        frac_coords=rng.random((count * elements, 3)),
        numbers=numbers,
        occupancy=occupancy,
    )


def test_raw_ftcp_keeps_exactly_the_columns_that_vary(monkeypatch):
    monkeypatch.setattr(baselines, "CHUNK", 5)
    batch = crystals()
    part = raw_ftcp(batch)
    flat = encode(batch).array.reshape(len(batch), -1)
    np.testing.assert_array_equal(part.matrix, flat[:, (flat != flat[0]).any(axis=0)])
    assert part.width == 25_200
    assert part.valid.all()


def test_crystals_that_raw_ftcp_cannot_hold_are_marked_not_dropped():
    batch = Crystals.concatenate([crystals(3), crystals(2, elements=5), crystals(3, seed=1)])
    part = raw_ftcp(batch)
    assert part.valid.tolist() == [True] * 3 + [False] * 2 + [True] * 3
    assert not part.matrix[3:5].any()


def features(ids, *blocks):
    return Features(
        ids=np.array(ids),
        blocks={f"block{n}": block.astype(np.float32) for n, block in enumerate(blocks)},
    )


def test_features_are_brought_into_the_order_of_the_crystals():
    given = features(["c2", "c0", "other"], np.arange(6.0).reshape(3, 2))
    part = aligned("further_set", given, crystals(4))
    assert part.matrix.tolist() == [[2, 3], [0, 0], [0, 1], [0, 0]]
    assert part.valid.tolist() == [True, False, True, False]
    assert part.label == "Further set"
    assert aligned("ssl", given, crystals(4)).label == "Pre-trained encoders"


@pytest.mark.parametrize(
    ("ids", "matrix", "message"),
    [
        (["c0", "c0"], np.zeros((2, 2)), "1 repeated ids"),
        (["x", "y"], np.zeros((2, 2)), "None of the 4 structures"),
        (["c0", "c1"], np.full((2, 2), np.nan), "not finite"),
    ],
)
def test_features_that_do_not_fit_are_refused(ids, matrix, message):
    with pytest.raises(InputError, match=message):
        aligned("ours", features(ids, matrix), crystals(4))


def test_sets_are_put_side_by_side_without_copies_where_all_hold_the_crystal():
    one = aligned("a", features(["c0", "c1", "c2"], np.ones((3, 2))), crystals(4))
    two = aligned("b", features(["c1", "c2", "c3"], np.ones((3, 1)), np.ones((3, 4))), crystals(4))
    both, views = side_by_side("ab", [one, two])
    assert both.matrix.shape == (4, 7) and both.width == 7 and both.label == "A + B"
    assert both.valid.tolist() == [False, True, True, False]
    assert {k: v.tolist() for k, v in views[1].spans().items()} == {
        "block0": [0],
        "block1": [1, 2, 3, 4],
    }
    assert all(np.shares_memory(view.matrix, both.matrix) for view in views)
    np.testing.assert_array_equal(views[1].matrix, two.matrix)
    with pytest.raises(InputError, match="principal axes"):
        side_by_side("x", [one, principal_axes(two)])


def test_a_dataset_holds_features_and_baselines_in_order_and_knows_whose_columns_are_whose():
    batch = crystals(12)
    batch = batch.with_columns(pa.table({"energy": np.arange(12.0)}))
    given = {
        "untrained": features(batch.ids, np.ones((12, 3))),
        "ssl": features(batch.ids, np.ones((12, 2)), np.ones((12, 4))),
    }
    made = build_dataset(batch, ["energy"], given, baselines=("raw_ftcp", "raw_ftcp_pca", "hybrid"))
    assert list(made.hashes) == ["raw_ftcp", "raw_ftcp_pca", "untrained", "ssl", "hybrid"]
    both, raw, ssl = (made.named(name) for name in ("hybrid", "raw_ftcp", "ssl"))
    assert np.shares_memory(both.matrix, raw.matrix) and np.shares_memory(both.matrix, ssl.matrix)
    assert [(s.name, s.columns, s.width, s.learned) for s in both.sections] == [
        ("raw_ftcp", raw.matrix.shape[1], 25_200, False),
        ("block0", 2, 2, True),
        ("block1", 4, 4, True),
    ]
    assert both.width == 25_206 and both.label == "Raw FTCP + Pre-trained encoders"
    assert len(set(made.hashes.values())) == 5
    with pytest.raises(UnknownNameError, match="Did you mean 'hybrid'"):
        build_dataset(batch, ["energy"], given, baselines=("hybird",))
    with pytest.raises(UnknownNameError, match="Did you mean 'ssl'"):
        made.named("sll")


def test_a_baseline_whose_package_is_missing_is_left_out_and_said(monkeypatch):
    def missing(crystals, cache):
        raise MissingExtraError("no matminer here")

    monkeypatch.setattr(baselines, "magpie", missing)
    batch = crystals(3).with_columns(pa.table({"energy": np.arange(3.0)}))
    made = build_dataset(
        batch, ["energy"], {"ssl": features(batch.ids, np.ones((3, 2)))}, baselines=("magpie",)
    )
    assert list(made.hashes) == ["ssl"] and made.missing == ("no matminer here",)


def test_bad_data_are_named():
    rng = np.random.default_rng(0)
    one = feature_set("a", rng.normal(size=(30, 2)))
    with pytest.raises(InputError, match="repeat a name"):
        dataset([one, one], target(np.zeros(30)))
    with pytest.raises(InputError, match="expected one row each"):
        dataset([one], target(np.zeros(29)))
    with pytest.raises(InputError, match="at least one feature set and one target"):
        dataset([one])
    with pytest.raises(InputError, match="known for 0 crystals"):
        list(dataset([one], target(np.full(30, np.nan))).label_groups())


def test_targets_known_for_the_same_crystals_share_their_splits():
    values = np.random.default_rng(0).normal(size=(3, 30))
    values[1, :5] = np.nan
    one = feature_set("a", np.ones((30, 2)), valid=np.arange(30) != 29)
    names = ("x", "y", "z")
    made = dataset([one], *(target(v, n) for v, n in zip(values, names, strict=True)))
    groups = [([t.name for t in same], rows.tolist()) for same, rows in made.label_groups()]
    assert groups == [(["x", "z"], list(range(29))), (["y"], list(range(5, 29)))]
    assert made.counts() == {
        "crystals": 30, "compared": 29, "not held by a": 1, "with x": 29, "with y": 24,
        "with z": 29,
    }  # fmt: skip


def test_the_digest_of_a_dataset_follows_its_labels_and_features():
    one = feature_set("a", np.random.default_rng(0).normal(size=(30, 2)))
    base = dataset([one], target(np.zeros(30)))
    chosen = replace(one, columns=np.array([1]))
    others = [
        dataset([one], target(np.ones(30))),
        dataset([replace(one, matrix=one.matrix * 2)], target(np.zeros(30))),
        dataset([chosen], target(np.zeros(30))),
        dataset([principal_axes(one, 1)], target(np.zeros(30))),
    ]
    assert len({each.data_hash() for each in (base, *others)}) == 5
    assert dataset([one], target(np.zeros(30))).data_hash() == base.data_hash()


def test_a_target_may_be_the_logarithm_of_a_column():
    from crystalssl.datasets.bundled import load_bundled

    bundled = load_bundled().take(range(400))
    plain, log = targets_of(bundled, ["bulk_modulus_vrh", "log10(bulk_modulus_vrh)"])
    known = np.isfinite(log.values)
    assert known.sum() > 10 and log.unit == "log10 GPa"
    np.testing.assert_allclose(10 ** log.values[known], plain.values[known])
    with pytest.raises(UnknownNameError):
        targets_of(bundled, ["log10(bulk_modulus)"])
    with pytest.raises(InputError, match="holds no numbers"):
        targets_of(bundled, ["split"])
    assert len(labelled(bundled, ["bulk_modulus_vrh"])) == np.isfinite(plain.values).sum()


def test_fractions_count_partial_occupancy_and_not_vacancies():
    batch = crystals(1)
    numbers = np.array([[11, 19, 0, 0], [17, 0, 0, 0]], np.int16)
    occupancy = np.array([[0.3, 0.2, 0, 0], [0.5, 0, 0, 0]], np.float32)
    batch = Crystals(
        ids=batch.ids, lattice=batch.lattice, offsets=batch.offsets,
        frac_coords=batch.frac_coords, numbers=numbers, occupancy=occupancy,
    )  # fmt: skip
    (fractions,) = magpie.element_fractions(batch)
    assert fractions[[11, 19, 17]].tolist() == pytest.approx([0.3, 0.2, 0.5])


def test_magpie_statistics_of_workers_are_those_of_one_process(monkeypatch):
    pytest.importorskip("matminer")
    fractions = np.zeros((9, 119))
    fractions[np.arange(9), np.arange(3, 12)], fractions[:, 8] = 0.5, 0.5
    monkeypatch.setattr(magpie, "MANY", 4)
    statistics = magpie._statistics(fractions, processes=2)
    np.testing.assert_array_equal(statistics, magpie._statistics(fractions, processes=1))
    assert np.isfinite(statistics).all()


def test_magpie_statistics_equal_matminer_and_are_read_from_the_cache(tmp_path, monkeypatch):
    pytest.importorskip("matminer")
    batch = Crystals.concatenate([crystals(3), crystals(3)])
    part = baselines.magpie(batch, Cache(tmp_path))
    assert part.matrix.shape == (6, 132)
    assert part.valid.all()
    np.testing.assert_array_equal(part.matrix[:3], part.matrix[3:])
    one, two = sorted(batch.numbers[:2, 0].tolist())
    # the first three labels: minimum, maximum and range of the atomic number
    assert part.matrix[0, :3].tolist() == [one, two, two - one]
    monkeypatch.setattr(magpie, "_statistics", None)
    np.testing.assert_array_equal(baselines.magpie(batch, Cache(tmp_path)).matrix, part.matrix)
