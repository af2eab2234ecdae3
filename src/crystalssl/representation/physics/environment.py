"""Canonical crystals and their periodic graph -> species, sites and bonds as flat arrays.

What every group of named numbers reads. Bonds are the pairs of the graph under the weights of
Hoppe's effective coordination number (Z. Kristallogr. 150, 23, 1979), which fade instead of ending
at a radius; a disordered site has the mean of its species (mean field) and counts by its occupancy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crystalssl.representation._compiled import compiled
from crystalssl.representation.graph import PeriodicGraph
from crystalssl.representation.physics.element_table import ELEMENTS, column
from crystalssl.structures.canonical import Symmetry
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.validity import MIN_DISTANCE

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

LEAST_BOND = 0.05
"""Pairs whose weight is less are no bonds where extremes or counts are taken."""


@dataclass(frozen=True, kw_only=True, slots=True)
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
        image: (e, 3) cell of its end, relative to that of its centre.
        vector: (e, 3) from centre to end, angstrom.
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
    image: Index
    vector: Array
    weight: Array
    bond: Array

    def of_sites(self, name: str) -> Array:
        """(s,) a tabulated property of each site, the mean of its species."""
        return site_mean(self.crystals, column(name))


def site_mean(crystals: Crystals, table: Array) -> Array:
    """(s,) values of a table (104,) averaged over the species of a site that have one, or NaN."""
    known = ~np.isnan(table)
    filled = np.where(known, table, 0.0)
    numbers = np.minimum(crystals.numbers, ELEMENTS)
    share = crystals.occupancy * known[numbers]  # (s, k)
    total = share.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Array = (share * filled[numbers]).sum(axis=1) / total
    return mean


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
    centre = np.repeat(np.arange(len(owner)), graph.degrees)
    other = graph.target + crystals.offsets[owner[centre]]
    distance = graph.distance.astype(np.float64)
    step = crystals.frac_coords[other] + graph.image - crystals.frac_coords[centre]
    vector = np.einsum("ei,eij->ej", step, crystals.lattice[owner[centre]])
    weight = np.empty(len(distance))
    _hoppe(graph.edge_offsets, distance, amount[other], weight)
    bond = np.where(weight >= LEAST_BOND, weight, 0.0) * amount[centre] * amount[other]
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
        image=graph.image.astype(np.int64),
        vector=vector,
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
def _hoppe(edge_offsets: Index, distance: Array, amount: Array, weight: Array) -> None:
    """Fill exp(1 - (d / shell)^6) of each edge about the weighted mean of its site's first shell.

    Ends count by their occupancy in the mean; edges of a site are sorted by distance.
    """
    for site in range(len(edge_offsets) - 1):
        start, stop = edge_offsets[site], edge_offsets[site + 1]
        while start < stop - 1 and distance[start] < MIN_DISTANCE:
            weight[start] = 0.0  # sites that share their occupancy are no pair
            start += 1
        nearest, total, mean = distance[start], 0.0, 0.0
        for m in range(start, stop):
            near = amount[m] * np.exp(1.0 - (distance[m] / nearest) ** 6)
            total += near
            mean += near * distance[m]
        mean /= total
        for m in range(start, stop):
            weight[m] = np.exp(1.0 - (distance[m] / mean) ** 6)
