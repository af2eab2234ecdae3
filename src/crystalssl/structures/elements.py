"""Element symbols to atomic numbers and back; where every reader turns text into numbers.

Deuterium and tritium read as hydrogen. ``X``, ``Va``, ``Vac`` and ``vacancy`` stand for an
empty site (OPTIMADE writes ``vacancy``, and ``X`` for an atom that it does not know).
"""

from __future__ import annotations

import re
from functools import lru_cache

from crystalssl.errors import InputError, unknown_name

_IN_ORDER = """
H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn
Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba
La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi
Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds
Rg Cn Nh Fl Mc Lv Ts Og
"""

SYMBOLS: tuple[str, ...] = ("", *_IN_ORDER.split())
"""Symbol of each atomic number; index 0 is the empty string."""

MAX_NUMBER = 103
"""Largest atomic number that the package describes (lawrencium)."""

VACANCY_NAMES = frozenset({"vacancy", "Vacancy", "Vac", "vac", "Va", "X"})
"""Names that stand for nothing on a site."""

_NUMBERS = {symbol: number for number, symbol in enumerate(SYMBOLS) if symbol} | {"D": 1, "T": 1}
_LEADING_LETTERS = re.compile(r"[A-Za-z]+")


def symbol_to_number(symbol: str) -> int:
    """Atomic number of an element symbol; ``D`` and ``T`` give 1.

    Raises:
        InputError: if it is no element's symbol; names the closest one.
    """
    number = _NUMBERS.get(symbol)
    if number is None:
        raise InputError(str(unknown_name("element symbol", symbol, _NUMBERS)).split(" Valid:")[0])
    return number


def is_vacancy(name: str) -> bool:
    """Whether a species name stands for an empty site."""
    return name in VACANCY_NAMES


@lru_cache(maxsize=4096)
def label_to_number(label: str) -> int:
    """Atomic number behind a decorated label: ``Fe3+``, ``LI1``, ``O2-``, ``Ow``; vacancy is 0.

    A label is read as the longest element symbol that it can open with. A lower-case letter after
    the symbol (``Wat``) means that it is something else, except in ``Ow`` and ``Hw`` (water).

    Raises:
        InputError: if no element can be read from it.
    """
    text = label.strip()
    match = _LEADING_LETTERS.match(text)
    letters = match.group() if match else ""
    if is_vacancy(letters):
        return 0
    for candidate in (letters, letters.capitalize() if len(letters) == 2 else ""):
        if candidate in _NUMBERS:
            return _NUMBERS[candidate]
    for length in (2, 1):
        rest = letters[length:]
        candidate = letters[:length].capitalize()
        if candidate in _NUMBERS and rest and (rest[0].isupper() or letters[:2] in ("Ow", "Hw")):
            return _NUMBERS[candidate]
    raise InputError(str(unknown_name("element in label", label, _NUMBERS)).split(" Valid:")[0])
