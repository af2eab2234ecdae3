"""The periodic graph against pymatgen, vesin and brute force."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import vesin
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from crystalssl.errors import InputError
from crystalssl.representation.graph import PeriodicGraph, periodic_graph
from crystalssl.structures.crystals import Crystals

Build = Callable[[list[Any]], Crystals]


def edge_vectors(crystals: Crystals, graph: PeriodicGraph) -> np.ndarray:
    """Cartesian edge vectors, rebuilt from targets and images."""
    source = np.repeat(np.arange(len(crystals.frac_coords)), graph.degrees)
    crystal = crystals.crystal_of_site[source]
    target = crystals.offsets[crystal] + graph.target
    frac = crystals.frac_coords[target] + graph.image - crystals.frac_coords[source]
    return np.einsum("ei,eij->ej", frac, crystals.lattice[crystal])


def check_site(graph: PeriodicGraph, site: int, expected: np.ndarray, neighbours: int = 12) -> None:
    """Distances of one site equal the oracle's, whole last shell included."""
    expected = np.sort(expected)
    expected = expected[expected <= expected[neighbours - 1] * (1 + 1e-4)]
    got = graph.distance[graph.edge_offsets[site] : graph.edge_offsets[site + 1]]
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_distances_equal_pymatgen_for_real_crystals(small: Crystals) -> None:
    graph = periodic_graph(small)
    for n in range(0, len(small), 4):
        rows = slice(small.offsets[n], small.offsets[n + 1])
        structure = Structure(
            Lattice(small.lattice[n]), small.numbers[rows, 0], small.frac_coords[rows]
        )
        for i, site in enumerate(structure):
            reach = float(graph.distance[graph.edge_offsets[rows.start + i + 1] - 1]) + 0.5
            around = structure.get_neighbors(site, reach)
            check_site(graph, rows.start + i, np.array([a.nn_distance for a in around]))


def test_neighbours_equal_vesin_pair_by_pair(small: Crystals) -> None:
    graph = periodic_graph(small)
    for n in range(len(small)):
        rows = slice(small.offsets[n], small.offsets[n + 1])
        edges = slice(graph.edge_offsets[rows.start], graph.edge_offsets[rows.stop])
        reach = float(graph.distance[edges].max()) * (1 + 1e-6)
        i, j, shift, d = vesin.NeighborList(cutoff=reach, full_list=True).compute(
            points=small.frac_coords[rows] @ small.lattice[n],
            box=small.lattice[n],
            periodic=True,
            quantities="ijSd",
        )
        oracle = {(a, b, *s): r for a, b, s, r in zip(i, j, shift.tolist(), d, strict=True)}
        source = np.repeat(np.arange(rows.stop - rows.start), graph.degrees[rows])
        ours = zip(
            source, graph.target[edges], graph.image[edges], graph.distance[edges], strict=True
        )
        for a, b, s, r in ours:
            assert oracle[(a, b, *s.tolist())] == pytest.approx(r, rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**31),
    st.integers(1, 4),
    st.floats(0.3, 3.0),
    st.floats(0.3, 3.0),
)
def test_graph_of_any_cell_equals_brute_force(
    crystals_of, seed: int, sites: int, b: float, c: float
) -> None:
    rng = np.random.default_rng(seed)
    tidy = np.diag([2.0, 2.0 * b, 2.0 * c]) + np.tril(rng.uniform(-0.4, 0.4, (3, 3)), -1)
    steps = np.eye(3)
    for _ in range(3):
        i, j = rng.permutation(3)[:2]
        steps[i] += rng.integers(-2, 3) * steps[j]
    frac = rng.uniform(0, 1, (sites, 3))
    crystals = crystals_of([(steps @ tidy, frac @ np.linalg.inv(steps), [1] * sites)])
    graph = periodic_graph(crystals)
    grid = np.array(list(itertools.product(range(-14, 15), repeat=3)))
    for site in range(sites):
        offsets = (frac[None] - frac[site] + grid[:, None]).reshape(-1, 3) @ tidy
        distances = np.linalg.norm(offsets, axis=1)
        check_site(graph, site, np.sort(distances[distances > 1e-3])[:200])
    np.testing.assert_allclose(
        np.linalg.norm(edge_vectors(crystals, graph), axis=1), graph.distance, rtol=1e-5
    )


def test_a_bcc_atom_has_fourteen_neighbours_and_an_fcc_atom_twelve(crystals_of: Build) -> None:
    bcc = (np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]) * 1.5, [[0, 0, 0]], [26])
    fcc = (np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) * 1.8, [[0, 0, 0]], [29])
    np.testing.assert_array_equal(periodic_graph(crystals_of([bcc, fcc])).degrees, [14, 12])


def test_distances_do_not_depend_on_the_cell(
    small: Crystals, transformed: Callable[[Crystals, int], Crystals]
) -> None:
    one, other = periodic_graph(small), periodic_graph(transformed(small, 3))
    assert len(one.target) == len(other.target)
    for n in range(len(small)):
        rows = slice(*one.edge_offsets[small.offsets[n : n + 2]])
        np.testing.assert_allclose(
            np.sort(one.distance[rows]), np.sort(other.distance[rows]), rtol=1e-5
        )


def test_an_atom_in_vacuum_still_gets_its_neighbours(crystals_of: Build) -> None:
    crystals = crystals_of([(np.diag([3.0, 3.0, 60.0]), [[0, 0, 0], [0, 0, 0.3]], [1, 1])])
    graph = periodic_graph(crystals)
    assert graph.degrees.tolist() == [12, 12]
    assert graph.distance.max() == pytest.approx(6.0)


def test_sites_that_share_a_spot_are_not_neighbours(crystals_of: Build) -> None:
    half = [{26: 0.5}, {27: 0.5}]
    graph = periodic_graph(crystals_of([(np.eye(3) * 3, [[0.1, 0, 0], [0.1, 0, 0]], half)]))
    assert graph.distance.min() == pytest.approx(3.0)


def test_a_coordinate_that_is_no_number_is_refused(crystals_of: Build) -> None:
    with pytest.raises(InputError, match="Canonicalize"):
        periodic_graph(crystals_of([(np.eye(3), [[np.nan, 0, 0]], [1])]))


def test_a_translation_too_far_for_its_type_is_refused(crystals_of: Build) -> None:
    with pytest.raises(InputError, match="cells away"):
        periodic_graph(crystals_of([(np.eye(3), [[0, 0, 0], [300.0, 0.5, 0.5]], [1, 1])]))


def test_no_crystals_give_an_empty_graph(small: Crystals) -> None:
    graph = periodic_graph(small.take(np.arange(0)))
    assert graph.edge_offsets.tolist() == [0]
    assert graph.image.shape == (0, 3)


def test_more_edges_than_the_usual_room_are_kept(crystals_of: Build) -> None:
    ring = np.exp(2j * np.pi * np.arange(60) / 60)
    frac = np.concatenate([[[0, 0, 0]], np.stack([ring.real, ring.imag, 0 * ring.real], 1) / 10])
    graph = periodic_graph(crystals_of([(np.eye(3) * 30, frac, [1] * 61)]))
    assert graph.degrees[0] == 60
