"""Electron shells of the elements: atomic number -> configuration and valence shells.

Aufbau with the 19 exceptions up to Pu; the valence is one s, one p and, for groups 1 to 12 from
period 4 on, one d shell. 4f and 5f are frozen in the core with the count that leaves the usual
valence. Source of the exceptions: NIST Atomic Spectra Database, ground states.
"""

from __future__ import annotations

from collections.abc import Mapping

Shell = tuple[int, int]
"""Principal and angular quantum numbers (n, l)."""

HEAVIEST = 94
"""Largest atomic number that the tight binding knows."""
_ORDER: tuple[Shell, ...] = (
    (1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (4, 0), (3, 2), (4, 1), (5, 0), (4, 2), (5, 1),
    (6, 0), (4, 3), (5, 2), (6, 1), (7, 0), (5, 3), (6, 2),
)  # fmt: skip
_EXCEPTIONS: Mapping[int, Mapping[Shell, int]] = {
    24: {(4, 0): 1, (3, 2): 5}, 29: {(4, 0): 1, (3, 2): 10},
    41: {(5, 0): 1, (4, 2): 4}, 42: {(5, 0): 1, (4, 2): 5}, 44: {(5, 0): 1, (4, 2): 7},
    45: {(5, 0): 1, (4, 2): 8}, 46: {(5, 0): 0, (4, 2): 10}, 47: {(5, 0): 1, (4, 2): 10},
    57: {(4, 3): 0, (5, 2): 1}, 58: {(4, 3): 1, (5, 2): 1}, 64: {(4, 3): 7, (5, 2): 1},
    78: {(6, 0): 1, (5, 2): 9}, 79: {(6, 0): 1, (5, 2): 10},
    89: {(5, 3): 0, (6, 2): 1}, 90: {(5, 3): 0, (6, 2): 2}, 91: {(5, 3): 2, (6, 2): 1},
    92: {(5, 3): 3, (6, 2): 1}, 93: {(5, 3): 4, (6, 2): 1},
}  # fmt: skip
_NOBLE = (2, 10, 18, 36, 54, 86)
_F_VALENCE = {58: 4, 63: 2, 70: 2, 90: 4, 91: 5, 92: 6, 93: 5, 94: 4}
"""Valence electrons of the elements with an open f shell that differ from 3."""


def configuration(number: int) -> dict[Shell, int]:
    """Electrons in each occupied shell of the free atom, Z from 1 to 94."""
    left, shells = number, {}
    for shell in _ORDER:
        shells[shell] = min(left, 4 * shell[1] + 2)
        left -= shells[shell]
    shells.update(_EXCEPTIONS.get(number, {}))
    return {shell: count for shell, count in shells.items() if count}


def has_open_f(number: int) -> bool:
    """Whether an element is La to Lu or Ac to Pu, whose f shell is frozen."""
    return 57 <= number <= 71 or number >= 89


def valence(number: int) -> dict[Shell, int]:
    """Electrons in each valence shell; shells without electrons are part of the basis too."""
    if number <= 2:
        return {(1, 0): number}
    period = 1 + sum(number > noble for noble in _NOBLE)
    beyond = number - _NOBLE[period - 2]
    if has_open_f(number):
        return {(period, 0): 2, (period, 1): 0, (period - 1, 2): _F_VALENCE.get(number, 3) - 2}
    column = beyond - 14 if period >= 6 and beyond > 2 else beyond  # 1, 2, then d and p blocks
    if beyond <= 2:
        shells = {(period, 0): beyond, (period, 1): 0}
        return shells if period < 4 else {**shells, (period - 1, 2): 0}
    if period >= 4 and column <= 12:
        atom = configuration(number)
        d = (period - 1, 2)
        return {(period, 0): atom.get((period, 0), 0), (period, 1): 0, d: atom.get(d, 0)}
    return {(period, 0): 2, (period, 1): column - (2 if period < 4 else 12)}


def reference(number: int) -> dict[Shell, int]:
    """The configuration that the atom is solved in: the free atom's, or with the f shell frozen."""
    atom = configuration(number)
    if not has_open_f(number):
        return atom
    outer = valence(number)
    f = (4 if number < 80 else 5, 3)
    core = {shell: count for shell, count in atom.items() if shell not in outer and shell != f}
    core[f] = number - sum(core.values()) - sum(outer.values())
    return {shell: count for shell, count in (core | outer).items() if count}
