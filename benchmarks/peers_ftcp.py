"""Raw FTCP, graph and panel as others make them: one pymatgen structure at a time.

The peers that ``test_bench_representation.py`` measures beside this package in the same run.
``ftcp_loop`` does what PV-Lab's published program does, step by step and with the same libraries:
unique elements, one-hot encoders, padded matrices, pymatgen's search of the reciprocal lattice,
a matrix product over the sites.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pymatgen.core import Lattice, Structure
from sklearn.preprocessing import OneHotEncoder

from crystalssl.representation import elemental
from crystalssl.structures.crystals import Crystals

ELEMENTS, SITES, COLUMNS, POINTS = 103, 100, 4, 59


def structures_of(crystals: Crystals) -> list[Structure]:
    """Ordered crystals as pymatgen structures."""
    made = []
    for n in range(len(crystals)):
        rows = slice(crystals.offsets[n], crystals.offsets[n + 1])
        species = crystals.numbers[rows, 0].tolist()
        made.append(Structure(Lattice(crystals.lattice[n]), species, crystals.frac_coords[rows]))
    return made


def _pad(matrix: npt.NDArray[np.float64], rows: int) -> npt.NDArray[np.float64]:
    return np.pad(matrix, ((0, rows - matrix.shape[0]), (0, COLUMNS - matrix.shape[1])))


def _points(lattice: Lattice) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.float64]]:
    reciprocal = lattice.reciprocal_lattice_crystallographic
    for radius in (1.297, 1.4):
        hkl, g, _, _ = reciprocal.get_points_in_sphere(
            [[0, 0, 0]], [0, 0, 0], radius, zip_results=False
        )
        if len(hkl) >= POINTS + 1:
            break
    hkl, g = hkl[g != 0].astype("int16"), g[g != 0]
    order = np.lexsort((-hkl[:, 2], -hkl[:, 1], -hkl[:, 0], np.abs(hkl).sum(axis=1)))[:POINTS]
    return hkl[order], g[order]


def ftcp_one(structure: Structure, onehot: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """One structure as (400, 63)."""
    z = np.array(structure.atomic_numbers)
    found, index = np.unique(z, return_index=True)
    del found
    elements = z[np.sort(index)]
    which = np.zeros(len(z), dtype=int)
    for count, element in enumerate(elements):
        which[np.argwhere(z == element)] = count
    lattice = structure.lattice
    coords = _pad(np.array([site.frac_coords for site in structure]), SITES)
    occupancy = OneHotEncoder().fit_transform(which[:, None]).toarray()
    properties = np.zeros((elemental.CODE_WIDTH, COLUMNS))
    properties[:, : len(elements)] = np.array([elemental.CGCNN[e] for e in elements]).T
    named = np.zeros((ELEMENTS, COLUMNS))
    named[:, : len(elements)] = onehot[elements - 1].T
    cell = _pad(np.array((lattice.abc, lattice.angles)), 2)
    parts = (named, cell, coords, _pad(occupancy, SITES), np.zeros((1, COLUMNS)), properties)
    real = np.concatenate(parts, axis=0)
    hkl, g = _points(lattice)
    phase = np.einsum("ij,kj->ik", hkl, coords[:, :3])
    per_site = np.pad(properties[:, which], ((0, 0), (0, SITES - len(which))))
    waves = np.zeros((len(real), POINTS))
    waves[-elemental.CODE_WIDTH - 1, : len(g)] = g
    waves[-elemental.CODE_WIDTH :, : len(g)] = per_site @ (np.pi * phase.T)
    return np.pad(np.concatenate([real, waves], axis=1), ((0, 2), (0, 0)))


def ftcp_loop(structures: list[Structure]) -> npt.NDArray[np.float64]:
    """Structures as (n, 400, 63), one after the other."""
    onehot = OneHotEncoder().fit_transform(np.arange(1, ELEMENTS + 1)[:, None]).toarray()
    return np.stack([ftcp_one(structure, onehot) for structure in structures])


def graph_loop(structures: list[Structure], radius: float = 8.0) -> list[list[float]]:
    """The twelve nearest neighbours of every site as CGCNN's loader finds them."""
    found = []
    for structure in structures:
        for around in structure.get_all_neighbors(radius, include_index=True):
            nearest = sorted(around, key=lambda neighbour: neighbour.nn_distance)[:12]
            found.append([neighbour.nn_distance for neighbour in nearest])
    return found


def amplitudes_loop(structures: list[Structure]) -> list[npt.NDArray[np.float64]]:
    """The 103 shortest reciprocal vectors and seven amplitudes, with pymatgen and NumPy."""
    found = []
    for structure in structures:
        reciprocal = structure.lattice.reciprocal_lattice_crystallographic
        radius = 1.3 * (3 * 206 * reciprocal.volume / (4 * np.pi)) ** (1 / 3)
        hkl, g, _, _ = reciprocal.get_points_in_sphere(
            [[0, 0, 0]], [0, 0, 0], radius, zip_results=False
        )
        keep = [tuple(row) > (0, 0, 0) for row in hkl.round().astype(int).tolist()]
        order = np.argsort(g[keep])[:103]
        weights = elemental.WEIGHTS[np.array(structure.atomic_numbers)]
        weights = np.concatenate([np.ones((len(weights), 1)), weights], axis=1)
        phase = np.exp(2j * np.pi * hkl[keep][order] @ structure.frac_coords.T)
        found.append(np.abs(phase @ weights))
    return found
