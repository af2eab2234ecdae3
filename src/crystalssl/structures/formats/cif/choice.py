"""Listed sites, ways to read their symmetry and their names, to the one reading that fits.

Goes through settings, tolerances for images and readings of names until the content is what the
file states; without a formula the first reading whose atoms keep apart. Used by ``reading.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError
from crystalssl.structures.formats.cif.expansion import (
    IMAGE_TOLERANCES,
    clash,
    expand,
    shared_sites,
)
from crystalssl.structures.formats.cif.settings import P1, Setting, Symmetry
from crystalssl.structures.formats.cif.stated import Match, Stated, Verdict, compare

Floats = npt.NDArray[np.float64]

MOST_READINGS = 60
"""Settings and tolerances that are tried."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Listed rows that hold something.

    Attributes:
        frac: (rows, 3) positions.
        numbers: (rows,) atomic numbers for each way to read the names, with its note.
        occupancy: (rows,).
        multiplicity: stated images of each row, or None.
    """

    frac: Floats
    numbers: list[tuple[npt.NDArray[np.int64], str]]
    occupancy: Floats
    multiplicity: list[int] | None


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to read a block.

    Attributes:
        frac: (sites, 3) all positions of the cell.
        row: (sites,) row that each is an image of.
        numbers: (rows,) atomic numbers.
        match: how its content agrees with what is stated.
        setting: symmetry that it was read with.
        notes: what was chosen.
    """

    frac: Floats
    row: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.int64]
    match: Match
    setting: Setting
    notes: list[str]


def choose(rows: Rows, lattice: Floats, symmetry: Symmetry, stated: Stated) -> Reading:
    """The reading that fits.

    Raises:
        InputError: if none gives what the file states, or several that differ fit as well.
    """
    if not stated.formula:
        return _without_formula(rows, lattice, symmetry, stated)
    best: Reading | None = None
    for reading in _readings(rows, lattice, symmetry, stated, symmetry.settings):
        if reading.match.verdict <= Verdict.NEAR:
            return _told(reading, symmetry)
        if best is None or reading.match.verdict < best.match.verdict:
            best = reading
    if best is None:
        raise InputError("no reading of its symmetry gives any site")
    return _accepted(best, symmetry)


def _readings(
    rows: Rows,
    lattice: Floats,
    symmetry: Symmetry,
    stated: Stated,
    settings: Sequence[Setting],
) -> Iterator[Reading]:
    """Every combination of setting, tolerance and names, the likeliest first."""
    tried = 0
    partial = bool((rows.occupancy < 1.0).any())
    seen: set[tuple[int, ...]] = set()
    for setting in settings:
        for tolerance in IMAGE_TOLERANCES:
            if tried >= MOST_READINGS or (setting.group == P1 and tolerance != IMAGE_TOLERANCES[0]):
                break
            tried += 1
            stated_images = rows.multiplicity if tolerance == IMAGE_TOLERANCES[0] else None
            frac, row = _expanded(rows, lattice, setting, tolerance, stated_images)
            images = np.bincount(row, minlength=len(rows.frac))
            key = (id(setting.group), *images.tolist())
            if key in seen:
                continue
            seen.add(key)
            for numbers, note in rows.numbers:
                held = np.bincount(numbers, weights=images * rows.occupancy)
                content = {int(z): float(held[z]) for z in np.flatnonzero(held) if z}
                notes = [note] if note else []
                if tolerance != IMAGE_TOLERANCES[0]:
                    notes.append(f"images closer than {tolerance} angstrom taken as one atom")
                match = compare(content, stated, partial=partial)
                yield Reading(frac, row, numbers, match, setting, notes)


def _expanded(
    rows: Rows,
    lattice: Floats,
    setting: Setting,
    tolerance: float,
    multiplicity: list[int] | None,
) -> tuple[Floats, npt.NDArray[np.int64]]:
    if setting.group == P1:
        return rows.frac, np.arange(len(rows.frac))
    return expand(lattice, rows.frac, setting.group, tolerance, multiplicity)


