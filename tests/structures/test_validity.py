from __future__ import annotations

import re
import time
from dataclasses import replace
from itertools import product

import numpy as np
import pyarrow as pa
import pytest

from crystalssl.structures.crystals import SLOTS, Crystals
from crystalssl.structures.validity import MAX_SITES, check, closest_pair, shortest_distance


def cell(positions: list, occupancy: list | None = None, a: float = 4.0, z: int = 6) -> Crystals:
    """One cubic crystal with the given fractional positions."""
    count = len(positions)
    numbers = np.zeros((count, SLOTS), dtype=np.int16)
    numbers[:, 0] = z
    filled = np.zeros((count, SLOTS), dtype=np.float32)
    filled[:, 0] = 1.0 if occupancy is None else occupancy
    return Crystals(
        ids=np.array(["bad"]),
        lattice=np.diag([a, a, a])[None],
        offsets=np.array([0, count]),
        frac_coords=np.array(positions, dtype=np.float64),
        numbers=numbers,
        occupancy=filled,
    )


GOOD = replace(cell([[0, 0, 0], [0.5, 0.5, 0.5]]), ids=np.array(["good"]))
NEAR = [[0.0, 0.0, 0.0], [0.95, 0.02, 0.0]]


SLENDER = replace(cell([[0, 0, 0]]), lattice=np.diag([1.0, 1.0, 1200.0])[None])


def grid(n: int) -> list:
    return (np.stack(np.meshgrid(*[np.arange(n)] * 3), -1).reshape(-1, 3) / n).tolist()


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (cell([[np.nan, 0, 0]]), "NaN"),
        (cell([[0, 0, 0]], a=np.inf), "infinite"),
        (cell([[0, 0, 0]], a=0.0), "volume is 0"),
        (cell([[0, 0, 0]], z=104), r"element Rf \(Z = 104\)"),
        (cell([[0, 0, 0]], z=0), "no atom"),
        (cell([[0, 0, 0]], occupancy=[-0.5]), "negative"),
        (cell([[0, 0, 0]], occupancy=[1.2]), "total occupancy of a site is 1.200"),
        (cell(NEAR), "0.215 angstrom apart"),
        (cell([[0, 0, 0]], a=0.4), "0.400 angstrom apart"),
        (SLENDER, r"1.2e\+03 times as long"),
    ],
)
def test_a_broken_rule_is_one_skip_and_the_others_stay(bad: Crystals, reason: str) -> None:
    batch = Crystals.concatenate([GOOD, bad, GOOD])
    keep, (skip,) = check(batch)
    assert keep.tolist() == [True, False, True]
    assert skip.id == "bad"
    assert skip.remedy
    assert re.search(reason, skip.reason)


def test_alternatives_may_lie_close_but_not_above_full_occupancy() -> None:
    assert check(cell(NEAR, occupancy=[0.5, 0.5]))[0].all()
    assert check(cell(NEAR, occupancy=[0.7, 0.3]))[0].all()
    assert not check(cell(NEAR, occupancy=[0.7, 0.5]))[0].any()


def test_rounded_occupancies_may_exceed_one_a_little() -> None:
    assert check(cell([[0, 0, 0]], occupancy=[1.002]))[0].all()


def test_the_number_of_sites_can_be_left_open() -> None:
    many = cell(grid(5), a=12.0)
    assert len(many.frac_coords) > MAX_SITES
    assert check(many)[0].all()
    assert check(many, max_sites=None)[0].all()
    assert "125 sites in the cell, expected 1 to 100" in check(many, MAX_SITES)[1][0].reason


def test_the_file_a_crystal_came_from_is_named() -> None:
    bad = cell(NEAR).with_columns(pa.table({"source_file": ["x/y.cif"]}))
    assert check(bad)[1][0].file == "x/y.cif"


def test_nothing_is_nothing() -> None:
    keep, skipped = check(Crystals.empty())
    assert len(keep) == 0
    assert skipped == []


