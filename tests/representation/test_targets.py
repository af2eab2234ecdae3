"""Crystal-level targets: known crystals, invariance, continuity."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from crystalssl.errors import InputError
from crystalssl.representation.elemental import PROPERTIES, PROPERTY_NAMES, WEIGHTS
from crystalssl.representation.graph import periodic_graph
from crystalssl.representation.targets import (
    BINS,
    GATES,
    GEOMETRY_NAMES,
    REACH,
    TARGET_KINDS,
    TARGET_NAMES,
    WIDTH,
    CrystalTargets,
    by_kind,
    crystal_targets,
)
from crystalssl.structures.crystals import Crystals

Build = Callable[[list[Any]], Crystals]


def targets_of(crystals: Crystals) -> CrystalTargets:
    return crystal_targets(crystals, periodic_graph(crystals))


def test_simple_cubic_has_six_neighbours_at_its_edge(crystals_of: Build) -> None:
    values = targets_of(crystals_of([(np.eye(3) * 3.0, [[0.2, 0, 0]], [84])])).values[0]
    known = dict(zip(TARGET_NAMES, values, strict=True))
    assert known["mean effective coordination number"] == pytest.approx(6, abs=0.05)
    assert known["mean nearest distance (angstrom)"] == pytest.approx(3.0)
    assert known["mean second-shell distance (angstrom)"] == pytest.approx(3 * 2**0.5)
    assert known["log volume per atom (log cubic angstrom)"] == pytest.approx(np.log(27))
    assert known["standard deviation of nearest distances (angstrom)"] == pytest.approx(0, abs=1e-3)


def test_targets_do_not_depend_on_the_description(
    small: Crystals, transformed: Callable[[Crystals, int], Crystals]
) -> None:
    one, other = targets_of(small), targets_of(transformed(small, 5))
    np.testing.assert_allclose(one.values, other.values, rtol=1e-4, atol=2e-3)
    np.testing.assert_allclose(one.histogram, other.histogram, rtol=1e-4, atol=1e-5)


def test_a_supercell_has_the_same_targets(crystals_of: Build) -> None:
    lattice, frac = np.diag([3.0, 4.0, 5.0]), np.array([[0, 0, 0], [0.4, 0.5, 0.6]])
    double = np.concatenate([frac, frac + np.array([1, 0, 0])]) / [2, 1, 1]
    both = targets_of(
        crystals_of([(lattice, frac, [1, 8]), (lattice * [[2], [1], [1]], double, [1, 8, 1, 8])])
    )
    np.testing.assert_allclose(both.values[0], both.values[1], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(both.histogram[0], both.histogram[1], rtol=1e-5)


def test_histogram_equals_a_plain_sum_over_pairs(crystals_of: Build) -> None:
    lattice, frac = np.diag([3.0, 4.0, 5.0]), np.array([[0, 0, 0], [0.4, 0.5, 0.6]])
    got = targets_of(crystals_of([(lattice, frac, [1, 8])])).histogram[0]
    grid = np.array(list(itertools.product(range(-4, 5), repeat=3)))
    d = np.linalg.norm((frac[:, None, None] - frac[:, None] + grid) @ lattice, axis=-1).ravel()
    d = d[d > 1e-3]
    centres = (np.arange(BINS) + 0.5) * REACH / BINS
    gauss = np.exp(-0.5 * ((centres - d[:, None]) / WIDTH) ** 2) / (WIDTH * np.sqrt(2 * np.pi))
    expected = (gauss / (4 * np.pi * d[:, None] ** 2)).sum(axis=0) * 60.0 / 4
    np.testing.assert_allclose(got, expected, atol=2e-3)
    assert got[20:].mean() == pytest.approx(1, abs=0.15)


def test_histogram_moves_smoothly_with_an_atom(crystals_of: Build) -> None:
    cells = [(np.eye(3) * 4, [[0, 0, 0], [0.5 + e, 0.5, 0.5]], [1, 1]) for e in (0, 1e-5)]
    histogram = targets_of(crystals_of(cells)).histogram
    assert np.abs(histogram[0] - histogram[1]).max() < 1e-3


def test_elements_enter_the_bond_targets_alone(crystals_of: Build) -> None:
    cells = [(np.eye(3) * 4, [[0, 0, 0], [0.5, 0.5, 0.5]], z) for z in ([11, 17], [26, 26])]
    values = targets_of(crystals_of(cells)).values
    geometric = len(GEOMETRY_NAMES)
    np.testing.assert_array_equal(values[0, :geometric], values[1, :geometric])
    assert (values[0, geometric:] != values[1, geometric:]).any()


def test_bonds_of_a_known_crystal_are_as_unlike_as_its_elements(crystals_of: Build) -> None:
    caesium_chloride = (np.eye(3) * 4.12, [[0, 0, 0], [0.5, 0.5, 0.5]], [55, 17])
    values = targets_of(crystals_of([caesium_chloride])).values[0]
    known = dict(zip(TARGET_NAMES, values, strict=True))
    name = "electronegativity_pauling"
    ours = PROPERTIES[[55, 17], PROPERTY_NAMES.index(name)]
    between = ours[1] - ours[0]
    # eight neighbours of the other kind; the six of the same kind weigh a little
    assert 0.8 * between < known[f"{name}: mean difference along bonds"] <= between + 1e-4
    assert known[f"{name}: standard deviation of it over sites"] == pytest.approx(0, abs=1e-3)
    assert known[f"{name}: mean"] == pytest.approx(ours.mean(), abs=1e-4)
    assert known[f"{name}: standard deviation"] == pytest.approx(between / 2, abs=1e-3)
    relative = 4.12 * 0.75**0.5 / WEIGHTS[[55, 17], 2].sum()
    assert relative < known["mean bond length over sum of covalent radii"] < 1.12 * relative
    assert known["mean ionic energy of bonds (Pauling^2 / angstrom)"] < 0
    assert known["whether charges balance"] == pytest.approx(1)


def test_extremes_are_those_of_the_shortest_and_the_stiffest_bond(crystals_of: Build) -> None:
    rocksalt = crystals_of(
        [(np.array([[0, 2.0, 2.0], [2.0, 0, 2.0], [2.0, 2.0, 0]]), [[0] * 3, [0.5] * 3], [3, 1])]
    )
    known = dict(zip(TARGET_NAMES, targets_of(rocksalt).values[0], strict=True))
    reduced = 1 / (1 / 6.941 + 1 / 1.00794)
    assert known["smallest nearest distance (angstrom)"] == pytest.approx(2.0)
    assert known["largest nearest distance (angstrom)"] == pytest.approx(2.0)
    stiffness = known["largest stiffness of a bond (u^-1/2 angstrom^-2)"]
    # two hydrogens, 2.83 angstrom apart, are lighter but farther
    assert stiffness == pytest.approx(1 / np.sqrt(reduced) / 4, rel=1e-4)
    assert known["log of the largest stiffness of a bond"] == pytest.approx(np.log(stiffness))
    shortest = min(2.0 / (1.28 + 0.31), 8**0.5 / (2 * 1.28), 8**0.5 / (2 * 0.31))
    ratio = known["smallest bond length over sum of covalent radii"]
    assert ratio == pytest.approx(shortest, rel=1e-4)


def test_split_sites_do_not_count_as_neighbours(crystals_of: Build) -> None:
    cell = (np.eye(3) * 4, [[0, 0, 0], [0.05, 0, 0]], [{3: 0.5}, {3: 0.5}])
    targets = targets_of(crystals_of([cell]))
    assert targets.values[0, 0] == pytest.approx(np.log(64))
    assert targets.values[0, 1] > 3.5
    assert np.isfinite(targets.histogram).all()


def test_a_graph_of_other_crystals_is_refused(small: Crystals) -> None:
    with pytest.raises(InputError, match="periodic_graph"):
        crystal_targets(small, periodic_graph(small.take(np.arange(3))))


def test_gated_targets_are_those_of_crystals_that_balance(crystals_of: Build) -> None:
    places = [[0, 0, 0], [0.5, 0.5, 0.5]]
    cells = [(np.eye(3) * 4, places, numbers) for numbers in ([55, 17], [12, 13])]
    values = targets_of(crystals_of(cells)).values
    geometry, charges, bonds, both, *gated = by_kind(values)
    assert [part.shape[1] for part in (geometry, charges, bonds)] == list(TARGET_KINDS)
    np.testing.assert_array_equal(np.concatenate([geometry, charges, bonds], axis=1), values)
    np.testing.assert_allclose(both[0], np.concatenate([geometry, bonds], axis=1)[0], rtol=1e-5)
    assert np.abs(both[1]).max() < 1e-3
    assert len(gated) == len(GATES)
    for name, products in zip(GATES, gated, strict=True):
        gate = values[:, TARGET_NAMES.index(name), None]
        np.testing.assert_allclose(products, both * gate, rtol=1e-5)
