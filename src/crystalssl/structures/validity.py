"""Crystals to the mask of those that can be described, and a true reason for each of the others.

The rules are those of section 3 of the design: finite numbers, positive volume, known elements,
occupancies that fit on a site, atoms apart, a bounded number of sites. ``canonical.py`` calls it on
the reduced cells; it can be asked about any crystals.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crystalssl.errors import Skip
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.elements import MAX_NUMBER, SYMBOLS

MIN_DISTANCE = 0.5
"""Two sites closer than this, in angstrom, overlap unless they share their occupancy."""

MAX_SITES = 100
"""Most sites of the crystals that default weights were trained on, and of the panel's rows."""

LARGEST = 10_000
"""Most sites that a reduced cell may have to be described at all."""

SLENDEREST = 1_000.0
"""Largest ratio of the lengths of two cell vectors."""

MIN_VOLUME = 1e-3
"""Smallest cell volume, in cubic angstrom, that counts as positive."""

OCCUPANCY_TOLERANCE = 0.01
"""How far the total occupancy of a site may exceed one (rounded numbers such as 3 x 0.334)."""

_WIDEST = 1.0
"""Cells that a sphere of ``MIN_DISTANCE`` may span to either side before a cell is reduced."""

SOURCE_COLUMN = "source_file"
"""Carried column with the file that a crystal came from."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Rule:
    broken: Callable[[Crystals], Mask]
    reason: Callable[[Crystals], str]
    remedy: str


def check(
    crystals: Crystals, max_sites: int | None = LARGEST, *, nearest: float = MIN_DISTANCE
) -> tuple[Mask, list[Skip]]:
    """Find the crystals that can be described.

    Args:
        crystals: n crystals in any cell.
        max_sites: most sites that a cell may have, or None for any number.
        nearest: sites closer than this overlap, in angstrom; at most ``MIN_DISTANCE``.

    Returns:
        (n,) mask of the good ones, and one skip for each of the others, in order, with the first
        rule it breaks.
    """
    rules = [*_RULES, _site_count_rule(max_sites or sys.maxsize), _distance_rule(nearest)]
    keep = np.ones(len(crystals), dtype=bool)
    skipped: dict[int, Skip] = {}
    for rule in rules:
        rows = np.flatnonzero(keep)
        if not len(rows):
            break
        part = crystals if len(rows) == len(crystals) else crystals.take(rows)
        for place in np.flatnonzero(rule.broken(part)).tolist():
            row = int(rows[place])
            keep[row] = False
            skipped[row] = skip(part, place, rule.reason(part.take([place])), rule.remedy)
    return keep, [skipped[row] for row in sorted(skipped)]


def skip(crystals: Crystals, row: int, reason: str, remedy: str) -> Skip:
    """Record one crystal of a batch as left out, with its id and, if carried, its file."""
    return Skip(
        id=str(crystals.ids[row]), file=file_of(crystals, row), reason=reason, remedy=remedy
    )


def file_of(crystals: Crystals, row: int) -> str:
    """File that a crystal came from, if it is carried."""
    columns = crystals.columns
    if columns is None or SOURCE_COLUMN not in columns.column_names:
        return ""
    return str(columns[SOURCE_COLUMN][row].as_py() or "")


def any_site(crystals: Crystals, site_mask: Mask) -> Mask:
    """(n,) whether some site of the crystal is marked."""
    marked = np.bincount(crystals.crystal_of_site[site_mask], minlength=len(crystals))
    return np.asarray(marked > 0)


def closest_pair(crystals: Crystals) -> npt.NDArray[np.float64]:
    """(n,) shortest distance below 0.5 angstrom between sites that may not overlap, else inf.

    Periodic images count, also those of a site itself. Two sites may overlap when their total
    occupancies add up to at most one: then they are alternatives.
    """
    filled = crystals.occupancy.sum(axis=1, dtype=np.float64)
    return shortest_distance(crystals.lattice, crystals.offsets, crystals.frac_coords, filled)


def shortest_distance(
    lattice: npt.NDArray[np.float64],
    offsets: npt.NDArray[np.int64],
    frac_coords: npt.NDArray[np.float64],
    filled: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """As :func:`closest_pair` of plain arrays.

    Args:
        lattice: (n, 3, 3) rows a, b, c in angstrom.
        offsets: (n + 1,) site offsets.
        frac_coords: (sites, 3).
        filled: (sites,) total occupancy.
    """
    from crystalssl.structures._overlap import shortest_overlap

    lattice, frac_coords = _compact(lattice, offsets, frac_coords)
    reach = MIN_DISTANCE * np.linalg.norm(np.linalg.inv(lattice), axis=1)
    lengths = np.linalg.norm(lattice, axis=2).min(axis=1, initial=np.inf)
    thin = lengths < MIN_DISTANCE  # every site overlaps its own image: nothing to search
    reach[thin] = -1.0
    owner = np.repeat(np.arange(len(lattice)), np.diff(offsets))
    along = frac_coords[np.arange(len(owner)), reach.argmin(axis=1)[owner]]
    along = along - np.floor(along)
    order = np.lexsort((along, owner))
    shortest = shortest_overlap(
        np.ascontiguousarray(lattice),
        offsets,
        frac_coords[order],
        along[order],
        filled[order],
        reach,
        MIN_DISTANCE,
        1.0 + OCCUPANCY_TOLERANCE,
    )
    return np.where(thin, lengths, shortest)


def _compact(
    lattice: npt.NDArray[np.float64],
    offsets: npt.NDArray[np.int64],
    frac_coords: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The same crystals, very skew cells reduced: in those a sphere spans thousands of cells."""
    reach = MIN_DISTANCE * np.linalg.norm(np.linalg.inv(lattice), axis=1)
    skew = np.flatnonzero((reach > _WIDEST).any(axis=1))
    if not len(skew):
        return lattice, frac_coords
    import moyopy

    lattice, frac_coords = lattice.copy(), frac_coords.copy()
    for row in skew.tolist():
        change = np.array(moyopy.minkowski_reduce(lattice[row].tolist())[1], dtype=np.float64).T
        sites = slice(offsets[row], offsets[row + 1])
        lattice[row] = change @ lattice[row]
        frac_coords[sites] = frac_coords[sites] @ np.linalg.inv(change)
    return lattice, frac_coords


