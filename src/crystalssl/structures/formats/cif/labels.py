"""Names of CIF sites to atomic numbers: type symbols, or labels where there are none.

A label is a name that may open with a symbol (``Fe1``, ``SIT1``), or with water, hydroxyl or a
position (``Wat1``, ``OH``, ``M2``, ``T1``). What it cannot tell by itself, the stated formula may.
Used by ``reading.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice, product

from gemmi import cif

from crystalssl.errors import InputError
from crystalssl.structures.elements import (
    SYMBOLS,
    is_vacancy,
    label_to_number,
    symbol_to_number,
)

LONGEST = 64
"""Characters of a type symbol; patterns take the square of them."""
MOST_TRIALS = 256
"""Ways to read ambiguous names that are tried against the formula."""

_LETTERS = re.compile(r"[A-Za-z]+")
_WATER = re.compile(r"^(h[23][o0]|oh[23]?(?![a-z])|wat|aq|ow|hoh|w\d*[a-z]?$)", re.IGNORECASE)
_DOUBTFUL = re.compile(r"^(T(?![a-z])|H[2-4]?O|H\d+[A-Z]|D(?=[a-z])|NO3|CO3|SO4|PO4|NH4|ClO4)")
_TYPE = re.compile(r"^([A-Za-z]{1,2})\s*(\d*\.?\d*\s*[+-]?|[+-]\s*\d*\.?\d*)$")


@lru_cache(maxsize=8192)
def sure_type(text: str) -> int | None:
    """Atomic number of a type symbol, or None where it can only be taken as a label."""
    name = cif.as_string(text)
    match = _TYPE.match(name) if len(name) <= LONGEST else None
    if match:
        try:
            return symbol_to_number(match.group(1).capitalize())
        except InputError:
            pass
    return sure_label(text)


@lru_cache(maxsize=8192)
def sure_label(text: str) -> int | None:
    """Atomic number of a label that leaves no doubt, or None."""
    name = cif.as_string(text)
    if _DOUBTFUL.match(name):
        return None
    try:
        return label_to_number(name)
    except InputError:
        return None


@lru_cache(maxsize=8192)
def readings(text: str) -> tuple[int, ...]:
    """Atomic numbers that a label may stand for, the likelier first; none if it names nothing.

    Example:
        >>> readings("Oin"), readings("CA1"), readings("Wat1"), readings("M1")
        ((8,), (20, 6), (8,), ())
    """
    name = cif.as_string(text)
    match = _LETTERS.match(name)
    letters = match.group() if match else ""
    if is_vacancy(letters):
        return (0,)
    symbols = [letters[:2].capitalize(), letters[:1].upper()]
    if _WATER.match(name):
        symbols = ["O"] if not re.match(r"w\d*[a-z]?$", name, re.IGNORECASE) else ["W", "O"]
    elif _DOUBTFUL.match(name) and letters[:1] == "H":
        symbols = ["Ho", "H", "O"] if letters[:2] == "HO" else ["H"]
    known = []
    for symbol in symbols:
        number = 0
        try:
            number = symbol_to_number(symbol) if symbol and symbol != "T" else 0
        except InputError:
            continue
        if number and number not in known:
            known.append(number)
    return tuple(known)


def kind_of(text: str) -> str:
    """What a label shares with those of the same kind of site: its letters."""
    match = _LETTERS.match(cif.as_string(text))
    return match.group() if match else text


def trials(
    names: Sequence[str], certain: Mapping[str, int | None], formula: Mapping[int, float]
) -> Iterator[tuple[Mapping[str, int | None], str]]:
    """Ways to read names with the help of the formula, the likeliest first.

    Args:
        names: distinct names.
        certain: what each is by itself, None where it leaves a doubt.
        formula: amount of each atomic number in the stated formula.

    Yields:
        An atomic number for each name, and a note on those that needed the formula.
    """
    kinds: dict[str, tuple[int, ...]] = {}
    fixed: dict[str, int] = {}
    for name in names:
        number = certain[name]
        if number is not None and (number == 0 or number in formula):
            fixed[name] = number
            continue
        fitting = tuple(z for z in readings(name) if z == 0 or z in formula)
        others = tuple(z for z in sorted(formula, reverse=True) if z not in fitting)
        kinds[kind_of(name)] = fitting or others
        if not fitting and number is not None:
            kinds[kind_of(name)] = (number, *others)
    options = list(kinds)
    for choice in islice(product(*kinds.values()), MOST_TRIALS):
        chosen = dict(zip(options, choice, strict=True))
        read = {name: fixed[name] if name in fixed else chosen[kind_of(name)] for name in names}
        told = ", ".join(f"{kind} as {SYMBOLS[z] or 'vacant'}" for kind, z in chosen.items())
        yield read, f"read {told}, as its formula confirms" if told else ""
