"""The shipped table of atoms as arrays by atomic number: what every crystal's matrices start from.

``data/electronic_atoms.safetensors`` -> levels, hardness, radial functions. Written once by
``scripts/build_electronic_tables.py`` from atoms.py; hartree and bohr.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import safe_open

from crystalssl.representation.electronic.shells import HEAVIEST, valence

Array = npt.NDArray[np.float64]

FILE = "electronic_atoms.safetensors"
"""Name of the table in ``representation/data``."""
RADII: Array = 0.02 * np.expm1(np.arange(256) * (np.log(1001.0) / 255))
"""(256,) radii of the tabulated functions, 0 to 20 bohr; log(1 + r / 0.02) is uniform."""
SHELLS = 3
"""Angular momenta: one s, one p and one d shell at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Basis:
    """Atoms by atomic number; row 0 is empty.

    Attributes:
        present: (95, 3) whether an element has an s, p, d shell in its basis.
        orbitals: (95,) int64 functions per atom, 1 to 9.
        occupation: (95, 3) valence electrons of the neutral atom.
        electrons: (95,) their sum.
        onsite: (95, 3) levels of the free atom.
        confined: (95, 3) levels of the confined atom.
        hardness: (95,) hardness of the atom's charge.
        stoner: (95,) splitting of the d levels per unpaired electron.
        wall: (95,) radius of the confining wall; 1 in row 0.
        radial: (95, 4, 256) R(r) of s, p, d and r V(r) at ``RADII``.
    """

    present: npt.NDArray[np.bool_]
    orbitals: npt.NDArray[np.int64]
    occupation: Array
    electrons: Array
    onsite: Array
    confined: Array
    hardness: Array
    stoner: Array
    wall: Array
    radial: Array


def table_path() -> Path:
    """Where the shipped table lies."""
    return Path(str(resources.files("crystalssl.representation").joinpath("data", FILE)))


@cache
def load() -> Basis:
    """The shipped basis, read once."""
    with safe_open(table_path(), framework="numpy") as file:
        stored = {name: file.get_tensor(name).astype(np.float64) for name in file.keys()}  # noqa: SIM118
    present = np.zeros((HEAVIEST + 1, SHELLS), np.bool_)
    occupation = np.zeros((HEAVIEST + 1, SHELLS))
    for number in range(1, HEAVIEST + 1):
        for (_, l), count in valence(number).items():  # noqa: E741
            present[number, l], occupation[number, l] = True, count
    return Basis(
        present=present,
        orbitals=(present * np.array([1, 3, 5])).sum(1),
        occupation=occupation,
        electrons=occupation.sum(1),
        onsite=stored["onsite"],
        confined=stored["confined"],
        hardness=_of_atom(stored["hardness"], occupation),
        stoner=stored["stoner"],
        wall=stored["wall"],
        radial=stored["radial"],
    )


def _of_atom(hardness: Array, occupation: Array) -> Array:
    """(95,) hardness out of (95, 3): of p where it has electrons, else the mean of s and d."""
    filled = occupation > 0
    spherical = filled & np.array([True, False, True])
    counts = np.maximum(spherical.sum(1), 1)
    of_atom: Array = np.where(filled[:, 1], hardness[:, 1], (hardness * spherical).sum(1) / counts)
    of_atom[0] = 1.0
    return of_atom
