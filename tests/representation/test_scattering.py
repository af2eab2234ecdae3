"""Scattering amplitudes: range, origin, elements that do not scatter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from crystalssl.representation.points import shortest_vectors
from crystalssl.representation.scattering import STEPS, ZERO, amplitudes, site_weights
from crystalssl.structures.crystals import Crystals

Build = Callable[[list[Any]], Crystals]


def of(crystals: Crystals) -> np.ndarray:
    dual = np.linalg.inv(crystals.lattice).transpose(0, 2, 1)
    stored = amplitudes(crystals, *shortest_vectors(dual, 103))
    return (stored.astype(np.int64) + ZERO) / STEPS


def test_amplitudes_lie_between_zero_and_one_and_ignore_the_origin(small: Crystals) -> None:
    one = of(small)
    other = of(replace(small, frac_coords=small.frac_coords + np.array([0.31, -2.17, 5.03])))
    assert one.min() == 0
    assert one.max() <= 1
    np.testing.assert_allclose(one, other, atol=2 / STEPS)


def test_one_atom_scatters_fully_everywhere(crystals_of: Build) -> None:
    cell = (np.diag([3.0, 4.0, 5.0]), [[0.3, 0.1, 0.7]], [26])
    values = of(crystals_of([cell]))[0]
    used = values.any(axis=1)
    assert used.sum() > 80
    np.testing.assert_allclose(values[used], 1)


def test_a_weight_that_no_element_has_gives_zero(crystals_of: Build) -> None:
    values = of(crystals_of([(np.eye(3) * 4, [[0, 0, 0]], [2])]))
    assert not values[..., 6].any()
    assert values[..., 1].any()


def test_mixed_sites_weigh_by_occupancy(crystals_of: Build) -> None:
    mixed = site_weights(crystals_of([(np.eye(3), [[0, 0, 0]], [{8: 0.5, 16: 0.25}])]))
    np.testing.assert_allclose(mixed[0, :2], [0.75, 0.5 * 8 + 0.25 * 16])


def test_forbidden_reflections_of_bcc_vanish(crystals_of: Build) -> None:
    cell = (np.eye(3) * 3, [[0, 0, 0], [0.5, 0.5, 0.5]], [26, 26])
    crystals = crystals_of([cell])
    hkl, used = shortest_vectors(crystals.lattice, 103)
    values = of(crystals)[0, : used[0]]
    odd = hkl[0, : used[0]].sum(axis=1) % 2 == 1
    np.testing.assert_allclose(values[odd], 0, atol=1e-4)
    np.testing.assert_allclose(values[~odd], 1, atol=1e-4)
