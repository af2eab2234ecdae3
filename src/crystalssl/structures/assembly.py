"""Structures found one at a time to one batch of crystals; where all file readers deliver.

A reader adds lattices, coordinates and (site, atomic number, amount) entries as it meets them;
slots are packed once, for the whole batch, at the end. Repeated ids are made different there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from crystalssl.errors import Skip
from crystalssl.structures.crystals import SLOTS, Crystals, ReadResult
from crystalssl.structures.species import pack_slots
from crystalssl.structures.validity import MIN_VOLUME, SOURCE_COLUMN


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundStructure:
    """One structure as a reader found it.

    Attributes:
        id: identifier.
        lattice: (3, 3) rows a, b, c in angstrom.
        frac_coords: (sites, 3).
        numbers: one atomic number per entry, 0 for a vacancy.
        sites: the site of each entry, or None when entry i is site i.
        amounts: occupancy of each entry, or None when all are 1.
        columns: further values to carry.
    """

    id: str
    lattice: npt.ArrayLike
    frac_coords: npt.ArrayLike
    numbers: Sequence[int]
    sites: Sequence[int] | None = None
    amounts: Sequence[float] | None = None
    columns: Mapping[str, Any] | None = None


class Assembler:
    """Collects structures and skips, then makes one batch of them."""

    def __init__(self) -> None:
        self.skipped: list[Skip] = []
        self._ids: list[str] = []
        self._files: list[str] = []
        self._lattice: list[npt.NDArray[np.float64]] = []
        self._frac: list[npt.NDArray[np.float64]] = []
        self._numbers: list[int] = []
        self._amounts: list[float] = []
        self._sites: list[int] = []
        self._site_total = 0
        self._columns: list[Mapping[str, Any] | None] = []

    def add(self, found: FoundStructure, file: str) -> None:
        """Take one structure, or skip it when its cell or coordinates cannot be used at all."""
        lattice = np.asarray(found.lattice, dtype=np.float64)
        frac = np.asarray(found.frac_coords, dtype=np.float64).reshape(-1, 3)
        problem = _problem(lattice, frac)
        if problem:
            self.skip(found.id, file, *problem)
            return
        first = self._site_total
        self._site_total += len(frac)
        sites = range(len(frac)) if found.sites is None else found.sites
        self._sites.extend([first + site for site in sites])
        self._numbers.extend(found.numbers)
        self._amounts.extend([1.0] * len(frac) if found.amounts is None else found.amounts)
        self._ids.append(found.id)
        self._files.append(file)
        self._lattice.append(lattice)
        self._frac.append(frac)
        self._columns.append(found.columns)

    def skip(self, name: str, file: str, reason: str, remedy: str) -> None:
        """Record a structure that could not be read."""
        self.skipped.append(Skip(id=name, file=file, reason=reason, remedy=remedy))

    def finish(self) -> ReadResult:
        """The crystals so far, in the order they were added; ids are not made different yet."""
        if not self._ids:
            return ReadResult(crystals=Crystals.empty(), skipped=list(self.skipped))
        numbers, occupancy, crowded = pack_slots(
            np.array(self._sites, dtype=np.int64),
            np.array(self._numbers, dtype=np.int64),
            np.array(self._amounts, dtype=np.float64),
            self._site_total,
        )
        crystals = Crystals(
            ids=np.array(self._ids, dtype=np.str_),
            lattice=np.array(self._lattice),
            offsets=np.cumsum([0, *map(len, self._frac)]).astype(np.int64),
            frac_coords=np.concatenate(self._frac),
            numbers=numbers,
            occupancy=occupancy,
            columns=carried_columns(self._columns, self._files),
        )
        owner = crystals.crystal_of_site
        too_many = np.bincount(owner[crowded], minlength=len(crystals)) > 0
        filled = np.bincount(owner[numbers[:, 0] > 0], minlength=len(crystals)) > 0
        for row in np.flatnonzero(too_many | ~filled).tolist():
            self.skip(
                self._ids[row],
                self._files[row],
                f"a site holds more than {SLOTS} elements" if too_many[row] else "no atoms in it",
                f"use structures with 1 to {SLOTS} elements on a site",
            )
        good = drop_empty_sites(crystals)
        usable = filled & ~too_many
        return ReadResult(
            crystals=good if usable.all() else good.take(usable), skipped=list(self.skipped)
        )


def drop_empty_sites(crystals: Crystals) -> Crystals:
    """Leave out sites that hold nothing but vacancy."""
    filled = crystals.numbers[:, 0] > 0
    if filled.all():
        return crystals
    counts = np.bincount(crystals.crystal_of_site[filled], minlength=len(crystals))
    return Crystals(
        ids=crystals.ids,
        lattice=crystals.lattice,
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        frac_coords=crystals.frac_coords[filled],
        numbers=crystals.numbers[filled],
        occupancy=crystals.occupancy[filled],
        columns=crystals.columns,
    )


def carried_columns(rows: Sequence[Mapping[str, Any] | None], files: Sequence[str]) -> pa.Table:
    """Values found beside the structures as a table; kinds that do not mix become text."""
    names = dict.fromkeys(name for row in rows if row for name in row)
    columns: dict[str, pa.Array] = {}
    for name in names:
        columns[name] = _column([row.get(name) if row else None for row in rows])
    columns[SOURCE_COLUMN] = pa.array(files, type=pa.string())
    return pa.table(columns)


def _column(values: Iterable[Any]) -> pa.Array:
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    try:
        return pa.array(plain)
    except (pa.ArrowException, OverflowError):
        return pa.array([None if v is None else str(v) for v in plain], type=pa.string())


def _problem(
    lattice: npt.NDArray[np.float64], frac: npt.NDArray[np.float64]
) -> tuple[str, str] | None:
    """Why a cell or its coordinates cannot be used at all, and what to do."""
    if lattice.shape != (3, 3) or not np.isfinite(lattice).all():
        return "a cell length or angle is missing or no number", "give a, b, c and the angles"
    if abs(float(np.linalg.det(lattice))) < MIN_VOLUME:
        return "its cell has no volume", "check the cell lengths and angles or lattice vectors"
    if not len(frac):
        return "no atoms in it", "give at least one site"
    if not np.isfinite(frac).all():
        return "a coordinate is missing or no number", "give every site three coordinates"
    return None
