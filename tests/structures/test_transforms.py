from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crystalssl.structures.crystals import SLOTS, Crystals
from crystalssl.structures.transforms import TRANSFORMS, supercell_with


def random_crystals(seed: int, n: int = 4) -> Crystals:
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 6, size=n)
    total = int(counts.sum())
    numbers = np.zeros((total, SLOTS), dtype=np.int16)
    numbers[:, 0] = rng.integers(1, 103, size=total)
    occupancy = np.zeros((total, SLOTS), dtype=np.float32)
    occupancy[:, 0] = rng.choice([0.5, 1.0], size=total)
    return Crystals(
        ids=np.array([f"c{i}" for i in range(n)]),
        lattice=np.eye(3) * 5.0 + rng.uniform(-0.8, 0.8, size=(n, 3, 3)),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        frac_coords=rng.random((total, 3)),
        numbers=numbers,
        occupancy=occupancy,
    )


def neighbour_distances(crystals: Crystals, i: int) -> np.ndarray:
    """All distances below 4 angstrom per site, sorted: what no description may change."""
    s = slice(crystals.offsets[i], crystals.offsets[i + 1])
    frac, lattice = crystals.frac_coords[s], crystals.lattice[i]
    frac = frac - np.floor(frac)
    reach = np.ceil(4.0 * np.linalg.norm(np.linalg.inv(lattice), axis=0)).astype(int) + 1
    images = np.stack(np.meshgrid(*[np.arange(-r, r + 1) for r in reach], indexing="ij"), -1)
    diff = frac[:, None, None] - frac[None, :, None] + images.reshape(-1, 3)[None, None]
    d = np.linalg.norm(diff @ lattice, axis=-1)
    return np.sort(d[(d > 1e-6) & (d < 4.0)]), len(frac)


@pytest.mark.parametrize("name", TRANSFORMS)
@given(seed=st.integers(0, 10_000))
@settings(max_examples=5, deadline=None)
def test_a_transform_describes_the_same_crystal(name: str, seed: int) -> None:
    before = random_crystals(seed)
    after = TRANSFORMS[name](before, seed)
    assert after.ids.tolist() == before.ids.tolist()
    multiple = after.site_counts / before.site_counts
    np.testing.assert_allclose(after.volumes, before.volumes * multiple, rtol=1e-9)
    for i in range(len(before)):
        want, n = neighbour_distances(before, i)
        got, m = neighbour_distances(after, i)
        np.testing.assert_allclose(got, np.sort(np.repeat(want, m // n)), atol=1e-8)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_keeps_the_composition_and_follows_its_seed(name: str) -> None:
    before = random_crystals(3)
    after, again = TRANSFORMS[name](before, 7), TRANSFORMS[name](before, 7)
    np.testing.assert_array_equal(after.frac_coords, again.frac_coords)
    for i in range(len(before)):
        a, b = (c.take([i]) for c in (before, after))
        weight = len(b.numbers) / len(a.numbers)
        for z in np.unique(a.numbers):
            mass = [c.occupancy[c.numbers == z].sum() for c in (a, b)]
            assert mass[1] == pytest.approx(mass[0] * weight, rel=1e-5)


def test_a_supercell_matrix_that_is_not_triangular_is_refused() -> None:
    with pytest.raises(ValueError, match="upper-triangular"):
        supercell_with(random_crystals(0), [[1, 0, 0], [1, 1, 0], [0, 0, 1]])
