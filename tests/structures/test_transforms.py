from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crystalssl.structures.transforms import TRANSFORMS, supercell_with

EACH = pytest.mark.parametrize("name", TRANSFORMS)


@EACH
@given(seed=st.integers(0, 10_000))
@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_transform_describes_the_same_crystal(name, make_crystals, distances, seed) -> None:
    before = make_crystals(seed)
    after = TRANSFORMS[name](before, seed)
    assert after.ids.tolist() == before.ids.tolist()
    multiple = after.site_counts // before.site_counts
    np.testing.assert_allclose(after.volumes, before.volumes * multiple, rtol=1e-9)
    for row in range(len(before)):
        expected = np.repeat(distances(before, row), multiple[row])
        np.testing.assert_allclose(distances(after, row), expected, atol=1e-8)


@EACH
def test_a_transform_keeps_the_composition_and_follows_its_seed(name, make_crystals) -> None:
    before = make_crystals(3)
    after, again = TRANSFORMS[name](before, 7), TRANSFORMS[name](before, 7)
    np.testing.assert_array_equal(after.frac_coords, again.frac_coords)
    for row in range(len(before)):
        few, many = before.take([row]), after.take([row])
        for z in np.unique(few.numbers):
            expected = few.occupancy[few.numbers == z].sum() / len(few.numbers)
            got = many.occupancy[many.numbers == z].sum() / len(many.numbers)
            assert got == pytest.approx(expected, rel=1e-5)


def test_a_supercell_matrix_that_is_not_triangular_is_refused(make_crystals) -> None:
    with pytest.raises(ValueError, match="upper-triangular"):
        supercell_with(make_crystals(0), [[1, 0, 0], [1, 1, 0], [0, 0, 1]])
