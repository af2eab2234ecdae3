"""Structures found one at a time to one batch of crystals; where all file readers deliver.

A reader adds lattices, coordinates and (site, atomic number, amount) entries as it meets them;
slots are packed once, for the whole batch, at the end. Repeated ids are made different there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from crystalssl.errors import Skip
from crystalssl.structures.crystals import SLOTS, Crystals, ReadResult
from crystalssl.structures.species import pack_slots
from crystalssl.structures.validity import MIN_VOLUME, SOURCE_COLUMN, any_site


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
    """Collects structures and skips, then makes one batch of them.

    Attributes:
        skipped: what could not be read so far.
    """

    def __init__(self) -> None:
        self.skipped: list[Skip] = []
        self._found: list[FoundStructure] = []
        self._files: list[str] = []
        self._lattice: list[npt.NDArray[np.float64]] = []
        self._frac: list[npt.NDArray[np.float64]] = []

    def add(self, found: FoundStructure, file: str) -> None:
        """Take one structure; whether its numbers can be used is looked at in the end."""
        lattice = np.asarray(found.lattice, dtype=np.float64)
        frac = np.asarray(found.frac_coords, dtype=np.float64)
        if lattice.shape != (3, 3) or frac.size % 3 or not frac.size:
            problem = "no atoms in it" if not frac.size else "its cell is no 3 x 3 matrix"
            self.skip(found.id, file, problem, "give a cell and at least one site")
            return
        self._found.append(found)
        self._files.append(file)
        self._lattice.append(lattice)
        self._frac.append(frac.reshape(-1, 3))

    def skip(self, name: str, file: str, reason: str, remedy: str) -> None:
        """Record a structure that could not be read."""
        self.skipped.append(Skip(id=name, file=file, reason=reason, remedy=remedy))

    def finish(self) -> ReadResult:
        """The crystals so far, in the order they were added; ids are not made different yet."""
        if not self._found:
            return ReadResult(crystals=Crystals.empty(), skipped=list(self.skipped))
        offsets = np.cumsum([0, *map(len, self._frac)]).astype(np.int64)
        numbers, occupancy, crowded = self._slots(offsets)
        crystals = Crystals(
            ids=np.array([found.id for found in self._found], dtype=np.str_),
            lattice=np.array(self._lattice),
            offsets=offsets,
            frac_coords=np.concatenate(self._frac),
            numbers=numbers,
            occupancy=occupancy,
            columns=carried_columns([found.columns for found in self._found], self._files),
        )
        usable = np.ones(len(crystals), dtype=bool)
        for bad, reason, remedy in _problems(crystals, crowded):
            for row in np.flatnonzero(bad & usable).tolist():
                self.skip(self._found[row].id, self._files[row], reason, remedy)
            usable &= ~bad
        good = crystals if usable.all() else crystals.take(usable)
        return ReadResult(crystals=drop_empty_sites(good), skipped=list(self.skipped))

    def _slots(
        self, offsets: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        numbers = np.concatenate([np.asarray(f.numbers, dtype=np.int64) for f in self._found])
        amounts = np.ones(len(numbers))
        sites = np.empty(len(numbers), dtype=np.int64)
        start = 0
        for first, found in zip(offsets.tolist(), self._found, strict=False):
            stop = start + len(found.numbers)
            if found.amounts is not None:
                amounts[start:stop] = found.amounts
            place = range(stop - start) if found.sites is None else found.sites
            sites[start:stop] = place
            sites[start:stop] += first
            start = stop
        return pack_slots(sites, numbers, amounts, int(offsets[-1]))


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


def carried_columns(
    rows: Sequence[Mapping[str, Any] | None], files: Sequence[str]
) -> pa.Table | None:
    """Values found beside the structures as a table; kinds that do not mix become text."""
    names = dict.fromkeys(name for row in rows if row for name in row)
    columns: dict[str, pa.Array] = {}
    for name in names:
        columns[name] = _column([row.get(name) if row else None for row in rows])
    if any(files):
        columns[SOURCE_COLUMN] = pa.array(files, type=pa.string())
    return pa.table(columns) if columns else None


def _column(values: Iterable[Any]) -> pa.Array:
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    try:
        return pa.array(plain)
    except (pa.ArrowException, OverflowError):
        return pa.array([None if v is None else str(v) for v in plain], type=pa.string())


def _problems(
    crystals: Crystals, crowded: npt.NDArray[np.bool_]
) -> Iterator[tuple[npt.NDArray[np.bool_], str, str]]:
    """What makes a structure unusable before any other check: who, why, and what to do."""
    cell = np.asarray(np.isfinite(crystals.lattice).all(axis=(1, 2)))
    yield ~cell, "a cell length or angle is missing or no number", "give the whole cell"
    known = np.where(cell[:, None, None], crystals.lattice, np.eye(3))
    flat = np.abs(np.linalg.det(known)) < MIN_VOLUME
    yield flat, "its cell has no volume", "check the cell lengths and angles or lattice vectors"
    unknown = np.asarray(~np.isfinite(crystals.frac_coords).all(axis=1))
    remedy = "give every site three coordinates"
    yield any_site(crystals, unknown), "a coordinate is missing or no number", remedy
    remedy = f"use structures with 1 to {SLOTS} elements on a site"
    yield any_site(crystals, crowded), f"a site holds more than {SLOTS} elements", remedy
    empty = ~any_site(crystals, crystals.numbers[:, 0] > 0)
    yield empty, "no atoms in it", "give at least one site"
