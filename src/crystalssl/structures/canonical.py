"""Crystals in any cell to one description each: primitive, idealised, Niggli-reduced.

Symmetry comes from moyo (https://github.com/spglib/moyo, MIT); its primitive standardized cell is
Niggli-reduced, turned so that a lies along x and b in the xy plane, and wrapped. Everything that
reads crystals for the panel, the graph or the targets starts from this form.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from crystalssl.config import SYMPREC
from crystalssl.errors import Note, Skip
from crystalssl.structures._standardize import Standardized, standardize
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.elements import SYMBOLS
from crystalssl.structures.species import mixture_codes
from crystalssl.structures.validity import LARGEST, MAX_SITES, MIN_DISTANCE, check, file_of

CRYSTAL_SYSTEMS = (
    "triclinic",
    "monoclinic",
    "orthorhombic",
    "tetragonal",
    "trigonal",
    "hexagonal",
    "cubic",
)
"""Names of the crystal-system codes 0..6."""

_LAST_GROUP = np.array([2, 15, 74, 142, 167, 194, 230])
_CHUNK = 512
_Job = tuple[
    npt.NDArray[np.float64],
    npt.NDArray[np.int64],
    npt.NDArray[np.float64],
    npt.NDArray[np.int64],
    float,
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Symmetry:
    """Symmetry of n crystals.

    Attributes:
        space_group: (n,) int16 space group numbers, 1..230; 1 where the search failed.
        crystal_system: (n,) int8 codes, an index into ``CRYSTAL_SYSTEMS``.
        symprec: tolerance in angstrom that the search was asked for.
        failed: (n,) True where no symmetry could be found, so that the cell given was only
            reduced, not made primitive or idealised.
    """

    space_group: npt.NDArray[np.int16]
    crystal_system: npt.NDArray[np.int8]
    symprec: float
    failed: npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class CanonicalResult:
    """Canonical crystals.

    Attributes:
        crystals: primitive reduced cells in input order, without the skipped ones.
        symmetry: their symmetry, row by row.
        kept: (m,) int64 rows of the input that ``crystals`` holds.
        skipped: the others, with a true reason.
        notes: crystals that can be described but lie outside the size of training.
    """

    crystals: Crystals
    symmetry: Symmetry
    kept: npt.NDArray[np.int64]
    skipped: list[Skip]
    notes: list[Note] = field(default_factory=list)

    @property
    def beyond_training(self) -> npt.NDArray[np.bool_]:
        """(m,) whether a crystal has more sites than any that default weights were trained on."""
        return self.crystals.site_counts > MAX_SITES


def canonicalize(
    crystals: Crystals,
    symprec: float = SYMPREC,
    *,
    max_sites: int = LARGEST,
    processes: int = 1,
    progress: Callable[[int], None] | None = None,
) -> CanonicalResult:
    """Bring each crystal to its primitive, reduced cell.

    The same crystal gives the same lattice and the same distances whatever supercell, basis,
    origin, orientation or order of sites it came in. Positions and lattice are idealised to the
    symmetry found, which moves atoms by about ``symprec`` at most. Which of the equivalent
    origins and axes is taken is not fixed by this.

    Args:
        crystals: n crystals in any cell, disordered ones included.
        symprec: tolerance of the symmetry search in angstrom.
        max_sites: most sites that a reduced cell may have.
        processes: worker processes; 1 works in this process. Worth it above some 5,000 crystals.
            Scripts that ask for more need the usual ``if __name__ == "__main__"``.
        progress: called with the number of crystals done since the last call.

    Returns:
        Canonical crystals, their symmetry, and one skip for each that breaks a validity rule
        (``validity.py``). A crystal on which the search fails is reduced as given, with space
        group 1 and ``symmetry.failed``.
    """
    # the search takes very long where sites fall together; idealisation moves others a little
    valid, skipped = check(crystals, max_sites=None, nearest=MIN_DISTANCE / 2)
    rows = np.flatnonzero(valid)
    good = crystals if valid.all() else crystals.take(rows)
    codes, mixtures = mixture_codes(good, decimals=4)
    jobs = _chunks(good, _local_labels(good, codes), symprec)
    found = _standardize_all(jobs, processes, progress or _ignore)
    offsets = np.concatenate([[0], np.cumsum(found.site_counts)]).astype(np.int64)
    owner = np.repeat(np.arange(len(good)), found.site_counts)
    code = codes[good.offsets[owner] + found.site]
    reduced = Crystals(
        ids=good.ids,
        lattice=upright(found.lattice),
        offsets=offsets,
        frac_coords=_wrap(found.frac_coords),
        numbers=mixtures[code, : mixtures.shape[1] // 2].astype(np.int16),
        occupancy=_at_most_one(mixtures[code, mixtures.shape[1] // 2 :]),
        columns=good.columns,
    )
    keep, late = check(reduced, max_sites)
    kept = rows[keep]
    group = found.space_group[keep]
    order = {str(name): place for place, name in enumerate(crystals.ids)} if late else {}
    canonical = reduced if keep.all() else reduced.take(keep)
    return CanonicalResult(
        crystals=canonical,
        symmetry=Symmetry(
            space_group=group.astype(np.int16),
            crystal_system=np.searchsorted(_LAST_GROUP, group).astype(np.int8),
            symprec=symprec,
            failed=found.failed[keep],
        ),
        kept=kept,
        skipped=sorted(skipped + late, key=lambda skip: order.get(skip.id, 0)),
        notes=[
            Note(id=str(canonical.ids[row]), file=file_of(canonical, row), text=_outside(count))
            for row, count in enumerate(canonical.site_counts.tolist())
            if count > MAX_SITES
        ],
    )


def _outside(sites: int) -> str:
    return f"{sites} sites, more than the {MAX_SITES} of the crystals used in training"


def upright(lattice: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Turn right-handed lattices so that a lies along x and b in the xy plane.

    Args:
        lattice: (n, 3, 3) rows a, b, c with a positive determinant.

    Returns:
        (n, 3, 3) lower-triangular lattices with the same lengths and angles.
    """
    metric = np.einsum("nij,nkj->nik", lattice, lattice)
    turned: npt.NDArray[np.float64] = np.linalg.cholesky(metric)
    return turned


