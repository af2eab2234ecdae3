"""Bonds -> lengths against radii, masses, unlikeness of their ends, by kind of element.

Statistics are over bonds with Hoppe's weights (``environment.py``), so that a bond that fades
counts less; minima and maxima are over the bonds above a least weight.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crystalssl.representation._compiled import compiled
from crystalssl.representation.physics.columns import Group, number, statistics
from crystalssl.representation.physics.element_table import metals
from crystalssl.representation.physics.environment import Environment
from crystalssl.representation.physics.pooling import pool

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

_NO_BOND = "no bond: all sites exclude each other"


@compiled
def _bond_values(
    centre: Index, other: Index, distance: Array, bond: Array, of_sites: Array, out: Array
) -> None:
    """Fill (e, 11) where ``bond`` is above 0.

    ``of_sites`` (s, 4) is covalent radius, van der Waals radius, mass and electronegativity.
    """
    for m in range(len(bond)):
        if bond[m] <= 0.0:
            continue
        here, there, d = of_sites[centre[m]], of_sites[other[m]], distance[m]
        reduced = here[2] * there[2] / (here[2] + there[2])
        unlike = abs(here[3] - there[3])
        out[m, 0] = d
        out[m, 1] = d / (here[0] + there[0])
        out[m, 2] = d / (here[1] + there[1])
        out[m, 3] = 1.0 / (d * d)
        out[m, 4] = reduced
        out[m, 5] = 1.0 / (np.sqrt(reduced) * (d * d))
        out[m, 6] = unlike
        out[m, 7] = 1.0 - np.exp(-0.25 * (unlike * unlike))
        out[m, 8] = unlike / d
        out[m, 9] = abs(here[2] - there[2])
        out[m, 10] = abs(here[0] - there[0])


def _bonds(environment: Environment) -> Array:
    names = "covalent_radius", "van_der_waals_radius", "atomic_mass", "electronegativity_pauling"
    of_sites = np.column_stack([environment.of_sites(name) for name in names])
    values = np.empty((len(environment.bond), 11))
    _bond_values(
        environment.centre, environment.other, environment.distance, environment.bond, of_sites,
        values,
    )  # fmt: skip
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


@compiled
def _pairs_by_kind(
    crystal_edges: Index,
    centre: Index,
    other: Index,
    distance: Array,
    weight: Array,
    bond: Array,
    radius: Array,
    kinds: Array,
    pairs: Index,
    out: Array,
) -> None:
    """Fill (n, pairs, 3): least distance, least over the radii, share of the bonds.

    A pair is of two kinds where it is so by more than half.
    """
    for n in range(len(crystal_edges) - 1):
        for p in range(len(pairs)):
            out[n, p, 0], out[n, p, 1], out[n, p, 2] = np.inf, np.inf, 0.0
        bonds = 0.0
        for m in range(crystal_edges[n], crystal_edges[n + 1]):
            if weight[m] <= 0.0:
                continue
            i, j = centre[m], other[m]
            relative = distance[m] / (radius[i] + radius[j])
            bonds += bond[m]
            for p in range(len(pairs)):
                a, b = pairs[p, 0], pairs[p, 1]
                share = kinds[i, a] * kinds[j, b]
                if a != b:
                    share += kinds[i, b] * kinds[j, a]
                out[n, p, 2] += bond[m] * share
                if share > 0.5:
                    if distance[m] < out[n, p, 0]:
                        out[n, p, 0] = distance[m]
                    if relative < out[n, p, 1]:
                        out[n, p, 1] = relative
        for p in range(len(pairs)):
            out[n, p, 2] /= bonds
            for q in range(2):
                if out[n, p, q] == np.inf:
                    out[n, p, q] = np.nan


def _pairs(environment: Environment) -> Array:
    out = np.empty((len(environment.atoms), len(_PAIRS), 3))
    _pairs_by_kind(
        environment.crystal_edges, environment.centre, environment.other, environment.distance,
        environment.weight, environment.bond, environment.of_sites("covalent_radius"),
        _kinds(environment), np.array(_PAIRS), out,
    )  # fmt: skip
    return out.reshape(len(out), -1)


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
