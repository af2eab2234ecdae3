"""Canonical crystals -> named numbers with units: the one entry to this package.

Every group (``columns.py``) reads the same environment of sites and bonds, a few hundred crystals
at a time. Where a number has no meaning for a crystal it is NaN; each column says when.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError
from crystalssl.representation._compiled import run_chunks
from crystalssl.representation.graph import PeriodicGraph, periodic_graph
from crystalssl.representation.physics.angle_numbers import ANGLES
from crystalssl.representation.physics.bond_numbers import BOND_GROUPS
from crystalssl.representation.physics.cell_numbers import CELL_GROUPS
from crystalssl.representation.physics.charge_numbers import CHARGE_GROUPS
from crystalssl.representation.physics.columns import Column, Group
from crystalssl.representation.physics.composition_numbers import COMPOSITION_GROUPS
from crystalssl.representation.physics.electron_numbers import (
    OFF,
    electron_columns,
    electron_values,
)
from crystalssl.representation.physics.environment import surroundings
from crystalssl.representation.physics.local_numbers import LOCAL_GROUPS
from crystalssl.representation.physics.site_numbers import SITE_GROUPS
from crystalssl.structures.canonical import CanonicalResult, canonicalize
from crystalssl.structures.crystals import Crystals

GROUPS: tuple[Group, ...] = (
    *COMPOSITION_GROUPS, *CHARGE_GROUPS, *CELL_GROUPS, *SITE_GROUPS, *BOND_GROUPS, ANGLES,
    *LOCAL_GROUPS,
)  # fmt: skip
"""All groups, in the order of the columns."""
_CHUNK = 128
"""Crystals whose edges are in memory at a time, on each core."""
_REPORTED = 4096
"""Crystals between two reports of progress."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Physics:
    """Named numbers of n crystals.

    Attributes:
        values: (n, p) float32; NaN where a number has no meaning for a crystal.
        names: (p,) quantity, statistic and unit of each column.
        units: (p,) their units, ``1`` for pure numbers.
    """

    values: npt.NDArray[np.float32]
    names: tuple[str, ...]
    units: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.values)


def physics_columns(electronic: str = OFF) -> tuple[Column, ...]:
    """The columns of :func:`compute_physics`, in order.

    Raises:
        UnknownNameError: if there is no such way to the electrons.
    """
    structural = tuple(column for group in GROUPS for column in group.columns)
    return structural + electron_columns(electronic)


def compute_physics(
    crystals: CanonicalResult | Crystals,
    *,
    electronic: str = OFF,
    progress: Callable[[int, int], None] | None = None,
    graph: PeriodicGraph | None = None,
) -> Physics:
    """Named numbers of crystals.

    Args:
        crystals: n canonical crystals (``structures.canonical.canonicalize``), or crystals in any
            cell, which are made canonical first.
        electronic: numbers of the electrons beside the others: ``off``, ``exact`` (tight binding
            without spin) or ``full`` (self-consistent, with spin).
        progress: called with the number of crystals done and the number of all.
        graph: periodic graph of crystals that are canonical, where it is there already.

    Returns:
        One row for each crystal, in order.

    Raises:
        InputError: if crystals that were not canonical cannot be used.
        UnknownNameError: if there is no such way to the electrons.
    """
    canonical = _canonical(crystals)
    described = physics_columns(electronic)
    electrons = len(electron_columns(electronic))
    values = np.empty((len(canonical.crystals), len(described)), np.float32)
    for first in range(0, len(values), _REPORTED):
        some = slice(first, first + _REPORTED)
        _fill(canonical, first, values[some, : len(described) - electrons], graph)
        if electrons:
            values[some, -electrons:] = electron_values(canonical.crystals[some], electronic)
        if progress is not None:
            progress(min(first + _REPORTED, len(values)), len(values))
    return Physics(
        values=values,
        names=tuple(column.name for column in described),
        units=tuple(column.unit for column in described),
    )


def _fill(
    canonical: CanonicalResult,
    first: int,
    values: npt.NDArray[np.float32],
    graph: PeriodicGraph | None,
) -> None:
    """Fill the numbers of the crystals from ``first`` on, on all cores."""

    def work(start: int, stop: int) -> None:
        rows = slice(first + start, first + stop)
        batch = canonical.crystals[rows]
        symmetry = replace(
            canonical.symmetry,
            space_group=canonical.symmetry.space_group[rows],
            crystal_system=canonical.symmetry.crystal_system[rows],
            failed=canonical.symmetry.failed[rows],
        )
        if graph is None:
            edges = periodic_graph(batch)
        else:
            ends = canonical.crystals.offsets[[rows.start, rows.stop]].tolist()
            edges = graph.between(*ends)
        environment = surroundings(batch, symmetry, edges)
        values[start:stop] = np.hstack([group.compute(environment) for group in GROUPS])

    run_chunks(work, len(values), _CHUNK)


def _canonical(crystals: CanonicalResult | Crystals) -> CanonicalResult:
    if isinstance(crystals, CanonicalResult):
        return crystals
    canonical = canonicalize(crystals)
    if canonical.skipped:
        first = canonical.skipped[0]
        raise InputError(
            f"{len(canonical.skipped)} of {len(crystals)} crystals cannot be used, the first is "
            f"{first.id!r}: {first.reason}. Make them canonical (canonicalize) and give the result."
        )
    return canonical
