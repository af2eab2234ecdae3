"""Numbers of the electrons from the tight binding -> columns with the names of named physics.

The quantities of ``representation/electronic`` under longer names: ``gap_eV`` becomes
``gap_tight_binding_eV``. What the tight binding cannot describe is NaN.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crystalssl.errors import unknown_name
from crystalssl.representation.electronic import describe
from crystalssl.representation.electronic.electronic_numbers import MOST_SITES, columns
from crystalssl.representation.electronic.quantities import Quantity
from crystalssl.representation.electronic.shells import HEAVIEST
from crystalssl.representation.physics.columns import Column, number
from crystalssl.structures.crystals import Crystals

OFF, EXACT = "off", "exact"
LEVELS = {OFF: None, EXACT: "fast", "full": "full"}
"""Ways to the numbers of the electrons, and the level of the tight binding that each runs."""
MISSING = f"disorder, Z above {HEAVIEST}, more than {MOST_SITES} sites, or no finite solution"
"""When there are none."""
_EDGES = {"v_": "filled_edge_", "c_": "empty_edge_", "dos": "density_of_states"}
_WORDS = {"+": "_plus_", "-": "_minus_", ".": "p"}


def electron_columns(electronic: str) -> tuple[Column, ...]:
    """The columns of a way to the electrons.

    Raises:
        UnknownNameError: if there is no such way.
    """
    level = _level(electronic)
    return () if level is None else tuple(_column(quantity) for quantity in columns(level))


def electron_values(crystals: Crystals, electronic: str) -> npt.NDArray[np.float32]:
    """(n, columns) numbers of canonical crystals, NaN in the rows of those without any.

    Raises:
        UnknownNameError: if there is no such way.
    """
    level = _level(electronic)
    if level is None:
        return np.zeros((len(crystals), 0), np.float32)
    numbers = describe(crystals, level)
    return np.where(numbers.valid[:, None], numbers.values, np.float32(np.nan))


def _level(electronic: str) -> str | None:
    if electronic not in LEVELS:
        raise unknown_name("way to the electrons", electronic, LEVELS)
    return LEVELS[electronic]


def _column(quantity: Quantity) -> Column:
    """A quantity's name with its method and its unit at the end, in letters and digits."""
    name = quantity.name.removesuffix("_per_A3").removesuffix("_pauling")
    window = name.startswith(("dos", "states_")) and name.endswith("_eV")
    name = name.removesuffix("_eV")
    for short, long in _EDGES.items():
        if name.startswith(short):
            name = long + name.removeprefix(short)
    shown = name.replace("_", " ") + (" eV" if window else "")
    for sign, word in _WORDS.items():
        name = name.replace(sign, word)
    name = f"{name}_eV" if window else name
    renamed = {"electrons/A^3": "electrons/angstrom^3", "pauling": "1"}
    unit = renamed.get(quantity.unit, quantity.unit)
    meaning = f"{shown}, clipped to {quantity.low:g} to {quantity.high:g}"
    return number(f"{name}_tight_binding", unit, meaning, MISSING)
