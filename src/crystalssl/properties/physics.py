"""Canonical crystals -> named numbers with a meaning: what trees and people read beside features.

The one place where property models ask for them, so that another source of such numbers is one
line. Numbers that a crystal does not have are taken as 0, which no standardised column minds.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crystalssl.representation.graph import PeriodicGraph
from crystalssl.representation.physics import compute_physics, physics_columns
from crystalssl.representation.physics.electron_numbers import LEVELS, OFF
from crystalssl.structures.canonical import CanonicalResult

Matrix = npt.NDArray[np.float32]


def named_physics(
    canonical: CanonicalResult,
    graph: PeriodicGraph | None = None,
    electronic: str = OFF,
    electrons: Matrix | None = None,
) -> tuple[Matrix, tuple[str, ...]]:
    """Named numbers of every crystal.

    Args:
        canonical: n canonical crystals.
        graph: their periodic graph, where it is there already.
        electronic: way to the numbers of the electrons that stand behind the others.
        electrons: (n, row) these numbers as ``Corpus.electrons`` has them; None if ``electronic``
            is off.

    Returns:
        (n, p) values, none missing, and their names.
    """
    values, names = compute_physics(canonical, graph=graph).values, physics_names(electronic)
    if electrons is not None:
        values = np.concatenate([values, electrons[:, : len(names) - values.shape[1]]], axis=1)
    return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0), names


def physics_names(electronic: str = OFF) -> tuple[str, ...]:
    """Names of the numbers, without computing any.

    Args:
        electronic: way to the numbers of the electrons.
    """
    return tuple(column.name for column in physics_columns(electronic))


def way_of(level: str | None) -> str:
    """Way to the numbers of the electrons that runs a level of the tight binding; off for none.

    Args:
        level: a level of the tight binding, or None.
    """
    return next(way for way, runs in LEVELS.items() if runs == level)
