"""Tabulated properties of the elements under readable names, with their units.

Raw values (not standardised) of ``representation/data/elements.csv``, sources in ``elemental.py``.
A value that no source has is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from crystalssl.errors import unknown_name
from crystalssl.representation import elemental, layout

Array = npt.NDArray[np.float64]

ELEMENTS = layout.ELEMENTS
"""Highest atomic number with a row."""


@dataclass(frozen=True, slots=True)
class ElementProperty:
    """One tabulated property.

    Attributes:
        name: as used in the names of numbers.
        unit: ``1`` for pure numbers.
        source: its column in the table.
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
    ElementProperty(
        "molar_volume", "cm^3/mol", "molar_volume_cm3", "the molar volume of the element"
    ),
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
    header, *rows = elemental.read_table("elements.csv")
    values = np.full((ELEMENTS + 1, len(PROPERTIES)), np.nan)
    for place, entry in enumerate(PROPERTIES):
        source = header.index(entry.source)
        values[1:, place] = [float(row[source]) if row[source] else np.nan for row in rows]
    values.flags.writeable = False
    return values


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
    header, *rows = elemental.read_table("elements.csv")
    values = np.zeros(ELEMENTS + 1)
    values[1:] = [float(row[header.index("is_metal")]) for row in rows]
    values.flags.writeable = False
    return values
