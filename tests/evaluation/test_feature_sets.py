import sys

import numpy as np
import pytest

from crystalssl.errors import InputError
from crystalssl.evaluation import feature_sets
from crystalssl.evaluation.feature_sets import concatenate, given, principal_axes, raw_ftcp
from crystalssl.evaluation.magpie import element_fractions, magpie
from crystalssl.representation.ftcp import encode
from crystalssl.structures.crystals import Crystals


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
    monkeypatch.setattr(feature_sets, "CHUNK", 5)
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


def test_given_features_are_brought_into_the_order_of_the_crystals():
    batch = crystals(4)
    matrix = np.arange(6, dtype=np.float32).reshape(3, 2)
    part = given("ours", "Ours", ["c2", "c0", "other"], matrix, batch)
    assert part.matrix.tolist() == [[2, 3], [0, 0], [0, 1], [0, 0]]
    assert part.valid.tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    ("ids", "matrix", "message"),
    [
        (["c0"], np.zeros((2, 2)), "one row for each id"),
        (["c0", "c0"], np.zeros((2, 2)), "1 repeated ids"),
        (["x", "y"], np.zeros((2, 2)), "None of the 4 structures"),
        (["c0", "c1"], np.full((2, 2), np.nan), "not finite"),
    ],
)
def test_given_features_that_do_not_fit_are_refused(ids, matrix, message):
    with pytest.raises(InputError, match=message):
        given("ours", "Ours", ids, matrix.astype(np.float32), crystals(4))


def test_sets_are_put_side_by_side_where_all_hold_the_crystal():
    batch = crystals(4)
    one = given("a", "A", ["c0", "c1", "c2"], np.ones((3, 2), np.float32), batch)
    two = given("b", "B", ["c1", "c2", "c3"], np.ones((3, 5), np.float32), batch)
    both = concatenate("ab", "A + B", [one, two])
    assert both.matrix.shape == (4, 7)
    assert both.valid.tolist() == [False, True, True, False]
    with pytest.raises(InputError, match="principal axes"):
        concatenate("x", "X", [one, principal_axes(two)])


def test_fractions_count_partial_occupancy_and_not_vacancies():
    batch = crystals(1)
    numbers = np.array([[11, 19, 0, 0], [17, 0, 0, 0]], np.int16)
    occupancy = np.array([[0.3, 0.2, 0, 0], [0.5, 0, 0, 0]], np.float32)
    batch = Crystals(
        ids=batch.ids, lattice=batch.lattice, offsets=batch.offsets,
        frac_coords=batch.frac_coords, numbers=numbers, occupancy=occupancy,
    )  # fmt: skip
    (shares,) = element_fractions(batch)
    assert shares[[11, 19, 17]].tolist() == pytest.approx([0.3, 0.2, 0.5])


def test_magpie_statistics_of_workers_are_those_of_one_process(monkeypatch):
    pytest.importorskip("matminer")
    module = sys.modules[magpie.__module__]
    formulas = np.zeros((9, 119))
    formulas[np.arange(9), np.arange(3, 12)], formulas[:, 8] = 0.5, 0.5
    monkeypatch.setattr(module, "MANY", 4)
    found = module._statistics(formulas, processes=2)
    np.testing.assert_array_equal(found, module._statistics(formulas, processes=1))
    assert np.isfinite(found).all()


def test_magpie_statistics_equal_matminer_and_are_read_from_the_cache(tmp_path, monkeypatch):
    pytest.importorskip("matminer")
    batch = Crystals.concatenate([crystals(3), crystals(3)])
    part = magpie(batch, tmp_path)
    assert part.matrix.shape == (6, 132)
    assert part.valid.all()
    np.testing.assert_array_equal(part.matrix[:3], part.matrix[3:])
    one, two = sorted(batch.numbers[:2, 0].tolist())
    # the first three labels: minimum, maximum and range of the atomic number
    assert part.matrix[0, :3].tolist() == [one, two, two - one]
    monkeypatch.setattr("crystalssl.evaluation.magpie._statistics", None)
    np.testing.assert_array_equal(magpie(batch, tmp_path).matrix, part.matrix)
