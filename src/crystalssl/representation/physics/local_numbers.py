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
Cells = npt.NDArray[np.int8]

COMPARED = (
    "electronegativity_pauling", "mendeleev_number", "group", "valence_electrons", "s_electrons",
    "p_electrons", "d_electrons", "covalent_radius", "melting_point", "atomic_level_highest",
)  # fmt: skip
"""Properties compared along bonds."""
RADII = (1.1, 1.25, 1.45)
"""Bonds up to these times the sum of covalent radii hold a crystal together."""


def _differences(environment: Environment) -> Array:
    of_sites = np.column_stack([environment.of_sites(name) for name in COMPARED])
    values = np.empty_like(of_sites)
    weight = environment.weight * environment.amount[environment.other]
    _mean_differences(environment.edge_offsets, environment.other, weight, of_sites, values)
    return pool(environment.crystals.offsets, environment.amount, values)


@compiled
def _mean_differences(
    edge_offsets: Index, other: Index, weight: Array, of_sites: Array, out: Array
) -> None:
    """Fill (s, p) weighted means over the edges of a site of how much its ends differ."""
    sums = np.empty(of_sites.shape[1])
    for site in range(len(edge_offsets) - 1):
        for p in range(len(sums)):
            sums[p] = 0.0
        here, total = of_sites[site], 0.0
        for m in range(edge_offsets[site], edge_offsets[site + 1]):
            there, strength = of_sites[other[m]], weight[m]
            total += strength
            for p in range(len(sums)):
                sums[p] += strength * abs(here[p] - there[p])
        for p in range(len(sums)):
            out[site, p] = sums[p] / max(total, 1e-12)


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
def _root(parent: Index, shift: Index, site: int) -> int:
    """The root of a site; then the site hangs on it, with the cells from its copy to the site's."""
    root, c0, c1, c2 = site, 0, 0, 0
    while parent[root] != root:
        c0, c1, c2 = c0 + shift[root, 0], c1 + shift[root, 1], c2 + shift[root, 2]
        root = parent[root]
    while parent[site] != root:  # the same for all on the way, as long as they hang on others
        above, s0, s1, s2 = parent[site], shift[site, 0], shift[site, 1], shift[site, 2]
        parent[site] = root
        shift[site, 0], shift[site, 1], shift[site, 2] = c0, c1, c2
        c0, c1, c2 = c0 - s0, c1 - s1, c2 - s2
        site = above
    return root


@compiled
def _widen(around: Index, rank: int, c0: int, c1: int, c2: int) -> int:
    """Put a translation behind the ``rank`` independent ones of ``around``, if it is another.

    Returns how many there are then.
    """
    if rank == 3:
        return 3
    around[rank, 0], around[rank, 1], around[rank, 2] = c0, c1, c2
    if rank == 0:
        return 1 if c0 != 0 or c1 != 0 or c2 != 0 else 0
    a0, a1, a2 = around[0, 0], around[0, 1], around[0, 2]
    b0, b1, b2 = around[1, 0], around[1, 1], around[1, 2]
    x, y, z = a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0
    if rank == 1:
        return 2 if x != 0 or y != 0 or z != 0 else 1
    return 3 if x * c0 + y * c1 + z * c2 != 0 else 2


@compiled
def _join(
    parent: Index, shift: Index, around: Index, ranks: Index, i: int, j: int, image: Cells
) -> int:
    """Bond a site to one in another cell; returns by how much there are fewer networks.

    Sites are joined as in union-find, each remembering its cell relative to its root; a bond
    within a network whose cells do not add up leads around the crystal along their difference.
    """
    a, b = _root(parent, shift, i), _root(parent, shift, j)
    c0 = image[0] - (shift[j, 0] if j != b else 0) + (shift[i, 0] if i != a else 0)
    c1 = image[1] - (shift[j, 1] if j != b else 0) + (shift[i, 1] if i != a else 0)
    c2 = image[2] - (shift[j, 2] if j != b else 0) + (shift[i, 2] if i != a else 0)
    if a == b:
        ranks[a] = _widen(around[a], ranks[a], c0, c1, c2)
        return 0
    parent[b] = a
    shift[b, 0], shift[b, 1], shift[b, 2] = c0, c1, c2
    for row in range(ranks[b]):
        step = around[b, row]
        ranks[a] = _widen(around[a], ranks[a], step[0], step[1], step[2])
    return 1


@compiled
def _networks(
    offsets: Index,
    edge_offsets: Index,
    other: Index,
    image: Cells,
    relative: Array,
    limits: Array,
    out: Array,
) -> None:
    """Fill (n, limits, 3): highest dimension of a network, atoms in networks of none, networks.

    The last two are per site. ``other`` counts sites through the batch, ``image`` (e, 3) is the
    cell of the end of an edge, ``relative`` its length over the radii, NaN where there is no bond.
    Each limit goes on from the networks of the last.
    """
    most = 0
    for n in range(len(offsets) - 1):
        most = max(most, offsets[n + 1] - offsets[n])
    parent, shift = np.empty(most, np.int64), np.empty((most, 3), np.int64)
    around, ranks = np.empty((most, 3, 3), np.int64), np.empty(most, np.int64)
    for n in range(len(offsets) - 1):
        first, count = offsets[n], offsets[n + 1] - offsets[n]
        for i in range(count):
            parent[i], ranks[i] = i, 0
        roots, beyond = count, -np.inf
        for at in range(len(limits)):
            for i in range(count):
                for m in range(edge_offsets[first + i], edge_offsets[first + i + 1]):
                    if beyond < relative[m] <= limits[at]:
                        roots -= _join(parent, shift, around, ranks, i, other[m] - first, image[m])
                if roots == 1 and ranks[_root(parent, shift, i)] == 3:
                    break  # one framework: no further bond changes anything
            beyond = limits[at]
            high, free = 0, 0
            for i in range(count):
                rank = ranks[_root(parent, shift, i)]
                high = max(high, rank)
                free += rank == 0
            out[n, at, 0], out[n, at, 1], out[n, at, 2] = high, free / count, roots / count


def _dimensions(environment: Environment) -> Array:
    radius = environment.of_sites("covalent_radius")
    relative = environment.distance / (radius[environment.centre] + radius[environment.other])
    relative[environment.weight <= 0] = np.nan
    out = np.empty((len(environment.atoms), len(RADII), 3))
    _networks(
        environment.crystals.offsets, environment.edge_offsets, environment.other,
        environment.image, relative, np.array(RADII), out,
    )  # fmt: skip
    return out.reshape(len(out), -1)


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
