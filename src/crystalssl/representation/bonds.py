"""Crystal-level targets in which elements enter: what they are and how unlike bonded ones are.

Crystals and their periodic graph -> statistics of every tabulated elemental property over sites
and along bonds, beside the geometric targets of ``targets.py``. A view that sees geometry alone
learns from them what sits on its sites; one that sees elements alone learns how they bind. Bonds
are the pairs of the graph under the weights of Hoppe's effective coordination number. Averages
run over sites by occupancy; a mixed site has the mean of its species. Sources: L. Pauling, J. Am.
Chem. Soc. 54, 3570 (1932) on ionicity; Ward et al., Phys. Rev. B 96, 024104 (2017) on statistics
of local environments.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crystalssl.representation import elemental
from crystalssl.representation._compiled import compiled, run_chunks
from crystalssl.representation.graph import PeriodicGraph, compact_sites
from crystalssl.structures.crystals import Crystals

PAIR_NAMES = (
    "mean bond length over sum of covalent radii",
    "standard deviation of bond length over sum of covalent radii",
    "mean charge moved along bonds (Pauling)",
    "mean ionic energy of bonds (Pauling^2 / angstrom)",
)
"""Targets of bonds that are no statistic of one property."""
EXTREME_NAMES = (
    "smallest nearest distance (angstrom)",
    "largest nearest distance (angstrom)",
    "largest stiffness of a bond (u^-1/2 angstrom^-2)",
    "log of the largest stiffness of a bond",
    "smallest bond length over sum of covalent radii",
)
"""Extremes over sites and bonds. Stiffness is 1 / (sqrt(reduced mass) d^2): what the frequency of a
bond goes by where force constants fall as 1 / d^4."""
STATISTICS = (
    "mean",
    "standard deviation",
    "mean difference along bonds",
    "standard deviation of it over sites",
)
"""What is taken of each elemental property."""
_PAIR_PROPERTIES = (elemental.ELECTRONEGATIVITY, "covalent_radius_angstrom")
_END_PROPERTIES = ("covalent_radius_angstrom", "atomic_mass_u")
_NEGLIGIBLE = 1e-6


def bond_names() -> tuple[str, ...]:
    """Columns of what :func:`bond_targets` gives."""
    names = elemental.PROPERTY_NAMES
    statistics = tuple(f"{name}: {statistic}" for statistic in STATISTICS for name in names)
    return PAIR_NAMES + statistics + EXTREME_NAMES


@compiled
def _fill_weights(
    distance: npt.NDArray[np.float32], shell: float, closest: float, out: npt.NDArray[np.float64]
) -> None:
    """Hoppe's weight of each pair of one site; 0 for sites that exclude each other."""
    for m in range(len(distance)):
        out[m] = 0.0 if distance[m] < closest else np.exp(1 - (distance[m] / shell) ** 6)


@compiled
def _along_bonds(
    site: int,
    others: npt.NDArray[np.int64],
    weight: npt.NDArray[np.float64],
    distance: npt.NDArray[np.float32],
    pair: npt.NDArray[np.float64],
    table: npt.NDArray[np.float64],
    unlike: npt.NDArray[np.float64],
) -> tuple[float, float]:
    """Fill mean absolute differences to bonded sites; return relative length and charge."""
    unlike[:] = 0.0
    total, long, charge = 0.0, 0.0, 0.0
    for m in range(len(others)):
        if weight[m] <= _NEGLIGIBLE:
            continue
        other = others[m]
        total += weight[m]
        long += weight[m] * distance[m] / (pair[site, 1] + pair[other, 1])
        charge += weight[m] * (pair[other, 0] - pair[site, 0])
        for p in range(table.shape[1]):
            unlike[p] += weight[m] * abs(table[site, p] - table[other, p])
    if total <= 0:
        return 1.0, 0.0
    unlike /= total
    return long / total, charge


@compiled
def _bonds_of(
    offsets: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float64],
    edge_offsets: npt.NDArray[np.int64],
    target: npt.NDArray[np.uint8] | npt.NDArray[np.int32],
    distance: npt.NDArray[np.float32],
    shell: npt.NDArray[np.float64],
    pair: npt.NDArray[np.float64],
    table: npt.NDArray[np.float64],
    closest: float,
    values: npt.NDArray[np.float32],
) -> None:
    """Fill the targets of a chunk of crystals; all arrays begin at its first site and edge.

    Two passes over the sites of a crystal: first differences and charges of each, then the ionic
    energy sum_ij w_ij q_i q_j / d_ij, which needs the charges at both ends of a bond. ``pair``
    (site, 2) holds electronegativity and radius, ``table`` (site, P) all properties, ``values``
    (crystal, 4 + 4 P) the targets.
    """
    count, first_column = table.shape[1], len(PAIR_NAMES)
    # sums over sites of the property, its square, its difference along bonds, the square of that
    unlike, moments = np.empty(count), np.empty((4, count))
    weight, charge = np.empty(len(distance)), np.empty(len(shell))
    others = target.astype(np.int64)
    for n in range(len(offsets) - 1):
        first, last = offsets[n], offsets[n + 1]
        atoms, long, square, moved, energy = 0.0, 0.0, 0.0, 0.0, 0.0
        moments[:] = 0.0
        for site in range(first, last):
            start, stop = edge_offsets[site], edge_offsets[site + 1]
            others[start:stop] += first
            _fill_weights(distance[start:stop], shell[site], closest, weight[start:stop])
            relative, charge[site] = _along_bonds(
                site, others[start:stop], weight[start:stop], distance[start:stop], pair, table,
                unlike,
            )  # fmt: skip
            amount = weights[site]
            atoms += amount
            long += amount * relative
            square += amount * relative**2
            moved += amount * abs(charge[site])
            for p in range(count):
                moments[0, p] += amount * table[site, p]
                moments[1, p] += amount * table[site, p] ** 2
                moments[2, p] += amount * unlike[p]
                moments[3, p] += amount * unlike[p] ** 2
        for site in range(first, last):
            for m in range(edge_offsets[site], edge_offsets[site + 1]):
                if weight[m] > _NEGLIGIBLE:
                    product = charge[site] * charge[others[m]]
                    energy += weights[site] * weight[m] * product / distance[m]
        long /= atoms
        moments /= atoms
        values[n, 0], values[n, 1] = long, np.sqrt(max(square / atoms - long**2, 0.0))
        values[n, 2], values[n, 3] = moved / atoms, energy / atoms
        for p in range(count):
            for k in (0, 2):
                column = first_column + k * count + p
                values[n, column] = moments[k, p]
                variance = moments[k + 1, p] - moments[k, p] ** 2
                values[n, column + count] = np.sqrt(max(variance, 0.0))


