"""The rule that reads a crystal system off the lattice metric alone: a closed-form baseline.

A reduced cell has as many rotations as integer matrices leave its metric tensor unchanged; that
number (1, 2, 4, 6, 8, 12, 24) names the lattice system. It cannot tell a trigonal crystal on a
hexagonal lattice, nor a crystal whose lattice is more symmetric than its atoms.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor

from crystalssl.representation._compiled import compiled

Floats = npt.NDArray[np.float64]

_SYSTEM_OF_ORDER = {1: 0, 2: 1, 4: 2, 8: 3, 6: 4, 12: 5, 24: 6}
_MOST = 24  # rotations of a lattice


@compiled
def _product(a: Floats, g: Floats, b: Floats) -> float:
    """``a @ g @ b``; written out, since products of arrays take seconds to compile."""
    total = 0.0
    for i in range(3):
        for j in range(3):
            total += a[i] * g[i, j] * b[j]
    return total


@compiled
def _count_rotations(metric: Floats, tolerance: float, orders: npt.NDArray[np.int64]) -> None:
    """Fill how many integer matrices M of determinant 1 leave ``metric`` (crystal, 3, 3) as it is.

    Rows of M, entries -1, 0 and 1, are the lattice vectors that may take the place of a, b and c:
    those of the same length. Few are, so triples of them are gone through one by one.
    """
    rows, counts, v = np.empty((3, 26, 3)), np.empty(3, np.int64), np.empty(3)
    for n in range(len(metric)):
        g = metric[n]
        for i in range(3):
            counts[i] = 0
        for code in range(27):
            v[0], v[1], v[2] = code // 9 - 1.0, code // 3 % 3 - 1.0, code % 3 - 1.0
            square = _product(v, g, v)
            for i in range(3):
                if square > 0 and abs(square - g[i, i]) < tolerance * g[i, i]:
                    for k in range(3):
                        rows[i, counts[i], k] = v[k]
                    counts[i] += 1
        orders[n] = 0
        ab = tolerance * np.sqrt(g[0, 0] * g[1, 1])
        ac = tolerance * np.sqrt(g[0, 0] * g[2, 2])
        bc = tolerance * np.sqrt(g[1, 1] * g[2, 2])
        for i in range(counts[0]):
            a = rows[0, i]
            for j in range(counts[1]):
                b = rows[1, j]
                if abs(_product(a, g, b) - g[0, 1]) >= ab:
                    continue
                x, y = a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2]
                z = a[0] * b[1] - a[1] * b[0]
                for k in range(counts[2]):
                    c = rows[2, k]
                    if abs(x * c[0] + y * c[1] + z * c[2] - 1) >= 0.1:
                        continue
                    if abs(_product(a, g, c) - g[0, 2]) < ac and (
                        abs(_product(b, g, c) - g[1, 2]) < bc
                    ):
                        orders[n] += 1


@torch.no_grad()
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
    cells = lattice.double().cpu().numpy()
    orders = np.zeros(len(cells), np.int64)
    _count_rotations(np.ascontiguousarray(cells @ cells.transpose(0, 2, 1)), tolerance, orders)
    system = np.zeros(_MOST + 1, np.int64)
    for size, code in _SYSTEM_OF_ORDER.items():
        system[size] = code
    return torch.from_numpy(system[np.minimum(orders, _MOST)]).to(lattice.device)
