"""Raw FTCP arrays back into crystals: exact inverse, and a reason for what is senseless."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crystalssl.errors import InputError
from crystalssl.representation.ftcp import decode, encode
from crystalssl.structures.crystals import Crystals

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def reference() -> np.ndarray:
    return np.load(DATA / "ftcp_pvlab_small.npz")["ftcp"]


def test_decode_inverts_encode(small: Crystals) -> None:
    result = decode(encode(small).array, small.ids)
    back = result.crystals
    assert not result.skipped
    assert back.ids.tolist() == small.ids.tolist()
    np.testing.assert_array_equal(back.offsets, small.offsets)
    np.testing.assert_array_equal(back.numbers, small.numbers)
    np.testing.assert_array_equal(back.occupancy, small.occupancy)
    np.testing.assert_allclose(back.frac_coords, small.frac_coords, atol=1e-6)
    metric, expected = (c.lattice @ c.lattice.transpose(0, 2, 1) for c in (back, small))
    np.testing.assert_allclose(metric, expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(encode(back).array, encode(small).array, rtol=1e-4, atol=1e-3)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 12))
def test_disordered_crystals_survive_the_round_trip(crystals_of, seed: int, sites: int) -> None:
    rng = np.random.default_rng(seed)
    lattice = np.eye(3) * rng.uniform(3, 9) + rng.uniform(-1, 1, (3, 3))
    species = []
    for _ in range(sites):
        z = rng.choice([1, 8, 26, 92], size=rng.integers(1, 4), replace=False)
        x = rng.dirichlet(np.ones(len(z) + 1))[:-1] + 0.01
        species.append({int(a): float(b) for a, b in zip(z, x * 0.95, strict=True)})
    crystals = crystals_of([(lattice, rng.uniform(-1, 2, (sites, 3)), species)])
    back = decode(encode(crystals).array).crystals
    np.testing.assert_allclose(back.occupancy, crystals.occupancy, rtol=1e-6)
    np.testing.assert_array_equal(back.numbers, crystals.numbers)
    np.testing.assert_allclose(back.frac_coords, crystals.frac_coords, atol=1e-6)


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        ((110, 1), np.nan, "NaN"),
        ((103, 0), 0.0, "length"),
        ((104, 0), 190.0, "angle"),
        ((104, slice(0, 3)), [10.0, 10.0, 170.0], "angles that no cell has"),
        ((slice(0, 103), slice(0, 4)), 0.0, "without an element"),
        ((slice(205, 305), slice(0, 4)), 0.0, "no occupied site"),
        ((205, 0), 1.5, "more than fully occupied"),
        ((slice(0, 3), 0), 1.0, "several elements"),
    ],
)
def test_a_senseless_array_is_skipped_with_a_reason(
    reference: np.ndarray, place: Any, value: Any, reason: str
) -> None:
    array = reference[:3].copy()
    array[1][place] = value
    result = decode(array, ["a", "b", "c"])
    assert result.crystals.ids.tolist() == ["a", "c"]
    assert reason in result.skipped[0].reason
    assert result.skipped[0].id == "b"


def test_decode_refuses_ids_of_another_length(reference: np.ndarray) -> None:
    with pytest.raises(InputError, match="3 ids for 2 arrays"):
        decode(reference[:2], ["a", "b", "c"])
