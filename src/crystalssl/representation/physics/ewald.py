"""Point charges on sites -> electrostatic potentials, by Ewald sums for several sets at once.

The sums are split so that both parts cost about the same. Sites that exclude each other (disorder)
do not see each other. Source: P. P. Ewald, Ann. Phys. 369, 253 (1921).
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import numpy.typing as npt
from numpy.polynomial import chebyshev

from crystalssl.representation._compiled import compiled, compiled_sums
from crystalssl.representation.points import dual_norms
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.validity import MIN_DISTANCE

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

COULOMB = 14.399645478
"""e^2 / (4 pi epsilon0) in eV angstrom."""
REACH = 3.2
"""Sums end where exp(-x^2) has fallen to this x: about 3e-5 of the leading term."""
_DEGREE = 20  # a multiple of the four terms taken at a time
_ROOM = 512  # distances screened together: they stay in the fastest memory


@cache
def _screening() -> Array:
    """(d + 1,) polynomial of erf(x) / x in 2 (x / REACH)^2 - 1, highest power first; to 1e-14."""
    points = chebyshev.chebpts1(_DEGREE + 1)
    x = REACH * np.sqrt(0.5 * (points + 1.0))
    ratios = np.array([math.erf(at) / at for at in x])
    series = chebyshev.cheb2poly(chebyshev.chebfit(points, ratios, _DEGREE))
    return np.ascontiguousarray(series[::-1], np.float64)


@compiled_sums
def _screen(
    squares: Array, n: int, split: float, series: Array, scaled: Array, sums: Array
) -> None:
    """Replace ``squares[:n]`` by erfc(split r) / r, by -erf(split r) / r below MIN_DISTANCE.

    One loop after the other, so that each vectorises.
    """
    scale = 2.0 * (split / REACH) ** 2
    for m in range(n):
        scaled[m] = scale * squares[m] - 1.0
        sums[m] = series[0]
    for k in range(1, len(series), 4):
        p, q, r, s = series[k], series[k + 1], series[k + 2], series[k + 3]
        for m in range(n):
            u = scaled[m]
            sums[m] = (((sums[m] * u + p) * u + q) * u + r) * u + s
    for m in range(n):
        square = squares[m]
        apart = square >= MIN_DISTANCE * MIN_DISTANCE
        inverse = 1.0 / math.sqrt(square if apart else 1.0)
        squares[m] = (inverse if apart else 0.0) - split * sums[m]


@compiled
def _near(
    lattice: Array,
    norms: Array,
    frac: Array,
    charges: Array,
    split: float,
    series: Array,
    out: Array,
) -> None:
    """Add the real-space part: 1/r screened at ``split``; ``charges`` and ``out`` are (q, s).

    Distances from one site are gathered first and screened together.
    """
    radius = REACH / split
    sites = len(frac)
    r0, r1, r2 = radius * norms[0], radius * norms[1], radius * norms[2]
    room = _ROOM + 2 * math.ceil(r0) + 1  # one row of cells always fits
    squares, scaled, sums = np.empty(room), np.empty(room), np.empty(room)
    partner, totals = np.empty(room, np.int64), np.empty(sites)
    own = 0.0  # of the images of a site, the same for all
    for i in range(sites):
        for j in range(i, sites):
            totals[j] = 0.0
        found = 0
        for j in range(i if i == 0 else i + 1, sites):
            d0, d1, d2 = frac[j, 0] - frac[i, 0], frac[j, 1] - frac[i, 1], frac[j, 2] - frac[i, 2]
            a_first, a_last = math.ceil(-r0 - d0), math.floor(r0 - d0)
            for c in range(math.ceil(-r2 - d2), math.floor(r2 - d2) + 1):
                for b in range(math.ceil(-r1 - d1), math.floor(r1 - d1) + 1):
                    x = (d2 + c) * lattice[2, 0] + (d1 + b) * lattice[1, 0]
                    y = (d2 + c) * lattice[2, 1] + (d1 + b) * lattice[1, 1]
                    z = (d2 + c) * lattice[2, 2] + (d1 + b) * lattice[1, 2]
                    if found + a_last - a_first >= room:
                        _screen(squares, found, split, series, scaled, sums)
                        for m in range(found):
                            totals[partner[m]] += squares[m]
                        found = 0
                    for a in range(a_first, a_last + 1):
                        square = (
                            (x + (d0 + a) * lattice[0, 0]) ** 2
                            + (y + (d0 + a) * lattice[0, 1]) ** 2
                            + (z + (d0 + a) * lattice[0, 2]) ** 2
                        )
                        squares[found], partner[found] = square, j
                        found += square <= radius * radius  # no branch: half of the cells are out
        _screen(squares, found, split, series, scaled, sums)
        for m in range(found):
            totals[partner[m]] += squares[m]
        if i == 0:
            own = totals[0]
        totals[i] = own
        for q in range(len(charges)):
            charge, potential = charges[q, i], 0.0
            for j in range(i, sites):
                potential += totals[j] * charges[q, j]
            for j in range(i + 1, sites):
                out[q, j] += totals[j] * charge
            out[q, i] += potential


@compiled
def _waves(frac: Array, top: Index) -> Array:
    """(3, h, 2, s) cosine and sine of 2 pi h x_i, each wave the last one times the first."""
    sites = len(frac)
    waves = np.empty((3, max(top[0], top[1], top[2]) + 1, 2, sites))
    for x in range(3):
        for i in range(sites):
            waves[x, 0, 0, i], waves[x, 0, 1, i] = 1.0, 0.0
            if top[x] > 0:
                angle = 2.0 * math.pi * frac[i, x]
                waves[x, 1, 0, i], waves[x, 1, 1, i] = math.cos(angle), math.sin(angle)
        for h in range(2, top[x] + 1):
            _product(waves[x, h - 1], waves[x, 1], 1.0, waves[x, h])
    return waves


@compiled
def _product(first: Array, second: Array, sign: float, out: Array) -> None:
    """Fill ``out`` (2, s) with first times second; with its conjugate where ``sign`` is -1."""
    for i in range(first.shape[1]):
        u, v, p, q = first[0, i], first[1, i], second[0, i], sign * second[1, i]
        out[0, i], out[1, i] = u * p - v * q, u * q + v * p


@compiled_sums
def _structure_factor(charges: Array, wave: Array) -> tuple[float, float]:
    """Sum of charge times wave."""
    real = imaginary = 0.0
    for i in range(len(charges)):
        real += charges[i] * wave[0, i]
        imaginary += charges[i] * wave[1, i]
    return real, imaginary


@compiled
def _far(
    lattice: Array, volume: float, frac: Array, charges: Array, split: float, out: Array
) -> None:
    """Add the reciprocal part; exp(2 pi i h.r) is a product over the axes from tables by |h|."""
    reach = 2.0 * split * REACH
    top, dual = np.empty(3, np.int64), np.empty((3, 3))
    for x in range(3):
        p, q = lattice[(x + 1) % 3], lattice[(x + 2) % 3]
        for y in range(3):
            k, m = (y + 1) % 3, (y + 2) % 3
            dual[x, y] = 2.0 * math.pi / volume * (p[k] * q[m] - p[m] * q[k])
        length = math.sqrt(lattice[x, 0] ** 2 + lattice[x, 1] ** 2 + lattice[x, 2] ** 2)
        top[x] = math.floor(reach * length / (2.0 * math.pi))
    waves = _waves(frac, top)
    plane, wave = np.empty((2, len(frac))), np.empty((2, len(frac)))
    for a in range(top[0] + 1):
        for b in range(-top[1] if a > 0 else 0, top[1] + 1):
            _product(waves[0, a], waves[1, abs(b)], 1.0 if b >= 0 else -1.0, plane)
            for c in range(-top[2] if a > 0 or b > 0 else 1, top[2] + 1):
                square = 0.0
                for x in range(3):
                    square += (dual[0, x] * a + dual[1, x] * b + dual[2, x] * c) ** 2
                if square > reach * reach:
                    continue
                weight = 8.0 * math.pi / volume * math.exp(-square / (4.0 * split**2)) / square
                _product(plane, waves[2, abs(c)], 1.0 if c >= 0 else -1.0, wave)
                for k in range(len(charges)):
                    real, imaginary = _structure_factor(charges[k], wave)
                    real, imaginary = weight * real, weight * imaginary
                    for i in range(len(frac)):
                        out[k, i] += real * wave[0, i] + imaginary * wave[1, i]


@compiled
def _potentials_of(
    lattice: Array, offsets: Index, frac: Array, charges: Array, series: Array, out: Array
) -> None:
    """Fill the potentials of a batch of crystals in e/angstrom; ``charges`` and ``out`` (q, s)."""
    norms = np.empty(3)
    for n in range(len(lattice)):
        first, last = offsets[n], offsets[n + 1]
        volume = dual_norms(lattice[n], norms)
        split = math.sqrt(math.pi) * ((last - first) / volume**2) ** (1.0 / 6.0)
        own, found = charges[:, first:last], out[:, first:last]
        _near(lattice[n], norms, frac[first:last], own, split, series, found)
        _far(lattice[n], volume, frac[first:last], own, split, found)


def potentials(crystals: Crystals, charges: Array) -> Array:
    """Potential of all other charges at every site.

    Args:
        crystals: n crystals with s sites.
        charges: (s, q) sets of charges in e, each neutral in every crystal.

    Returns:
        (s, q) in volt; the energy of a crystal is half the sum of charge times potential, in eV.
    """
    out = np.zeros(charges.shape[::-1])
    _potentials_of(
        np.ascontiguousarray(crystals.lattice), crystals.offsets,
        np.ascontiguousarray(crystals.frac_coords), np.ascontiguousarray(charges.T), _screening(),
        out,
    )  # fmt: skip
    return COULOMB * np.ascontiguousarray(out.T)
