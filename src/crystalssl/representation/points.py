"""Lattice bases into their shortest vectors, shell by shell, right for any cell.

The basis is reduced first, so that skewed and flat cells cost no more than cubic ones; the search
box follows from the norms of the dual basis (|n_i| <= R |b_i*|), which is a rigorous bound. Used
by the panel for direct and reciprocal vectors. Reduction: I. Semaev, CaLC 2001 (3-D Minkowski).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError
from crystalssl.representation import layout
from crystalssl.representation._compiled import compiled, run_chunks, sort_into

_TIE = 1e-6
"""Relative difference of lengths below which the order of vectors is that of their steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shells:
    """The shortest vectors of many lattices.

    Attributes:
        coefficients: (n, count, 3) int16, vectors in whole steps along the basis; one of each
            +/- pair, the one whose first non-zero step is positive; zero beyond ``used``.
        used: (n,) int16, vectors in the complete shells that fit.
        opens: (n, count) bool, true where a vector is the first of its shell.
        beyond: (n,) float64, length of the first vector that was left out.
    """

    coefficients: npt.NDArray[np.int16]
    used: npt.NDArray[np.int16]
    opens: npt.NDArray[np.bool_]
    beyond: npt.NDArray[np.float64]


@compiled
def reduce_basis(
    basis: npt.NDArray[np.float64],
    reduced: npt.NDArray[np.float64],
    steps: npt.NDArray[np.int64],
) -> None:
    """Fill ``reduced`` (3, 3) with a Minkowski-reduced basis, ``reduced = steps @ basis``."""
    norms = np.empty(3)
    for i in range(3):
        for j in range(3):
            reduced[i, j] = basis[i, j]
            steps[i, j] = 1 if i == j else 0
    for _ in range(1000):
        for i in range(3):
            norms[i] = reduced[i, 0] ** 2 + reduced[i, 1] ** 2 + reduced[i, 2] ** 2
        longest = 0  # of the first of equals, as np.argmax, which takes longer to compile
        for i in range(1, 3):
            if norms[i] > norms[longest]:
                longest = i
        p, q = (longest + 1) % 3, (longest + 2) % 3
        if norms[p] > norms[q]:
            p, q = q, p
        pq = qr = pr = 0.0
        for j in range(3):
            pq += reduced[p, j] * reduced[q, j]
            qr += reduced[q, j] * reduced[longest, j]
            pr += reduced[p, j] * reduced[longest, j]
        # Gauss: the middle vector q, less the multiple of the shortest p that shortens it most
        m = np.rint(pq / norms[p])
        if m != 0.0 and norms[q] - 2 * m * pq + m * m * norms[p] < norms[q] * (1 - 1e-12):
            for j in range(3):
                reduced[q, j] -= m * reduced[p, j]
                steps[q, j] -= int(m) * steps[p, j]
            continue
        # the third vector against the plane of the two shorter: real solution, then 9 neighbours
        det = norms[p] * norms[q] - pq * pq
        u0 = np.rint((pr * norms[q] - qr * pq) / det)
        v0 = np.rint((qr * norms[p] - pr * pq) / det)
        best, mu, mv = norms[longest] * (1 - 1e-12), 0.0, 0.0
        for du in range(-1, 2):
            for dv in range(-1, 2):
                u, v = u0 + du, v0 + dv
                norm = 0.0
                for j in range(3):
                    norm += (reduced[longest, j] - u * reduced[p, j] - v * reduced[q, j]) ** 2
                if norm < best:
                    best, mu, mv = norm, u, v
        if mu == 0.0 and mv == 0.0:
            return
        for j in range(3):
            reduced[longest, j] -= mu * reduced[p, j] + mv * reduced[q, j]
            steps[longest, j] -= int(mu) * steps[p, j] + int(mv) * steps[q, j]


@compiled
def dual_norms(basis: npt.NDArray[np.float64], norms: npt.NDArray[np.float64]) -> float:
    """Fill ``norms`` with the lengths of the three dual vectors; returns the cell volume."""
    volume = 0.0
    for i in range(3):
        b, c = basis[(i + 1) % 3], basis[(i + 2) % 3]
        x = b[1] * c[2] - b[2] * c[1]
        y = b[2] * c[0] - b[0] * c[2]
        z = b[0] * c[1] - b[1] * c[0]
        volume = abs(basis[i, 0] * x + basis[i, 1] * y + basis[i, 2] * z)
        norms[i] = np.sqrt(x * x + y * y + z * z) / volume
    return float(volume)