@compiled
def _extremes_of(
    offsets: npt.NDArray[np.int64],
    edge_offsets: npt.NDArray[np.int64],
    target: npt.NDArray[np.uint8] | npt.NDArray[np.int32],
    distance: npt.NDArray[np.float32],
    pair: npt.NDArray[np.float64],
    closest: float,
    values: npt.NDArray[np.float32],
) -> None:
    """Fill ``EXTREME_NAMES`` of a chunk of crystals; ``pair`` (site, 2) holds radius and mass."""
    for n in range(len(offsets) - 1):
        first = offsets[n]
        low, high, stiff, short = np.inf, 0.0, 0.0, np.inf
        for site in range(first, offsets[n + 1]):
            nearest = np.inf
            for m in range(edge_offsets[site], edge_offsets[site + 1]):
                if distance[m] < closest:
                    continue  # sites that exclude each other
                other, d = first + np.int64(target[m]), float(distance[m])
                nearest = min(nearest, d)
                reduced = 1 / (1 / pair[site, 1] + 1 / pair[other, 1])
                stiff = max(stiff, 1 / (np.sqrt(reduced) * d * d))
                short = min(short, d / (pair[site, 0] + pair[other, 0]))
            if nearest < np.inf:
                low, high = min(low, nearest), max(high, nearest)
        if stiff <= 0:  # no pair that is a bond
            low, stiff, short = closest, 1e-4, 1.0
        values[n, 0], values[n, 1], values[n, 2] = low, high, stiff
        values[n, 3], values[n, 4] = np.log(stiff), short


def site_values(crystals: Crystals, table: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """(sites, P) values of a table with a row per atomic number, averaged by occupancy."""
    filled = np.where(crystals.numbers < len(table), crystals.numbers, 0)
    share = crystals.occupancy.astype(np.float64)
    share /= np.maximum(share.sum(axis=1, keepdims=True), 1e-12)
    values: npt.NDArray[np.float64] = np.zeros((len(share), table.shape[1]))
    for slot in range(share.shape[1]):
        values += share[:, slot : slot + 1] * table[filled[:, slot]]
    return values


def bond_targets(
    crystals: Crystals, graph: PeriodicGraph, shell: npt.NDArray[np.float64], closest: float
) -> npt.NDArray[np.float32]:
    """Targets of each crystal in which elements enter.

    Args:
        crystals: n crystals.
        graph: their periodic graph.
        shell: (sites,) mean distance in the first shell of every site, angstrom.
        closest: pairs closer than this (angstrom) exclude each other and are no bond.

    Returns:
        (n, T) raw values, columns as in :func:`bond_names`.
    """
    chosen = [elemental.weight_column(name) for name in _PAIR_PROPERTIES]
    weights = crystals.occupancy.sum(axis=1, dtype=np.float64)
    target = compact_sites(graph.target)
    ends = np.stack([elemental.raw(name) for name in _END_PROPERTIES], axis=1)
    values = np.empty((len(crystals), len(bond_names())), np.float32)

    def work(start: int, stop: int) -> None:
        first, last = crystals.offsets[start], crystals.offsets[stop]
        edges = graph.edge_offsets[first : last + 1]
        held, sites = slice(edges[0], edges[-1]), slice(first, last)
        chunk = crystals.take(np.arange(start, stop))
        _extremes_of(
            chunk.offsets, edges - edges[0], target[held], graph.distance[held],
            site_values(chunk, ends), closest, values[start:stop, -len(EXTREME_NAMES) :],
        )  # fmt: skip
        _bonds_of(
            chunk.offsets, weights[sites], edges - edges[0], target[held], graph.distance[held],
            shell[sites], site_values(chunk, elemental.WEIGHTS[:, chosen]),
            site_values(chunk, elemental.PROPERTIES), closest, values[start:stop],
        )  # fmt: skip

    run_chunks(work, len(crystals))
    return values
