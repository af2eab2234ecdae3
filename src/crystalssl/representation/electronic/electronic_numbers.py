"""Canonical crystals -> numbers of their electrons: the one entry to the tight binding.

Crystals go one by one through mesh, matrices, charges and summaries, on all cores. What cannot be
described is masked with its reason and never stops the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from crystalssl.errors import unknown_name
from crystalssl.representation._compiled import run_chunks
from crystalssl.representation.electronic import basis
from crystalssl.representation.electronic.atoms import BOHR
from crystalssl.representation.electronic.charges import converge
from crystalssl.representation.electronic.kpoints import divisions, mesh
from crystalssl.representation.electronic.picture import picture
from crystalssl.representation.electronic.problem import prepare
from crystalssl.representation.electronic.quantities import (
    GROUPS,
    SPIN,
    Quantity,
    numbers,
    spin_numbers,
)
from crystalssl.representation.electronic.shells import HEAVIEST
from crystalssl.representation.electronic.spin import split
from crystalssl.structures.crystals import Crystals

MOST_SITES = 150
"""Sites of the largest crystal that is described; time grows with the cube of its functions."""
_CHUNK = 8
"""Crystals handed to a thread at a time."""
REASONS = {
    "": "described",
    "size": f"more than {MOST_SITES} sites",
    "element": f"an element beyond Z = {HEAVIEST}",
    "disorder": "a site that several species or a vacancy share",
    "failed": "no finite solution",
}
"""Why a crystal is masked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """How far the tight binding is taken.

    Attributes:
        mesh: length that the k-mesh stands for, angstrom.
        iterations: solutions with self-consistent potentials at most.
        tolerance: change of a charge, in electrons, at which iterations end.
        spin: whether d shells are split.
        single: whether large matrices are diagonalised in single precision.
        work: functions cubed times points of the full mesh at most.
    """

    mesh: float
    iterations: int
    tolerance: float
    spin: bool
    single: bool
    work: float


LEVELS = {
    "fast": Level(mesh=5.0, iterations=1, tolerance=0.0, spin=False, single=True, work=1e8),
    "full": Level(mesh=9.0, iterations=25, tolerance=2e-3, spin=True, single=True, work=4e8),
}
"""Levels by name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ElectronicNumbers:
    """Numbers of the electrons of n crystals.

    Attributes:
        values: (n, q) float32, finite and clipped; 0 in the rows of masked crystals.
        names: (q,) what each column is, ending in its unit where it has one.
        units: (q,) their units, ``1`` for pure numbers.
        valid: (n,) whether the crystal could be described.
        reasons: (n,) why not, a key of ``REASONS``; empty where it was.
    """

    values: npt.NDArray[np.float32]
    names: tuple[str, ...]
    units: tuple[str, ...]
    valid: npt.NDArray[np.bool_]
    reasons: npt.NDArray[np.str_]


def columns(level: str = "fast") -> tuple[Quantity, ...]:
    """The columns of what :func:`describe` gives at a level.

    Raises:
        UnknownNameError: if there is no such level.
    """
    if level not in LEVELS:
        raise unknown_name("level", level, LEVELS)
    common = tuple(quantity for group in GROUPS for quantity in group.quantities)
    return common + SPIN if LEVELS[level].spin else common


def describe(crystals: Crystals, level: str = "fast") -> ElectronicNumbers:
    """Solve the tight binding of crystals and sum up their electrons.

    Args:
        crystals: n canonical crystals (:func:`crystalssl.structures.canonical.canonicalize`); in
            another cell a crystal gets another k-mesh and so slightly other numbers.
        level: ``fast``, two diagonalisations on a mesh of 5 angstrom, or ``full``,
            self-consistent on 9 angstrom with spin.

    Returns:
        About 120 numbers of each crystal; crystals with disorder, with elements beyond Pu, or with
        more than ``MOST_SITES`` sites are masked.

    Raises:
        UnknownNameError: if there is no such level.
    """
    described = columns(level)
    values = np.zeros((len(crystals), len(described)), np.float32)
    reasons = _precheck(crystals)
    low = np.array([column.low for column in described])
    high = np.array([column.high for column in described])

    def work(start: int, stop: int) -> None:
        for row in range(start, stop):
            if reasons[row]:
                continue
            sites = slice(crystals.offsets[row], crystals.offsets[row + 1])
            try:
                raw = _describe_one(
                    crystals.lattice[row] / BOHR, crystals.frac_coords[sites],
                    crystals.numbers[sites, 0].astype(np.int64), LEVELS[level],
                )  # fmt: skip
            except (np.linalg.LinAlgError, ArithmeticError, ValueError):
                reasons[row] = "failed"
                continue
            if np.isfinite(raw).all():
                values[row] = np.clip(raw, low, high)
            else:
                reasons[row] = "failed"

    with threadpool_limits(1, user_api="blas"), np.errstate(all="ignore"):
        run_chunks(work, len(crystals), _CHUNK)
    return ElectronicNumbers(
        values=values,
        names=tuple(column.name for column in described),
        units=tuple(column.unit for column in described),
        valid=reasons == "",
        reasons=reasons,
    )


def _precheck(crystals: Crystals) -> npt.NDArray[np.str_]:
    """(n,) reasons for which crystals are masked before anything is computed."""
    reasons = np.full(len(crystals), "", dtype="<U8")
    heavy = (crystals.numbers > HEAVIEST).any(axis=1) | (crystals.numbers[:, 0] < 1)
    mixed = (crystals.numbers[:, 1] > 0) | (crystals.occupancy[:, 0] < 1.0 - 1e-4)
    owner = crystals.crystal_of_site
    reasons[np.unique(owner[mixed])] = "disorder"
    reasons[np.unique(owner[heavy])] = "element"
    counts = crystals.site_counts
    reasons[(counts > MOST_SITES) | (counts == 0)] = "size"
    return reasons


def _describe_one(
    lattice: npt.NDArray[np.float64],
    fractions: npt.NDArray[np.float64],
    elements: npt.NDArray[np.int64],
    level: Level,
) -> npt.NDArray[np.float64]:
    """(q,) unclipped numbers of one crystal, lattice in bohr."""
    functions = int(basis.load().orbitals[elements].sum())
    counts = divisions(lattice, level.mesh / BOHR, int(level.work / functions**3))
    problem = prepare(lattice, fractions, elements, mesh(counts), single=level.single)
    plain, solved = converge(problem, level.iterations, level.tolerance)
    seen = picture(problem, plain, solved)
    values = numbers(seen)
    if level.spin:
        values += spin_numbers(seen.gaps, split(problem, solved), len(elements))
    return np.array(values, np.float64)