@compiled
def _collect(
    basis: npt.NDArray[np.float64],
    box: npt.NDArray[np.int64],
    radius: float,
    squares: npt.NDArray[np.float64],
    vectors: npt.NDArray[np.int64],
) -> int:
    """Vectors of half of space with length <= radius; returns how many were written.

    One of each +/- pair: the first step that is not zero is positive. ``squares`` gets squared
    lengths, ``vectors`` (room, 3) steps along the basis, which is reduced.
    """
    total = 0
    limit = radius * radius
    for i in range(box[0] + 1):
        for j in range(-box[1] if i > 0 else 0, box[1] + 1):
            first = 1 if i == 0 and j == 0 else -box[2]
            x = i * basis[0, 0] + j * basis[1, 0]
            y = i * basis[0, 1] + j * basis[1, 1]
            z = i * basis[0, 2] + j * basis[1, 2]
            for k in range(first, box[2] + 1):
                square = (
                    (x + k * basis[2, 0]) ** 2
                    + (y + k * basis[2, 1]) ** 2
                    + (z + k * basis[2, 2]) ** 2
                )
                if square <= limit:
                    squares[total] = square
                    vectors[total, 0], vectors[total, 1], vectors[total, 2] = i, j, k
                    total += 1
    return total


@compiled
def _start_radius(
    reduced: npt.NDArray[np.float64], norms: npt.NDArray[np.float64], volume: float, count: int
) -> float:
    """A radius that holds about ``count`` half-space vectors, whether chain, sheet or bulk."""
    lengths = np.empty(3)
    for i in range(3):
        lengths[i] = np.sqrt(reduced[i, 0] ** 2 + reduced[i, 1] ** 2 + reduced[i, 2] ** 2)
    chain = count * min(lengths[0], lengths[1], lengths[2])
    sheet = np.sqrt(2 * count * volume * max(norms[0], norms[1], norms[2]) / np.pi)
    bulk = (1.5 * count * volume / np.pi) ** (1 / 3)
    return float(1.1 * min(chain, sheet, bulk))


@compiled
def _before(x: int, y: int, z: int, row: npt.NDArray[np.int64]) -> bool:
    """Order among equal lengths: larger first steps first, as in a table of reflections."""
    if x != row[0]:
        return bool(x > row[0])
    if y != row[1]:
        return bool(y > row[1])
    return bool(z > row[2])


@compiled
def _insert(
    rows: npt.NDArray[np.int64],
    start: int,
    end: int,
    vector: npt.NDArray[np.int64],
    steps: npt.NDArray[np.int64],
) -> None:
    """Put a vector of the reduced basis among equally long ones, ``rows[start:end]``."""
    x = vector[0] * steps[0, 0] + vector[1] * steps[1, 0] + vector[2] * steps[2, 0]
    y = vector[0] * steps[0, 1] + vector[1] * steps[1, 1] + vector[2] * steps[2, 1]
    z = vector[0] * steps[0, 2] + vector[1] * steps[1, 2] + vector[2] * steps[2, 2]
    if x < 0 or (x == 0 and (y < 0 or (y == 0 and z < 0))):
        x, y, z = -x, -y, -z
    at = end
    while at > start and _before(x, y, z, rows[at - 1]):
        for i in range(3):
            rows[at, i] = rows[at - 1, i]
        at -= 1
    rows[at, 0], rows[at, 1], rows[at, 2] = x, y, z


