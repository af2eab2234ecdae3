"""Crystals into their periodic neighbour graph: the nearest neighbours and all of their shell.

Each site gets its ``neighbours`` nearest periodic images and every further one as far as the last
of them (relative ``rtol``), so that rounding never picks members. The image search is exact for
any cell: |n_i + f_i| <= R |b_i*| in a reduced basis, and R grows until the shell is inside. Side
information for blocks that ask for it; ``targets.py`` reads it too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError
from crystalssl.representation import layout
from crystalssl.representation._compiled import compiled, run_chunks, sort_into
from crystalssl.representation.points import dual_norms, reduce_basis
from crystalssl.structures.crystals import Crystals

SAME_SPOT = 1e-3
"""Sites closer than this (angstrom) share a spot by disorder and are not neighbours."""
_CHUNK = 64  # its arrays are used again by the next; larger ones are new memory each time
_CAPACITY = 48


@dataclass(frozen=True, kw_only=True, slots=True)
class PeriodicGraph:
    """Directed edges of many crystals, grouped by centre site and sorted by distance.

    Attributes:
        edge_offsets: (sites + 1,) int64; edges of site ``s`` are rows
            ``edge_offsets[s]:edge_offsets[s + 1]``.
        target: (edges,) int32, index of the neighbour within its crystal.
        image: (edges, 3) int8, lattice translation of the neighbour: the edge vector is
            ``(frac[target] + image - frac[centre]) @ lattice``.
        distance: (edges,) float32, angstrom.
    """

    edge_offsets: npt.NDArray[np.int64]
    target: npt.NDArray[np.int32]
    image: npt.NDArray[np.int8]
    distance: npt.NDArray[np.float32]

    @property
    def degrees(self) -> npt.NDArray[np.int64]:
        """(sites,) edges per site."""
        return np.diff(self.edge_offsets)

    def between(self, first_site: int, last_site: int) -> PeriodicGraph:
        """The edges of neighbouring sites, without a copy; sites of a crystal stay together.

        Args:
            first_site: first site.
            last_site: site behind the last one.
        """
        edges = slice(self.edge_offsets[first_site], self.edge_offsets[last_site])
        return PeriodicGraph(
            edge_offsets=self.edge_offsets[first_site : last_site + 1] - edges.start,
            target=self.target[edges],
            image=self.image[edges],
            distance=self.distance[edges],
        )


def compact_sites(target: npt.NDArray[np.int32]) -> npt.NDArray[np.uint8] | npt.NDArray[np.int32]:
    """Site numbers within crystals in one byte each, where all of them fit."""
    return target.astype(np.uint8) if target.max(initial=0) < 256 else target


@compiled
def gather(
    frac: npt.NDArray[np.float64],
    centre: int,
    reduced: npt.NDArray[np.float64],
    norms: npt.NDArray[np.float64],
    radius: float,
    squares: npt.NDArray[np.float64],
    images: npt.NDArray[np.int64],
) -> int:
    """Every periodic image within ``radius`` of a site; -1 when the arrays are too small.

    Args:
        frac: (sites, 3) fractional coordinates in the reduced basis.
        centre: the site at the centre; it is not its own neighbour, its images are.
        reduced: (3, 3) reduced basis.
        norms: (3,) lengths of the dual basis.
        radius: angstrom.
        squares: squared distances, filled.
        images: (capacity, 4) site and translation along the reduced basis, filled.
    """
    total, limit, capacity = 0, radius * radius, len(squares)
    r0, r1, r2 = radius * norms[0] + 1e-9, radius * norms[1] + 1e-9, radius * norms[2] + 1e-9
    for site in range(len(frac)):
        d0 = frac[site, 0] - frac[centre, 0]
        d1 = frac[site, 1] - frac[centre, 1]
        d2 = frac[site, 2] - frac[centre, 2]
        # images n with |n_i + d_i| <= R |b_i*|: all that can lie within the radius, in any cell
        for i in range(int(np.ceil(-r0 - d0)), int(np.floor(r0 - d0)) + 1):
            for j in range(int(np.ceil(-r1 - d1)), int(np.floor(r1 - d1)) + 1):
                x = (d0 + i) * reduced[0, 0] + (d1 + j) * reduced[1, 0]
                y = (d0 + i) * reduced[0, 1] + (d1 + j) * reduced[1, 1]
                z = (d0 + i) * reduced[0, 2] + (d1 + j) * reduced[1, 2]
                for k in range(int(np.ceil(-r2 - d2)), int(np.floor(r2 - d2)) + 1):
                    square = (
                        (x + (d2 + k) * reduced[2, 0]) ** 2
                        + (y + (d2 + k) * reduced[2, 1]) ** 2
                        + (z + (d2 + k) * reduced[2, 2]) ** 2
                    )
                    if square > limit or square < SAME_SPOT * SAME_SPOT:
                        continue
                    if total == capacity:
                        return -1
                    squares[total] = square
                    images[total, 0], images[total, 1] = site, i
                    images[total, 2], images[total, 3] = j, k
                    total += 1
    return total


@compiled
def reduced_sites(
    frac: npt.NDArray[np.float64],
    steps: npt.NDArray[np.int64],
    moved: npt.NDArray[np.float64],
    whole: npt.NDArray[np.int64],
) -> None:
    """Express sites in the reduced basis ``steps @ basis``, wrapped into its cell.

    Args:
        frac: (sites, 3) fractional coordinates as given.
        steps: (3, 3) unimodular change of basis.
        moved: (sites, 3) wrapped coordinates in the reduced basis, filled.
        whole: (sites, 3) cells taken off while wrapping, along the reduced basis, filled.
    """
    # frac @ basis = moved @ (steps @ basis), so moved = frac @ inverse(steps); the adjugate over a
    # determinant of +1 or -1 inverts integers exactly
    inverse = np.empty((3, 3))
    det = 0.0
    for i in range(3):
        b, c = steps[(i + 1) % 3], steps[(i + 2) % 3]
        inverse[0, i] = b[1] * c[2] - b[2] * c[1]
        inverse[1, i] = b[2] * c[0] - b[0] * c[2]
        inverse[2, i] = b[0] * c[1] - b[1] * c[0]
        det = (
            steps[i, 0] * inverse[0, i] + steps[i, 1] * inverse[1, i] + steps[i, 2] * inverse[2, i]
        )
    for site in range(len(frac)):
        for i in range(3):
            value = 0.0
            for j in range(3):
                value += frac[site, j] * inverse[j, i] * det
            down = np.floor(value)
            moved[site, i] = value - down
            whole[site, i] = int(down)


@compiled
def _write_site(
    order: npt.NDArray[np.int64],
    end: int,
    squares: npt.NDArray[np.float64],
    images: npt.NDArray[np.int64],
    whole: npt.NDArray[np.int64],
    centre: int,
    steps: npt.NDArray[np.int64],
    target: npt.NDArray[np.int32],
    image: npt.NDArray[np.int64],
    distance: npt.NDArray[np.float64],
) -> None:
    """Write the sorted edges of a site, translations turned back to the basis as given."""
    for m in range(end):
        row = images[order[m]]
        target[m] = row[0]
        distance[m] = np.sqrt(squares[order[m]])
        for j in range(3):
            # edge = (moved + n) of the neighbour - moved of the centre, in the reduced basis;
            # wrapping took ``whole`` off each, and ``steps`` leads back to the basis as given
            shift = 0
            for i in range(3):
                shift += (row[i + 1] - whole[row[0], i] + whole[centre, i]) * steps[i, j]
            image[m, j] = shift


@compiled
def _graph_of(
    lattice: npt.NDArray[np.float64],
    offsets: npt.NDArray[np.int64],
    coords: npt.NDArray[np.float64],
    neighbours: int,
    rtol: float,
    counts: npt.NDArray[np.int64],
    target: npt.NDArray[np.int32],
    image: npt.NDArray[np.int64],
    distance: npt.NDArray[np.float64],
) -> None:
    """Fill the edges of a chunk of crystals; a site with more than fits only gets its count."""
    reduced, norms = np.empty((3, 3)), np.empty(3)
    steps = np.empty((3, 3), np.int64)
    squares, images = np.empty(512), np.empty((512, 4), np.int64)
    order = np.empty(512, np.int64)
    for n in range(len(lattice)):
        first, sites = offsets[n], offsets[n + 1] - offsets[n]
        reduce_basis(lattice[n], reduced, steps)
        volume = dual_norms(reduced, norms)
        moved, whole = np.empty((sites, 3)), np.empty((sites, 3), np.int64)
        reduced_sites(coords[first : first + sites], steps, moved, whole)
        # a sphere that holds a few atoms more than asked for at the density of the crystal
        usual = (0.75 * (neighbours + 8) * volume / (np.pi * sites)) ** (1 / 3)
        for site in range(sites):
            radius = usual
            while True:
                total = gather(moved, site, reduced, norms, radius, squares, images)
                if total < 0:
                    capacity = 2 * len(squares)
                    squares, images = np.empty(capacity), np.empty((capacity, 4), np.int64)
                    order = np.empty(capacity, np.int64)
                    continue
                if total >= neighbours:
                    sort_into(squares, total, order)
                    # the whole shell of the last neighbour must lie inside the sphere searched
                    reach = np.sqrt(squares[order[neighbours - 1]]) * (1 + rtol)
                    if reach <= radius:
                        break
                    radius = reach * (1 + 1e-9)
                else:
                    radius *= 1.26  # twice the volume
            end = neighbours
            while end < total and np.sqrt(squares[order[end]]) <= reach:
                end += 1
            row = first + site
            counts[row] = end
            if end <= target.shape[1]:
                _write_site(
                    order, end, squares, images, whole, site, steps,
                    target[row], image[row], distance[row],
                )  # fmt: skip


def _chunk_graph(
    crystals: Crystals, start: int, stop: int, neighbours: int, rtol: float
) -> tuple[npt.NDArray[np.generic], ...]:
    """Edges of crystals ``start:stop`` as flat arrays: counts, target, image, distance."""
    first, last = crystals.offsets[start], crystals.offsets[stop]
    sites = int(last - first)
    counts, capacity = np.zeros(sites, np.int64), max(_CAPACITY, 2 * neighbours)
    while True:
        target = np.empty((sites, capacity), np.int32)
        image = np.empty((sites, capacity, 3), np.int64)
        distance = np.empty((sites, capacity))
        _graph_of(
            np.ascontiguousarray(crystals.lattice[start:stop]),
            crystals.offsets[start : stop + 1] - first,
            np.ascontiguousarray(crystals.frac_coords[first:last]),
            neighbours, rtol, counts, target, image, distance,
        )  # fmt: skip
        if not sites or counts.max() <= capacity:
            break
        capacity = int(counts.max())
    filled = np.arange(capacity) < counts[:, None]
    if sites and np.abs(shifts := image[filled]).max(initial=0) > np.iinfo(np.int8).max:
        raise InputError(
            f"A neighbour is {np.abs(shifts).max()} cells away, expected at most 127: the cell is "
            "very skewed or coordinates lie far outside it. Reduce it first (canonicalize)."
        )
    return (
        counts,
        target[filled],
        image[filled].astype(np.int8),
        distance[filled].astype(np.float32),
    )


def periodic_graph(
    crystals: Crystals, neighbours: int = 12, rtol: float = layout.SHELL_RTOL
) -> PeriodicGraph:
    """The nearest periodic neighbours of every site, whole shells only.

    Args:
        crystals: any cells; coordinates may lie outside them.
        neighbours: nearest neighbours that are always in; at least 1.
        rtol: every further site whose distance exceeds that of the last by less than this
            relative difference is in too.

    Returns:
        Directed edges of all crystals; both directions of a pair are listed if each site is
        among the nearest of the other.

    Raises:
        InputError: if a cell has no volume, a coordinate is not finite, or a translation does
            not fit in 127 cells.
    """
    if neighbours < 1:
        raise InputError(f"Got neighbours={neighbours}, expected at least 1.")
    scale = np.prod(np.linalg.norm(crystals.lattice, axis=2), axis=1)
    flat = ~(crystals.volumes > 1e-12 * scale)
    broken = ~np.isfinite(crystals.frac_coords).all(axis=1)
    if flat.any() or broken.any():
        bad = np.concatenate([np.flatnonzero(flat), crystals.crystal_of_site[broken]])
        raise InputError(
            f"Crystal {crystals.ids[bad[0]]!r} has a cell without volume or a coordinate that is "
            "not a number; expected a valid structure. Canonicalize first: it skips such ones."
        )
    starts = list(range(0, len(crystals), _CHUNK))
    parts: list[tuple[npt.NDArray[np.generic], ...]] = [()] * len(starts)

    def work(start: int, stop: int) -> None:
        parts[start // _CHUNK] = _chunk_graph(crystals, start, stop, neighbours, rtol)

    run_chunks(work, len(crystals), _CHUNK)
    if not parts:
        parts = [_chunk_graph(crystals, 0, 0, neighbours, rtol)]
    counts, target, image, distance = (np.concatenate(list(p)) for p in zip(*parts, strict=True))
    return PeriodicGraph(
        edge_offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        target=target.astype(np.int32, copy=False),
        image=image.astype(np.int8, copy=False),
        distance=distance.astype(np.float32, copy=False),
    )
