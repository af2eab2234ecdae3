"""One crystal's Bloch matrices: positions and pair tables -> overlap and Hamiltonian at k-points.

Slater and Koster's rotations (Phys. Rev. 94, 1498, 1954) written as projectors on the bond
direction, so that no local frame is needed. A pair of sites is visited once; the other half follows
from Hermiticity. Hartree and bohr.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from crystalssl.representation._compiled import compiled

Array = npt.NDArray[np.float64]

_S = 1.0 / math.sqrt(2.0)
D_FORMS: Array = np.array(
    [
        np.diag([-1.0, -1.0, 2.0]) / math.sqrt(6.0),
        [[0, 0, _S], [0, 0, 0], [_S, 0, 0]],
        [[0, 0, 0], [0, 0, _S], [0, _S, 0]],
        np.diag([_S, -_S, 0.0]),
        [[0, _S, 0], [_S, 0, 0], [0, 0, 0]],
    ]
)
"""(5, 3, 3) quadratic forms of the d functions z2, xz, yz, x2 - y2, xy; orthonormal as matrices."""


@compiled
def rotate(table: Array, bond: Array, first: int, second: int, block: Array) -> None:
    """Block between two sites from the integrals along their bond.

    Args:
        table: (14,) channels of pairs.CHANNELS.
        bond: (3,) unit vector from the first site to the second.
        first: functions of the first site: 1, 4 or 9, in the order s, x, y, z, five d.
        second: functions of the second.
        block: (9, 9), filled up to (first, second).
    """
    block[0, 0] = table[0]
    if first > 1 or second > 1:
        for i in range(3):
            block[0, 1 + i] = table[1] * bond[i]
            block[1 + i, 0] = table[3] * bond[i]
    if first > 1 and second > 1:
        for i in range(3):
            for j in range(3):
                block[1 + i, 1 + j] = (table[4] - table[5]) * bond[i] * bond[j]
            block[1 + i, 1 + i] += table[5]
    if first < 9 and second < 9:
        return
    # Q n and n Q n of each form: sigma is sqrt(3/2) nQn, pi the part of sqrt(2) Qn across the bond
    forms, along = np.zeros((5, 3)), np.zeros(5)
    for q in range(5):
        for i in range(3):
            for j in range(3):
                forms[q, i] += D_FORMS[q, i, j] * bond[j]
            along[q] += forms[q, i] * bond[i]
    sigma, pi = math.sqrt(1.5), math.sqrt(2.0)
    for q in range(5):
        block[0, 4 + q] = table[2] * sigma * along[q]
        block[4 + q, 0] = table[8] * sigma * along[q]
        for i in range(3):
            across = pi * (forms[q, i] - along[q] * bond[i])
            straight = sigma * along[q] * bond[i]
            block[1 + i, 4 + q] = table[6] * straight + table[7] * across
            block[4 + q, 1 + i] = table[9] * straight + table[10] * across
    for q in range(5):
        for p in range(5):
            both = along[q] * along[p]
            dot = forms[q, 0] * forms[p, 0] + forms[q, 1] * forms[p, 1] + forms[q, 2] * forms[p, 2]
            block[4 + q, 4 + p] = (table[11] - table[13]) * 1.5 * both
            block[4 + q, 4 + p] += (table[12] - table[13]) * 2.0 * (dot - both)
        block[4 + q, 4 + q] += table[13]


@compiled
def interpolate(values: npt.NDArray[np.float32], distance: float, out: Array) -> None:
    """Cubic interpolation of a pair's (D, 28) table at a distance in bohr into ``out`` (2, 14)."""
    x = max((distance - 0.9) / 0.3, 0.0)  # pairs.FIRST and pairs.STEP
    i = min(max(int(x), 1), len(values) - 3)
    f = x - i
    w0, w1 = -f * (f - 1) * (f - 2) / 6, (f + 1) * (f - 1) * (f - 2) / 2
    w2, w3 = -(f + 1) * f * (f - 2) / 2, (f + 1) * f * (f - 1) / 6
    for j in range(14):
        for h in range(2):
            c = 14 * h + j
            out[h, j] = (
                w0 * values[i - 1, c] + w1 * values[i, c] + w2 * values[i + 1, c]
                + w3 * values[i + 2, c]
            )  # fmt: skip


