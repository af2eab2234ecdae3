"""Bonds -> lengths against radii, masses, unlikeness of their ends, by kind of element.

Statistics are over bonds with Hoppe's weights (``environment.py``), so that a bond that fades
counts less; minima and maxima are over the bonds above a least weight.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crystalssl.representation.physics.columns import Group, number, statistics
from crystalssl.representation.physics.element_table import metals
from crystalssl.representation.physics.environment import Environment
from crystalssl.representation.physics.pooling import pool

Array = npt.NDArray[np.float64]

_NO_BOND = "no bond: all sites exclude each other"


def _bonds(environment: Environment) -> Array:
    i, j, d = environment.centre, environment.other, environment.distance
    radius, mass = environment.of_sites("covalent_radius"), environment.of_sites("atomic_mass")
    x = environment.of_sites("electronegativity_pauling")
    atomic = environment.of_sites("van_der_waals_radius")
    reduced = mass[i] * mass[j] / (mass[i] + mass[j])
    unlike = np.abs(x[i] - x[j])
    values = np.column_stack([
        d, d / (radius[i] + radius[j]), d / (atomic[i] + atomic[j]), 1.0 / d**2, reduced,
        1.0 / (np.sqrt(reduced) * d**2), unlike, 1.0 - np.exp(-0.25 * unlike**2), unlike / d,
        np.abs(mass[i] - mass[j]), np.abs(radius[i] - radius[j]),
    ])  # fmt: skip
    return pool(environment.crystal_edges, environment.bond, values)


BONDS = Group(
    name="bonds",
    title="Bonds, weighted as in Hoppe's coordination number",
    columns=(
        *statistics("bond_length", "angstrom", "the length of a bond", _NO_BOND),
        *statistics(
            "bond_length_over_radii", "1", "its length over the sum of covalent radii", _NO_BOND
        ),
        *statistics(
            "bond_length_over_vdw_radii", "1", "its length over the sum of van der Waals radii",
            f"{_NO_BOND}, or no radius is tabulated",
        ),
        *statistics("bond_inverse_square_length", "1/angstrom^2", "1 / d^2", _NO_BOND),
        *statistics("bond_reduced_mass", "u", "the reduced mass m1 m2 / (m1 + m2)", _NO_BOND),
        *statistics(
            "bond_vibration", "1/(sqrt(u) angstrom^2)", "1 / (sqrt(reduced mass) d^2)", _NO_BOND
        ),
        *statistics(
            "bond_electronegativity_difference", "1", "the electronegativity difference", _NO_BOND
        ),
        *statistics("bond_ionic_character", "1", "Pauling's ionic character", _NO_BOND),
        *statistics(
            "bond_polarity", "1/angstrom", "difference of electronegativity over length", _NO_BOND
        ),
        *statistics("bond_mass_difference", "u", "the difference of the masses", _NO_BOND),
        *statistics(
            "bond_radius_difference", "angstrom", "the difference of the covalent radii", _NO_BOND
        ),
    ),
    compute=_bonds,
)  # fmt: skip
"""What two bonded atoms have between them."""


def _kinds(environment: Environment) -> Array:
    """(s, 3) shares of metals, non-metals and hydrogen on each site."""
    numbers, occupancy = environment.crystals.numbers, environment.crystals.occupancy
    metal = (occupancy * metals()[numbers]).sum(axis=1) / environment.amount
    hydrogen = (occupancy * (numbers == 1)).sum(axis=1) / environment.amount
    return np.column_stack([metal, 1.0 - metal - hydrogen, hydrogen])


KINDS = ("metal", "nonmetal", "hydrogen")
_PAIRS = ((0, 0), (0, 1), (1, 1), (0, 2), (1, 2))


def _pairs(environment: Environment) -> Array:
    kinds = _kinds(environment)
    i, j, d = environment.centre, environment.other, environment.distance
    radius = environment.of_sites("covalent_radius")
    relative = d / (radius[i] + radius[j])
    values = np.column_stack([d, relative])
    columns = []
    both = environment.amount[i] * environment.amount[j] * (environment.weight > 0)
    bonds = np.add.reduceat(np.append(environment.bond, 0.0), environment.crystal_edges[:-1])
    for a, b in _PAIRS:
        share = kinds[i, a] * kinds[j, b] + (kinds[i, b] * kinds[j, a] if a != b else 0.0)
        near = pool(environment.crystal_edges, both * (share > 0.5), values)
        strength = np.append(environment.bond * share, 0.0)
        columns += [near[:, [2]], near[:, [6]]]
        columns.append((np.add.reduceat(strength, environment.crystal_edges[:-1]) / bonds)[:, None])
    return np.hstack(columns)


PAIRS = Group(
    name="pairs",
    title="Pairs by kind of element",
    columns=tuple(
        entry
        for a, b in _PAIRS
        for entry in (
            number(
                f"shortest_{KINDS[a]}_{KINDS[b]}", "angstrom",
                f"shortest distance between {KINDS[a]} and {KINDS[b]}",
                "no such pair among the twelve nearest neighbours",
            ),
            number(
                f"shortest_{KINDS[a]}_{KINDS[b]}_over_radii", "1",
                "least distance of such a pair over the sum of covalent radii",
                "no such pair among the twelve nearest neighbours",
            ),
            number(
                f"fraction_bonds_{KINDS[a]}_{KINDS[b]}", "1",
                f"share of bonds between {KINDS[a]} and {KINDS[b]}",
            ),
        )
    ),
    compute=_pairs,
)  # fmt: skip
"""Distances between metals, non-metals and hydrogen."""

BOND_GROUPS: tuple[Group, ...] = (BONDS, PAIRS)
"""Groups of this file."""
