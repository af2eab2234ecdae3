"""Surroundings of sites in one pass over their edges, for encoding on a CPU without gradients.

The same numbers as the torch code of ``_environment.py``, to rounding: mixtures of moments are
summed at once rather than moments that are mixed then, and no array of edges by channels is made.
Edges lie site after site, so everything about a site stays in the first cache.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crystalssl.representation._compiled import compiled_sums

Floats = npt.NDArray[np.float32]
Whole = npt.NDArray[np.int64]

HARMONICS = 16
"""Real spherical harmonics of l = 0..3."""
_R3, _R15, _P, _Q = (np.float32(x) for x in (3**0.5, 15**0.5, (5 / 8) ** 0.5, (3 / 8) ** 0.5))
_ONE, _HALF = np.float32(1), np.float32(0.5)


@compiled_sums
def fill_harmonics(x: np.float32, y: np.float32, z: np.float32, out: Floats) -> None:
    """Fill ``out`` (harmonic,) of a unit vector; as ``_environment.harmonics``."""
    xx, yy, zz = x * x, y * y, z * z
    three, five = np.float32(3), np.float32(5)
    out[0], out[1], out[2], out[3] = _ONE, x, y, z
    out[4], out[5], out[6] = _R3 * x * y, _R3 * y * z, (three * zz - _ONE) * _HALF
    out[7], out[8] = _R3 * x * z, _R3 * _HALF * (xx - yy)
    out[9], out[10] = _P * y * (three * xx - yy), _R15 * x * y * z
    out[11], out[12] = _Q * y * (five * zz - _ONE), z * (five * zz - three) * _HALF
    out[13], out[14] = _Q * x * (five * zz - _ONE), _R15 * _HALF * z * (xx - yy)
    out[15] = _P * x * (xx - three * yy)


@compiled_sums
def weigh_bonds(
    distance: Floats,
    source: Whole,
    closest: float,
    weight: Floats,
    nearest: Floats,
    coordination: Floats,
) -> None:
    """Fill the weights of edges, and of every site its nearest distance and sum of weights.

    ``distance`` is clamped in place; as ``_environment.bonds_of``.
    """
    low = np.float32(closest)
    end = 0
    while end < len(source):
        site, start = source[end], end
        near = np.float32(np.inf)
        while end < len(source) and source[end] == site:
            distance[end] = max(distance[end], low)
            near = min(near, distance[end])
            end += 1
        for e in range(start, end):
            ratio = distance[e] / near
            cube = ratio * ratio * ratio
            weight[e] = np.exp(_ONE - cube * cube)
        total = np.float32(0)
        for e in range(start, end):
            total += weight[e]
        nearest[site], coordination[site] = near, total


@compiled_sums
def add_spectra(
    unit: Floats,
    distance: Floats,
    weight: Floats,
    source: Whole,
    target: Whole,
    coordination: Floats,
    centres: Floats,
    inverse_width: float,
    mixed: Floats,
    spectra: Floats,
    orders: Floats,
) -> None:
    """Fill invariants (site, 4 * rank) and orders (site, 3) of l = 1, 2, 3.

    ``mixed`` (site, radial, 2 * rank) is what a site adds to the mixtures of its neighbours for
    each radial function, the weight of the bond last.
    """
    radials, width = mixed.shape[1], mixed.shape[2]
    rank = width // 2
    angular, along = np.empty(HARMONICS, np.float32), np.empty(width, np.float32)
    sums, bare = np.empty((HARMONICS, width), np.float32), np.empty(HARMONICS, np.float32)
    inverse = np.float32(inverse_width)
    end = 0
    while end < len(source):
        site = source[end]
        for m in range(HARMONICS):  # loops: ``sums[:] = 0`` takes a second to compile
            bare[m] = np.float32(0)
            for k in range(width):
                sums[m, k] = np.float32(0)
        share = _ONE / max(coordination[site], np.float32(1e-6))
        while end < len(source) and source[end] == site:
            fill_harmonics(unit[end, 0], unit[end, 1], unit[end, 2], angular)
            there = mixed[target[end]]
            bond = weight[end] * share
            for k in range(width):
                along[k] = bond * there[radials - 1, k]
            for n in range(radials - 1):
                step = (distance[end] - centres[n]) * inverse
                factor = np.exp(-_HALF * step * step) * share
                for k in range(width):
                    along[k] += factor * there[n, k]
            for m in range(HARMONICS):
                factor = angular[m]
                bare[m] += factor * bond
                for k in range(width):
                    sums[m, k] += factor * along[k]
            end += 1
        first = 0
        for degree in range(4):
            last = first + 2 * degree + 1
            size = np.float32(0)
            for m in range(first, last):
                size += bare[m] * bare[m]
            if degree > 0:
                orders[site, degree - 1] = np.sqrt(size)
            made = spectra[site, degree * rank : (degree + 1) * rank]
            for k in range(rank):
                made[k] = np.float32(0)
            for m in range(first, last):
                for k in range(rank):
                    made[k] += sums[m, k] * sums[m, rank + k]
            for k in range(rank):
                made[k] /= np.sqrt(_ONE + abs(made[k]))
            first = last


@compiled_sums
def fill_element_numbers(
    distance: Floats,
    weight: Floats,
    source: Whole,
    target: Whole,
    values: Floats,
    valence_length: float,
    means: Floats,
    most: Floats,
    total: Floats,
) -> None:
    """Fill means (site, 5) and maxima (site, 5) over bonds, and summed valence (site,).

    As ``_environment.element_numbers``; ``values`` (site, 4) are electronegativity, radius, valence
    electrons and mass; means are sums here, to be divided by the coordination.
    """
    inverse = np.float32(1 / valence_length)
    end = 0
    while end < len(source):
        site = source[end]
        here, mean, top, valence = values[site], means[site], most[site], np.float32(0)
        for k in range(5):
            top[k] = np.float32(-np.inf)
        while end < len(source) and source[end] == site:
            there, d, w = values[target[end]], distance[end], weight[end]
            radii = here[1] + there[1]
            reduced = here[3] * there[3] / (here[3] + there[3])
            stiffness = _ONE / (np.sqrt(reduced) * d * d)
            relative, charge = d / radii, there[0] - here[0]
            bond = np.exp(min((radii - d) * inverse, np.float32(4)))
            mass = np.log(reduced)
            mean[0] += w * stiffness
            mean[1] += w * relative
            mean[2] += w * abs(charge)
            mean[3] += w * charge
            mean[4] += w * mass
            top[0] = max(top[0], stiffness)
            top[1] = max(top[1], -relative)
            top[2] = max(top[2], w * abs(charge))
            top[3] = max(top[3], bond)
            top[4] = max(top[4], -mass)
            valence += bond
            end += 1
        total[site] = valence