def _not_finite(crystals: Crystals) -> Mask:
    known = np.isfinite(crystals.frac_coords).all(axis=1)
    sites = np.asarray(~(known & np.isfinite(crystals.occupancy).all(axis=1)))
    return any_site(crystals, sites) | ~np.isfinite(crystals.lattice).all(axis=(1, 2))


def _slenderness(crystals: Crystals) -> npt.NDArray[np.float64]:
    """(n,) longest over shortest cell vector."""
    lengths = np.linalg.norm(crystals.lattice, axis=2)
    ratio: npt.NDArray[np.float64] = lengths.max(axis=1) / np.maximum(lengths.min(axis=1), 1e-12)
    return ratio


def _unknown_elements(crystals: Crystals) -> Mask:
    return (crystals.numbers > MAX_NUMBER) | (crystals.numbers < 0)


def _crowded(crystals: Crystals) -> Mask:
    return np.asarray(crystals.occupancy.sum(axis=1) > 1.0 + OCCUPANCY_TOLERANCE)


def _bad_slots(crystals: Crystals) -> Mask:
    filled = crystals.numbers != 0
    wrong = (crystals.occupancy < 0) | (filled != (crystals.occupancy > 0))
    return np.asarray(wrong.any(axis=1) | ~filled.any(axis=1))


def _name_unknown(crystals: Crystals) -> str:
    number = int(crystals.numbers[_unknown_elements(crystals)][0])
    name = SYMBOLS[number] if 0 < number < len(SYMBOLS) else "?"
    return f"element {name} (Z = {number}), expected Z from 1 to {MAX_NUMBER}"


def _site_count_rule(limit: int) -> _Rule:
    return _Rule(
        lambda c: (c.site_counts > limit) | (c.site_counts < 1),
        lambda c: f"{int(c.site_counts[0])} sites in the cell, expected 1 to {limit}",
        f"use a structure whose primitive cell has at most {limit} sites",
    )


def _distance_rule(nearest: float) -> _Rule:
    return _Rule(
        lambda c: np.asarray(closest_pair(c) < nearest),
        lambda c: (
            f"two sites are {closest_pair(c)[0]:.3f} angstrom apart, expected at least "
            f"{MIN_DISTANCE} (or occupancies that add up to 1 at most)"
        ),
        "remove the doubled atom, or give alternatives partial occupancies",
    )


_RULES = (
    _Rule(
        _not_finite,
        lambda c: "a lattice vector, coordinate or occupancy is missing, NaN or infinite",
        "give every lattice vector, coordinate and occupancy a number",
    ),
    _Rule(
        lambda c: c.volumes < MIN_VOLUME,
        lambda c: f"cell volume is {float(c.volumes[0]):.3g} cubic angstrom, expected more",
        "check the lattice vectors or the cell lengths and angles",
    ),
    _Rule(
        lambda c: _slenderness(c) > SLENDEREST,
        lambda c: (
            f"one cell vector is {_slenderness(c)[0]:.3g} times as long as another, expected at "
            f"most {SLENDEREST:g}"
        ),
        "check the lattice vectors or the cell lengths",
    ),
    _Rule(
        lambda c: any_site(c, np.asarray(_unknown_elements(c).any(axis=1))),
        _name_unknown,
        f"leave it out; elements beyond Z = {MAX_NUMBER} have no tabulated properties",
    ),
    _Rule(
        lambda c: any_site(c, _bad_slots(c)),
        lambda c: "a site holds no atom, or an occupancy is negative",
        "give every site at least one element with an occupancy above 0",
    ),
    _Rule(
        lambda c: any_site(c, _crowded(c)),
        lambda c: f"total occupancy of a site is {c.occupancy.sum(axis=1).max():.3f}, expected 1",
        "correct the occupancies, or remove sites that are listed twice",
    ),
)
