"""Crystals into three numbers that tell structures of one formula apart, whatever their cell.

Volume per atom, and two smooth sums over pairs of atoms: over all, and over atoms of the same
element. Lengths are measured in the cube root of the volume per atom, so the sums tell shape and
order, not size. Used to recognise crystals that weights were pre-trained on (hub/seen.py).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crystalssl.representation._compiled import compiled, run_chunks
from crystalssl.representation.graph import gather, reduced_sites
from crystalssl.representation.points import dual_norms, reduce_basis
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.validity import MIN_DISTANCE

REACH = 2.0
"""Pairs count up to this distance, in cube roots of the volume per atom."""
NAMES = ("log volume per atom", "pairs of atoms", "pairs of atoms of one element")
"""Columns of :func:`fingerprints`."""


@compiled
def _fill(
    lattice: npt.NDArray[np.float64],
    offsets: npt.NDArray[np.int64],
    frac: npt.NDArray[np.float64],
    numbers: npt.NDArray[np.int16],
    occupancy: npt.NDArray[np.float32],
    values: npt.NDArray[np.float64],
) -> None:
    """Fill the fingerprints of a chunk of crystals."""
    reduced, norms = np.empty((3, 3)), np.empty(3)
    steps = np.empty((3, 3), np.int64)
    squares, images = np.empty(1024), np.empty((1024, 4), np.int64)
    slots = numbers.shape[1]
    for n in range(len(lattice)):
        first, sites = offsets[n], offsets[n + 1] - offsets[n]
        reduce_basis(lattice[n], reduced, steps)
        volume = dual_norms(reduced, norms)
        moved, whole = np.empty((sites, 3)), np.empty((sites, 3), np.int64)
        reduced_sites(frac[first : first + sites], steps, moved, whole)
        atoms = 0.0
        for site in range(first, first + sites):
            for slot in range(slots):
                atoms += occupancy[site, slot]
        reach = REACH * (volume / atoms) ** (1.0 / 3.0)
        every = same = 0.0
        for site in range(sites):
            total = gather(moved, site, reduced, norms, reach, squares, images)
            while total < 0:
                capacity = 2 * len(squares)
                squares, images = np.empty(capacity), np.empty((capacity, 4), np.int64)
                total = gather(moved, site, reduced, norms, reach, squares, images)
            for m in range(total):
                if squares[m] < MIN_DISTANCE * MIN_DISTANCE:
                    continue  # sites that exclude each other (disorder) are no pair
                other = first + images[m, 0]
                # falls to zero with its slope at the end of the reach: continuous in coordinates
                nearness = (1.0 - squares[m] / (reach * reach)) ** 3
                for i in range(slots):
                    for j in range(slots):
                        weight = nearness * occupancy[first + site, i] * occupancy[other, j]
                        every += weight
                        if numbers[first + site, i] == numbers[other, j]:
                            same += weight
        values[n, 0] = np.log(volume / atoms)
        values[n, 1] = every / atoms
        values[n, 2] = same / atoms


def fingerprints(crystals: Crystals) -> npt.NDArray[np.float64]:
    """Three numbers a crystal, continuous in the coordinates.

    They do not depend on the choice of cell, origin, orientation or order of sites. They cannot
    tell mirror images apart, nor structures whose pairs agree to the distance ``REACH``.

    Args:
        crystals: n valid crystals in any cell.

    Returns:
        (n, 3) float64, columns as in ``NAMES``.
    """
    values = np.empty((len(crystals), len(NAMES)))
    lattice = np.ascontiguousarray(crystals.lattice, np.float64)
    frac = np.ascontiguousarray(crystals.frac_coords, np.float64)
    numbers = np.ascontiguousarray(crystals.numbers, np.int16)
    occupancy = np.ascontiguousarray(crystals.occupancy, np.float32)

    def work(start: int, stop: int) -> None:
        first, last = crystals.offsets[start], crystals.offsets[stop]
        _fill(
            lattice[start:stop], crystals.offsets[start : stop + 1] - first, frac[first:last],
            numbers[first:last], occupancy[first:last], values[start:stop],
        )  # fmt: skip

    run_chunks(work, len(crystals))
    return values
