"""One crystal of many, and the objects of other libraries made of it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from crystalssl.structures.crystal import Crystal
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.objects import from_objects
from worlds import make_crystals


@pytest.fixture(scope="module")
def crystals() -> Crystals:
    return make_crystals(14).with_columns(pa.table({"gap": [0.5 * n for n in range(14)]}))


def test_a_row_is_a_crystal_and_a_slice_or_mask_are_crystals(crystals: Crystals) -> None:
    last = crystals[-1]
    assert isinstance(last, Crystal)
    assert (last.id, len(last), last.columns) == ("disordered-13", 2, {"gap": 6.5})
    np.testing.assert_array_equal(last.lattice, crystals.lattice[13])
    for chosen in (crystals[2:4], crystals[[2, 3]], crystals[np.isin(np.arange(14), [2, 3])]):
        assert isinstance(chosen, Crystals)
        assert chosen.ids.tolist() == crystals.ids[2:4].tolist()
    with pytest.raises(IndexError):
        crystals[14]


def test_a_loop_gives_every_crystal_once_and_ends(crystals: Crystals) -> None:
    assert [crystal.id for crystal in crystals] == crystals.ids.tolist()
    assert sum(len(crystal) for crystal in crystals) == len(crystals.frac_coords)
    assert list(Crystals.empty()) == []


def test_what_is_printed_is_short_and_says_what_it_is(crystals: Crystals) -> None:
    assert repr(crystals[:1]).startswith("Crystals(1 crystals, 2 sites, ids=['rocksalt-0'], col")
    assert len(repr(crystals)) < 200 and "..." in repr(crystals)
    assert repr(crystals[0]).startswith("Crystal('rocksalt-0', ")
    assert repr(crystals[1]).endswith(", 3 sites)")


@pytest.mark.parametrize("library", ["pymatgen", "ase"])
def test_there_and_back_is_the_same_crystal_disordered_ones_too(
    crystals: Crystals, library: str
) -> None:
    pytest.importorskip(library)
    made = crystals.to_pymatgen() if library == "pymatgen" else crystals.to_ase()
    back = from_objects(made, crystals.ids.tolist())
    assert not back.skipped
    np.testing.assert_allclose(back.crystals.lattice, crystals.lattice, atol=1e-9)
    np.testing.assert_allclose(back.crystals.frac_coords, crystals.frac_coords, atol=1e-9)
    np.testing.assert_array_equal(back.crystals.numbers, crystals.numbers)
    np.testing.assert_allclose(back.crystals.occupancy, crystals.occupancy, atol=1e-6)


def test_carried_columns_travel_with_the_objects(crystals: Crystals) -> None:
    assert crystals[3].to_pymatgen().properties == {"gap": 1.5}
    assert crystals[3].to_ase().info["gap"] == 1.5
