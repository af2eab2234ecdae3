"""Electrostatics of Gaussian charges in a crystal: hardness and positions -> interaction matrix.

The width of a site's charge follows from its hardness, so that its self-interaction is the hardness
(Elstner and others, Phys. Rev. B 58, 7260, 1998, with Gaussians); a uniform background makes the
cell neutral. Ewald sums with as many real as reciprocal terms. Hartree and bohr.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from crystalssl.representation._compiled import compiled, compiled_sums

Array = npt.NDArray[np.float64]

ACCURACY = 3.4
"""Sums end where exp(-x^2) has fallen to this x: about 1e-5 of the leading term."""


@compiled
def _near(lattice: Array, fractions: Array, hardness: Array, split: float, matrix: Array) -> None:
    """Real-space part: 1/r screened at ``split`` less what Gaussian charges lack of 1/r."""
    inverse = np.linalg.inv(lattice)
    norms = np.sqrt((inverse**2).sum(axis=0))
    n = len(hardness)
    delta = np.empty(3)
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    for i in range(n):
        for j in range(i, n):
            pair = 2.0 * (hardness[i] ** -2 + hardness[j] ** -2) / math.pi  # 1 / width^2
            width = 1.0 / math.sqrt(pair)
            reach = ACCURACY / min(split, width)
            for x in range(3):
                delta[x] = fractions[j, x] - fractions[i, x]
                low[x] = math.ceil(-reach * norms[x] - delta[x])
                high[x] = math.floor(reach * norms[x] - delta[x])
            total = 0.0
            for t0 in range(low[0], high[0] + 1):
                for t1 in range(low[1], high[1] + 1):
                    for t2 in range(low[2], high[2] + 1):
                        square = 0.0
                        for x in range(3):
                            step = (
                                (delta[0] + t0) * lattice[0, x] + (delta[1] + t1) * lattice[1, x]
                                + (delta[2] + t2) * lattice[2, x]
                            )  # fmt: skip
                            square += step * step
                        if square >= reach * reach:
                            continue
                        if square < 1e-10:
                            total += 2.0 * (width - split) / math.sqrt(math.pi)
                        else:
                            r = math.sqrt(square)
                            total += (math.erfc(split * r) - math.erfc(width * r)) / r
            matrix[i, j] += total
            if i != j:
                matrix[j, i] += total


@compiled_sums
def _waves(lattice: Array, fractions: Array, split: float) -> Array:
    """(2 G, n) cosines and sines of half of the reciprocal vectors, times their weight's root."""
    inverse = np.linalg.inv(lattice)
    volume = abs(np.linalg.det(lattice))
    reach = 2.0 * split * ACCURACY
    top = np.empty(3, np.int64)
    for x in range(3):
        length = math.sqrt((lattice[x] ** 2).sum())
        top[x] = math.floor(reach * length / (2.0 * math.pi))
    room = (top[0] + 1) * (2 * top[1] + 1) * (2 * top[2] + 1)
    waves = np.empty((2 * room, len(fractions)))
    used = 0
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
                root = math.sqrt(weight)
                for i in range(len(fractions)):
                    phase = a * fractions[i, 0] + b * fractions[i, 1] + c * fractions[i, 2]
                    waves[used, i] = root * math.cos(2.0 * math.pi * phase)
                    waves[used + 1, i] = root * math.sin(2.0 * math.pi * phase)
                used += 2
    return waves[:used]


def interaction(lattice: Array, fractions: Array, hardness: Array) -> Array:
    """Interaction of unit Gaussian charges on the sites of a crystal.

    Args:
        lattice: (3, 3) rows a, b, c in bohr.
        fractions: (n, 3) fractional coordinates.
        hardness: (n,) in hartree, positive.

    Returns:
        (n, n) symmetric; the electrostatic energy of charges q is q @ matrix @ q / 2 in hartree,
        their potentials matrix @ q.
    """
    volume = abs(float(np.linalg.det(lattice)))
    split = math.sqrt(math.pi) * (len(hardness) / volume**2) ** (1.0 / 6.0)
    # Gaussians reach this far in any case, so a sharper split saves reciprocal terms only
    split = max(split, 0.5 * float(hardness.min()) * math.sqrt(math.pi) / 2.0)
    matrix = np.zeros((len(hardness), len(hardness)))
    _near(lattice, fractions, hardness, split, matrix)
    waves = _waves(lattice, fractions, split)
    matrix += waves.T @ waves
    matrix -= math.pi / (volume * split**2)  # background of the screened sum
    return matrix
