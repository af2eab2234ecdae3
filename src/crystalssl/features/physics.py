"""Named physics as features: canonical crystals -> one block ``physics`` with its own names.

Beside ``extract.py``, which runs encoders; no weights enter. A number without a meaning for a
crystal is NaN and stays so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from crystalssl.features.features import PHYSICS, Features
from crystalssl.representation.physics import compute_physics, physics_columns
from crystalssl.structures.canonical import CanonicalResult
from crystalssl.structures.crystals import Crystals


def physics_names() -> tuple[str, ...]:
    """Names of the numbers, in order."""
    return tuple(column.name for column in physics_columns())


def physics_checksum() -> str:
    """What stands for weights where features are compared: the names of the numbers."""
    return hashlib.sha256("\n".join(physics_names()).encode()).hexdigest()


def physics_features(
    canonical: CanonicalResult | Crystals, progress: Callable[[int, int], None] | None = None
) -> Features:
    """Named numbers of every crystal, in order.

    Args:
        canonical: canonical crystals.
        progress: called with the number of crystals done and the number of all.

    Raises:
        InputError: as ``representation.physics.compute_physics``.
    """
    physics = compute_physics(canonical, progress=progress)
    crystals = canonical.crystals if isinstance(canonical, CanonicalResult) else canonical
    return Features(ids=crystals.ids, blocks={PHYSICS: physics.values}, names=physics.names)
