"""Lattices and sites to the shortest forbidden distance of each crystal; compiled by numba.

A file of its own so that numba is imported only when distances are asked for. Called by
``validity.closest_pair``; exact for any cell, skew ones included.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

from crystalssl.processes import with_compile_cache

Floats = npt.NDArray[np.float64]
Function = TypeVar("Function", bound=Callable[..., object])


def _compiled(function: Function) -> Function:
    return cast("Function", with_compile_cache(numba.njit(cache=True), function))


CROWDED = 100_000
"""Pairs too close in one crystal after which no more are looked at: it is refused whatever follows,
and a file with the same row thousands of times would take their square."""


@_compiled
def shortest_overlap(
    lattice: Floats,
    offsets: npt.NDArray[np.int64],
    frac_coords: Floats,
    along: Floats,
    filled: Floats,
    reach: Floats,
    cutoff: float,
    full: float,
) -> Floats:
    """Shortest distance below a cutoff between two sites that cannot be alternatives.

    Args:
        lattice: (n, 3, 3) rows a, b, c in angstrom.
        offsets: (n + 1,) site offsets.
        frac_coords: (sites, 3) fractional coordinates, wrapped or not.
        along: (sites,) the coordinate of smallest reach, wrapped into the cell; ascending within
            each crystal, so that a site meets those within reach and no others.
        filled: (sites,) total occupancy.
        reach: (n, 3) largest fractional component of a vector as long as the cutoff
            (cutoff divided by the spacing of the lattice planes).
        cutoff: angstrom.
        full: two sites whose occupancies add up to at most this may overlap.

    Returns:
        (n,) distance in angstrom, infinite where there is none; of a crystal with more than
        ``CROWDED`` such pairs the shortest of so many.
    """
    count = len(offsets) - 1
    shortest = np.empty(count)
    wrapped = np.empty(3)
    low = np.empty(3, dtype=np.int64)
    high = np.empty(3, dtype=np.int64)
    for n in range(count):
        basis, first, sites = lattice[n], offsets[n], offsets[n + 1] - offsets[n]
        shortest[n] = np.inf
        widest, close = min(reach[n, 0], reach[n, 1], reach[n, 2]) + 1e-9, 0
        for i in range(sites):
            for step in range(sites):
                j = (i + step) % sites
                ahead = along[first + j] - along[first + i]
                if j < i:  # round the cell
                    ahead += 1.0
                if ahead > widest or close > CROWDED:
                    break
                if step and filled[first + i] + filled[first + j] <= full:
                    continue
                near = True
                for k in range(3):
                    delta = frac_coords[first + j, k] - frac_coords[first + i, k]
                    wrapped[k] = delta - np.rint(delta)
                    low[k] = np.int64(np.ceil(-reach[n, k] - wrapped[k]))
                    high[k] = np.int64(np.floor(reach[n, k] - wrapped[k]))
                    near = near and low[k] <= high[k]
                if not near:
                    continue
                for p in range(low[0], high[0] + 1):
                    for q in range(low[1], high[1] + 1):
                        for r in range(low[2], high[2] + 1):
                            if step == 0 and p == 0 and q == 0 and r == 0:
                                continue
                            square = 0.0
                            for k in range(3):
                                x = (
                                    (wrapped[0] + p) * basis[0, k]
                                    + (wrapped[1] + q) * basis[1, k]
                                    + (wrapped[2] + r) * basis[2, k]
                                )
                                square += x * x
                            distance = np.sqrt(square)
                            if distance < cutoff:
                                close += 1
                                shortest[n] = min(shortest[n], distance)
    return shortest
