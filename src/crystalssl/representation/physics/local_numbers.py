"""Atoms and the atoms they are bonded to -> how unlike they are, and how far bonds hold together.

Local differences after Ward et al., Phys. Rev. B 96, 024104 (2017), with Hoppe's weights in place
of Voronoi faces. Dimensionality: rank of the lattice translations that bonds lead around a cell;
P. M. Larsen et al., Phys. Rev. Mater. 3, 034003 (2019).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crystalssl.representation._compiled import compiled
from crystalssl.representation.physics.columns import Group, number, statistics
from crystalssl.representation.physics.element_table import PROPERTIES
from crystalssl.representation.physics.environment import Environment
from crystalssl.representation.physics.pooling import pool

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

COMPARED = (
    "electronegativity_pauling", "mendeleev_number", "group", "valence_electrons", "s_electrons",
    "p_electrons", "d_electrons", "covalent_radius", "melting_point", "atomic_level_highest",
)  # fmt: skip
"""Properties compared along bonds."""
RADII = (1.1, 1.25, 1.45)
"""Bonds up to these times the sum of covalent radii hold a crystal together."""


def _differences(environment: Environment) -> Array:
    i, j, count = environment.centre, environment.other, len(environment.amount)
    weight = environment.weight * environment.amount[j]
    total = np.maximum(np.bincount(i, weight, minlength=count), 1e-12)
    values = np.empty((count, len(COMPARED)))
    for place, name in enumerate(COMPARED):
        of_site = environment.of_sites(name)
        unlike = np.abs(of_site[i] - of_site[j])
        values[:, place] = np.bincount(i, weight * unlike, minlength=count) / total
    return pool(environment.crystals.offsets, environment.amount, values)


_UNITS = {entry.name: (entry.unit, entry.meaning) for entry in PROPERTIES}
LOCAL = Group(
    name="local",
    title="Differences between an atom and its bonded neighbours, over atoms",
    columns=tuple(
        entry
        for name in COMPARED
        for entry in statistics(
            f"local_difference_{name}", _UNITS[name][0],
            f"the mean difference to bonded neighbours of {_UNITS[name][1]}",
            "an atom whose value is not tabulated, or next to one",
        )
    ),
    compute=_differences,
)  # fmt: skip
"""How unlike bonded atoms are."""


@compiled
def _root(parent: Index, shift: Index, site: int, moved: Index) -> int:
    """The root of a site, and in ``moved`` the cells from the root's copy to the site's."""
    moved[:] = 0
    while parent[site] != site:
        moved += shift[site]
        site = parent[site]
    return site


@compiled
def _rank(rows: Array) -> int:
    """Rank of three integer rows by elimination."""
    rank = 0
    for column in range(3):
        pivot = -1
        for row in range(rank, 3):
            if abs(rows[row, column]) > 1e-9:
                pivot = row
        if pivot < 0:
            continue
        for x in range(3):
            rows[rank, x], rows[pivot, x] = rows[pivot, x], rows[rank, x]
        for row in range(rank + 1, 3):
            factor = rows[row, column] / rows[rank, column]
            for x in range(3):
                rows[row, x] -= factor * rows[rank, x]
        rank += 1
    return rank


@compiled
def _networks(
    offsets: Index,
    edge_offsets: Index,
    other: Index,
    image: Index,
    holds: npt.NDArray[np.bool_],
    out: Array,
) -> None:
    """Fill (n, 3): highest dimension of a network, atoms in networks of none, networks per site.

    Sites are joined as in union-find, each remembering its cell relative to its root; a bond
    within a network whose cells do not add up leads around the crystal along their difference.
    ``other`` counts sites through the batch, ``image`` (e, 3) is the cell of the end of an edge.
    """
    for n in range(len(offsets) - 1):
        first, count = offsets[n], offsets[n + 1] - offsets[n]
        parent, shift = np.arange(count), np.zeros((count, 3), np.int64)
        here, there = np.empty(3, np.int64), np.empty(3, np.int64)
        for i in range(count):
            for m in range(edge_offsets[first + i], edge_offsets[first + i + 1]):
                if holds[m]:
                    j = other[m] - first
                    a, b = _root(parent, shift, i, here), _root(parent, shift, j, there)
                    if a != b:  # cell(b) = cell(i) + image - cell(j) relative to a
                        parent[b] = a
                        shift[b] = here + image[m] - there
        around = np.zeros((count, 3, 3))
        ranks = np.zeros(count, np.int64)
        trial = np.empty((3, 3))
        for i in range(count):
            for m in range(edge_offsets[first + i], edge_offsets[first + i + 1]):
                if holds[m]:
                    a = _root(parent, shift, i, here)
                    _root(parent, shift, other[m] - first, there)
                    if ranks[a] < 3:
                        trial[:] = around[a]
                        trial[ranks[a]] = here + image[m] - there
                        if _rank(trial) > ranks[a]:
                            around[a, ranks[a]] = here + image[m] - there
                            ranks[a] += 1
        high, free, roots = 0, 0.0, 0.0
        for i in range(count):
            a = _root(parent, shift, i, here)
            high = max(high, ranks[a])
            free += 1.0 if ranks[a] == 0 else 0.0
            roots += 1.0 if a == i else 0.0
        out[n, 0], out[n, 1], out[n, 2] = high, free / count, roots / count


def _dimensions(environment: Environment) -> Array:
    radius = environment.of_sites("covalent_radius")
    i, j = environment.centre, environment.other
    relative = environment.distance / (radius[i] + radius[j])
    out = np.empty((len(RADII), len(environment.atoms), 3))
    for place, limit in enumerate(RADII):
        _networks(
            environment.crystals.offsets, environment.edge_offsets, j, environment.image,
            (relative <= limit) & (environment.weight > 0), out[place],
        )  # fmt: skip
    return out.transpose(1, 0, 2).reshape(len(environment.atoms), -1)


NETWORKS = Group(
    name="networks",
    title="Networks of bonds, by length over the sum of covalent radii",
    columns=tuple(
        entry
        for limit in RADII
        for entry in (
            number(
                f"network_dimension_at_{limit * 100:.0f}_percent", "1",
                f"highest dimension (0 to 3) of a network of bonds up to {limit} of the radii",
            ),
            number(
                f"molecular_fraction_at_{limit * 100:.0f}_percent", "1",
                "share of sites in finite clusters of such bonds",
            ),
            number(
                f"networks_per_site_at_{limit * 100:.0f}_percent", "1",
                "networks and clusters in a primitive cell over its sites",
            ),
        )
    ),
    compute=_dimensions,
)  # fmt: skip
"""Whether bonds make molecules, chains, layers or a framework."""

LOCAL_GROUPS: tuple[Group, ...] = (LOCAL, NETWORKS)
"""Groups of this file."""
