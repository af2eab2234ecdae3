"""Solve the atoms behind the tight binding and write the table that the package ships.

    python scripts/build_electronic_tables.py

About four minutes on one core. Progress is kept beside the table, so an interrupted run goes on
where it was; the table itself is replaced once every element is solved.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from crystalssl.files import atomic
from crystalssl.representation import elemental
from crystalssl.representation.electronic import basis
from crystalssl.representation.electronic.atoms import BOHR, solve_element
from crystalssl.representation.electronic.shells import HEAVIEST

EVERY = 8
"""Elements solved between two writes."""


def empty() -> dict[str, npt.NDArray[np.float32]]:
    """A table without elements."""
    rows = HEAVIEST + 1
    shapes = {"onsite": (3,), "confined": (3,), "hardness": (3,), "stoner": (), "radial": (4, 256)}
    table = {name: np.zeros((rows, *shape), np.float32) for name, shape in shapes.items()}
    return table | {"wall": np.ones(rows, np.float32)}


def fill(table: dict[str, npt.NDArray[np.float32]], number: int) -> None:
    """Solve one element into its row."""
    column = elemental.WEIGHT_NAMES.index("covalent_radius_angstrom")
    radius = float(elemental.WEIGHTS[number, column]) / BOHR
    element = solve_element(number, radius, basis.RADII)
    for (_, l), energy in element.free.items():  # noqa: E741
        table["onsite"][number, l] = energy
    for shell, energy in element.confined.items():
        table["confined"][number, shell[1]] = energy
        table["radial"][number, shell[1]] = element.orbitals[shell]
    for shell, hardness in element.hardness.items():
        table["hardness"][number, shell[1]] = hardness
    table["radial"][number, 3] = element.potential
    table["stoner"][number], table["wall"][number] = element.stoner, 2.0 * radius


def write(table: dict[str, npt.NDArray[np.float32]], path: Path) -> None:
    """Write what is there so far."""
    with atomic(path) as aside:
        save_file(table, aside)


def main() -> None:
    """Solve every element that is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=basis.table_path())
    options = parser.parse_args()
    progress = options.out.with_suffix(".progress")
    table = load_file(progress) if progress.exists() else empty()
    missing = [z for z in range(1, HEAVIEST + 1) if table["onsite"][z, 0] == 0]
    for count, number in enumerate(missing, 1):
        start = time.monotonic()
        fill(table, number)
        print(f"Z = {number}: {time.monotonic() - start:.1f} s")
        if count % EVERY == 0:
            write(table, progress)
    write(table, options.out)
    progress.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
