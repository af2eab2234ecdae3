"""What a named number is: its name, unit and meaning, and the groups that are computed together.

A name reads quantity, statistic, unit: ``nearest_distance_min_angstrom``. Every group of numbers is
one :class:`Group`; ``named_numbers.py`` lists the groups, ``docs/physics.md`` is made from them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crystalssl.representation.physics.environment import Environment
from crystalssl.representation.physics.pooling import STATISTICS

ALWAYS = "never"
"""Text of ``Column.missing`` of a number that every crystal has."""
_WORDS = {"mean": "mean", "std": "standard deviation", "min": "minimum", "max": "maximum"}
_PURE = "1"


@dataclass(frozen=True, slots=True)
class Column:
    """One named number of a crystal.

    Attributes:
        name: quantity, statistic and unit, in this order.
        unit: ``1`` for pure numbers.
        meaning: what it is, in words.
        missing: when it is NaN.
    """

    name: str
    unit: str
    meaning: str
    missing: str = ALWAYS


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Numbers that one function computes together.

    Attributes:
        name: one word.
        title: what they have in common, in words.
        columns: the numbers in order.
        compute: environments of n crystals -> (n, columns).
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    compute: Callable[[Environment], npt.NDArray[np.float64]]


def number(name: str, unit: str, meaning: str, missing: str = ALWAYS) -> Column:
    """A column whose name ends in its unit where it has one."""
    suffix = "" if unit == _PURE else f"_{unit_word(unit)}"
    return Column(f"{name}{suffix}", unit, meaning, missing)


def statistics(quantity: str, unit: str, meaning: str, missing: str = ALWAYS) -> tuple[Column, ...]:
    """Columns of what ``pooling.pool`` takes of a quantity."""
    return tuple(
        number(f"{quantity}_{word}", unit, f"{_WORDS[word]} of {meaning}", missing)
        for word in STATISTICS
    )


def unit_word(unit: str) -> str:
    """A unit as part of a name: ``1/angstrom^2`` is ``per_angstrom2``."""
    word = unit.replace("1/", "per_").replace("/", "_per_").replace(" ", "_")
    return "".join(letter for letter in word if letter not in "^()")
