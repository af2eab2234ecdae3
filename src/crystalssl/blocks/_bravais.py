"""The rule that reads a crystal system off the lattice metric alone: a closed-form baseline.

A reduced cell has as many rotations as integer matrices leave its metric tensor unchanged; that
number (1, 2, 4, 6, 8, 12, 24) names the lattice system. It cannot tell a trigonal crystal on a
hexagonal lattice, nor a crystal whose lattice is more symmetric than its atoms.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from crystalssl.blocks._precision import exact

_SYSTEM_OF_ORDER = {1: 0, 2: 1, 4: 2, 8: 3, 6: 4, 12: 5, 24: 6}


@lru_cache(maxsize=1)
def _unimodular() -> Tensor:
    """All 3 x 3 integer matrices with entries -1, 0, 1 and determinant 1."""
    entries = np.array(list(product((-1, 0, 1), repeat=9)), dtype=np.float32).reshape(-1, 3, 3)
    kept = entries[np.abs(np.linalg.det(entries) - 1) < 0.1]
    return torch.from_numpy(kept)


def lattice_system(
    lattice: Float[Tensor, "crystal 3 3"], tolerance: float = 1e-3
) -> Int[Tensor, "crystal"]:
    """Crystal system of reduced lattices (rows are vectors) by counting metric symmetries.

    Args:
        lattice: reduced cells in angstrom.
        tolerance: allowed relative change of the metric tensor.

    Returns:
        Codes into ``CRYSTAL_SYSTEMS``.
    """
    with exact(lattice):
        metric = lattice @ lattice.transpose(1, 2)
        lengths = metric.diagonal(dim1=1, dim2=2).sqrt()
        scale = (lengths.unsqueeze(2) * lengths.unsqueeze(1)).unsqueeze(1)
        matrices = _unimodular().to(lattice)  # (matrix, 3, 3), 3,480 of them: in chunks of crystals
        orders = []
        for chunk, unit in zip(torch.split(metric, 64), torch.split(scale, 64), strict=True):
            moved = torch.einsum("mij,cjk,mlk->cmil", matrices, chunk, matrices)
            same = ((moved - chunk.unsqueeze(1)).abs() < tolerance * unit).flatten(2).all(2)
            orders.append(same.sum(1))
    order = torch.cat(orders) if orders else metric.new_zeros(0, dtype=torch.long)
    system = torch.zeros_like(order)
    for size, code in _SYSTEM_OF_ORDER.items():
        system[order == size] = code
    return system
