"""The atom lists of a CIF block to columns: names, coordinates, occupancies, multiplicities.

A block may hold several lists, or keep some columns in a list of its own; rows are brought
together. Values that are no numbers are quoted in the reason. Used by ``reading.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from math import isfinite
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from gemmi import cif

from crystalssl.errors import InputError
from crystalssl.structures.formats.cif.tags import Loop, Tags

Columns = dict[str, list[str]]

_FRACT = ("_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")
_LABEL = "_atom_site_label"
_TYPE = "_atom_site_type_symbol"
_OCCUPANCY = "_atom_site_occupancy"
_FLAG = "_atom_site_calc_flag"
_HYDROGENS = "_atom_site_attached_hydrogens"
_MULTIPLICITY = ("_atom_site_site_symmetry_multiplicity", "_atom_site_symmetry_multiplicity")
_JOINED = (_TYPE, _OCCUPANCY, _FLAG, _HYDROGENS, *_MULTIPLICITY)
_FARTHEST = 1e4


class Listed(NamedTuple):
    """The sites as a block lists them.

    Attributes:
        frac: (rows, 3) fractional coordinates.
        names: type symbol or label of each row, as written.
        typed: whether names are type symbols.
        dummy: whether each row is marked as no atom, or None.
        occupancy: occupancies, or None when every row is full.
        columns: all columns by tag.
    """

    frac: npt.NDArray[np.float64]
    names: list[str]
    typed: bool
    dummy: list[bool] | None
    occupancy: list[float] | None
    columns: Columns

    @property
    def hydrogens(self) -> float:
        """Hydrogen atoms attached to rows but not placed."""
        return sum(map(_count, self.columns.get(_HYDROGENS, ())))

    @property
    def multiplicity(self) -> list[int] | None:
        """Stated number of images of each row, if every one is given."""
        for tag in _MULTIPLICITY:
            texts = self.columns.get(tag, [])
            if len(texts) == len(self.names) and all(t.isdigit() and len(t) < 5 for t in texts):
                return [int(text) for text in texts]
        return None


def listed_sites(tags: Tags) -> Listed:
    """The sites of a block.

    Raises:
        InputError: if coordinates, names or occupancies are missing or no numbers.
    """
    columns = _columns(tags)
    frac = _coordinates(columns)
    count = len(frac)
    names, typed = _names(columns, count)
    flags = columns.get(_FLAG, [])
    return Listed(
        frac=frac,
        names=names,
        typed=typed,
        dummy=[flag == "dum" for flag in flags] if "dum" in flags else None,
        occupancy=_occupancies(columns.get(_OCCUPANCY, []), count),
        columns=columns,
    )


def holds_sites(tags: Tags) -> bool:
    """Whether a block lists sites or has a cell at all."""
    return (
        "_cell_length_a" in tags.pairs
        or _FRACT[0] in tags.pairs
        or any(_FRACT[0] in names for names, _ in tags.loops)
    )


def _columns(tags: Tags) -> Columns:
    """Columns of all lists with coordinates, joined by label with those without."""
    lists = [_of_loop(names, loop) for names, loop in tags.loops if _FRACT[0] in names]
    if not lists:
        return {tag: [tags.pairs[tag]] for tag in (*_FRACT, _LABEL, *_JOINED) if tag in tags.pairs}
    columns = lists[0] if len(lists) == 1 else _stacked(lists)
    for names, loop in tags.loops:
        if _LABEL in names and _FRACT[0] not in names and any(tag in names for tag in _JOINED):
            _join(columns, _of_loop(names, loop))
    return columns


def _of_loop(names: Sequence[str], loop: Loop) -> Columns:
    values, width = loop.values, len(names)
    return {name: values[place::width] for place, name in enumerate(names)}


def _stacked(lists: Sequence[Columns]) -> Columns:
    """Several lists as one; rows that come again are left out."""
    tags = dict.fromkeys(tag for columns in lists for tag in columns)
    rows: dict[tuple[str, ...], None] = {}
    for columns in lists:
        count = len(columns[_FRACT[0]])
        filled = [columns.get(tag, ["?"] * count) for tag in tags]
        rows.update(dict.fromkeys(zip(*filled, strict=True)))
    return {tag: [row[place] for row in rows] for place, tag in enumerate(tags)}


def _join(columns: Columns, aside: Columns) -> None:
    """Add columns of a second list by label, where labels tell rows apart."""
    labels, others = columns.get(_LABEL, []), aside[_LABEL]
    if not labels or len(set(others)) != len(others):
        return
    for tag in _JOINED:
        if tag in aside and tag not in columns:
            known = dict(zip(others, aside[tag], strict=True))
            columns[tag] = [known.get(label, "?") for label in labels]


def _coordinates(columns: Columns) -> npt.NDArray[np.float64]:
    texts = [columns.get(tag, []) for tag in _FRACT]
    if not all(texts) or len({len(column) for column in texts}) != 1:
        raise InputError("it has no complete _atom_site_fract_x, _y, _z columns")
    try:
        flat = np.fromiter(map(float, chain.from_iterable(texts)), np.float64)
        return flat.reshape(3, -1).T
    except ValueError:  # standard uncertainties in brackets, ? or .
        values = np.array([[cif.as_number(text) for text in column] for column in texts])
    with np.errstate(invalid="ignore"):
        good = np.abs(values) < _FARTHEST  # NaN is not
    if not good.all():
        _refuse(columns, texts, np.flatnonzero(~good.all(axis=0)))
    return values.T


def _refuse(columns: Columns, texts: list[list[str]], bad: npt.NDArray[np.int64]) -> None:
    """Say which coordinate of which site is wrong, and what stands there."""
    first = int(bad[0])
    names = columns.get(_LABEL, [])
    site = names[first] if len(names) > first else f"number {first + 1}"
    row = [column[first] for column in texts]
    if any(map(cif.is_null, row)):
        raise InputError(f"the coordinates of site {site} are missing ({len(bad)} such sites)")
    wrong = next(text for text in row if not abs(cif.as_number(text)) < _FARTHEST)
    raise InputError(f"a coordinate of site {site} is {wrong!r}, expected a number of the cell")


def _names(columns: Columns, count: int) -> tuple[list[str], bool]:
    for tag in (_TYPE, _LABEL):
        names = columns.get(tag, [])
        if len(names) == count and not all(map(cif.is_null, names)):
            if tag == _TYPE and any(map(cif.is_null, names)) and _LABEL in columns:
                labels = columns[_LABEL]
                names = [b if cif.is_null(a) else a for a, b in zip(names, labels, strict=True)]
            return names, tag == _TYPE
    raise InputError("it has neither _atom_site_type_symbol nor _atom_site_label")


def _occupancies(texts: list[str], count: int) -> list[float] | None:
    """Occupancies, or None when every site is full; a missing one counts as 1."""
    known = {text: _occupancy(text) for text in set(texts)}
    if len(texts) != count or all(value == 1.0 for value in known.values()):
        return None
    return [known[text] for text in texts]


@lru_cache(maxsize=4096)
def _occupancy(text: str) -> float:
    value = 1.0 if cif.is_null(text) else float(cif.as_number(text))
    if not isfinite(value) or value < 0:
        raise InputError(f"an occupancy is {text}, expected a number from 0 to 1")
    return value


def _count(text: str) -> float:
    value = float(cif.as_number(text))
    return value if 0 < value < 10 else 0.0
