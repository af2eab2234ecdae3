"""Canonical crystals -> named numbers with a meaning: what trees and people read beside features.

The one place where property models ask for them, so that another source of such numbers is one
line. Numbers that a crystal does not have are taken as 0, which no standardised column minds.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crystalssl.representation.graph import PeriodicGraph
from crystalssl.representation.physics import compute_physics, physics_columns
from crystalssl.structures.canonical import CanonicalResult


def named_physics(
    canonical: CanonicalResult, graph: PeriodicGraph | None = None
) -> tuple[npt.NDArray[np.float32], tuple[str, ...]]:
    """Named numbers of every crystal.

    Args:
        canonical: n canonical crystals.
        graph: their periodic graph, where it is there already.

    Returns:
        (n, p) values, none missing, and their names.
    """
    physics = compute_physics(canonical, graph=graph)
    return np.nan_to_num(physics.values, nan=0.0, posinf=0.0, neginf=0.0), physics.names


def physics_names() -> tuple[str, ...]:
    """Names of the numbers, without computing any."""
    return tuple(column.name for column in physics_columns())
