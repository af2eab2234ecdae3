"""Matrices of one crystal: rotations, Ewald sums against pymatgen, meshes, factored overlaps."""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
from pymatgen.analysis.ewald import EwaldSummation
from pymatgen.core import Lattice, Structure
from scipy.spatial.transform import Rotation

from crystalssl.representation.electronic import bloch, ewald, kpoints, levels, pairs

Array = npt.NDArray[np.float64]
BOHR = 0.529177210903


def harmonics(points: Array) -> Array:
    """(P, 9) s, p and d functions at points, by their Cartesian forms, equally normalised."""
    x, y, z = points.T
    d = np.stack([(3 * z * z - 1) / np.sqrt(12), x * z, y * z, (x * x - y * y) / 2, x * y])
    return np.stack([np.full(len(x), 1 / np.sqrt(3)), x, y, z, *(np.sqrt(5) * d)]).T


def turning(rotation: Array) -> Array:
    """(9, 9) matrix of a rotation among the functions, by least squares on random directions."""
    points = np.random.default_rng(0).normal(size=(60, 3))
    points /= np.linalg.norm(points, axis=1)[:, None]
    matrix = np.zeros((9, 9))
    for shell in (slice(0, 1), slice(1, 4), slice(4, 9)):
        there, here = harmonics(points @ rotation)[:, shell], harmonics(points)[:, shell]
        matrix[shell, shell] = np.linalg.lstsq(here, there, rcond=None)[0]
    return matrix


def along_z(table: Array) -> Array:
    """(9, 9) block of a bond along z, written out element by element."""
    block = np.zeros((9, 9))
    where = {(0, 0): [0], (1, 0): [3], (1, 1): [1, 2], (2, 0): [4], (2, 1): [5, 6], (2, 2): [7, 8]}
    for value, (a, b, m) in zip(table, pairs.CHANNELS, strict=True):
        for i, j in zip(where[a, m], where[b, m], strict=True):
            block[i, j] = value
    return block


@pytest.mark.parametrize("seed", range(4))
def test_a_block_turns_as_its_functions_do(seed: int) -> None:
    table = np.random.default_rng(seed).normal(size=14)
    rotation = Rotation.random(random_state=seed).as_matrix()
    block = np.zeros((9, 9))
    bloch.rotate(table, rotation @ np.array([0.0, 0, 1]), 9, 9, block)
    turn = turning(rotation)
    assert block == pytest.approx(turn @ along_z(table) @ turn.T, abs=1e-9)


CELLS = {
    "rock salt": (
        2.82 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]),
        [[0, 0, 0], [0.5] * 3],
        [1, -1],
    ),
    "triclinic": (
        [[4.0, 0, 0], [1.1, 5.2, 0], [-0.7, 1.9, 3.6]],
        [[0.1, 0.2, 0.3], [0.6, 0.4, 0.9], [0.3, 0.8, 0.1], [0.8, 0.1, 0.6]],
        [2, -1, -1.5, 0.5],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CELLS)
def test_narrow_gaussians_have_the_energy_of_point_charges(name: str) -> None:
    lattice, frac, charges = CELLS[name]
    structure = Structure(
        Lattice(lattice), ["Na"] * len(frac), frac, site_properties={"charge": charges}
    )
    structure.add_oxidation_state_by_site(charges)
    expected = EwaldSummation(structure, acc_factor=14).total_energy
    hardness = np.full(len(frac), 20.0)  # widths of 0.06 bohr
    matrix = ewald.interaction(np.array(lattice, float) / BOHR, np.array(frac), hardness)
    q = np.array(charges, float)
    energy = 0.5 * q @ matrix @ q - 0.5 * (hardness * q**2).sum()
    assert energy * 27.211386 == pytest.approx(expected, rel=2e-4)


def test_far_charges_feel_no_width_and_one_alone_only_its_hardness() -> None:
    far = ewald.interaction(
        200 * np.eye(3), np.array([[0, 0, 0], [0.1, 0, 0]]), np.array([0.4, 0.3])
    )
    assert far[0, 0] - far[0, 1] == pytest.approx(0.4 - 1 / 20, abs=2e-4)
    assert far[1, 1] - far[0, 1] == pytest.approx(0.3 - 1 / 20, abs=2e-4)


@pytest.mark.parametrize("counts", [(1, 1, 1), (2, 2, 2), (3, 2, 1), (4, 3, 2)])
def test_a_mesh_stands_for_all_points_of_its_grid(counts: tuple[int, int, int]) -> None:
    mesh = kpoints.mesh(np.array(counts))
    assert mesh.weights.sum() == pytest.approx(1)
    seen = {tuple(np.round(sign * k % 1 % 1, 9) % 1) for k in mesh.points for sign in (1, -1)}
    assert len(seen) == np.prod(counts)
    for vector in product(range(-1, 2), repeat=3):  # a plane wave sums to zero or one
        phase = mesh.weights @ np.cos(2 * np.pi * mesh.points @ np.array(vector))
        periodic = all(v % c == 0 for v, c in zip(vector, counts, strict=True))
        assert phase == pytest.approx(float(periodic), abs=1e-12)
    twice = 2 * mesh.points[: mesh.real]
    assert twice == pytest.approx(np.round(twice))


def test_a_mesh_follows_the_spacing_of_lattice_planes_and_its_bound() -> None:
    lattice = np.diag([2.0, 4.0, 30.0])
    assert kpoints.divisions(lattice, 9.0, 1000).tolist() == [5, 3, 1]
    assert kpoints.divisions(lattice, 9.0, 8).prod() <= 8
    assert kpoints.divisions(np.eye(3) * 3, 9.0, 8).tolist() == [2, 2, 2]  # equal axes stay equal


def test_factored_overlaps_solve_the_general_problem() -> None:
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(2, 12, 12)) + 1j * rng.normal(size=(2, 12, 12))
    overlap = matrix @ levels.adjoint(matrix) / 24 + np.eye(12)
    hamiltonian = matrix + levels.adjoint(matrix)
    stack = levels.factor(overlap, hamiltonian, np.full(2, 0.5))
    states = levels.solve(stack)
    vectors = stack.basis @ states.vectors
    assert hamiltonian @ vectors == pytest.approx(
        overlap @ vectors * states.energies[:, None], abs=1e-9
    )
    trace = np.trace(np.linalg.solve(overlap, hamiltonian), axis1=1, axis2=2).real
    assert states.energies.sum(axis=1) == pytest.approx(trace)


def test_a_dependent_function_makes_no_ghost_level() -> None:
    overlap = np.array([[[1.0, 0.9999], [0.9999, 1.0]]])
    hamiltonian = np.array([[[-0.5, -0.6], [-0.6, -0.5]]])
    energies = levels.solve(levels.factor(overlap, hamiltonian, np.ones(1))).energies
    assert np.abs(energies).max() < 5


def test_the_fermi_level_holds_the_electrons() -> None:
    energies = np.random.default_rng(0).normal(size=(4, 9))
    level = levels.fermi_level(energies, np.full(4, 0.5), 7.3, 0.01)
    assert 2 * levels.filled(energies, level, 0.01).mean(axis=0).sum() == pytest.approx(7.3)