def _without_formula(rows: Rows, lattice: Floats, symmetry: Symmetry, stated: Stated) -> Reading:
    """The first reading that the file means whose atoms keep apart; the first if none does."""
    first: Reading | None = None
    apart: Reading | None = None
    meant = [setting for setting in symmetry.settings if setting.meant]
    for reading in _readings(rows, lattice, symmetry, stated, meant):
        first = first or reading
        if reading.match.verdict > Verdict.UNKNOWN or not _as_stated(rows, reading):
            continue
        if not clash(lattice, reading.frac, rows.occupancy[reading.row]):
            apart = reading
            break
    if first is None:
        raise InputError("no reading of its symmetry gives any site")
    if apart is not None and "does not keep" in " ".join(symmetry.notes):
        _refuse_ambiguous(apart, rows, lattice, symmetry, stated, meant)
    return _told(apart, symmetry) if apart else _accepted(first, symmetry)


def _as_stated(rows: Rows, reading: Reading) -> bool:
    images = np.bincount(reading.row, minlength=len(rows.frac)).tolist()
    return rows.multiplicity is None or images == rows.multiplicity


def _refuse_ambiguous(
    chosen: Reading,
    rows: Rows,
    lattice: Floats,
    symmetry: Symmetry,
    stated: Stated,
    meant: Sequence[Setting],
) -> None:
    """Where the setting named does not fit the cell, the one taken must be the only one."""
    for reading in _readings(rows, lattice, symmetry, stated, meant):
        same = reading.frac.shape == chosen.frac.shape and _same_sites(reading, chosen, lattice)
        if same or clash(lattice, reading.frac, rows.occupancy[reading.row]):
            continue
        raise InputError(
            f"{symmetry.notes[-1]}; {chosen.setting.text} and {reading.setting.text} would both "
            "fit and give different crystals, and no formula decides"
        )


def _same_sites(one: Reading, other: Reading, lattice: Floats) -> bool:
    """Whether two readings put the images of every row at the same places."""
    if not np.array_equal(np.bincount(one.row), np.bincount(other.row)) or len(one.frac) > 2000:
        return False
    apart = one.frac[:, None] - other.frac[None]
    apart -= np.rint(apart)
    near = np.linalg.norm(apart @ lattice, axis=-1) < IMAGE_TOLERANCES[0]
    near &= one.row[:, None] == other.row[None]
    return bool(near.any(axis=1).all())


def _told(reading: Reading, symmetry: Symmetry) -> Reading:
    """The reading with all notes; says which setting was taken when it is not the first."""
    notes = [*symmetry.notes, *reading.notes]
    if reading.setting is not symmetry.settings[0] or symmetry.notes:
        notes.append(f"read with {reading.setting.text}")
    if reading.match.text:
        notes.append(reading.match.text)
    return Reading(
        reading.frac, reading.row, reading.numbers, reading.match, reading.setting, notes
    )


def _accepted(best: Reading, symmetry: Symmetry) -> Reading:
    """The best reading, where it may stand though it is not what the file states.

    Raises:
        InputError: where it may not.
    """
    match = best.match
    if match.verdict <= Verdict.UNKNOWN:
        return _told(best, symmetry)
    if match.verdict == Verdict.MULTIPLE:
        listed_whole = best.setting.group == P1 and match.ratio > 1.5
        first = best.setting is symmetry.settings[0]
        whole = abs(match.ratio - round(match.ratio)) < 0.02 if match.ratio > 0 else False
        if first and (symmetry.agreed or (listed_whole and whole)):
            return _told(best, symmetry)
    read = f" when read with {best.setting.text}"
    contradiction = f" ({'; '.join(symmetry.notes)})" if symmetry.notes else ""
    raise InputError(f"it contradicts itself: {match.text}{read}{contradiction}")


def on_sites(
    reading: Reading, rows: Rows, lattice: Floats
) -> tuple[Floats, list[int], list[int], list[float]]:
    """Positions, and number, site and occupancy of each species, of a reading."""
    occupancy = rows.occupancy[reading.row]
    sites = shared_sites(lattice, reading.frac, occupancy < 1.0)
    first = np.unique(sites, return_index=True)[1]
    numbers = reading.numbers[reading.row]
    return reading.frac[first], numbers.tolist(), sites.tolist(), occupancy.tolist()
