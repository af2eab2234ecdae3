"""One crystal as an eigenvalue problem: cell, sites and mesh -> matrices and electrostatics.

What self-consistency and the summaries start from: stacks of Bloch matrices, the site and angular
momentum of every atomic function, and the interaction of charges. Hartree and bohr.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crystalssl.representation._compiled import compiled
from crystalssl.representation.electronic import basis, pairs
from crystalssl.representation.electronic.bloch import assemble
from crystalssl.representation.electronic.ewald import interaction
from crystalssl.representation.electronic.kpoints import Mesh
from crystalssl.representation.electronic.levels import Stack, factor

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A crystal with n sites and N atomic functions.

    Attributes:
        numbers: (n,) atomic numbers.
        site: (N,) site of each function.
        shell: (N,) angular momentum of each function.
        onsite: (N,) level of each function in the free atom.
        stacks: factored matrices, real and complex k-points apart.
        interaction: (n, n) energy of unit charges on sites.
        electrons: valence electrons of the cell.
        volume: cubic bohr.
        strength: (n,) sum of squared Hamiltonian elements of each site's bonds, hartree squared.
    """

    numbers: npt.NDArray[np.int64]
    site: npt.NDArray[np.int64]
    shell: npt.NDArray[np.int64]
    onsite: Array
    stacks: tuple[Stack, ...]
    interaction: Array
    electrons: int
    volume: float
    strength: Array


@compiled
def _close(real: Array, imaginary: Array, onsite: Array) -> None:
    """Add the atoms' own elements, and mirror the upper triangles into the lower ones."""
    size = len(onsite)
    plain = real.shape[1] - imaginary.shape[1]
    for k in range(real.shape[1]):
        for i in range(size):
            real[0, k, i, i] += 1.0
            real[1, k, i, i] += onsite[i]
            for j in range(i + 1, size):
                for h in range(2):
                    real[h, k, j, i] = real[h, k, i, j]
                    if k >= plain:
                        imaginary[h, k - plain, j, i] = -imaginary[h, k - plain, i, j]


def prepare(
    lattice: Array,
    fractions: Array,
    numbers: npt.NDArray[np.int64],
    mesh: Mesh,
    *,
    single: bool = False,
) -> Problem:
    """Assemble and factor the matrices of one crystal.

    Args:
        lattice: (3, 3) rows a, b, c in bohr.
        fractions: (n, 3) fractional coordinates.
        numbers: (n,) atomic numbers, 1 to 94.
        mesh: k-points.
        single: diagonalise large matrices in single precision.

    Raises:
        numpy.linalg.LinAlgError: if the matrices are no finite numbers.
    """
    atoms, table = basis.load(), pairs.tables(numbers)
    counts = atoms.orbitals[numbers]
    first = np.concatenate([[0], np.cumsum(counts)])
    size, points = int(first[-1]), len(mesh.points)
    site = np.repeat(np.arange(len(numbers)), counts)
    shell = np.array([0, 1, 1, 1, 2, 2, 2, 2, 2])[np.arange(size) - first[site]]
    onsite = atoms.onsite[numbers[site], shell]
    real = np.zeros((2, points, size, size))
    imaginary = np.zeros((2, points - mesh.real, size, size))
    strength = np.zeros(len(numbers))
    assemble(
        lattice, fractions, numbers, first, table.slot, table.values, table.ends, mesh.points,
        real, imaginary, strength,
    )  # fmt: skip
    _close(real, imaginary, onsite)
    stacks = []
    if mesh.real:
        plain = real[:, : mesh.real]
        stacks.append(factor(plain[0], plain[1], mesh.weights[: mesh.real], single=single))
    if points > mesh.real:
        waves = real[:, mesh.real :] + 1j * imaginary
        stacks.append(factor(waves[0], waves[1], mesh.weights[mesh.real :], single=single))
    return Problem(
        numbers=numbers,
        site=site,
        shell=shell,
        onsite=onsite,
        stacks=tuple(stacks),
        interaction=interaction(lattice, fractions, atoms.hardness[numbers]),
        electrons=round(float(atoms.electrons[numbers].sum())),
        volume=abs(float(np.linalg.det(lattice))),
        strength=strength,
    )
