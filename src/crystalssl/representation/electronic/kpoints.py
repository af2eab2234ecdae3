"""Meshes of k-points by length: lattice -> points and weights, half of them by time reversal.

The number along a reciprocal vector follows from the spacing of the lattice planes, on the
canonical cell, so that a crystal in another cell gets the same mesh.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_SLACK = 0.15
"""A mesh may fall short of its length by this part of a division."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mesh:
    """A Gamma-centred mesh.

    Attributes:
        points: (K, 3) in fractions of the reciprocal vectors, one of each pair k, -k; those that
            are their own partners first.
        weights: (K,) sum to 1.
        real: points at the front whose Bloch matrices are real.
    """

    points: Array
    weights: Array
    real: int


def divisions(lattice: Array, length: float, most: int) -> npt.NDArray[np.int64]:
    """Divisions along the three reciprocal vectors.

    Args:
        lattice: (3, 3) rows a, b, c.
        length: least length of the supercell that the mesh stands for, in the lattice's unit.
        most: points of the full mesh at most; the length is shortened until it has no more.
    """
    planes = np.linalg.norm(np.linalg.inv(lattice), axis=0)  # 1 / spacing
    while True:
        counts: npt.NDArray[np.int64] = np.maximum(
            np.ceil(length * planes - _SLACK - 1e-6), 1
        ).astype(np.int64)
        if counts.prod() <= max(most, 1):
            return counts
        length *= 0.95


def mesh(counts: npt.NDArray[np.int64]) -> Mesh:
    """The mesh with ``counts`` (3,) divisions."""
    index = np.stack(np.meshgrid(*map(np.arange, counts), indexing="ij"), -1).reshape(-1, 3)
    partner = -index % counts
    code = index @ np.array([counts[1] * counts[2], counts[2], 1])
    partner_code = partner @ np.array([counts[1] * counts[2], counts[2], 1])
    alone = np.flatnonzero(code == partner_code)
    paired = np.flatnonzero(code < partner_code)
    weights = np.concatenate([np.ones(len(alone)), np.full(len(paired), 2.0)])
    return Mesh(
        points=index[np.concatenate([alone, paired])] / counts,
        weights=weights / weights.sum(),
        real=len(alone),
    )
