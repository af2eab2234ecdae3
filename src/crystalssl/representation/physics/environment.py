"""Canonical crystals and their periodic graph -> species, sites and bonds as flat arrays.

What every group of named numbers reads. Bonds are the pairs of the graph under the weights of
Hoppe's effective coordination number (Z. Kristallogr. 150, 23, 1979), which fade instead of ending
at a radius; a disordered site has the mean of its species (mean field) and counts by its occupancy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from crystalssl.representation._compiled import compiled
from crystalssl.representation.charges import balanced_charges
from crystalssl.representation.graph import PeriodicGraph
from crystalssl.representation.physics.element_table import ELEMENTS, column
from crystalssl.structures.canonical import Symmetry
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.validity import MIN_DISTANCE

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

LEAST_BOND = 0.05
"""Pairs whose weight is less are no bonds where extremes or counts are taken."""


@dataclass(frozen=True, kw_only=True)  # no slots: what several groups read is kept
class Environment:
    """A batch of n crystals with s sites and e directed edges.

    Attributes:
        crystals: the canonical crystals.
        symmetry: their symmetry; None where no number that needs it is asked for.
        fractions: (n, 104) share of each atomic number among the atoms.
        atoms: (n,) atoms in the cell, vacancies not counted.
        owner: (s,) crystal of each site.
        amount: (s,) occupancy of each site by all its species.
        edge_offsets: (s + 1,) edges of each site.
        crystal_edges: (n + 1,) edges of each crystal.
        centre: (e,) site at the centre of an edge.
        other: (e,) site at its end.
        distance: (e,) angstrom.
        image: (e, 3) int8, cell of its end, relative to that of its centre.
        direction: (3, e) from centre to end, of length one.
        weight: (e,) strength of the bond, 0 to e; 0 for sites that exclude each other.
        bond: (e,) ``weight`` times the occupancies of both ends; 0 below ``LEAST_BOND``.
    """

    crystals: Crystals
    symmetry: Symmetry | None
    fractions: Array
    atoms: Array
    owner: Index
    amount: Array
    edge_offsets: Index
    crystal_edges: Index
    centre: Index
    other: Index
    distance: Array
    image: npt.NDArray[np.int8]
    direction: Array
    weight: Array
    bond: Array

    def of_sites(self, name: str) -> Array:
        """(s,) a tabulated property of each site, the mean of its species."""
        if name not in self._of_sites:
            self._of_sites[name] = site_mean(self.crystals, column(name))
        return self._of_sites[name]

    @cached_property
    def _of_sites(self) -> dict[str, Array]:
        return {}

    @cached_property
    def charges(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """(n, 4) and (n, 104), what ``balanced_charges`` gives."""
        return balanced_charges(self.crystals)


def site_mean(crystals: Crystals, table: Array) -> Array:
    """(s,) values of a table (104,) averaged over the species of a site that have one, or NaN."""
    mean = np.empty(len(crystals.numbers))
    # a copy: columns of a larger, read-only table would be another kind of array to compile for
    _species_mean(crystals.numbers, crystals.occupancy, np.array(table, np.float64), mean)
    return mean


@compiled
def _species_mean(
    numbers: npt.NDArray[np.int16], occupancy: npt.NDArray[np.float32], table: Array, out: Array
) -> None:
    """Fill (s,) means of a table, weighted by occupancy; NaN without a known value."""
    for site in range(len(out)):
        total, mean = np.float32(0.0), 0.0
        for slot in range(numbers.shape[1]):
            share = occupancy[site, slot]
            if share > 0.0:
                value = table[min(numbers[site, slot], ELEMENTS)]
                if not np.isnan(value):
                    total += share
                    mean += share * value
        out[site] = mean / total


def surroundings(
    crystals: Crystals, symmetry: Symmetry | None, graph: PeriodicGraph
) -> Environment:
    """Everything that the groups read of some crystals.

    Args:
        crystals: n canonical crystals.
        symmetry: their symmetry, or None.
        graph: their periodic graph.
    """
    owner = crystals.crystal_of_site
    amount = crystals.occupancy.sum(axis=1, dtype=np.float64)
    atoms = np.bincount(owner, amount, minlength=len(crystals)).astype(np.float64)
    count = len(graph.distance)
    centre, other = np.empty(count, np.int64), np.empty(count, np.int64)
    distance, direction, weight, bond = (
        np.empty(shape) for shape in (count, (3, count), count, count)
    )
    _pairs_of(
        crystals.offsets, graph.edge_offsets, graph.target, graph.image, graph.distance,
        np.ascontiguousarray(crystals.frac_coords), np.ascontiguousarray(crystals.lattice), amount,
        centre, other, distance, direction, weight, bond,
    )  # fmt: skip
    return Environment(
        crystals=crystals,
        symmetry=symmetry,
        fractions=_fractions(crystals, owner, atoms),
        atoms=atoms,
        owner=owner,
        amount=amount,
        edge_offsets=graph.edge_offsets,
        crystal_edges=graph.edge_offsets[crystals.offsets],
        centre=centre,
        other=other,
        distance=distance,
        image=graph.image,
        direction=direction,
        weight=weight,
        bond=bond,
    )


def _fractions(crystals: Crystals, owner: Index, atoms: Array) -> Array:
    """(n, 104) share of each atomic number."""
    count = ELEMENTS + 1
    key = owner[:, None] * count + np.minimum(crystals.numbers, ELEMENTS)  # (s, k)
    amounts = np.bincount(
        key.ravel(), crystals.occupancy.ravel(), minlength=len(crystals) * count
    ).reshape(len(crystals), count)
    amounts[:, 0] = 0.0
    shares: Array = amounts / atoms[:, None]
    return shares


@compiled
def _pairs_of(
    offsets: Index,
    edge_offsets: Index,
    target: npt.NDArray[np.int32],
    image: npt.NDArray[np.int8],
    length: npt.NDArray[np.float32],
    frac: Array,
    lattice: Array,
    amount: Array,
    centre: Index,
    other: Index,
    distance: Array,
    direction: Array,
    weight: Array,
    bond: Array,
) -> None:
    """Fill what an :class:`Environment` has of every edge, from the graph of its crystals."""
    for n in range(len(lattice)):
        for site in range(offsets[n], offsets[n + 1]):
            start, stop = edge_offsets[site], edge_offsets[site + 1]
            for m in range(start, stop):
                end = offsets[n] + target[m]
                centre[m], other[m], distance[m] = site, end, length[m]
                d0 = frac[end, 0] + image[m, 0] - frac[site, 0]
                d1 = frac[end, 1] + image[m, 1] - frac[site, 1]
                d2 = frac[end, 2] + image[m, 2] - frac[site, 2]
                for x in range(3):
                    step = d0 * lattice[n, 0, x] + d1 * lattice[n, 1, x] + d2 * lattice[n, 2, x]
                    direction[x, m] = step / distance[m]
            _hoppe(start, stop, other, distance, amount, weight)
            for m in range(start, stop):
                strong = weight[m] >= LEAST_BOND
                bond[m] = weight[m] * amount[site] * amount[other[m]] if strong else 0.0


@compiled
def _hoppe(
    start: int, stop: int, other: Index, distance: Array, amount: Array, weight: Array
) -> None:
    """Fill exp(1 - (d / shell)^6) of a site's edges about the weighted mean of its first shell.

    Ends count by their occupancy in the mean; edges are sorted by distance.
    """
    while start < stop - 1 and distance[start] < MIN_DISTANCE:
        weight[start] = 0.0  # sites that share their occupancy are no pair
        start += 1
    nearest, total, mean = distance[start], 0.0, 0.0
    for m in range(start, stop):
        near = amount[other[m]] * np.exp(1.0 - (distance[m] / nearest) ** 6)
        total += near
        mean += near * distance[m]
    mean /= total
    for m in range(start, stop):
        weight[m] = np.exp(1.0 - (distance[m] / mean) ** 6)
