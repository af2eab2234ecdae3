"""CIF text that gemmi refuses to entries, through pymatgen's reader; checked as any other.

pymatgen forgives missing quotes and the like, but takes what it cannot understand for P1: so a
text that speaks of magnetic or superspace symmetry is not given to it, and what it reads must be
what the formula in the text says. Called by ``reading.py`` after a syntax error.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import numpy as np

from crystalssl.errors import InputError
from crystalssl.structures.assembly import Entry
from crystalssl.structures.formats.cif.stated import (
    Stated,
    Verdict,
    compare,
    formula_of,
    positive,
)

LONGEST = 300_000
"""Characters of a text that pymatgen is asked to read."""
MOST_LINES = 3_000
"""Lines of such a text; its time grows with sites times operations."""

_UNFIT = re.compile(r"_ssg|magn_|_modulation|_wave_vector", re.IGNORECASE)
_FORMULA = re.compile(r"^\s*_chemical_formula_sum\s+('[^'\n]*'|\"[^\"\n]*\"|\S+)", re.I | re.M)
_UNITS = re.compile(r"^\s*_cell_formula_units_Z\s+(\S+)", re.I | re.M)


def entries_after_error(text: str, label: str) -> list[Entry]:
    """What pymatgen makes of a text.

    Raises:
        InputError: if it cannot read it either, or reads what the text contradicts.
    """
    if "_cell_length_a" not in text.lower():
        raise InputError("it holds no cell")
    if len(text) > LONGEST or text.count("\n") > MOST_LINES:
        raise InputError("too long to be read in spite of the error")
    if _UNFIT.search(text):
        raise InputError("its magnetic or superspace symmetry cannot be read in spite of the error")
    from crystalssl.structures.formats.pymatgen_objects import cif_with_pymatgen

    entries = cif_with_pymatgen(text, label)
    formula, units = _FORMULA.search(text), _UNITS.search(text)
    if not formula or len(entries) != 1:
        note = "gemmi could not follow its syntax; read by pymatgen"
        return [replace(entry, notes=(note,)) for entry in entries]
    stated = Stated(formula_of(formula.group(1)), positive(units.group(1)) if units else 0.0, 0.0)
    entry = entries[0]
    content: Counter[int] = Counter()
    amounts = np.ones(len(entry.numbers)) if entry.amounts is None else entry.amounts
    for number, amount in zip(entry.numbers, amounts, strict=True):
        content[number] += amount  # type: ignore[assignment]
    match = compare(content, stated, partial=entry.amounts is not None)
    if match.verdict > Verdict.UNKNOWN:
        raise InputError(f"pymatgen reads it, but {match.text}")
    notes = ["gemmi could not follow its syntax; read by pymatgen"]
    return [replace(entry, notes=[*notes, match.text] if match.text else notes)]