def _standardize_all(
    jobs: Sequence[_Job], processes: int, progress: Callable[[int], None]
) -> Standardized:
    parts = []
    if processes <= 1 or len(jobs) < 2:
        for job in jobs:
            parts.append(standardize(*job))
            progress(len(job[0]))
        return Standardized.concatenate(parts)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(jobs)), mp_context=context) as pool:
        futures = [pool.submit(standardize, *job) for job in jobs]
        for job, future in zip(jobs, futures, strict=True):
            parts.append(future.result())
            progress(len(job[0]))
    return Standardized.concatenate(parts)


def _chunks(crystals: Crystals, labels: npt.NDArray[np.int64], symprec: float) -> list[_Job]:
    """Arguments of ``standardize`` for each few hundred crystals."""
    jobs = []
    for start in range(0, len(crystals), _CHUNK):
        stop = min(start + _CHUNK, len(crystals))
        first, last = crystals.offsets[start], crystals.offsets[stop]
        jobs.append(
            (
                crystals.lattice[start:stop],
                crystals.offsets[start : stop + 1] - first,
                crystals.frac_coords[first:last],
                labels[first:last],
                symprec,
            )
        )
    return jobs


def _ignore(done: int) -> None:
    """No progress is shown."""


def _local_labels(crystals: Crystals, codes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Site labels that do not depend on the other crystals of the batch."""
    labels = codes.copy()
    mixed = np.flatnonzero(codes >= len(SYMBOLS))
    if len(mixed):
        span = int(codes.max()) + 1
        pair, index = np.unique(
            crystals.crystal_of_site[mixed] * span + codes[mixed], return_inverse=True
        )
        rank = np.arange(len(pair)) - np.searchsorted(pair // span, pair // span)
        labels[mixed] = len(SYMBOLS) + rank[index]
    return labels


def _wrap(frac_coords: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Fractions in [0, 1), where rounding noise below zero reads as zero."""
    wrapped = frac_coords - np.floor(frac_coords + 1e-8)
    return np.where(np.abs(wrapped) < 1e-8, 0.0, wrapped)


def _at_most_one(occupancy: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Scale sites filled to slightly more than one (rounded input) back to one."""
    total = occupancy.sum(axis=1, keepdims=True)
    return np.asarray(occupancy / np.maximum(total, 1.0), dtype=np.float32)
