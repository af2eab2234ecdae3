"""Crystal-level targets made from the structure: what heads learn, never what encoders see.

Crystals and their periodic graph become a few scalars (density of atoms, neighbour distances,
coordination; how unlike bonded elements are: ``bonds.py``) and a smoothed pair-distance histogram
like g(r). No label enters. Averages run over sites, weighted by their occupancy, so another cell
of the same crystal has the same targets.
Source of the coordination number: R. Hoppe, Z. Kristallogr. 150, 23 (1979).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError
from crystalssl.representation._compiled import compiled, run_chunks
from crystalssl.representation.bonds import PAIR_NAMES, STATISTICS, bond_names, bond_targets
from crystalssl.representation.charges import BALANCE, CHARGE_NAMES, charge_targets
from crystalssl.representation.graph import PeriodicGraph, gather, reduced_sites
from crystalssl.representation.points import dual_norms, reduce_basis
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.validity import MIN_DISTANCE

GEOMETRY_NAMES = (
    "log volume per atom (log cubic angstrom)",
    "mean nearest distance (angstrom)",
    "standard deviation of nearest distances (angstrom)",
    "mean effective coordination number",
    "standard deviation of effective coordination numbers",
    "mean distance in the first shell (angstrom)",
    "mean second-shell distance (angstrom)",
    "mean distance of the twelfth neighbour (angstrom)",
    "packing number: nearest distance / cube root of volume per atom",
)
"""Targets in which no element enters."""
TARGET_NAMES = GEOMETRY_NAMES + CHARGE_NAMES + bond_names()
"""Columns of ``CrystalTargets.values``."""
TARGET_KINDS = (len(GEOMETRY_NAMES), len(CHARGE_NAMES), len(bond_names()))
"""How many of them there are of each kind, in order: geometry, charge balance, bonds."""
CORE_NAMES = (
    *GEOMETRY_NAMES,
    *PAIR_NAMES[:2],
    *(f"electronegativity_pauling: {name}" for name in STATISTICS),
    "covalent_radius_angstrom: mean",
    "valence_electrons: mean",
)
"""The targets that encoders learn; more of them took room from their own tasks, while the
bottleneck (``features/bottleneck.py``) gains from all."""
GATES = (
    "is_metal: mean",
    "p_valence: mean",
    "d_valence: mean",
    "log volume per atom (log cubic angstrom)",
)
"""Targets that :func:`by_kind` multiplies others by."""
CORE = tuple(TARGET_NAMES.index(name) for name in CORE_NAMES)
"""Their columns."""
BINS = 32
"""Bins of the histogram."""
REACH = 8.0
"""Upper end of the histogram, angstrom."""
WIDTH = 0.2
"""Standard deviation of the histogram's Gaussian, angstrom."""
SHELL_FACTOR = 1.2
"""The second shell begins beyond this times the nearest distance."""
_FINE = 1024
_TAIL = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class CrystalTargets:
    """Targets of many crystals.

    Attributes:
        values: (n, T) float32, columns as in ``TARGET_NAMES``; raw, not standardised.
        histogram: (n, BINS) float32, pair distances in 0..``REACH``, 1 in a structureless
            medium of the same density.
    """

    values: npt.NDArray[np.float32]
    histogram: npt.NDArray[np.float32]


@compiled
def _site_scalars(distances: npt.NDArray[np.float32], scalars: npt.NDArray[np.float64]) -> None:
    """Nearest, coordination, first-shell, second-shell and last distance of one site.

    Coordination is Hoppe's effective number, sum of exp(1 - (d / mean)^6), which is continuous
    where a count of neighbours jumps. Distances are sorted; pairs that exclude each other are
    passed over. A site with all its neighbours in the first shell has the last of them as its
    second shell.
    """
    count, start = len(distances), 0
    while start < count - 1 and distances[start] < MIN_DISTANCE:
        start += 1
    nearest = distances[start]
    second, total, mean = start, 0.0, 0.0
    # weights about the nearest distance give the mean, weights about the mean the number
    for m in range(start, count):
        weight = np.exp(1 - (distances[m] / nearest) ** 6)
        total += weight
        mean += weight * distances[m]
        if distances[m] <= SHELL_FACTOR * nearest:
            second = m + 1
    mean /= total
    coordination = 0.0
    for m in range(start, count):
        coordination += np.exp(1 - (distances[m] / mean) ** 6)
    scalars[0], scalars[1], scalars[2] = nearest, coordination, mean
    scalars[3], scalars[4] = distances[min(second, count - 1)], distances[count - 1]


