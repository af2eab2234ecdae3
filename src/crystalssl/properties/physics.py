"""Crystals -> named numbers with a meaning: what trees and people read beside learned features.

The one place that property models ask for them. Element statistics (mean, standard deviation,
least and greatest of each tabulated property over the atoms) and plain numbers of the cell.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crystalssl.representation.elemental import PROPERTIES, PROPERTY_NAMES
from crystalssl.structures.crystals import Crystals

STATISTICS = ("mean", "standard_deviation", "min", "max")
"""Statistics of each tabulated property."""
CELL = ("volume_per_atom_angstrom3", "log10_sites", "elements", "occupied_share")
"""Names of the numbers of the cell."""


def named_physics(crystals: Crystals) -> tuple[npt.NDArray[np.float32], tuple[str, ...]]:
    """Named numbers of every crystal.

    Args:
        crystals: n canonical crystals.

    Returns:
        (n, p) values, none missing, and their names.
    """
    filled = crystals.numbers > 0  # (sites, slots)
    owner = np.broadcast_to(crystals.crystal_of_site[:, None], filled.shape)[filled]
    number = np.minimum(crystals.numbers[filled], len(PROPERTIES) - 1)
    weight = crystals.occupancy[filled].astype(np.float64)
    values = PROPERTIES[number].astype(np.float64)  # (atoms, P)
    count = len(crystals)
    total = np.maximum(np.bincount(owner, weight, count), 1e-12)
    mean, square = np.zeros((2, count, values.shape[1]))
    np.add.at(mean, owner, values * weight[:, None])
    np.add.at(square, owner, values**2 * weight[:, None])
    mean /= total[:, None]
    deviation = np.sqrt(np.maximum(square / total[:, None] - mean**2, 0.0))
    low, high = np.full_like(mean, np.inf), np.full_like(mean, -np.inf)
    np.minimum.at(low, owner, values)
    np.maximum.at(high, owner, values)
    kinds = np.zeros((count, 128), bool)
    kinds[owner, crystals.numbers[filled]] = True
    cell = np.stack(
        [
            crystals.volumes / total,
            np.log10(np.maximum(crystals.site_counts, 1)),
            kinds.sum(axis=1),
            total / np.maximum(crystals.site_counts, 1),
        ],
        axis=1,
    )
    names = [f"{name} {statistic}" for statistic in STATISTICS for name in PROPERTY_NAMES]
    matrix = np.concatenate([mean, deviation, low, high, cell], axis=1).astype(np.float32)
    return np.nan_to_num(matrix), (*names, *CELL)
