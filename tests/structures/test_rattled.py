"""Supercells in another setting with atoms moved by thousandths of an angstrom: the same crystals.

``python -m tests.structures.test_rattled`` does thousands of them: scripts/prove.py.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np

from crystalssl.datasets.bundled import load_bundled
from crystalssl.structures.canonical import canonicalize
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.transforms import disguised, supercell

RATTLE = 5e-4
"""Standard deviation of every Cartesian coordinate in angstrom; the search tolerates 0.01."""
VOLUME = 1e-3
"""Relative difference of volumes below which cells are one."""


def rattled(crystals: Crystals, seed: int) -> Crystals:
    """Supercells of two to four cells in another basis, origin and order, atoms moved at random."""
    large = disguised(supercell(crystals, seed), seed)
    moved = np.random.default_rng(seed).normal(scale=RATTLE, size=large.frac_coords.shape)
    inverse = np.linalg.inv(large.lattice)[large.crystal_of_site]
    steps = np.einsum("si,sij->sj", moved, inverse)
    return replace(large, frac_coords=large.frac_coords + steps)


def compare(crystals: Crystals, seed: int = 0) -> dict[str, int]:
    """How many supercells come back to the cell, volume and space group of their crystal."""
    once = canonicalize(crystals)
    again = canonicalize(rattled(once.crystals, seed))
    kept = again.kept
    cells = again.crystals.site_counts == once.crystals.site_counts[kept]
    volumes = once.crystals.volumes[kept]
    cells &= np.abs(again.crystals.volumes - volumes) < VOLUME * volumes
    groups = again.symmetry.space_group == once.symmetry.space_group[kept]
    return {
        "supercells": len(once.crystals),
        "canonical": len(kept),
        "same_cell": int(cells.sum()),
        "same_cell_and_group": int((cells & groups).sum()),
    }


def test_rattled_supercells_come_back_to_their_crystals() -> None:
    counts = compare(load_bundled().take(np.arange(0, 6000, 100)))
    assert counts["canonical"] == counts["supercells"]
    assert counts["same_cell_and_group"] >= 0.95 * counts["supercells"]


if __name__ == "__main__":
    bundled = load_bundled()
    figures = compare(bundled.take(np.arange(0, len(bundled), 2)))
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.exit(figures["same_cell"] < 0.95 * figures["supercells"])
