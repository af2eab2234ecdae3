"""Two-centre integrals of the minimal basis: two elements -> overlap and Hamiltonian by distance.

H is the superposition of two atomic potentials (Porezag and others, Phys. Rev. B 51, 12947, 1995),
made symmetric by taking the atomic equation of either side. The integrals of a pair of elements
are made when the pair is first needed, in about a millisecond, and kept for the process: a table
of all 4,465 pairs would be larger than everything else that the package ships. Hartree and bohr.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from crystalssl.representation._compiled import compiled, compiled_sums
from crystalssl.representation.electronic import basis
from crystalssl.representation.electronic.shells import HEAVIEST

Array = npt.NDArray[np.float64]
Table = npt.NDArray[np.float32]

CHANNELS: tuple[tuple[int, int, int], ...] = tuple(
    (a, b, m) for a in range(3) for b in range(3) for m in range(min(a, b) + 1)
)
"""(14,) angular momenta of the first and the second atom and their projection on the bond."""
FIRST, STEP, DISTANCES = 0.9, 0.3, 45
"""Distances of the table: 0.9 to 14.1 bohr."""
NEGLIGIBLE = 2e-3
"""A pair of elements ends where overlap and Hamiltonian (hartree) stay below this."""
FADE = 1.2
"""Bohr over which the integrals fade to zero at the end, so that nothing jumps."""
_XI, _ETA = 36, 24
"""Quadrature points along the two prolate spheroidal coordinates."""
_REACH = 16.0
"""Bohr beyond the bond that the quadrature covers on either side."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """Quadrature points around two atoms at each distance, D distances and P points.

    Attributes:
        index: (D, P) int32, first of the four tabulated radii about r_A.
        weights: (D, P, 4) Lagrange weights of these radii.
        radius: (D, P) r_A.
        mirror: (P,) int32, the point whose r_A is this point's r_B.
        angular: (D, 14, P) quadrature weight times angular functions of a channel.
    """

    index: npt.NDArray[np.int32]
    weights: Array
    radius: Array
    mirror: npt.NDArray[np.int32]
    angular: Array


def _angle(l: int, m: int, cosine: Array) -> Array:  # noqa: E741
    """Spherical harmonic at polar angle only; 2 pi times its square integrates to 1."""
    sine = np.sqrt(np.maximum(1.0 - cosine**2, 0.0))
    shapes = {
        (0, 0): np.sqrt(0.5) * np.ones_like(cosine),
        (1, 0): np.sqrt(1.5) * cosine,
        (1, 1): np.sqrt(0.75) * sine,
        (2, 0): np.sqrt(2.5) * (1.5 * cosine**2 - 0.5),
        (2, 1): np.sqrt(3.75) * sine * cosine,
        (2, 2): np.sqrt(0.9375) * sine**2,
    }
    values: Array = shapes[l, m] / np.sqrt(2.0 * np.pi)
    return values


@cache
def grid(xi_points: int = _XI, eta_points: int = _ETA) -> Grid:
    """The quadrature, the same for every pair of elements."""
    t, t_weight = np.polynomial.legendre.leggauss(xi_points)
    eta, eta_weight = np.polynomial.legendre.leggauss(eta_points)
    distance = FIRST + STEP * np.arange(DISTANCES)[:, None, None]  # (D, 1, 1)
    t, stretch = (t[:, None] + 1.0) / 2.0, 3.0
    scale = (2.0 * _REACH / distance) / np.expm1(stretch)
    xi = 1.0 + scale * np.expm1(stretch * t)  # (D, X, 1)
    slope = scale * stretch * np.exp(stretch * t) * t_weight[:, None] / 2.0
    radius = distance / 2.0 * (xi + eta)  # (D, X, E)
    volume = (distance / 2.0) ** 3 * (xi**2 - eta**2) * slope * eta_weight * 2.0 * np.pi
    cos_a = np.clip((1.0 + xi * eta) / (xi + eta), -1.0, 1.0)
    cos_b = np.clip(-(1.0 - xi * eta) / (xi - eta), -1.0, 1.0)  # both from A towards B
    angular = np.stack([_angle(a, m, cos_a) * _angle(b, m, cos_b) * volume for a, b, m in CHANNELS])
    points = xi_points * eta_points
    position = np.log1p(radius.reshape(DISTANCES, points) / 0.02) * (255 / np.log(1001.0))
    index = np.clip(np.floor(position), 1, len(basis.RADII) - 3)
    f = position - index
    weights = np.stack(
        [-f * (f - 1) * (f - 2) / 6, (f + 1) * (f - 1) * (f - 2) / 2, -(f + 1) * f * (f - 2) / 2,
         (f + 1) * f * (f - 1) / 6], axis=-1,
    )  # fmt: skip
    weights[radius.reshape(DISTANCES, points) > basis.RADII[-1]] = 0.0
    mirror = np.arange(points).reshape(xi_points, eta_points)[:, ::-1].ravel()
    return Grid(
        index=(index - 1).astype(np.int32),
        weights=weights,
        radius=radius.reshape(DISTANCES, points),
        mirror=mirror.astype(np.int32),
        angular=np.ascontiguousarray(angular.reshape(14, DISTANCES, points).transpose(1, 0, 2)),
    )


@compiled_sums
def _on_points(radial: Array, index: npt.NDArray[np.int32], weights: Array, values: Array) -> None:
    """Interpolate (4, 256) radial functions at (P,) points into ``values`` (4, P)."""
    for k in range(4):
        for p in range(len(index)):
            i = index[p]
            values[k, p] = (
                weights[p, 0] * radial[k, i] + weights[p, 1] * radial[k, i + 1]
                + weights[p, 2] * radial[k, i + 2] + weights[p, 3] * radial[k, i + 3]
            )  # fmt: skip


@compiled_sums
def _integrate(
    a: Array, b: Array, extra: Array, angular: Array, channels: npt.NDArray[np.int64], out: Table
) -> None:
    """Sum over points: S of the channels into ``out[:14]``, their extra potential into the rest."""
    for j in range(len(channels)):
        la, lb = channels[j, 0], channels[j, 1]
        overlap = hamiltonian = 0.0
        for p in range(len(extra)):
            product = a[la, p] * b[lb, p] * angular[j, p]
            overlap += product
            hamiltonian += product * extra[p]
        out[j], out[j + 14] = overlap, hamiltonian


@compiled
def _pair(
    radial: Array,
    walls: Array,
    levels: Array,
    index: npt.NDArray[np.int32],
    weights: Array,
    radius: Array,
    mirror: npt.NDArray[np.int32],
    angular: Array,
    channels: npt.NDArray[np.int64],
    out: Table,
) -> None:
    """Integrals of one pair at all distances: ``radial`` (2, 4, 256) -> ``out`` (D, 28)."""
    points = radius.shape[1]
    a, there, b = np.empty((4, points)), np.empty((4, points)), np.empty((4, points))
    extra = np.empty(points)
    for d in range(len(out)):
        _on_points(radial[0], index[d], weights[d], a)
        _on_points(radial[1], index[d], weights[d], there)
        for p in range(points):
            q = mirror[p]
            ra, rb = radius[d, p], radius[d, q]
            for k in range(4):
                b[k, p] = there[k, q]
            # mean of <A|V_A - wall_B|B> and <A|V_B - wall_A|B>
            extra[p] = 0.5 * (
                a[3, p] / ra + b[3, p] / rb - (ra / walls[0]) ** 2 - (rb / walls[1]) ** 2
            )
        _integrate(a, b, extra, angular[d], channels, out[d])
        for j in range(len(channels)):
            mean = 0.5 * (levels[0, channels[j, 0]] + levels[1, channels[j, 1]])
            out[d, j + 14] += mean * out[d, j]


def integrals(first: int, second: int, quadrature: Grid | None = None) -> Table:
    """Two-centre integrals of two elements, z from the first to the second.

    Args:
        first: atomic number, 1 to 94.
        second: likewise.
        quadrature: points to integrate on, the package's when None.

    Returns:
        (D, 28) float32: overlaps of the 14 channels, then their Hamiltonian in hartree.
    """
    table, points = basis.load(), grid() if quadrature is None else quadrature
    pair = np.array([first, second])
    out = np.zeros((DISTANCES, 28), np.float32)
    _pair(
        table.radial[pair], table.wall[pair], table.confined[pair], points.index, points.weights,
        points.radius, points.mirror, points.angular, np.array(CHANNELS), out,
    )  # fmt: skip
    return out


@dataclass(frozen=True, kw_only=True, slots=True)
class PairTables:
    """Integrals of the pairs met so far.

    Attributes:
        slot: (95, 95) int32 row of ``values`` for a pair with the lighter element first, or -1.
        values: (rows, D, 28) float32.
        ends: (95, 95) distance at which a pair ends, bohr; symmetric.
    """

    slot: npt.NDArray[np.int32]
    values: Table
    ends: Array


_LOCK = threading.Lock()
_SIZE = HEAVIEST + 1


class _Store:
    """All pairs of this process; rows are only ever added."""

    def __init__(self) -> None:
        self.slot = np.full((_SIZE, _SIZE), -1, np.int32)
        self.values = np.zeros((64, DISTANCES, 28), np.float32)
        self.ends = np.zeros((_SIZE, _SIZE))
        self.used = 0

    def add(self, first: int, second: int) -> None:
        """Make the integrals of a pair, lighter element first."""
        if self.used == len(self.values):
            self.values = np.concatenate([self.values, np.zeros_like(self.values)])
        values, end = faded(integrals(first, second))
        self.values[self.used] = values
        self.ends[first, second] = self.ends[second, first] = end
        self.slot[first, second] = self.used
        self.used += 1


_STORE = _Store()


def faded(values: Table) -> tuple[Table, float]:
    """Integrals that fade to zero, and the distance in bohr where they end."""
    large = np.flatnonzero((np.abs(values) > NEGLIGIBLE).any(axis=1))
    last = int(large[-1]) + 1 if len(large) else 0
    distance = FIRST + STEP * np.arange(DISTANCES)
    end = min(FIRST + STEP * last + FADE / 2, float(distance[-2]))
    x = np.clip((end - distance) / FADE, 0.0, 1.0)
    fade = x * x * (3.0 - 2.0 * x)
    return (values * fade[:, None]).astype(np.float32), end


def tables(numbers: npt.NDArray[np.int64]) -> PairTables:
    """Tables that hold at least every pair of the elements of ``numbers``."""
    kinds = np.unique(numbers)
    return tables_of(np.array([(a, b) for i, a in enumerate(kinds) for b in kinds[i:]]))


def tables_of(couples: npt.NDArray[np.int64]) -> PairTables:
    """Tables that hold at least the pairs ``couples`` (m, 2), the lighter element first."""
    with _LOCK:
        for a, b in couples:
            if _STORE.slot[a, b] < 0:
                _STORE.add(int(a), int(b))
        return PairTables(slot=_STORE.slot, values=_STORE.values, ends=_STORE.ends)