@compiled
def _shells_of(
    bases: npt.NDArray[np.float64],
    count: int,
    rtol: float,
    coefficients: npt.NDArray[np.int64],
    used: npt.NDArray[np.int16],
    opens: npt.NDArray[np.bool_],
    beyond: npt.NDArray[np.float64],
) -> None:
    """Fill the shells of a chunk of lattices.

    Args:
        bases: (n, 3, 3) rows are basis vectors.
        count: vectors wanted.
        rtol: relative step in length that opens a shell.
        coefficients: (n, count, 3) steps along the basis, filled.
        used: (n,) vectors in complete shells, filled.
        opens: (n, count) whether a vector is the first of its shell, filled.
        beyond: (n,) length of the first vector left out, filled.
    """
    reduced, norms = np.empty((3, 3)), np.empty(3)
    steps, box = np.empty((3, 3), np.int64), np.empty(3, np.int64)
    for n in range(len(bases)):
        reduce_basis(bases[n], reduced, steps)
        volume = dual_norms(reduced, norms)
        radius = _start_radius(reduced, norms, volume, count)
        while True:  # until one vector more than wanted: it tells whether the last shell is whole
            for i in range(3):
                # |n_i| <= R |b_i*|, with room for rounding, bounds the search rigorously
                box[i] = int(radius * norms[i] * (1 + 1e-12) + 1e-9)
            most = (box[0] + 1) * (2 * box[1] + 1) * (2 * box[2] + 1)
            squares, vectors = np.empty(most), np.empty((most, 3), np.int64)
            total = _collect(reduced, box, radius, squares, vectors)
            if total > count:
                break
            radius *= 1.15
        order = np.empty(total, np.int64)
        sort_into(squares, total, order)
        rows = coefficients[n]
        # start: first vector of the present shell; tie: first of a run of equal lengths, in which
        # rounding must not decide the order
        start, tie, before = 0, 0, 0.0
        for m in range(count + 1):
            length = np.sqrt(squares[order[m]])
            if length > before * (1 + rtol):
                start, beyond[n] = m, length
                if m < count:
                    opens[n, m] = True
            if length > before * (1 + _TIE):
                tie = m
            before = length
            if m < count:
                _insert(rows, tie, m, vectors[order[m]], steps)
        used[n] = start  # the last shell opened is not known to be whole
        for m in range(start, count):
            opens[n, m] = False
            for i in range(3):
                rows[m, i] = 0


def shortest_shells(
    basis: npt.NDArray[np.float64], count: int, rtol: float = layout.SHELL_RTOL
) -> Shells:
    """The shortest vectors of each lattice, in complete shells.

    A shell is a run of vectors whose sorted lengths follow each other within ``rtol``.

    Args:
        basis: (n, 3, 3) rows are basis vectors, any unit.
        count: most vectors wanted per lattice.
        rtol: relative difference of lengths below which vectors share a shell.

    Raises:
        InputError: if a basis is not finite or has no volume.
    """
    basis = np.ascontiguousarray(basis, dtype=np.float64).reshape(-1, 3, 3)
    scale = np.prod(np.linalg.norm(basis, axis=2), axis=1)
    flat = ~(np.abs(np.linalg.det(basis)) > 1e-12 * scale)
    if flat.any():
        raise InputError(
            f"Lattice {int(np.flatnonzero(flat)[0])} of {len(basis)} is not finite or has no "
            "volume; expected three independent vectors. Remove it, or read the file again."
        )
    n = len(basis)
    coefficients = np.zeros((n, count, 3), np.int64)
    used, beyond = np.zeros(n, np.int16), np.zeros(n)
    opens = np.zeros((n, count), np.bool_)

    def work(start: int, stop: int) -> None:
        rows = slice(start, stop)
        _shells_of(
            basis[rows], count, rtol, coefficients[rows], used[rows], opens[rows], beyond[rows]
        )

    run_chunks(work, n)
    if n and np.abs(coefficients).max() > np.iinfo(np.int16).max:
        raise InputError(
            "A lattice is so skewed that its short vectors need more than 32,767 steps along a "
            "basis vector; expected a usable cell. Reduce it first (canonicalize)."
        )
    return Shells(coefficients=coefficients.astype(np.int16), used=used, opens=opens, beyond=beyond)


def shortest_vectors(
    basis: npt.NDArray[np.float64], count: int, rtol: float = layout.SHELL_RTOL
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    """One of each +/- pair of the shortest lattice vectors, sorted by length, whole shells only.

    Args:
        basis: (n, 3, 3) rows are basis vectors, any unit.
        count: most vectors wanted per lattice.
        rtol: relative difference of lengths below which vectors share a shell.

    Returns:
        Coefficients (n, count, 3) along the basis, zero beyond the last complete shell, and the
        number of vectors used, (n,).

    Raises:
        InputError: if a basis is not finite or has no volume.

    Example:
        >>> import numpy as np
        >>> shortest_vectors(np.eye(3)[None], 8)[1]
        array([3], dtype=int16)
    """
    shells = shortest_shells(basis, count, rtol)
    return shells.coefficients, shells.used
