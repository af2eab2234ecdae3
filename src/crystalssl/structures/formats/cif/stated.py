"""What a CIF says its cell holds (formula, Z, density), and whether a reading of it agrees.

This one test tells a wrong origin, wrong axes, missing centring, a cut file or a misread label
from the right reading. Used by ``settings.py`` and ``labels.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from gemmi import Element, cif

from crystalssl.structures.elements import SYMBOLS, symbol_to_number
from crystalssl.structures.formats.cif.tags import Tags

ROUNDING = 0.02
"""Relative difference of an amount that may be rounding in the formula."""
LAST_DIGIT = 0.011
"""Rounding of an amount given to two decimals, per formula unit."""
DISORDER = 0.12
"""Relative difference of an amount that a refined occupancy may make."""
_DALTON = 1.66053907
"""Gram per cubic centimetre of one dalton per cubic angstrom."""
_TERM = re.compile(r"([A-Z][a-z]?)(\d+\.?\d*|\.\d+)?(?:\(\d+\))?")


class Verdict(IntEnum):
    """How well a content agrees with what is stated, best first."""

    EXACT = 0
    NEAR = 1
    UNKNOWN = 2
    MULTIPLE = 3
    DIFFERS = 4


@dataclass(frozen=True, slots=True)
class Stated:
    """What the file states.

    Attributes:
        formula: amount of each atomic number in a formula unit; empty when not stated.
        units: formula units in the cell; 0 when not stated.
        mass: dalton in the cell by the calculated density; 0 when not stated.
    """

    formula: Mapping[int, float]
    units: float
    mass: float


NOTHING = Stated({}, 0.0, 0.0)


def stated_by(tags: Tags, volume: float) -> Stated:
    """Formula, Z and density of a block; parts that cannot be read count as not stated."""
    pairs = tags.pairs
    formula = formula_of(pairs.get("_chemical_formula_sum", "?"))
    units = positive(pairs.get("_cell_formula_units_z", "?"))
    density = positive(pairs.get("_exptl_crystal_density_diffrn", "?"))
    if not formula and not density:
        return NOTHING
    return Stated(formula, units, density * volume / _DALTON)


@lru_cache(maxsize=4096)
def formula_of(text: str) -> Mapping[int, float]:
    """Amount of each atomic number in a formula such as ``'H2 Ca O2'``; empty if unreadable."""
    if cif.is_null(text):
        return {}
    plain = re.sub(r"[\s,'\"]+", "", str(cif.as_string(text)))
    terms = _TERM.findall(plain)
    if not plain or _TERM.sub("", plain):
        return {}
    amounts: dict[int, float] = {}
    for symbol, amount in terms:
        try:
            number = symbol_to_number(symbol)
        except Exception:  # not an element: the formula is of another kind
            return {}
        amounts[number] = amounts.get(number, 0.0) + (float(amount) if amount else 1.0)
    return {number: amount for number, amount in amounts.items() if amount > 0}


@lru_cache(maxsize=4096)
def positive(text: str) -> float:
    """A number above zero, or 0 when it is missing or anything else."""
    value = float(cif.as_number(text))
    return value if 0 < value < 1e9 else 0.0


def compare(content: Mapping[int, float], stated: Stated, *, partial: bool) -> tuple[Verdict, str]:
    """Whether the content of a cell is what the file states.

    Args:
        content: amount of each atomic number in the cell.
        stated: what the file states.
        partial: whether sites are partially filled, so that amounts come from a refinement.

    Returns:
        The verdict and, unless it is ``EXACT`` or ``UNKNOWN``, what differs.
    """
    if not stated.formula:
        return _by_mass(content, stated)
    if stated.units:
        verdict, text = _by_formula(content, stated.formula, stated.units, partial)
        return verdict, text
    heavy = [n for n in stated.formula if n != 1] or list(stated.formula)
    units = sum(content.get(n, 0.0) for n in heavy) / sum(stated.formula[n] for n in heavy)
    if units <= 0:
        return Verdict.DIFFERS, _difference(content, stated.formula, 1.0)
    verdict, text = _by_formula(content, stated.formula, units, partial)
    if verdict <= Verdict.NEAR and stated.mass:
        by_mass = _by_mass(content, stated)
        return max((verdict, text), by_mass) if by_mass[0] > Verdict.UNKNOWN else (verdict, text)
    return verdict, text


def _by_formula(
    content: Mapping[int, float], formula: Mapping[int, float], units: float, partial: bool
) -> tuple[Verdict, str]:
    differ, worst, allowed = [], 0.0, 0.0
    for number in formula.keys() | content.keys():
        wanted, got = formula.get(number, 0.0) * units, content.get(number, 0.0)
        gap = abs(got - wanted)
        if gap > 1e-3 * wanted + 1e-3:
            differ.append(number)
            worst = max(worst, gap / wanted if wanted else 1.0)
            allowed = max(allowed, gap - ROUNDING * wanted - LAST_DIGIT * units)
    if not differ:
        return Verdict.EXACT, ""
    text = _difference(content, formula, units)
    if differ == [1] and 1 in formula:
        got, wanted = content.get(1, 0.0), formula[1] * units
        less = f"{wanted - got:.4g} of {wanted:.4g} hydrogen atoms are not placed"
        return Verdict.NEAR, less if got < wanted else text
    if allowed <= 0:
        return Verdict.NEAR, text
    others = [number for number in differ if number != 1]
    if partial and worst <= DISORDER and set(others) <= formula.keys():
        return Verdict.NEAR, text
    if formula.keys() - {1} == content.keys() - {1} and others:
        ratios = [content[n] / (formula[n] * units) for n in formula if n != 1]
        if max(ratios) < 1.02 * min(ratios):
            return Verdict.MULTIPLE, f"{text} ({ratios[0]:.4g} times as much)"
    if 1 in formula and not [n for n in others if _gap(content, formula, units, n) > 0]:
        return Verdict.NEAR, text
    return Verdict.DIFFERS, text


def _gap(
    content: Mapping[int, float], formula: Mapping[int, float], units: float, number: int
) -> float:
    """How far one amount is beyond what rounding explains; at most 0 where it is not."""
    wanted = formula.get(number, 0.0) * units
    return abs(content.get(number, 0.0) - wanted) - ROUNDING * wanted - LAST_DIGIT * units


def _by_mass(content: Mapping[int, float], stated: Stated) -> tuple[Verdict, str]:
    if not stated.mass:
        return Verdict.UNKNOWN, ""
    ratio = sum(Element(number).weight * x for number, x in content.items()) / stated.mass
    if 0.75 < ratio < 1.3:  # hydrogen that is not placed, another temperature
        return Verdict.UNKNOWN, ""
    return Verdict.MULTIPLE, f"its sites weigh {ratio:.3g} times what its density says"


def _difference(
    content: Mapping[int, float], formula: Mapping[int, float], units: float
) -> str:
    wanted = {number: amount * units for number, amount in formula.items()}
    return f"its sites give {written(content)} in the cell, its formula {written(wanted)}"


def written(content: Mapping[int, float]) -> str:
    """An amount of each element as a text such as ``Ca2 F4``."""
    order = sorted(content, key=lambda number: SYMBOLS[number])
    return " ".join(f"{SYMBOLS[n]}{content[n]:.5g}" for n in order if content[n] > 0) or "nothing"
