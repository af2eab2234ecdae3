"""Crystals to reduced formulas, the groups that splits keep together.

Equal compositions give equal texts, whatever the cell: a disordered crystal and its supercell
too. Elements stand by increasing Pauling electronegativity, then alphabetically, as in pymatgen,
but without brackets.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from crystalssl.structures.crystals import Crystals
from crystalssl.structures.elements import SYMBOLS, symbol_to_number

_BY_ELECTRONEGATIVITY = """
Fr Cs K Rb Ba Ra Na Sr Li Ca Ac La Tb Yb Ce Pm Pr Nd Sm Eu Gd Dy Y Ho Er Tm Lu Pu Am Bk Cf Cm Es
Fm Hf Lr Md No Th Mg Zr Np Sc U Pa Ta Ti Mn Be Nb Al Tl V Zn Cr Cd In Ga Fe Co Cu Re Si Tc Ni Ag
Sn Hg Po Ge Bi B Sb Te Mo As P At H Ir Os Pd Rn Ru Pt Rh Pb W Au C Se S Xe I Br Kr N Cl O F Ar Bh
Cn Db Ds Fl He Hs Lv Mc Mt Ne Nh Og Rf Rg Sg Ts
"""

_ORDER = np.array([symbol_to_number(symbol) for symbol in _BY_ELECTRONEGATIVITY.split()])
_RANK = np.zeros(len(SYMBOLS), dtype=np.int64)
_RANK[_ORDER] = np.arange(len(_ORDER))

_LARGEST_UNIT = 400
"""Largest number of atoms in a formula unit; 1 / 400 is well above the tolerance below."""

_TOLERANCE = 1e-3


def reduced_formulas(crystals: Crystals) -> npt.NDArray[np.str_]:
    """Reduced formula of each crystal, such as ``LiFePO4``.

    Where no formula unit of up to 400 atoms fits the occupancies, atomic fractions of four digits
    are written instead.

    Args:
        crystals: n crystals with elements up to Z = 118.

    Returns:
        (n,) texts.
    """
    filled = crystals.numbers > 0
    owner = np.broadcast_to(crystals.crystal_of_site[:, None], filled.shape)[filled]
    key = owner * len(SYMBOLS) + _RANK[crystals.numbers[filled]]
    found, index = np.unique(key, return_inverse=True)
    amounts: npt.NDArray[np.float64] = np.bincount(
        index, weights=crystals.occupancy[filled], minlength=len(found)
    ).astype(np.float64)
    numbers = _ORDER[found % len(SYMBOLS)]
    first = np.searchsorted(found // len(SYMBOLS), np.arange(len(crystals) + 1)).tolist()
    symbols = [SYMBOLS[number] for number in numbers.tolist()]
    texts = [_formula(symbols[start:stop], amounts[start:stop]) for start, stop in pairwise(first)]
    return np.array(texts, dtype=np.str_)


def _formula(symbols: list[str], amounts: npt.NDArray[np.float64]) -> str:
    whole = np.rint(amounts)
    if np.array_equal(whole, amounts) and whole.sum() <= _LARGEST_UNIT:
        units = whole.astype(np.int64)
        counts = (units // np.gcd.reduce(units)).tolist() if len(units) else []
    else:
        counts = _smallest_unit(amounts / amounts.sum())
    if counts:
        return "".join(s if n == 1 else f"{s}{n}" for s, n in zip(symbols, counts, strict=True))
    fractions = (amounts / amounts.sum()).tolist()
    return "".join(f"{s}{x:.4g}" for s, x in zip(symbols, fractions, strict=True))


def _smallest_unit(fractions: npt.NDArray[np.float64]) -> list[int]:
    """Whole numbers in the ratio of the fractions, as small as can be, or none."""
    sizes = np.arange(1, _LARGEST_UNIT + 1)
    counts = fractions[None] * sizes[:, None]
    fits = (np.abs(counts - np.rint(counts)) < _TOLERANCE).all(axis=1) & (counts > 0.5).all(axis=1)
    return np.rint(counts[fits.argmax()]).astype(int).tolist() if fits.any() else []
