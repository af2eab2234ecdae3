"""moyo's symmetry search of one cell, in this process or, where it may not end, in another one.

moyo does not return on some cells with vectors of very different lengths, takes the cube of the
sites that share a place, and holds the interpreter meanwhile; such cells, and very large ones, are
searched by a child process under a time limit.
Called by ``_standardize.py``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

LIMIT = 8.0
"""Seconds that the search of one cell may take."""
_MANY = 2_000
_SLENDER = 60.0
_CROWDED = 8
_NARROW = 0.5
_CHILD = """
import json, sys, moyopy
cell = json.load(sys.stdin)
moyopy_cell = moyopy.Cell(cell["basis"], cell["positions"], cell["numbers"])
found = moyopy.MoyoDataset(moyopy_cell, symprec=cell["symprec"], rotate_basis=False)
small = found.prim_std_cell
json.dump([small.basis, small.positions, list(found.mapping_std_prim), found.number], sys.stdout)
"""

Rows = list[list[float]]


class Found(NamedTuple):
    """Primitive standardized cell of a crystal: basis, positions, site each became, group."""

    basis: Rows
    positions: Rows
    mapping: list[int]
    number: int


def doubtful(lattice: npt.NDArray[np.float64], frac_coords: npt.NDArray[np.float64]) -> bool:
    """Whether the search of a cell might take very long."""
    if len(frac_coords) > _MANY:
        return True
    squares = (lattice * lattice).sum(axis=1)
    if squares.max() > _SLENDER**2 * squares.min():
        return True
    if len(frac_coords) < 8 * _CROWDED:
        return False
    # boxes half an angstrom wide, which hold one atom or a few alternatives
    boxes = np.maximum(np.ceil(np.sqrt(squares) / _NARROW), 1)
    box = np.floor((frac_coords - np.floor(frac_coords)) * boxes) @ [
        1,
        boxes[0],
        boxes[0] * boxes[1],
    ]
    return bool(np.unique(box, return_counts=True)[1].max() >= _CROWDED)


def search(basis: Rows, positions: Rows, numbers: list[int], symprec: float) -> Found | None:
    """The primitive standardized cell, or None where the search fails."""
    import moyopy

    try:
        cell = moyopy.Cell(basis, positions, numbers)
        found = moyopy.MoyoDataset(cell, symprec=symprec, rotate_basis=False)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # ValueError, or a Rust panic, which is no Exception
        return None
    small = found.prim_std_cell
    return Found(small.basis, small.positions, found.mapping_std_prim, found.number)


def guarded(basis: Rows, positions: Rows, numbers: list[int], symprec: float) -> Found | None:
    """As ``search``, in a child process that is ended after ``LIMIT`` seconds."""
    cell = {"basis": basis, "positions": positions, "numbers": numbers, "symprec": symprec}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _CHILD],
            input=json.dumps(cell).encode(),
            capture_output=True,
            timeout=LIMIT,
            check=True,
        )
        return Found(*json.loads(done.stdout))
    except (subprocess.SubprocessError, OSError, ValueError):
        return None
