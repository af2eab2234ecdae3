"""Crystals made by hand for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from crystalssl.structures.crystals import SLOTS, Crystals

Cell = tuple[object, object, object]
DATA = Path(__file__).parent / "data"
SHARED = Path(__file__).resolve().parents[2].parent / "shared"


def build(cells: list[Cell]) -> Crystals:
    """Crystals from (lattice, frac_coords, species); a species is Z or {Z: occupancy}."""
    counts = [len(np.atleast_2d(frac)) for _, frac, _ in cells]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    numbers = np.zeros((offsets[-1], SLOTS), np.int16)
    occupancy = np.zeros((offsets[-1], SLOTS), np.float32)
    site = 0
    for _, _, species in cells:
        for kind in species:  # type: ignore[attr-defined]
            mixture = kind if isinstance(kind, dict) else {kind: 1.0}
            for slot, (z, x) in enumerate(sorted(mixture.items(), key=lambda item: -item[1])):
                numbers[site, slot], occupancy[site, slot] = z, x
            site += 1
    return Crystals(
        ids=np.array([f"c{i}" for i in range(len(cells))]),
        lattice=np.array([np.asarray(lattice, float) for lattice, _, _ in cells]).reshape(-1, 3, 3),
        offsets=offsets,
        frac_coords=np.concatenate([np.atleast_2d(np.asarray(f, float)) for _, f, _ in cells]),
        numbers=numbers,
        occupancy=occupancy,
    )


@pytest.fixture(scope="session")
def crystals_of() -> Callable[[list[Cell]], Crystals]:
    """Build crystals from (lattice, frac_coords, species) triples."""
    return build


@pytest.fixture(scope="session")
def small() -> Crystals:
    """The 40 real crystals that come with the reference arrays."""
    data = np.load(DATA / "ftcp_pvlab_small.npz")
    sites = len(data["frac_coords"])
    numbers, occupancy = np.zeros((sites, SLOTS), np.int16), np.zeros((sites, SLOTS), np.float32)
    numbers[:, 0], occupancy[:, 0] = data["atomic_numbers"], 1.0
    return Crystals(
        ids=data["material_id"],
        lattice=data["lattice"],
        offsets=data["site_offsets"].astype(np.int64),
        frac_coords=data["frac_coords"],
        numbers=numbers,
        occupancy=occupancy,
    )


@pytest.fixture(scope="session")
def transformed() -> Callable[[Crystals, int], Crystals]:
    """The same crystals in another basis, origin, orientation, site order and cell."""

    def change(crystals: Crystals, seed: int) -> Crystals:
        rng = np.random.default_rng(seed)
        lattice = crystals.lattice.copy()
        frac = crystals.frac_coords.copy()
        order = np.arange(len(frac))
        for n in range(len(crystals)):
            rows = slice(crystals.offsets[n], crystals.offsets[n + 1])
            steps = np.eye(3)
            for _ in range(3):
                i, j = rng.permutation(3)[:2]
                steps[i] += rng.integers(-1, 2) * steps[j]
            rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
            lattice[n] = steps @ lattice[n] @ rotation
            moved = frac[rows] @ np.linalg.inv(steps) + rng.normal(size=3)
            moved += rng.integers(-1, 2, moved.shape)
            shuffle = rng.permutation(len(moved))
            frac[rows] = moved[shuffle]
            order[rows] = order[rows][shuffle]
        return Crystals(
            ids=crystals.ids,
            lattice=lattice,
            offsets=crystals.offsets,
            frac_coords=frac,
            numbers=crystals.numbers[order],
            occupancy=crystals.occupancy[order],
        )

    return change


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the larger reference data; the test is skipped without it."""
    if not SHARED.is_dir():
        pytest.skip("the folder shared next to the repository is absent")
    return SHARED
