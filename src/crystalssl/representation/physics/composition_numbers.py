"""Shares of the elements -> statistics of their tabulated properties, families, variety.

Nothing of where atoms sit enters. Statistics are over atoms, as in Magpie (Ward et al., npj Comput.
Mater. 2, 16028, 2016).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crystalssl.representation.physics.columns import Group, number, statistics
from crystalssl.representation.physics.element_table import PROPERTIES, column, table
from crystalssl.representation.physics.environment import Environment
from crystalssl.representation.physics.pooling import pool

Array = npt.NDArray[np.float64]

_UNKNOWN = "no element of the crystal has a tabulated value"


def _elements(environment: Environment) -> Array:
    crystal, z = np.nonzero(environment.fractions)
    offsets = np.searchsorted(crystal, np.arange(len(environment.fractions) + 1))
    return pool(offsets, environment.fractions[crystal, z], table()[z])


ELEMENTS = Group(
    name="elements",
    title="Tabulated properties of the elements, over atoms",
    columns=tuple(
        entry
        for quantity in PROPERTIES
        for entry in statistics(quantity.name, quantity.unit, quantity.meaning, _UNKNOWN)
    ),
    compute=_elements,
)
"""Four statistics of every tabulated property."""


def _numbers(text: str) -> tuple[int, ...]:
    """Atomic numbers from a text like ``3 11 21-30``."""
    numbers: list[int] = []
    for word in text.split():
        first, _, last = word.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return tuple(numbers)


FAMILIES = {
    "hydrogen": _numbers("1"),
    "alkali_metals": _numbers("3 11 19 37 55 87"),
    "alkaline_earths": _numbers("4 12 20 38 56 88"),
    "early_transition_metals": _numbers("21-24 39-42 72-74"),
    "late_transition_metals": _numbers("25-29 43-47 75-79"),
    "group_12": _numbers("30 48 80"),
    "lanthanides": _numbers("57-71"),
    "actinides": _numbers("89-103"),
    "post_transition_metals": _numbers("13 31 49 50 81-84"),
    "metalloids": _numbers("5 14 32 33 51 52"),
    "carbon": _numbers("6"),
    "nitrogen": _numbers("7"),
    "phosphorus": _numbers("15"),
    "oxygen": _numbers("8"),
    "sulfur_and_selenium": _numbers("16 34"),
    "fluorine": _numbers("9"),
    "heavier_halogens": _numbers("17 35 53 85"),
    "noble_gases": _numbers("2 10 18 36 54 86"),
}
"""Atomic numbers of every family; each element is in one."""


def _families(environment: Environment) -> Array:
    shares = environment.fractions
    present = shares > 0
    entropy = -(shares * np.log(np.where(present, shares, 1.0))).sum(axis=1)
    x = column("electronegativity_pauling")[1:]
    # Pauling: ionic character of the bond between any two atoms of the crystal
    ionic = 1.0 - np.exp(-0.25 * (x[:, None] - x) ** 2)
    mean = np.einsum("ni,ij,nj->n", shares[:, 1:], ionic, shares[:, 1:], optimize=True)
    span = _highest(present[:, 1:], x) + _highest(present[:, 1:], -x)
    return np.column_stack([
        present.sum(axis=1), entropy, *((shares**p).sum(axis=1) ** (1 / p) for p in (2, 3)),
        shares.max(axis=1), np.where(present, shares, 2.0).min(axis=1),
        *(shares[:, list(numbers)].sum(axis=1) for numbers in FAMILIES.values()),
        mean, 1.0 - np.exp(-0.25 * span**2),
    ])  # fmt: skip


def _highest(present: npt.NDArray[np.bool_], values: Array) -> Array:
    """(n,) highest of the values (103,) of the elements that are present (n, 103)."""
    highest: Array = np.where(present, values, -np.inf).max(axis=1)
    return highest


VARIETY = Group(
    name="variety",
    title="Variety and families of elements",
    columns=(
        number("elements_present", "1", "number of elements"),
        number("mixing_entropy", "1", "-sum x ln x over the fractions x of the elements"),
        number("fraction_norm_2", "1", "(sum x^2)^(1/2) over the fractions"),
        number("fraction_norm_3", "1", "(sum x^3)^(1/3) over the fractions"),
        number("fraction_max", "1", "fraction of the most abundant element"),
        number("fraction_min", "1", "fraction of the rarest element"),
        *(
            number(f"fraction_{name}", "1", f"fraction of atoms: {name.replace('_', ' ')}")
            for name in FAMILIES
        ),
        number("ionic_character_mean", "1", "Pauling's ionic character, mean over pairs of atoms"),
        number("ionic_character_max", "1", "the same, of the two most unlike elements"),
    ),
    compute=_families,
)
"""Fractions and what follows from them alone."""


COMPOSITION_GROUPS: tuple[Group, ...] = (ELEMENTS, VARIETY)
"""Groups of this file."""
