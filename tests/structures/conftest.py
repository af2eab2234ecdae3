"""Small crystals made here, and the distances that tell whether two descriptions agree."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from crystalssl.structures.crystals import SLOTS, Crystals

MakeCrystals = Callable[..., Crystals]


def random_crystals(seed: int, n: int = 4, disordered: bool = True) -> Crystals:
    """P1 crystals of 1 to 5 sites, some half filled or mixed."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 6, size=n)
    total = int(counts.sum())
    numbers = np.zeros((total, SLOTS), dtype=np.int16)
    occupancy = np.zeros((total, SLOTS), dtype=np.float32)
    numbers[:, 0] = rng.integers(1, 51, size=total)
    occupancy[:, 0] = 1.0
    if disordered:
        mixed = rng.random(total) < 0.4
        occupancy[mixed, 0] = 0.6
        numbers[mixed, 1] = rng.integers(51, 103, size=mixed.sum())
        occupancy[mixed, 1] = rng.choice([0.1, 0.25, 0.4], size=mixed.sum())
    grid = np.stack(np.meshgrid(*[[0.0, 0.5]] * 3), -1).reshape(-1, 3)
    places = np.concatenate([grid[rng.permutation(8)[:c]] for c in counts])
    return Crystals(
        ids=np.array([f"c{i}" for i in range(n)]),
        lattice=np.eye(3) * 5.0 + rng.uniform(-0.8, 0.8, size=(n, 3, 3)),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        frac_coords=places + rng.uniform(-0.08, 0.08, size=(total, 3)),
        numbers=numbers,
        occupancy=occupancy,
    )


def sorted_distances(crystals: Crystals, row: int, cutoff: float = 4.0) -> np.ndarray:
    """(m,) all distances below the cutoff from all sites of one crystal, sorted, by brute force."""
    sites = slice(crystals.offsets[row], crystals.offsets[row + 1])
    frac, lattice = crystals.frac_coords[sites] % 1.0, crystals.lattice[row]
    reach = np.ceil(cutoff * np.linalg.norm(np.linalg.inv(lattice), axis=0)).astype(int) + 1
    images = np.stack(np.meshgrid(*[np.arange(-r, r + 1) for r in reach], indexing="ij"), -1)
    apart = frac[:, None, None] - frac[None, :, None] + images.reshape(-1, 3)[None, None]
    found = np.linalg.norm(apart @ lattice, axis=-1)
    return np.sort(found[(found > 1e-6) & (found < cutoff)])


@pytest.fixture(name="make_crystals")
def _make_crystals() -> MakeCrystals:
    return random_crystals


@pytest.fixture(name="distances")
def _distances() -> Callable[..., np.ndarray]:
    return sorted_distances
