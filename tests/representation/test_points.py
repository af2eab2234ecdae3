"""Shortest lattice vectors against brute force, for cells of every shape."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crystalssl.errors import InputError
from crystalssl.representation.points import shortest_shells, shortest_vectors

COUNT = 30


def brute_force(basis: npt.NDArray[np.float64], reach: int) -> npt.NDArray[np.float64]:
    """Sorted lengths of one of each +/- pair within a large box."""
    grid = np.array(list(itertools.product(range(-reach, reach + 1), repeat=3)))
    half = [tuple(g) > (0, 0, 0) for g in grid]
    return np.sort(np.linalg.norm(grid[half] @ basis, axis=1))


def skew(seed: int) -> npt.NDArray[np.int64]:
    """A random unimodular change of basis."""
    rng = np.random.default_rng(seed)
    change = np.eye(3, dtype=np.int64)
    for _ in range(6):
        i, j = rng.permutation(3)[:2]
        change[i] += rng.integers(-3, 4) * change[j]
    return change


edge = st.floats(1.0, 3.0)
angle = st.floats(-0.45, 0.45)


@settings(max_examples=150, deadline=None)
@given(edge, edge, edge, angle, angle, angle, st.integers(0, 2**31))
def test_lengths_equal_brute_force_in_any_basis(
    a: float, b: float, c: float, u: float, v: float, w: float, seed: int
) -> None:
    tidy = np.array([[a, 0, 0], [u * a, b, 0], [v * a, w * b, c]])
    skewed = skew(seed) @ tidy
    expected = brute_force(tidy, 12)
    shells = shortest_shells(skewed[None], COUNT)
    used = int(shells.used[0])
    got = np.linalg.norm(shells.coefficients[0, :used] @ skewed, axis=1)
    np.testing.assert_allclose(np.sort(got), expected[:used], rtol=1e-9)
    np.testing.assert_allclose(shells.beyond[0], expected[used], rtol=1e-9)
    ratio = expected[1 : COUNT + 1] / expected[:COUNT]
    assert used == 1 + np.flatnonzero(ratio > 1 + 1e-4).max()


@pytest.mark.parametrize("stretch", [1.0, 30.0, 300.0])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("inverse", [False, True])
def test_chains_and_sheets_are_complete(stretch: float, axis: int, inverse: bool) -> None:
    lengths = np.array([1.0, 1.1, 1.23])
    lengths[axis] *= 1 / stretch if inverse else stretch
    basis = np.diag(lengths)
    reach = np.ceil(120 * lengths.min() / lengths).astype(int) + 14
    reach = np.minimum(reach, 150)
    grids = np.meshgrid(*[np.arange(-r, r + 1) for r in reach], indexing="ij")
    grid = np.stack([g.ravel() for g in grids], axis=1)
    expected = np.sort(np.linalg.norm(grid @ basis, axis=1))[1::2]
    coefficients, used = shortest_vectors(basis[None], 99)
    got = np.linalg.norm(coefficients[0, : used[0]] @ basis, axis=1)
    np.testing.assert_allclose(np.sort(got), expected[: used[0]], rtol=1e-9)


def test_shells_of_a_cubic_lattice_are_whole_and_in_order() -> None:
    shells = shortest_shells(np.eye(3)[None], 103)
    used = int(shells.used[0])
    first = np.flatnonzero(shells.opens[0])
    np.testing.assert_array_equal(np.diff([*first, used])[:5], [3, 6, 4, 3, 12])
    assert shells.coefficients[0, 0].tolist() == [1, 0, 0]
    assert not shells.coefficients[0, used:].any()


def test_one_of_each_pair_is_kept_and_signs_are_canonical() -> None:
    rng = np.random.default_rng(0)
    coefficients, used = shortest_vectors(rng.normal(size=(50, 3, 3)), 99)
    for rows, n in zip(coefficients.tolist(), used, strict=True):
        kept = [tuple(row) for row in rows[:n]]
        assert len(set(kept)) == n
        assert all(row > (0, 0, 0) for row in kept)


def test_a_flat_cell_is_refused_with_a_remedy() -> None:
    with pytest.raises(InputError, match="no volume"):
        shortest_vectors(np.array([[[1.0, 0, 0], [2.0, 0, 0], [0, 0, 1.0]]]), 10)


def test_no_lattices_give_no_vectors() -> None:
    assert shortest_vectors(np.zeros((0, 3, 3)), 5)[0].shape == (0, 5, 3)
