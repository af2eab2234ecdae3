"""One chunk of crystals to primitive Niggli cells through moyo; runs in a worker process.

Takes and gives plain arrays, so that chunks travel between processes cheaply. Called by
``canonical.py``, which prepares the site labels and puts species back.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import moyopy
import numpy as np
import numpy.typing as npt

from crystalssl.structures._primitive import FEW, primitive
from crystalssl.structures._search import Found, doubtful, guarded, search

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_MOST_SEARCHED = 4_000
"""Sites of a primitive cell up to which its symmetry is searched; a larger one is only reduced."""

_VOLUME_TOLERANCE = 0.05
"""Largest relative change of the volume per site that idealisation may cause."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standardized:
    """Primitive reduced cells of n crystals.

    Attributes:
        lattice: (n, 3, 3) right-handed Niggli-reduced rows a, b, c in angstrom.
        site_counts: (n,) sites of each cell.
        frac_coords: (sites, 3) fractional coordinates, not wrapped.
        site: (sites,) input site, counted within the crystal, that fills each site.
        space_group: (n,) space group numbers.
        failed: (n,) True where the cell was only reduced.
    """

    lattice: Floats
    site_counts: Integers
    frac_coords: Floats
    site: Integers
    space_group: Integers
    failed: npt.NDArray[np.bool_]

    @staticmethod
    def concatenate(parts: Sequence[Standardized]) -> Standardized:
        """Join chunks in order; none gives an empty result."""
        parts = [*parts, _EMPTY]
        return Standardized(
            **{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(_EMPTY)}
        )


_EMPTY = Standardized(
    lattice=np.zeros((0, 3, 3)),
    site_counts=np.zeros(0, dtype=np.int64),
    frac_coords=np.zeros((0, 3)),
    site=np.zeros(0, dtype=np.int64),
    space_group=np.zeros(0, dtype=np.int64),
    failed=np.zeros(0, dtype=bool),
)


def standardize(
    lattice: Floats, offsets: Integers, frac_coords: Floats, labels: Integers, symprec: float
) -> Standardized:
    """Find the primitive standardized cell of each crystal and Niggli-reduce it.

    Args:
        lattice: (n, 3, 3) rows a, b, c in angstrom.
        offsets: (n + 1,) site offsets.
        frac_coords: (sites, 3) fractional coordinates.
        labels: (sites,) equal where two sites of a crystal are filled alike.
        symprec: tolerance in angstrom.
    """
    cells = []
    with _quiet_moyo():
        for row in range(len(lattice)):
            sites = slice(offsets[row], offsets[row + 1])
            cells.append(_one(lattice[row], frac_coords[sites], labels[sites], symprec))
    if not cells:
        return _EMPTY
    basis, positions, site, group, failed = zip(*cells, strict=True)
    counts = np.array([len(part) for part in site], dtype=np.int64)
    return _reduce(
        np.array(basis, dtype=np.float64),
        Standardized(
            lattice=np.zeros((0, 3, 3)),
            site_counts=counts,
            frac_coords=np.concatenate([np.asarray(p, dtype=np.float64) for p in positions]),
            site=np.concatenate([np.asarray(p, dtype=np.int64) for p in site]),
            space_group=np.array(group, dtype=np.int64),
            failed=np.array(failed, dtype=bool),
        ),
    )


def _one(
    lattice: Floats, frac_coords: Floats, labels: Integers, symprec: float
) -> tuple[Any, Any, Any, int, bool]:
    """Basis, positions, source sites, space group and failure of one crystal."""
    sites = np.arange(len(labels))
    if len(labels) > FEW:
        small = primitive(lattice, frac_coords, labels, symprec)
        if small is not None:
            sites = small.site
            lattice, frac_coords, labels = small.lattice, small.frac_coords, labels[sites]
    numbers = labels.tolist()
    cell = lattice.tolist(), frac_coords.tolist(), numbers
    found = None
    if len(numbers) <= _MOST_SEARCHED:
        look = guarded if doubtful(lattice, frac_coords) else search
        found = look(*cell, symprec)
    if found is None or not _plausible(lattice, numbers, found):
        return lattice, frac_coords, sites, 1, True
    # first input site that became each site of the primitive cell, the last one listed wins
    source = dict(zip(found.mapping, sites.tolist(), strict=True))
    site = [source[place] for place in range(len(source))]
    return found.basis, found.positions, site, found.number, False


def _plausible(lattice: Floats, numbers: list[int], primitive: Found) -> bool:
    """Whether a primitive cell holds the same material: whole multiple, equal volume per site."""
    few = len(primitive.positions)
    if few == 0 or len(numbers) % few:
        return False
    before, after = _volume(lattice.tolist()) / len(numbers), _volume(primitive.basis) / few
    return bool(abs(after / before - 1.0) < _VOLUME_TOLERANCE)


def _volume(rows: Sequence[Sequence[float]]) -> float:
    """Volume of a cell; plain floats, since NumPy costs more than the search saves here."""
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = rows
    det = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
    return abs(det)


def _reduce(basis: Floats, cells: Standardized) -> Standardized:
    """Niggli-reduce all cells and carry the positions over."""
    change = np.empty((len(basis), 3, 3))
    for row, rows in enumerate(basis.tolist()):
        change[row] = _niggli(rows)
    steps = change.transpose(0, 2, 1)
    inverse = np.rint(np.linalg.inv(steps))
    owner = np.repeat(np.arange(len(basis)), cells.site_counts)
    return Standardized(
        lattice=np.einsum("nij,njk->nik", steps, basis),
        site_counts=cells.site_counts,
        frac_coords=np.einsum("si,sij->sj", cells.frac_coords, inverse[owner]),
        site=cells.site,
        space_group=cells.space_group,
        failed=cells.failed,
    )


def _niggli(basis: list[list[float]]) -> Any:
    """Integer matrix M with reduced = M.T @ basis, right-handed; Minkowski when Niggli fails."""
    try:
        return moyopy.niggli_reduce(basis)[1]
    except ValueError:
        return moyopy.minkowski_reduce(basis)[1]


@contextlib.contextmanager
def _quiet_moyo() -> Iterator[None]:
    """Hold back moyo's notes on sites of centred cells, which do not concern the primitive one."""
    logger = logging.getLogger("moyo")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
