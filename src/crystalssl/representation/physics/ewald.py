"""Point charges on sites -> electrostatic potentials, by Ewald sums for several sets at once.

The sums are split so that both parts cost about the same. Sites that exclude each other (disorder)
do not see each other. Source: P. P. Ewald, Ann. Phys. 369, 253 (1921).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from crystalssl.representation._compiled import compiled
from crystalssl.representation.points import dual_norms
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.validity import MIN_DISTANCE

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

COULOMB = 14.399645478
"""e^2 / (4 pi epsilon0) in eV angstrom."""
REACH = 3.2
"""Sums end where exp(-x^2) has fallen to this x: about 3e-5 of the leading term."""


@compiled
def _near(
    lattice: Array, norms: Array, frac: Array, charges: Array, split: float, out: Array
) -> None:
    """Add the real-space part: 1/r screened at ``split``; ``charges`` and ``out`` are (s, q)."""
    radius = REACH / split
    for i in range(len(frac)):
        for j in range(i, len(frac)):
            d0, d1, d2 = frac[j, 0] - frac[i, 0], frac[j, 1] - frac[i, 1], frac[j, 2] - frac[i, 2]
            r0, r1, r2 = radius * norms[0], radius * norms[1], radius * norms[2]
            total = 0.0
            for a in range(math.ceil(-r0 - d0), math.floor(r0 - d0) + 1):
                for b in range(math.ceil(-r1 - d1), math.floor(r1 - d1) + 1):
                    x = (d0 + a) * lattice[0, 0] + (d1 + b) * lattice[1, 0]
                    y = (d0 + a) * lattice[0, 1] + (d1 + b) * lattice[1, 1]
                    z = (d0 + a) * lattice[0, 2] + (d1 + b) * lattice[1, 2]
                    for c in range(math.ceil(-r2 - d2), math.floor(r2 - d2) + 1):
                        square = (
                            (x + (d2 + c) * lattice[2, 0]) ** 2
                            + (y + (d2 + c) * lattice[2, 1]) ** 2
                            + (z + (d2 + c) * lattice[2, 2]) ** 2
                        )
                        if square > radius * radius:
                            continue
                        r = math.sqrt(square)
                        if r < 1e-3:  # itself, or a site on the same spot
                            total -= 2.0 * split / math.sqrt(math.pi)
                        elif r < MIN_DISTANCE:
                            total -= math.erf(split * r) / r
                        else:
                            total += math.erfc(split * r) / r
            for q in range(charges.shape[1]):
                out[i, q] += total * charges[j, q]
                if i != j:
                    out[j, q] += total * charges[i, q]


@compiled
def _far(lattice: Array, frac: Array, charges: Array, split: float, out: Array) -> None:
    """Add the reciprocal part; exp(2 pi i h.r) is a product over the axes from tables by |h|."""
    inverse = np.linalg.inv(lattice)
    volume = abs(np.linalg.det(lattice))
    sites, sets = charges.shape
    reach = 2.0 * split * REACH
    top = np.empty(3, np.int64)
    for x in range(3):
        length = math.sqrt(lattice[x, 0] ** 2 + lattice[x, 1] ** 2 + lattice[x, 2] ** 2)
        top[x] = math.floor(reach * length / (2.0 * math.pi))
    waves = np.empty((3, top.max() + 1, sites, 2))
    for x in range(3):
        for h in range(top[x] + 1):
            for i in range(sites):
                angle = 2.0 * math.pi * h * frac[i, x]
                waves[x, h, i, 0], waves[x, h, i, 1] = math.cos(angle), math.sin(angle)
    wave, factor = np.empty((sites, 2)), np.empty((sets, 2))
    for a in range(top[0] + 1):
        for b in range(-top[1] if a > 0 else 0, top[1] + 1):
            for c in range(-top[2] if a > 0 or b > 0 else 1, top[2] + 1):
                square = 0.0
                for x in range(3):
                    step = inverse[x, 0] * a + inverse[x, 1] * b + inverse[x, 2] * c
                    square += (2.0 * math.pi * step) ** 2
                if square > reach * reach:
                    continue
                weight = 8.0 * math.pi / volume * math.exp(-square / (4.0 * split**2)) / square
                down, back = (1.0 if b >= 0 else -1.0), (1.0 if c >= 0 else -1.0)
                factor[:] = 0.0
                for i in range(sites):
                    u, v = waves[0, a, i, 0], waves[0, a, i, 1]
                    p, q = waves[1, abs(b), i, 0], down * waves[1, abs(b), i, 1]
                    u, v = u * p - v * q, u * q + v * p
                    p, q = waves[2, abs(c), i, 0], back * waves[2, abs(c), i, 1]
                    wave[i, 0], wave[i, 1] = u * p - v * q, u * q + v * p
                    for k in range(sets):
                        factor[k, 0] += charges[i, k] * wave[i, 0]
                        factor[k, 1] += charges[i, k] * wave[i, 1]
                for i in range(sites):
                    for k in range(sets):
                        out[i, k] += weight * (
                            factor[k, 0] * wave[i, 0] + factor[k, 1] * wave[i, 1]
                        )


@compiled
def _potentials_of(lattice: Array, offsets: Index, frac: Array, charges: Array, out: Array) -> None:
    """Fill the potentials of a batch of crystals in e/angstrom."""
    norms = np.empty(3)
    for n in range(len(lattice)):
        sites = slice(offsets[n], offsets[n + 1])
        volume = dual_norms(lattice[n], norms)
        split = math.sqrt(math.pi) * ((offsets[n + 1] - offsets[n]) / volume**2) ** (1.0 / 6.0)
        _near(lattice[n], norms, frac[sites], charges[sites], split, out[sites])
        _far(lattice[n], frac[sites], charges[sites], split, out[sites])


def potentials(crystals: Crystals, charges: Array) -> Array:
    """Potential of all other charges at every site.

    Args:
        crystals: n crystals with s sites.
        charges: (s, q) sets of charges in e, each neutral in every crystal.

    Returns:
        (s, q) in volt; the energy of a crystal is half the sum of charge times potential, in eV.
    """
    out = np.zeros(charges.shape)
    _potentials_of(
        np.ascontiguousarray(crystals.lattice), crystals.offsets,
        np.ascontiguousarray(crystals.frac_coords), np.ascontiguousarray(charges), out,
    )  # fmt: skip
    out *= COULOMB
    return out
