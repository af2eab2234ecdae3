"""Structures one at a time to one batch of crystals; where all file readers deliver.

A reader hands over whole entries: lattice, coordinates and (site, atomic number, amount) triples.
Each is checked by itself before it joins the others, so that none can change its neighbour, and
whatever a reader raises becomes a skip of that entry. Slots are packed once for the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from crystalssl.errors import CrystalSSLError, InputError, MissingExtraError, Note, Skip
from crystalssl.structures.columns import carried_columns
from crystalssl.structures.crystals import Crystals, ReadResult
from crystalssl.structures.elements import SYMBOLS
from crystalssl.structures.ids import storable
from crystalssl.structures.species import pack_slots
from crystalssl.structures.validity import MIN_VOLUME, any_site

MOST_SITES = 100_000
"""Sites that one entry may have; more is no crystal that anything behind could describe."""

LONGEST_VECTOR = 10_000.0
"""Length in angstrom that no cell vector may exceed; the numbers of a damaged file do."""

FARTHEST = 1e6
"""Cells that a site may lie away from the origin; beyond, no digit of the fraction is left."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One structure as a reader hands it over.

    Attributes:
        id: identifier.
        lattice: (3, 3) rows a, b, c in angstrom.
        frac_coords: (sites, 3).
        numbers: one atomic number per species on a site, 0 for a vacancy.
        sites: the site of each of them, or None when number i is on site i.
        amounts: occupancy of each of them, or None when all are 1.
        columns: further values to carry.
        notes: what the owner should know about how it was read.
    """

    id: str
    lattice: npt.ArrayLike
    frac_coords: npt.ArrayLike
    numbers: Sequence[int]
    sites: Sequence[int] | None = None
    amounts: Sequence[float] | None = None
    columns: Mapping[str, Any] | None = None
    notes: Sequence[str] = ()


class Assembler:
    """Collects structures and skips, then makes one batch of them.

    Attributes:
        skipped: what could not be read so far.
    """

    def __init__(self) -> None:
        self.skipped: list[Skip] = []
        self._entries: list[Entry] = []
        self._files: list[str] = []
        self._lattice: list[npt.NDArray[np.float64]] = []
        self._frac: list[npt.NDArray[np.float64]] = []

    @property
    def entries(self) -> Sequence[Entry]:
        """The entries taken so far."""
        return self._entries

    def read(self, name: str, file: str, remedy: str, make: Callable[..., Entry], *of: Any) -> None:
        """Take the entry that ``make(*of)`` gives; whatever it raises becomes a skip.

        Args:
            name: id for the skip.
            file: where it came from.
            remedy: what the user can do when it cannot be read.
            make: gives one entry.
            of: its arguments.

        Raises:
            MissingExtraError: where an optional package is needed.
        """
        try:
            self.add(make(*of), file)
        except BaseException as error:
            self.skip(name, file, reason_of(error), remedy)

    def add(self, entry: Entry, file: str) -> None:
        """Take one entry if it is whole; finite numbers and the cell are looked at in the end.

        Raises:
            InputError: if its numbers of sites, coordinates, species and occupancies disagree.
        """
        lattice = np.asarray(entry.lattice, dtype=np.float64)
        frac = np.asarray(entry.frac_coords, dtype=np.float64)
        _check_entry(entry, lattice, frac)
        self._entries.append(entry)
        self._files.append(file)
        self._lattice.append(lattice)
        self._frac.append(frac)

    def skip(self, name: str, file: str, reason: str, remedy: str) -> None:
        """Record a structure that could not be read."""
        self.skipped.append(Skip(id=storable(name), file=file, reason=reason, remedy=remedy))

    def finish(self) -> ReadResult:
        """The crystals so far, in the order they were added; ids are not made different yet."""
        if not self._entries:
            return ReadResult(crystals=Crystals.empty(), skipped=list(self.skipped))
        offsets = np.cumsum([0, *map(len, self._frac)]).astype(np.int64)
        numbers, occupancy = self._slots(offsets)
        ids = [storable(entry.id) for entry in self._entries]
        crystals = Crystals(
            ids=np.array(ids, dtype=np.str_),
            lattice=np.array(self._lattice),
            offsets=offsets,
            frac_coords=np.concatenate(self._frac),
            numbers=numbers,
            occupancy=occupancy,
            columns=carried_columns([entry.columns for entry in self._entries], self._files),
        )
        usable = np.ones(len(crystals), dtype=bool)
        for bad, reason, remedy in _problems(crystals):
            for row in np.flatnonzero(bad & usable).tolist():
                self.skip(ids[row], self._files[row], reason, remedy)
            usable &= ~bad
        notes = [
            Note(id=ids[row], file=self._files[row], text=text)
            for row in np.flatnonzero(usable).tolist()
            for text in self._entries[row].notes
        ]
        good = crystals if usable.all() else crystals.take(usable)
        return ReadResult(crystals=drop_empty_sites(good), skipped=list(self.skipped), notes=notes)

    def _slots(
        self, offsets: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.float32]]:
        """Numbers and occupancies (sites, k) of all entries."""
        counts = [len(entry.numbers) for entry in self._entries]
        total = sum(counts)
        listed = chain.from_iterable(entry.numbers for entry in self._entries)
        numbers = np.fromiter(listed, dtype=np.int64, count=total)
        amounts = np.ones(total)
        sites = np.empty(total, dtype=np.int64)
        start = 0
        for first, count, entry in zip(offsets.tolist(), counts, self._entries, strict=False):
            stop = start + count
            if entry.amounts is not None:
                amounts[start:stop] = entry.amounts
            sites[start:stop] = np.arange(count) if entry.sites is None else entry.sites
            sites[start:stop] += first
            start = stop
        return pack_slots(sites, numbers, amounts, int(offsets[-1]))


def reason_of(error: BaseException) -> str:
    """What to say about whatever a reader raised; stops of the program go on.

    Raises:
        BaseException: the error itself, where it asks to stop or names a missing package.
    """
    if isinstance(error, MissingExtraError):
        raise error
    if isinstance(error, CrystalSSLError):
        return str(error)
    # a Rust panic of a dependency is no Exception, and yet no wish to stop
    if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
        raise error
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return f"it cannot be read: {type(error).__name__} {error}"


def _check_entry(
    entry: Entry, lattice: npt.NDArray[np.float64], frac: npt.NDArray[np.float64]
) -> None:
    """Refuse an entry whose parts do not belong together."""
    if lattice.shape != (3, 3):
        raise InputError(f"its cell is no 3 x 3 matrix but of shape {lattice.shape}")
    if not frac.size:
        raise InputError("no atoms in it")
    if frac.ndim != 2 or frac.shape[1] != 3:
        raise InputError("a site has not three coordinates")
    count, species = len(frac), len(entry.numbers)
    if count > MOST_SITES:
        raise InputError(f"it has {count} sites, expected at most {MOST_SITES}")
    if entry.sites is None:
        if species != count:
            raise InputError(f"it has {count} positions but {species} species")
    elif len(entry.sites) != species or (
        species and (min(entry.sites) < 0 or max(entry.sites) >= count)
    ):
        raise InputError("its species stand on sites that are not there")
    if entry.amounts is not None:
        if len(entry.amounts) != species:
            raise InputError(f"it has {species} species but {len(entry.amounts)} occupancies")
        if not all(isfinite(amount) and amount >= 0 for amount in entry.amounts):
            raise InputError("an occupancy is negative or no number")
    if species and (max(entry.numbers) >= len(SYMBOLS) or min(entry.numbers) < 0):
        raise InputError(f"an atomic number is not in 1 to {len(SYMBOLS) - 1}")


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


def _problems(crystals: Crystals) -> Iterator[tuple[npt.NDArray[np.bool_], str, str]]:
    """What makes a structure unusable before any other check: who, why, and what to do."""
    cell = np.asarray(np.isfinite(crystals.lattice).all(axis=(1, 2)))
    yield ~cell, "a cell length or angle is missing or no number", "give the whole cell"
    known = np.where(cell[:, None, None], crystals.lattice, np.eye(3))
    long = np.abs(known).max(axis=(1, 2), initial=0) > LONGEST_VECTOR
    remedy = "check the cell lengths and angles or lattice vectors"
    yield long, f"a cell vector is longer than {LONGEST_VECTOR:g} angstrom", remedy
    known = np.where(long[:, None, None], np.eye(3), known)
    flat = np.abs(np.linalg.det(known)) < MIN_VOLUME
    yield flat, "its cell has no volume", remedy
    unknown = np.asarray(~np.isfinite(crystals.frac_coords).all(axis=1))
    remedy = "give every site three coordinates"
    yield any_site(crystals, unknown), "a coordinate is missing or no number", remedy
    with np.errstate(invalid="ignore"):
        far = np.asarray((np.abs(crystals.frac_coords) > FARTHEST).any(axis=1))
    reason = f"a site lies more than {FARTHEST:g} cells away from the origin"
    yield any_site(crystals, far), reason, "check the coordinates"
    empty = ~any_site(crystals, crystals.numbers[:, 0] > 0)
    yield empty, "no atoms in it", "give at least one site"
