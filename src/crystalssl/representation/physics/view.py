"""Named numbers as one more view of a crystal, beside those that encoders learn.

What a bottleneck mixes in (``features/bottleneck.py``). Numbers that need the symmetry are not
among them, so that crystals of a corpus have them too; nor are charges, which cost most and were
worth nothing to it (docs/experiments.md).
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from crystalssl.representation.graph import PeriodicGraph
from crystalssl.representation.physics.cell_numbers import SYMMETRY
from crystalssl.representation.physics.charge_numbers import CHARGE_GROUPS
from crystalssl.representation.physics.environment import surroundings
from crystalssl.representation.physics.named_numbers import GROUPS
from crystalssl.structures.crystals import Crystals

VIEW_GROUPS = tuple(group for group in GROUPS if group not in (SYMMETRY, *CHARGE_GROUPS))
"""Groups of the view, in the order of the columns."""


def view_names() -> tuple[str, ...]:
    """Names of the numbers, in order."""
    return tuple(column.name for group in VIEW_GROUPS for column in group.columns)


def view_checksum() -> str:
    """What stands for weights where a view is compared: the names of its numbers."""
    return hashlib.sha256("\n".join(view_names()).encode()).hexdigest()


def view_numbers(crystals: Crystals, graph: PeriodicGraph) -> npt.NDArray[np.float32]:
    """Numbers of some crystals, on this thread alone.

    The last digits may depend on how many are computed at once: who needs the same bytes gives the
    same crystals together.

    Args:
        crystals: n canonical crystals.
        graph: their periodic graph.

    Returns:
        (n, columns); 0 where a number has no meaning for a crystal.
    """
    around = surroundings(crystals, None, graph)
    values = np.hstack([group.compute(around) for group in VIEW_GROUPS]).astype(np.float32)
    return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
