"""Texts of cells -> numbers with their uncertainty taken off, and names of columns -> units.

Used by labels.py, classes.py and descriptors.py.
"""

from __future__ import annotations

import re

import numpy as np

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
"""A number as people write it."""
UNCERTAINTY = re.compile(r"\(\d+\)|\s*(±|\+/-).*$")
"""An uncertainty behind a number: ``1.23(4)``, ``1.2 ± 0.1``."""
BOUND = re.compile(r"\s*(<=|>=|<|>|≤|≥)\s*(.+)")
"""A bound instead of a value."""
MISSING = {"", "-", "--", "na", "n/a", "nan", "none", "null", "?", "."}
"""Texts of cells without a label, in lower case."""
BRACKETED = re.compile(r".*[(\[]\s*([^()\[\]]+?)\s*[)\]]\s*$")
"""A unit in brackets at the end of a column's name."""
SUFFIXES = {
    "ev": "eV", "mev": "meV", "gpa": "GPa", "mpa": "MPa", "k": "K", "ev_per_atom": "eV/atom",
    "s_cm": "S/cm", "w_mk": "W/(m K)", "angstrom": "angstrom", "cm-1": "1/cm", "kelvin": "K",
}  # fmt: skip
"""Units that end a column's name behind an underscore, in lower case."""


def parse_number(text: str) -> float | None:
    """A finite number, with or without an uncertainty behind it; None for anything else.

    Example:
        >>> [parse_number(text) for text in ("1.5e-3", "2.31(4)", "0.5 ± 0.1", "1,5", "high")]
        [0.0015, 2.31, 0.5, 1.5, None]
    """
    text = UNCERTAINTY.sub("", text.strip()).replace("\u2212", "-")
    if re.fullmatch(r"[+-]?\d+,(\d{1,2}|\d{4,})([eE][+-]?\d+)?", text):
        text = text.replace(",", ".")  # a decimal comma; before three digits it may be thousands
    if not NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if np.isfinite(value) else None


def unit_of(name: str) -> str:
    """The unit that a column's name ends in, or an empty text.

    Example:
        >>> unit_of("Ionic conductivity (S cm-1)"), unit_of("gap_eV"), unit_of("gap")
        ('S cm-1', 'eV', '')
    """
    if bracketed := BRACKETED.fullmatch(name):
        return bracketed[1]
    lowered = name.lower()
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if lowered.endswith(f"_{suffix}"):
            return SUFFIXES[suffix]
    return ""