@compiled
def _scalars_of(
    volumes: npt.NDArray[np.float64],
    offsets: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float64],
    edge_offsets: npt.NDArray[np.int64],
    distance: npt.NDArray[np.float32],
    values: npt.NDArray[np.float32],
    shell: npt.NDArray[np.float64],
) -> None:
    """Fill the scalar targets of a chunk of crystals, and the first-shell distance of sites."""
    scalars, mean, square = np.empty(5), np.empty(5), np.empty(5)
    for n in range(len(volumes)):
        atoms = 0.0
        mean[:] = 0.0
        square[:] = 0.0
        for site in range(offsets[n], offsets[n + 1]):
            _site_scalars(distance[edge_offsets[site] : edge_offsets[site + 1]], scalars)
            shell[site] = scalars[2]
            atoms += weights[site]
            for i in range(5):
                mean[i] += weights[site] * scalars[i]
                square[i] += weights[site] * scalars[i] ** 2
        for i in range(5):
            mean[i] /= atoms
            square[i] = np.sqrt(max(square[i] / atoms - mean[i] ** 2, 0.0))
        values[n, 0] = np.log(volumes[n] / atoms)
        values[n, 1], values[n, 2] = mean[0], square[0]
        values[n, 3], values[n, 4] = mean[1], square[1]
        values[n, 5], values[n, 6], values[n, 7] = mean[2], mean[3], mean[4]
        values[n, 8] = mean[0] / (volumes[n] / atoms) ** (1 / 3)


@compiled
def _pairs_of(
    lattice: npt.NDArray[np.float64],
    offsets: npt.NDArray[np.int64],
    coords: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    longest: float,
    fine: npt.NDArray[np.float64],
) -> None:
    """Fill fine pair histograms: each pair, over 4 pi d^2 times density, split on two bins."""
    reduced, norms = np.empty((3, 3)), np.empty(3)
    steps = np.empty((3, 3), np.int64)
    squares, images = np.empty(1024), np.empty((1024, 4), np.int64)
    bins = fine.shape[1]
    for n in range(len(lattice)):
        first, sites = offsets[n], offsets[n + 1] - offsets[n]
        reduce_basis(lattice[n], reduced, steps)
        volume = dual_norms(reduced, norms)
        moved, whole = np.empty((sites, 3)), np.empty((sites, 3), np.int64)
        reduced_sites(coords[first : first + sites], steps, moved, whole)
        atoms = 0.0
        for site in range(sites):
            atoms += weights[first + site]
        # g(d) = pairs per 4 pi d^2 dd, over atoms times density: 1 in a structureless medium
        factor = volume / (4 * np.pi * atoms * atoms)
        for site in range(sites):
            total = gather(moved, site, reduced, norms, longest, squares, images)
            while total < 0:
                capacity = 2 * len(squares)
                squares, images = np.empty(capacity), np.empty((capacity, 4), np.int64)
                total = gather(moved, site, reduced, norms, longest, squares, images)
            for m in range(total):
                if squares[m] < MIN_DISTANCE * MIN_DISTANCE:
                    continue  # sites that exclude each other (disorder) are no pair
                pair = factor * weights[first + site] * weights[first + images[m, 0]] / squares[m]
                # each pair is split on the two bins around it, so that nothing jumps
                position = np.sqrt(squares[m]) / longest * bins - 0.5
                low = int(np.floor(position))
                share = position - low
                if low >= 0:
                    fine[n, low] += pair * (1 - share)
                if low + 1 < bins:
                    fine[n, low + 1] += pair * share


