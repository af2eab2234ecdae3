"""Tabulated properties of the elements under readable names, with their units.

Raw values (not standardised) of ``representation/data/elements.csv`` (sources in ``elemental.py``),
``elements_more.csv`` (``scripts/build_physics_table.py``), and levels of free atoms in the local
density approximation (``electronic/basis.py``). A value that no source has is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from crystalssl.errors import unknown_name
from crystalssl.representation import elemental, layout
from crystalssl.representation.electronic import basis

Array = npt.NDArray[np.float64]

ELEMENTS = layout.ELEMENTS
"""Highest atomic number with a row."""
HARTREE = 27.211386245988
"""eV."""


@dataclass(frozen=True, slots=True)
class ElementProperty:
    """One tabulated property.

    Attributes:
        name: as used in the names of numbers.
        unit: ``1`` for pure numbers.
        source: its column in one of the tables.
        meaning: in words.
    """

    name: str
    unit: str
    source: str
    meaning: str


PROPERTIES = (
    ElementProperty("atomic_number", "1", "atomic_number", "the atomic number"),
    ElementProperty("atomic_mass", "u", "atomic_mass_u", "the atomic mass"),
    ElementProperty("group", "1", "group", "the group of the periodic table"),
    ElementProperty("period", "1", "period", "the period of the periodic table"),
    ElementProperty("mendeleev_number", "1", "mendeleev_number", "the Mendeleev number"),
    ElementProperty(
        "electronegativity_pauling", "1", "electronegativity_pauling",
        "the electronegativity on Pauling's scale",
    ),
    ElementProperty(
        "covalent_radius", "angstrom", "covalent_radius_angstrom", "the covalent radius"
    ),
    ElementProperty("atomic_radius", "angstrom", "atomic_radius_angstrom", "the atomic radius"),
    ElementProperty(
        "van_der_waals_radius", "angstrom", "van_der_waals_radius_angstrom",
        "the van der Waals radius",
    ),
    ElementProperty(
        "first_ionization_energy", "eV", "first_ionization_energy_ev", "the first ionization energy"
    ),
    ElementProperty(
        "second_ionization_energy", "eV", "second_ionization_energy_ev",
        "the second ionization energy",
    ),
    ElementProperty("electron_affinity", "eV", "electron_affinity_ev", "the electron affinity"),
    ElementProperty(
        "polarizability", "angstrom^3", "polarizability_angstrom3", "the static polarizability"
    ),
    ElementProperty("melting_point", "K", "melting_point_k", "the melting point of the element"),
    ElementProperty("boiling_point", "K", "boiling_point_k", "the boiling point of the element"),
    ElementProperty(
        "heat_of_vaporization", "kJ/mol", "heat_of_vaporization_kj_mol",
        "the heat of vaporization of the element",
    ),
    ElementProperty(
        "heat_of_fusion", "kJ/mol", "heat_of_fusion_kj_mol", "the heat of fusion of the element"
    ),
    ElementProperty(
        "thermal_conductivity", "W/m K", "thermal_conductivity_w_m_k",
        "the thermal conductivity of the element",
    ),
    ElementProperty(
        "elemental_bulk_modulus", "GPa", "bulk_modulus_gpa", "the bulk modulus of the element"
    ),
    ElementProperty(
        "elemental_shear_modulus", "GPa", "shear_modulus_gpa", "the shear modulus of the element"
    ),
    ElementProperty(
        "pseudopotential_radius", "bohr", "pseudopotential_radius_bohr",
        "the sum of Zunger's s and p pseudopotential radii",
    ),
    ElementProperty(
        "cation_radius", "angstrom", "cation_radius_angstrom", "the mean radius of its cations"
    ),
    ElementProperty("atomic_level_s", "eV", "level_s", "the s level of the free atom (LDA)"),
    ElementProperty("atomic_level_p", "eV", "level_p", "the p level of the free atom (LDA)"),
    ElementProperty("atomic_level_d", "eV", "level_d", "the d level of the free atom (LDA)"),
    ElementProperty(
        "atomic_level_highest", "eV", "level_highest", "the highest filled level (LDA)"
    ),
    ElementProperty("atomic_hardness", "eV", "hardness", "the hardness of the atom (LDA)"),
    ElementProperty(
        "elemental_volume", "angstrom^3", "ground_state_volume_angstrom3",
        "the volume per atom of the element's ground state",
    ),
    ElementProperty(
        "valence_electrons", "1", "valence_electrons", "the number of chemically active electrons"
    ),
    *(
        ElementProperty(f"{shell}_electrons", "1", f"{shell}_valence", f"the {shell} electrons")
        for shell in "spdf"
    ),
    *(
        ElementProperty(
            f"{shell}_holes", "1", f"{shell}_unfilled", f"the empty places of the {shell} shell"
        )
        for shell in "spdf"
    ),
)  # fmt: skip
"""Properties in the order of the table of named numbers."""


@cache
def table() -> Array:
    """(104, P) raw values of ``PROPERTIES``, row = Z; NaN in row 0 and where none is known."""
    known = _sources()
    values = np.stack([known[entry.source] for entry in PROPERTIES], axis=1)
    values.flags.writeable = False
    return values


@cache
def _sources() -> dict[str, Array]:
    """(104,) values of every column of every source, by its name there."""
    known = _levels()
    for name in ("elements.csv", "elements_more.csv"):
        header, *rows = elemental.read_table(name)
        cells = np.array([[float(cell) if cell else np.nan for cell in row] for row in rows])
        for index, title in enumerate(header):
            known[title] = np.append(np.nan, cells[:, index])
    return known


def _levels() -> dict[str, Array]:
    """Levels and hardness of free atoms in eV; NaN where an element lacks the shell."""
    atoms = basis.load()
    known = {}
    for shell, name in enumerate("spd"):
        known[f"level_{name}"] = np.where(atoms.present[:, shell], atoms.onsite[:, shell], np.nan)
    filled = np.where(atoms.occupation > 0, atoms.onsite, -np.inf).max(axis=1)
    known["level_highest"] = np.where(np.isfinite(filled), filled, np.nan)
    known["hardness"] = np.append(np.nan, atoms.hardness[1:])
    missing = ELEMENTS + 1 - len(filled)
    return {
        name: np.append(HARTREE * values, np.full(missing, np.nan))
        for name, values in known.items()
    }


def column(name: str) -> Array:
    """(104,) raw values of one property.

    Raises:
        UnknownNameError: if there is no such property.
    """
    names = [entry.name for entry in PROPERTIES]
    if name not in names:
        raise unknown_name("elemental property", name, names)
    return table()[:, names.index(name)]


@cache
def metals() -> Array:
    """(104,) 1 for metals, 0 for the others and in row 0."""
    return np.nan_to_num(_sources()["is_metal"])


@cache
def ionization_costs() -> Array:
    """(104, 8) eV to take 0 to 7 electrons from an atom; NaN where an energy is unknown."""
    known = _sources()
    steps = np.stack([known[f"ionization_energy_{n}_ev"] for n in range(1, 8)], axis=1)
    return np.hstack([np.zeros((len(steps), 1)), np.cumsum(steps, axis=1)])


@cache
def bond_valence_radii() -> tuple[Array, Array]:
    """(104,) radius in angstrom and softness of every element; NaN where unknown."""
    known = _sources()
    return known["bond_valence_radius_angstrom"], known["bond_valence_softness"]
