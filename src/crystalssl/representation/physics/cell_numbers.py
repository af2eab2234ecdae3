"""Cell, density and symmetry -> named numbers that need no neighbours.

The cell is the reduced primitive one, so that it does not depend on how a crystal was given.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError
from crystalssl.representation.physics.columns import Group, number
from crystalssl.representation.physics.element_table import column
from crystalssl.representation.physics.environment import Environment

Array = npt.NDArray[np.float64]

DENSITY = 1.66053906660
"""g/cm^3 of one atomic mass unit per cubic angstrom."""


_POINT_GROUPS = (
    # last space group of the class, operations, centre of inversion, polar
    (1, 1, 0, 1), (2, 2, 1, 0), (5, 2, 0, 1), (9, 2, 0, 1), (15, 4, 1, 0), (24, 4, 0, 0),
    (46, 4, 0, 1), (74, 8, 1, 0), (80, 4, 0, 1), (82, 4, 0, 0), (88, 8, 1, 0), (98, 8, 0, 0),
    (110, 8, 0, 1), (122, 8, 0, 0), (142, 16, 1, 0), (146, 3, 0, 1), (148, 6, 1, 0),
    (155, 6, 0, 0), (161, 6, 0, 1), (167, 12, 1, 0), (173, 6, 0, 1), (174, 6, 0, 0),
    (176, 12, 1, 0), (182, 12, 0, 0), (186, 12, 0, 1), (190, 12, 0, 0), (194, 24, 1, 0),
    (199, 12, 0, 0), (206, 24, 1, 0), (214, 24, 0, 0), (220, 24, 0, 0), (230, 48, 1, 0),
)  # fmt: skip
"""The 32 crystal classes by space group (International Tables for Crystallography A)."""


def crystal_class(space_group: npt.NDArray[np.integer]) -> Array:
    """(n, 3) operations, centre of inversion and polar axis of the class of a space group."""
    table = np.array(_POINT_GROUPS, np.float64)
    return table[np.searchsorted(table[:, 0], space_group), 1:]


def _cell(environment: Environment) -> Array:
    crystals, shares = environment.crystals, environment.fractions
    volume = crystals.volumes / environment.atoms
    mass, radius = (np.nan_to_num(column(name)) for name in ("atomic_mass", "covalent_radius"))
    spheres = 4.0 / 3.0 * np.pi * (shares @ radius**3)
    elements = shares @ np.nan_to_num(column("elemental_volume"))
    electrons = shares @ np.nan_to_num(column("valence_electrons"))
    polarizability = shares @ np.nan_to_num(column("polarizability"))
    # Clausius and Mossotti: (n^2 - 1) / (n^2 + 2) = 4 pi / 3 alpha / V
    dense = 4.0 * np.pi / 3.0 * polarizability / volume
    lengths = np.sort(np.linalg.norm(crystals.lattice, axis=2), axis=1)
    return np.column_stack([
        volume, np.log(volume), DENSITY * (shares @ mass) / volume, 1.0 / volume,
        spheres / volume, volume / elements, electrons / volume,
        crystals.site_counts, np.log(crystals.site_counts),
        1.0 - environment.atoms / crystals.site_counts,
        lengths[:, 1] / lengths[:, 0], lengths[:, 2] / lengths[:, 0],
        lengths[:, 2] / crystals.volumes ** (1 / 3), lengths[:, 0],
        polarizability / volume, dense,
    ])  # fmt: skip


def _symmetry(environment: Environment) -> Array:
    if environment.symmetry is None:
        raise InputError("Got crystals without symmetry. Give the result of canonicalize.")
    group = environment.symmetry.space_group
    return np.column_stack([group, environment.symmetry.crystal_system, crystal_class(group)])


CELL = Group(
    name="cell",
    title="Cell and density",
    columns=(
        number("volume_per_atom", "angstrom^3", "volume of the cell over its atoms"),
        number("log_volume_per_atom", "1", "its natural logarithm"),
        number("density", "g/cm^3", "mass density"),
        number("atom_density", "1/angstrom^3", "atoms per volume"),
        number("packing_fraction", "1", "spheres of covalent radius over the volume"),
        number(
            "volume_over_elements", "1", "volume over that of the elements in their ground states"
        ),
        number("valence_electron_density", "electrons/angstrom^3", "valence electrons per volume"),
        number("sites_primitive", "1", "sites of the primitive cell"),
        number("log_sites_primitive", "1", "its natural logarithm"),
        number("vacant_fraction", "1", "share of sites that is empty"),
        number("cell_length_ratio_middle", "1", "middle over shortest length of the reduced cell"),
        number("cell_length_ratio_longest", "1", "longest over shortest length"),
        number("cell_longest_over_cube", "1", "longest length over the cube root of the volume"),
        number("cell_shortest", "angstrom", "shortest length of the reduced cell"),
        number("polarizability_density", "1", "free-atom polarizabilities per volume"),
        number("clausius_mossotti", "1", "4 pi / 3 of it; (n^2 - 1) / (n^2 + 2) of the index n"),
    ),
    compute=_cell,
)
"""What needs neither neighbours nor bonds nor symmetry."""

SYMMETRY = Group(
    name="symmetry",
    title="Symmetry",
    columns=(
        number("space_group", "1", "number of the space group, 1 to 230"),
        number("crystal_system", "1", "0 triclinic, 1 monoclinic, up to 6 cubic"),
        number("point_group_order", "1", "operations of the crystal class, 1 to 48"),
        number("centrosymmetric", "1", "1 with a centre of inversion, else 0"),
        number("polar", "1", "1 with a polar axis, else 0"),
    ),
    compute=_symmetry,
)
"""What the search for symmetry gave."""

CELL_GROUPS: tuple[Group, ...] = (CELL, SYMMETRY)
"""Groups of this file."""