@pytest.mark.parametrize("seed", range(5))
def test_the_closest_pair_agrees_with_brute_force_in_skew_cells(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lattice = rng.normal(size=(3, 3)) * 1.2 + np.eye(3)
    lattice[2] += 3 * lattice[0] - 2 * lattice[1]
    frac = rng.uniform(-2, 2, size=(5, 3))
    crystals = replace(cell(frac.tolist()), lattice=lattice[None])
    reach = np.arange(-30, 31)
    images = np.stack(np.meshgrid(reach, reach, reach, indexing="ij"), -1).reshape(-1, 3)
    apart = (frac[:, None] - frac[None]).reshape(-1, 1, 3)
    found = np.linalg.norm((apart - np.rint(apart) + images) @ lattice, axis=-1)
    found = found[found > 1e-9].min()
    expected = found if found < 0.5 else np.inf
    assert closest_pair(crystals)[0] == pytest.approx(expected)


def test_shortest_distances_of_skew_cells_are_those_of_brute_force():
    rng = np.random.default_rng(0)
    steps = np.array(list(product(range(-5, 6), repeat=3)))
    for _ in range(12):
        compact = np.diag(rng.uniform(1, 4, 3)) + rng.uniform(-0.4, 0.4, (3, 3))
        change = np.eye(3)
        for _ in range(4):
            row, other = rng.choice(3, 2, replace=False)
            change[row] += rng.integers(-6, 7) * change[other]
        frac = rng.random((6, 3))
        apart = (frac[None] - frac[:, None])[:, :, None] + steps  # (6, 6, steps, 3)
        lengths = np.linalg.norm(apart @ compact, axis=-1)
        nearest = lengths[lengths > 1e-9].min()
        skew = shortest_distance(
            (change @ compact)[None], np.array([0, 6]), frac @ np.linalg.inv(change), np.ones(6)
        )
        assert skew[0] == pytest.approx(nearest if nearest < 0.5 else np.inf)


@pytest.mark.parametrize(
    "lattice",
    [
        [[1000, 0, 0], [1000, 0.001, 0], [0, 0, 3]],
        [[1000, 0, 0], [999, 0.01, 0], [0, 1000, 1e-3]],
        [[9000, 0, 0], [9000, 0, 1e-4], [0, 8000, 3]],
    ],
)
def test_hostile_skew_cells_are_refused_at_once(lattice: list):
    crystals = replace(cell([[x / 50, 0, 0] for x in range(50)]), lattice=np.array([lattice]))
    start = time.process_time()
    assert not check(crystals)[0].any()
    assert time.process_time() - start < 5  # hours, where images are counted in the cell as given


def test_the_closest_pairs_of_many_sites_are_those_of_brute_force():
    rng = np.random.default_rng(0)
    crystals = [
        replace(cell(rng.uniform(-3, 3, size=(n, 3)).tolist()), lattice=np.diag(sizes)[None])
        for n in (1, 30, 80)
        for sizes in rng.uniform(4, 14, size=(6, 3))
    ]
    expected = []
    for crystal in crystals:
        apart = crystal.frac_coords[:, None] - crystal.frac_coords[None]
        apart = np.linalg.norm((apart - np.rint(apart)) @ crystal.lattice[0], axis=-1)
        nearest = (apart + 99 * np.eye(len(apart))).min()
        expected.append(nearest if nearest < 0.5 else np.inf)
    assert np.isfinite(expected).any() and np.isinf(expected).any()
    assert closest_pair(Crystals.concatenate(crystals)) == pytest.approx(expected)


def test_a_row_that_stands_there_thousands_of_times_is_refused_at_once():
    heap = cell([[0.3 + 1e-9 * k, 0.1, 0.2] for k in range(60_000)])
    start = time.process_time()
    assert closest_pair(heap)[0] < 1e-4
    assert time.process_time() - start < 5  # minutes, where all pairs are looked at
