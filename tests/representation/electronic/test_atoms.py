"""Atoms of the tight binding: NIST's LDA levels, the exact ZORA hydrogen, the electron gas."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from pymatgen.core import Element

from crystalssl.representation.electronic import basis, exchange, shells
from crystalssl.representation.electronic.atoms import Setting, solve_atom
from crystalssl.representation.electronic.radial import LIGHT, RadialElements

Array = npt.NDArray[np.float64]

# NIST Standard Reference Database 141, Atomic Reference Data for Electronic Structure
# Calculations, LDA (Vosko, Wilk and Nusair), not relativistic; hartree
NIST = {
    2: (-2.834836, {(1, 0): -0.570425}),
    6: (-37.425749, {(1, 0): -9.947718, (2, 0): -0.500866, (2, 1): -0.199186}),
    18: (
        -525.946195,
        {(1, 0): -113.800134, (2, 1): -8.443439, (3, 0): -0.883384, (3, 1): -0.382330},
    ),
    26: (
        -1261.093056,
        {(1, 0): -254.225505, (3, 1): -2.187523, (3, 2): -0.295049, (4, 0): -0.197978},
    ),
}  # fmt: skip


def vosko_wilk_nusair(density: Array) -> tuple[Array, Array]:
    """Form V of Can. J. Phys. 58, 1200 (1980), without spin, with Slater exchange."""
    density = np.maximum(density, 1e-30)
    a, x0, b, c = 0.0310907, -0.10498, 3.72744, 12.9352
    q = math.sqrt(4 * c - b * b)

    def energy(n: Array) -> Array:
        x = (3 / (4 * np.pi * n)) ** (1 / 6)
        whole, at_zero = x * x + b * x + c, x0 * x0 + b * x0 + c
        angle = np.arctan(q / (2 * x + b))
        first = np.log(x * x / whole) + 2 * b / q * angle
        second = np.log((x - x0) ** 2 / whole) + 2 * (b + 2 * x0) / q * angle
        return a * (first - b * x0 / at_zero * second) - 0.75 * (3 * n / np.pi) ** (1 / 3)

    step = 1e-4
    slope = (energy(density * (1 + step)) - energy(density * (1 - step))) / (2 * step)
    return energy(density), energy(density) + slope


@pytest.mark.parametrize("number", NIST)
def test_levels_and_energies_of_atoms_are_those_of_nist(number: int) -> None:
    total, levels = NIST[number]
    setting = Setting(light=math.inf, functional=vosko_wilk_nusair)
    atom = solve_atom(number, shells.configuration(number), setting)
    assert atom.total == pytest.approx(total, abs=2e-5)
    for shell, energy in levels.items():
        assert atom.energies[shell] == pytest.approx(energy, abs=1e-5), shell


@pytest.mark.parametrize("number", [1, 47, 80])
def test_a_bare_nucleus_has_the_levels_of_dirac_scaled_as_zora_scales_them(number: int) -> None:
    grid = RadialElements(number)
    level = grid.levels(0, -number / grid.points, 1)[0][0]
    dirac = LIGHT**2 * (math.sqrt(1 - (number / LIGHT) ** 2) - 1)
    exact = 2 * LIGHT**2 * dirac / (2 * LIGHT**2 + dirac)  # van Lenthe and others, 1994
    assert level == pytest.approx(exact, rel=3e-5)


def test_the_potential_of_the_gas_is_the_derivative_of_its_energy() -> None:
    density = np.geomspace(1e-5, 1e3, 30)
    step = 1e-5
    above, below = density * (1 + step), density * (1 - step)
    difference = above * exchange.perdew_wang(above)[0] - below * exchange.perdew_wang(below)[0]
    assert exchange.perdew_wang(density)[1] == pytest.approx(difference / (2 * step * density))


@pytest.mark.parametrize(("radius", "energy"), [(1, -0.0598), (2, -0.0448), (5, -0.0282)])
def test_correlation_energies_of_the_gas_are_those_of_perdew_and_wang(
    radius: float, energy: float
) -> None:
    density = np.array([3 / (4 * np.pi * radius**3)])
    slater = -0.458165 / radius
    assert exchange.perdew_wang(density)[0][0] - slater == pytest.approx(energy, abs=1e-4)


def test_stoner_splittings_of_magnetic_metals_are_about_one_electronvolt() -> None:
    iron, cobalt, nickel = basis.load().stoner[[26, 27, 28]] * 27.2114
    # Janak, Phys. Rev. B 16, 255 (1977), in metals: 0.93, 0.99, 1.01 eV
    assert [iron, cobalt, nickel] == pytest.approx([0.93, 0.99, 1.01], rel=0.15)
    assert basis.load().stoner[14] == 0


def test_configurations_are_those_of_the_ground_states() -> None:
    for number in range(1, shells.HEAVIEST + 1):
        expected: dict[tuple[int, int], int] = {}
        for n, letter, count in Element.from_Z(number).full_electronic_structure:
            shell = (n, "spdf".index(letter))
            expected[shell] = expected.get(shell, 0) + count
        assert shells.configuration(number) == expected, number


def test_every_atom_is_neutral_and_its_valence_fits_its_shells() -> None:
    for number in range(1, shells.HEAVIEST + 1):
        atom, valence = shells.reference(number), shells.valence(number)
        assert sum(atom.values()) == number
        assert all(0 <= count <= 4 * l + 2 for (_, l), count in (atom | valence).items())  # noqa: E741
        assert all(atom.get(shell, 0) == count for shell, count in valence.items())


@pytest.mark.parametrize(
    ("number", "electrons"), [(14, 4), (17, 7), (26, 8), (31, 3), (64, 3), (92, 6)]
)
def test_valence_electrons_are_those_of_the_group(number: int, electrons: int) -> None:
    assert sum(shells.valence(number).values()) == electrons


def test_the_shipped_table_is_what_the_code_makes() -> None:
    table = basis.load()
    atom = solve_atom(8, shells.reference(8))
    assert table.onsite[8, :2] == pytest.approx(
        [atom.energies[2, 0], atom.energies[2, 1]], abs=1e-6
    )
    ion = solve_atom(8, {(1, 0): 2, (2, 0): 2, (2, 1): 3.9})
    hardness = (atom.energies[2, 1] - ion.energies[2, 1]) / 0.1
    assert table.hardness[8] == pytest.approx(hardness, abs=1e-4)
    confined = solve_atom(8, shells.reference(8), Setting(wall=table.wall[8]), start=atom)
    orbital = confined.elements.evaluate(confined.orbitals[2, 1], basis.RADII)
    assert np.abs(table.radial[8, 1]) == pytest.approx(np.abs(orbital), abs=1e-5)


def test_tabulated_orbitals_are_normalised() -> None:
    table = basis.load()
    for number in (1, 14, 29, 57, 92):
        for l in np.flatnonzero(table.present[number]):  # noqa: E741
            density = (table.radial[number, l] * basis.RADII) ** 2
            assert np.trapezoid(density, basis.RADII) == pytest.approx(1, abs=5e-3), (number, l)
    assert np.all(table.hardness > 0.05)
    assert np.all(table.onsite[1:, 0] < 0)