def _smoothing(longest: float) -> npt.NDArray[np.float64]:
    """(fine, BINS) Gaussian densities that turn fine counts into the histogram."""
    fine = (np.arange(_FINE) + 0.5) * longest / _FINE
    centres = (np.arange(BINS) + 0.5) * REACH / BINS
    offset = (centres - fine[:, None]) / WIDTH
    density: npt.NDArray[np.float64] = np.exp(-0.5 * offset**2) / (WIDTH * np.sqrt(2 * np.pi))
    return density


def no_targets(count: int) -> CrystalTargets:
    """NaN in place of the targets of ``count`` crystals, where nobody will learn from them."""
    return CrystalTargets(
        values=np.full((count, len(TARGET_NAMES)), np.nan, np.float32),
        histogram=np.full((count, BINS), np.nan, np.float32),
    )


def crystal_targets(crystals: Crystals, graph: PeriodicGraph) -> CrystalTargets:
    """Geometric targets of each crystal.

    Args:
        crystals: any cells; no two sites need be far apart.
        graph: their periodic graph, from ``periodic_graph(crystals)``.

    Returns:
        Raw targets; a corpus standardises them with the statistics of those it trains on.

    Raises:
        InputError: if the graph belongs to other crystals, or a crystal holds no atom.
    """
    if len(graph.edge_offsets) != len(crystals.frac_coords) + 1:
        raise InputError(
            f"Got a graph of {len(graph.edge_offsets) - 1} sites for crystals with "
            f"{len(crystals.frac_coords)}. Build it with periodic_graph(crystals)."
        )
    weights = crystals.occupancy.sum(axis=1, dtype=np.float64)
    atoms = np.bincount(crystals.crystal_of_site, weights, minlength=len(crystals))
    if (atoms <= 0).any():
        raise InputError(
            f"Crystal {crystals.ids[int(np.argmin(atoms))]!r} holds no atom, expected at least "
            "a fraction of one. Canonicalize first: it skips such structures."
        )
    values = np.empty((len(crystals), len(GEOMETRY_NAMES)), np.float32)
    shell = np.empty(len(crystals.frac_coords))
    histogram = np.empty((len(crystals), BINS), np.float32)
    longest = REACH + _TAIL * WIDTH
    smoothing, volumes = _smoothing(longest), crystals.volumes

    def work(start: int, stop: int) -> None:
        first, last = crystals.offsets[start], crystals.offsets[stop]
        offsets = crystals.offsets[start : stop + 1] - first
        edges = graph.edge_offsets[first : last + 1]
        _scalars_of(
            volumes[start:stop], offsets, weights[first:last], edges - edges[0],
            graph.distance[edges[0] : edges[-1]], values[start:stop], shell[first:last],
        )  # fmt: skip
        fine = np.zeros((stop - start, _FINE))
        _pairs_of(
            crystals.lattice[start:stop], offsets, crystals.frac_coords[first:last],
            weights[first:last], longest, fine,
        )  # fmt: skip
        histogram[start:stop] = fine @ smoothing

    run_chunks(work, len(crystals))
    bonds = bond_targets(crystals, graph, shell, MIN_DISTANCE)
    columns = np.concatenate([values, charge_targets(crystals), bonds], axis=1)
    return CrystalTargets(values=columns, histogram=histogram)


def by_kind(values: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    """Targets of each kind, and further kinds made of them: gated products.

    What bond lengths and ionicity mean differs between those that can be insulators
    and those that cannot, and between metals, p and d elements; a product holds it, no sum does.
    So geometry and bonds appear again, times ``whether charges balance``, and times this and each
    of ``GATES``.

    Args:
        values: (n, T) raw targets, columns as in ``TARGET_NAMES``.

    Returns:
        (n, .) geometry, charge balance, bonds, those that balance, and one for each gate.
    """
    geometry, charges, bonds = np.split(values, np.cumsum(TARGET_KINDS)[:-1], axis=1)
    balance = charges[:, CHARGE_NAMES.index(BALANCE) :][:, :1]
    balanced = np.concatenate([geometry, bonds], axis=1) * balance
    gates = [values[:, TARGET_NAMES.index(name), None] for name in GATES]
    return [geometry, charges, bonds, balanced, *(balanced * gate for gate in gates)]
