"""What a CIF says its cell holds (formula, Z, density), and whether a reading of it agrees.

This one test tells a wrong origin, wrong axes, missing centring, a cut file or a misread label
from the right reading. Used by ``settings.py`` and ``labels.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

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
_LONGEST = 5_000
_TERM = re.compile(r"([A-Z][a-z]?)(\d+\.?\d*|\.\d+)?(?:\(\d+\))?")


class Verdict(IntEnum):
    """How well a content agrees with what is stated, best first."""

    EXACT = 0
    NEAR = 1
    LOOSE = 2
    UNKNOWN = 3
    MULTIPLE = 4
    DIFFERS = 5


class Match(NamedTuple):
    """A verdict with its reason.

    Attributes:
        verdict: how well the content agrees.
        text: what differs; empty for ``EXACT`` and ``UNKNOWN``.
        ratio: content over what is stated, for ``MULTIPLE``.
    """

    verdict: Verdict
    text: str = ""
    ratio: float = 0.0


_EXACT = Match(Verdict.EXACT)


class Stated(NamedTuple):
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
    if cif.is_null(text) or len(text) > _LONGEST:
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


def compare(content: Mapping[int, float], stated: Stated, *, partial: bool) -> Match:
    """Whether the content of a cell is what the file states.

    Args:
        content: amount of each atomic number in the cell.
        stated: what the file states.
        partial: whether sites are partially filled, so that amounts come from a refinement.
    """
    formula = stated.formula
    if not formula:
        return _by_mass(content, stated)
    if stated.units:
        if content == formula and _of_the_cell(formula, stated.units):
            return _EXACT
        match = _by_formula(content, formula, stated.units, partial)
        if match.verdict > Verdict.LOOSE and _of_the_cell(formula, stated.units):
            whole = _by_formula(content, formula, 1.0, partial)
            return whole if whole.verdict <= Verdict.LOOSE else match
        return match
    heavy = [number for number in formula if number != 1] or list(formula)
    units = sum(content.get(n, 0.0) for n in heavy) / sum(formula[n] for n in heavy)
    if units <= 0:
        return Match(Verdict.DIFFERS, _difference(content, formula, 1.0))
    match = _by_formula(content, formula, units, partial)
    if match.verdict > Verdict.LOOSE:
        return match
    by_mass = _by_mass(content, stated)
    return by_mass if by_mass.verdict > Verdict.UNKNOWN else match


def _of_the_cell(formula: Mapping[int, float], units: float) -> bool:
    """Whether a formula can be that of all Z units, as pymatgen and ASE write it."""
    return all(abs(x / units - round(x / units)) < 1e-6 for x in formula.values())


def _by_formula(
    content: Mapping[int, float], formula: Mapping[int, float], units: float, partial: bool
) -> Match:
    if len(formula) == len(content) and all(
        content.get(number) == amount * units for number, amount in formula.items()
    ):
        return _EXACT
    differ = []
    for number in formula.keys() | content.keys():
        wanted = formula.get(number, 0.0) * units
        if abs(content.get(number, 0.0) - wanted) > 1e-3 * wanted + 1e-3:
            differ.append(number)
    if not differ:
        return _EXACT
    text = _difference(content, formula, units)
    beyond = [n for n in differ if _beyond_rounding(content, formula, units, n)]
    heavy = [n for n in beyond if n != 1]
    if not heavy and (1 in formula or 1 not in beyond):
        return Match(Verdict.NEAR, _missing(content, formula, units) or text)
    if partial and all(n in formula and _by_disorder(content, formula, units, n) for n in heavy):
        return Match(Verdict.LOOSE, text)
    if formula.keys() - {1} == content.keys() - {1} and heavy:
        ratios = [content[n] / (formula[n] * units) for n in formula if n != 1]
        if max(ratios) < 1.02 * min(ratios):
            text = f"{text} ({ratios[0]:.4g} times as much)"
            return Match(Verdict.MULTIPLE, text, ratios[0])
    return Match(Verdict.DIFFERS, text)


def _beyond_rounding(
    content: Mapping[int, float], formula: Mapping[int, float], units: float, number: int
) -> bool:
    wanted = formula.get(number, 0.0) * units
    gap = abs(content.get(number, 0.0) - wanted)
    return gap > ROUNDING * wanted + LAST_DIGIT * units


def _by_disorder(
    content: Mapping[int, float], formula: Mapping[int, float], units: float, number: int
) -> bool:
    wanted = formula[number] * units
    return abs(content.get(number, 0.0) - wanted) <= DISORDER * wanted + LAST_DIGIT * units


def _missing(content: Mapping[int, float], formula: Mapping[int, float], units: float) -> str:
    """How many hydrogen atoms are stated but not placed, if so."""
    wanted = formula.get(1, 0.0) * units
    less = wanted - content.get(1, 0.0)
    if less <= ROUNDING * wanted + LAST_DIGIT * units:
        return ""
    return f"{less:.4g} of {wanted:.4g} hydrogen atoms in the cell are not placed"


def _by_mass(content: Mapping[int, float], stated: Stated) -> Match:
    if not stated.mass:
        return Match(Verdict.UNKNOWN)
    ratio = sum(Element(number).weight * x for number, x in content.items()) / stated.mass
    if 0.75 < ratio < 1.3:  # hydrogen that is not placed, another temperature
        return Match(Verdict.UNKNOWN)
    text = f"its sites weigh {ratio:.3g} times what its density says"
    return Match(Verdict.MULTIPLE, text, ratio)


def _difference(content: Mapping[int, float], formula: Mapping[int, float], units: float) -> str:
    wanted = {number: amount * units for number, amount in formula.items()}
    return f"its sites give {written(content)} in the cell, its formula {written(wanted)}"


def written(content: Mapping[int, float]) -> str:
    """An amount of each element as a text such as ``Ca2 F4``."""
    order = sorted(content, key=lambda number: SYMBOLS[number])
    return " ".join(f"{SYMBOLS[n]}{content[n]:.5g}" for n in order if content[n] > 0) or "nothing"