@compiled
def assemble(
    lattice: Array,
    fractions: Array,
    numbers: npt.NDArray[np.int64],
    first: npt.NDArray[np.int64],
    slot: npt.NDArray[np.int32],
    values: npt.NDArray[np.float32],
    ends: Array,
    points: Array,
    real: Array,
    imaginary: Array,
    strength: Array,
) -> int:
    """Add all pairs of sites to the upper triangles of the Bloch matrices.

    Args:
        lattice: (3, 3) rows a, b, c in bohr.
        fractions: (n, 3) fractional coordinates, any image.
        numbers: (n,) atomic numbers.
        first: (n + 1,) index of each site's first function.
        slot: (95, 95) row of ``values`` of a pair, lighter element first.
        values: (rows, D, 28) pair tables.
        ends: (95, 95) distance at which a pair ends, bohr.
        points: (K, 3) k-points in fractions of the reciprocal vectors.
        real: (2, K, N, N) real parts of overlap and Hamiltonian, zero or to be added to.
        imaginary: (2, C, N, N) imaginary parts of the last C k-points; the others have none.
        strength: (n,) sum of squared Hamiltonian elements of each site's bonds, added to.

    Returns:
        Pairs of sites within their ends, each counted once.
    """
    inverse = np.linalg.inv(lattice)
    norms = np.sqrt((inverse**2).sum(axis=0))  # 1 / spacing of lattice planes
    table, blocks = np.empty((2, 14)), np.zeros((2, 9, 9))
    bond, delta = np.empty(3), np.empty(3)
    low, high, t = np.empty(3, np.int64), np.empty(3, np.int64), np.empty(3, np.int64)
    count, plain = 0, len(points) - imaginary.shape[1]
    for i in range(len(numbers)):
        for j in range(i, len(numbers)):
            a, b = (i, j) if numbers[i] <= numbers[j] else (j, i)
            row, end = slot[numbers[a], numbers[b]], ends[numbers[a], numbers[b]]
            size_a, size_b = first[a + 1] - first[a], first[b + 1] - first[b]
            for x in range(3):
                delta[x] = fractions[b, x] - fractions[a, x]
                low[x] = math.ceil(-end * norms[x] - delta[x])
                high[x] = math.floor(end * norms[x] - delta[x])
            for t0 in range(low[0], high[0] + 1):
                for t1 in range(low[1], high[1] + 1):
                    for t2 in range(low[2], high[2] + 1):
                        if i == j and not (
                            t0 > 0 or (t0 == 0 and (t1 > 0 or (t1 == 0 and t2 > 0)))
                        ):
                            continue  # the opposite image is this one's Hermitian conjugate
                        t[0], t[1], t[2] = t0, t1, t2
                        square = 0.0
                        for x in range(3):
                            bond[x] = 0.0
                            for y in range(3):
                                bond[x] += (delta[y] + t[y]) * lattice[y, x]
                            square += bond[x] ** 2
                        if square >= end * end or square < 1e-6:
                            continue
                        _bond_blocks(values[row], bond, (size_a, size_b), table, blocks)
                        count += 1
                        for p in range(size_a):
                            for q in range(size_b):
                                strength[a] += blocks[1, p, q] ** 2
                                strength[b] += blocks[1, p, q] ** 2
                        for k in range(len(points)):
                            phase = points[k, 0] * t0 + points[k, 1] * t1 + points[k, 2] * t2
                            c = math.cos(2.0 * math.pi * phase)
                            _add(c, blocks, first[a], first[b], size_a, size_b, real[:, k], 1.0)
                            if k >= plain:
                                s = math.sin(2.0 * math.pi * phase)
                                plane = imaginary[:, k - plain]
                                _add(s, blocks, first[a], first[b], size_a, size_b, plane, -1.0)
    return count


@compiled
def _bond_blocks(
    values: npt.NDArray[np.float32],
    bond: Array,
    sizes: tuple[int, int],
    table: Array,
    blocks: Array,
) -> None:
    """Fill ``blocks`` (2, 9, 9) from a pair's table and the vector between its sites in bohr."""
    distance = math.sqrt(bond[0] ** 2 + bond[1] ** 2 + bond[2] ** 2)
    for x in range(3):
        bond[x] /= distance
    interpolate(values, distance, table)
    rotate(table[0], bond, sizes[0], sizes[1], blocks[0])
    rotate(table[1], bond, sizes[0], sizes[1], blocks[1])


@compiled
def _add(
    factor: float,
    blocks: Array,
    a: int,
    b: int,
    size_a: int,
    size_b: int,
    matrix: Array,
    sign: float,
) -> None:
    """Add a block of overlap and Hamiltonian at (a, b), in the upper triangle.

    ``sign`` is that of the transposed element: 1 for real parts, -1 for imaginary ones.
    """
    for h in range(2):
        if a < b:
            for p in range(size_a):
                for q in range(size_b):
                    matrix[h, a + p, b + q] += factor * blocks[h, p, q]
        elif a > b:
            for q in range(size_b):
                for p in range(size_a):
                    matrix[h, b + q, a + p] += sign * factor * blocks[h, p, q]
        else:
            for p in range(size_a):
                for q in range(size_b):
                    matrix[h, a + p, a + q] += factor * blocks[h, p, q]
                    matrix[h, a + q, a + p] += sign * factor * blocks[h, p, q]
