from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from crystalssl.errors import UnknownNameError
from crystalssl.structures.crystals import Crystals


def test_taking_crystals_takes_their_sites_and_columns(make_crystals) -> None:
    crystals = make_crystals(2).with_columns(pa.table({"x": [0.0, 1.0, 2.0, 3.0]}))
    some = crystals.take([2, 0])
    assert some.ids.tolist() == ["c2", "c0"]
    assert some.column("x").tolist() == [2.0, 0.0]
    np.testing.assert_array_equal(
        some.frac_coords[: some.offsets[1]],
        crystals.frac_coords[crystals.offsets[2] : crystals.offsets[3]],
    )


def test_parts_join_in_order_and_columns_are_united(make_crystals) -> None:
    one = make_crystals(1).with_columns(pa.table({"x": [1, 2, 3, 4]}))
    both = Crystals.concatenate([one, make_crystals(2), Crystals.empty()])
    assert len(both) == 8
    assert both.column("x")[:4].tolist() == [1, 2, 3, 4]
    assert np.isnan(both.column("x")[4:]).all()


def test_an_unknown_column_names_the_closest_one(make_crystals) -> None:
    crystals = make_crystals(1).with_columns(pa.table({"band_gap": [1, 2, 3, 4]}))
    with pytest.raises(UnknownNameError, match="Did you mean 'band_gap'"):
        crystals.column("bandgap")


def test_columns_of_kinds_that_do_not_mix_become_text(make_crystals) -> None:
    one = make_crystals(1, n=1).with_columns(pa.table({"x": ["high"]}))
    two = make_crystals(2, n=1).with_columns(pa.table({"x": [1.5]}))
    assert Crystals.concatenate([one, two]).column("x").tolist() == ["high", "1.5"]
