"""Raw FTCP against arrays made with the original program, and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crystalssl.errors import InputError
from crystalssl.representation.ftcp import decode, encode, encode_to_file, load_array
from crystalssl.structures.crystals import Crystals

Build = Callable[[list[Any]], Crystals]
DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def reference() -> np.ndarray:
    return np.load(DATA / "ftcp_pvlab_small.npz")["ftcp"]


def from_table(path: Path, ids: list[str], build: Build) -> Crystals:
    """Rows of a structure table, in the order of ids."""
    table = pq.read_table(path, filters=[("immutable_id", "in", ids)])
    rows = {row["immutable_id"]: row for row in table.to_pylist()}
    from crystalssl.structures.elements import SYMBOLS

    cells = []
    for name in ids:
        lattice = np.array(rows[name]["lattice_vectors"])
        cart = np.array(rows[name]["cartesian_site_positions"])
        z = [SYMBOLS.index(s) for s in rows[name]["species_at_sites"]]
        cells.append((lattice, cart @ np.linalg.inv(lattice), z))
    return build(cells)


def test_all_forty_small_references_match(small: Crystals, reference: np.ndarray) -> None:
    result = encode(small)
    assert not result.skipped
    np.testing.assert_array_equal(result.kept, np.arange(40))
    np.testing.assert_allclose(result.array, reference, rtol=1e-4, atol=2e-5)


def test_all_three_hundred_references_match(shared: Path, crystals_of: Build) -> None:
    data = np.load(shared / "reference" / "ftcp_pvlab.npz")
    ids = [str(name) for name in data["immutable_id"]]
    crystals = from_table(shared / "data" / "mp36k.parquet", ids, crystals_of)
    result = encode(crystals)
    assert len(result.kept) == 300
    np.testing.assert_allclose(result.array, data["ftcp"], rtol=1e-4, atol=5e-5)


def test_a_tiny_cell_is_padded_with_zeros(crystals_of: Build) -> None:
    array = encode(crystals_of([(np.eye(3) * 1.6, [[0.1, 0, 0]], [1])])).array[0]
    points = np.count_nonzero(array[305])
    assert 0 < points < 59
    assert (array[305, 4 : 4 + points] <= 1.4).all()
    assert not array[305:398, 4 + points :].any()


def test_the_wider_sphere_is_used_when_the_first_is_too_small(crystals_of: Build) -> None:
    cells = [(np.eye(3) * a, [[0.1, 0.2, 0.3]], [26]) for a in (1.8, 6.0)]
    distances = encode(crystals_of(cells)).array[:, 305]
    assert distances[0].max() > 1.297
    assert distances[1].max() < 1.297


def test_partial_occupancy_is_the_fraction(crystals_of: Build) -> None:
    cell = (np.eye(3) * 4, [[0.1, 0.2, 0.3], [0.5, 0.5, 0.5]], [{3: 0.25, 11: 0.5}, {8: 1.0}])
    whole = (cell[0], cell[1], [11, 8])
    partial, ordered = encode(crystals_of([cell, whole])).array
    np.testing.assert_allclose(partial[205, :4], [0.5, 0.25, 0, 0])
    assert partial[10, 0] == 1 and partial[2, 1] == 1 and partial[7, 2] == 1
    sodium, oxygen = ordered[306:398, 0] == 1, ordered[306:398, 1] == 1
    only_oxygen = partial[306:398][oxygen & ~sodium & (partial[306:398, 1] == 0)][:, 4:]
    np.testing.assert_allclose(
        only_oxygen, ordered[306:398][oxygen & ~sodium & (partial[306:398, 1] == 0)][:, 4:]
    )


@pytest.mark.parametrize(
    ("species", "reason"),
    [
        ([1, 2, 3, 4, 5], "more than 4 elements"),
        ([1] * 101, "more than 100 sites"),
        ([101], "Z = 100"),
        ([0], "no atom"),
    ],
)
def test_what_does_not_fit_is_skipped_with_a_reason(
    crystals_of: Build, species: list[int], reason: str
) -> None:
    frac = np.random.default_rng(0).uniform(size=(len(species), 3))
    result = encode(crystals_of([(np.eye(3) * 9, frac, species), (np.eye(3), frac[:1], [1])]))
    assert result.kept.tolist() == [1]
    assert len(result.array) == 1
    assert reason in result.skipped[0].reason
    assert result.skipped[0].id == "c0"
    assert result.skipped[0].remedy


def test_a_file_holds_what_encode_gives(small: Crystals, tmp_path: Path) -> None:
    result = encode_to_file(small, tmp_path / "ftcp.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "ftcp.npy"), encode(small).array)
    assert list(tmp_path.iterdir()) == [tmp_path / "ftcp.npy"]
    assert isinstance(result.array, np.memmap)


def test_no_crystals_make_an_empty_file(small: Crystals, tmp_path: Path) -> None:
    empty = small.take(np.arange(0))
    assert encode_to_file(empty, tmp_path / "ftcp.npy").array.shape == (0, 400, 63)
    assert encode(empty).array.shape == (0, 400, 63)
    assert len(decode(encode(empty).array).crystals) == 0


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
def test_disordered_crystals_survive_the_round_trip(seed: int, sites: int) -> None:
    from conftest import build

    rng = np.random.default_rng(seed)
    lattice = np.eye(3) * rng.uniform(3, 9) + rng.uniform(-1, 1, (3, 3))
    species = []
    for _ in range(sites):
        z = rng.choice([1, 8, 26, 92], size=rng.integers(1, 4), replace=False)
        x = rng.dirichlet(np.ones(len(z) + 1))[:-1] + 0.01
        species.append({int(a): float(b) for a, b in zip(z, x * 0.95, strict=True)})
    crystals = build([(lattice, rng.uniform(-1, 2, (sites, 3)), species)])
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


@pytest.mark.parametrize("flat", [False, True])
def test_both_shapes_load_memory_mapped(reference: np.ndarray, tmp_path: Path, flat: bool) -> None:
    path = tmp_path / "Train_FTCP_Data.npy"
    np.save(path, reference.reshape(len(reference), -1) if flat else reference)
    loaded = load_array(path)
    assert loaded.array.shape == reference.shape
    assert not loaded.array.flags.writeable
    assert loaded.ids[:3].tolist() == ["0", "1", "2"]
    np.testing.assert_array_equal(loaded.array, reference)


@pytest.mark.parametrize("ending", [".npy", ".csv", ".txt", ".json"])
def test_ids_come_from_the_file_beside(reference: np.ndarray, tmp_path: Path, ending: str) -> None:
    np.save(tmp_path / "x.npy", reference[:2])
    beside = tmp_path / f"x_ids{ending}"
    if ending == ".npy":
        np.save(beside, np.array(["mp-1", "mp-2"]))
    else:
        texts = {
            ".csv": "material_id,y\nmp-1,0\nmp-2,1\n",
            ".txt": "mp-1\nmp-2\n",
            ".json": '["mp-1", "mp-2"]',
        }
        beside.write_text(texts[ending])
    assert load_array(tmp_path / "x.npy").ids.tolist() == ["mp-1", "mp-2"]
    assert load_array(tmp_path / "x.npy", beside).ids.tolist() == ["mp-1", "mp-2"]


def test_a_csv_without_header_is_a_list_of_ids(reference: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", reference[:2])
    (tmp_path / "x_ids.csv").write_text("mp-1\nmp-2\n")
    assert load_array(tmp_path / "x.npy").ids.tolist() == ["mp-1", "mp-2"]


def test_ids_of_another_length_are_refused(reference: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", reference[:2])
    (tmp_path / "x_ids.txt").write_text("a\nb\nc\n")
    with pytest.raises(InputError, match="3 ids for the 2 rows"):
        load_array(tmp_path / "x.npy")


def test_unreadable_ids_are_refused(reference: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", reference[:2])
    np.save(tmp_path / "x_ids.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="cannot be read"):
        load_array(tmp_path / "x.npy")


@pytest.mark.parametrize("shape", [(2, 398, 63), (2, 25199), (25200,), (2, 400, 63, 1)])
def test_another_shape_is_refused_with_a_remedy(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "x.npy", np.zeros(shape, np.float32))
    with pytest.raises(InputError, match=r"expected \(n, 400, 63\) or \(n, 25200\)"):
        load_array(tmp_path / "x.npy")


def test_pickles_archives_and_missing_files_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "object.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "archive.npy.npz", a=np.zeros(2))
    (tmp_path / "text.npy").write_text("no array")
    for name in ("object.npy", "archive.npy.npz", "text.npy", "absent.npy"):
        with pytest.raises(InputError):
            load_array(tmp_path / name)


def test_text_in_an_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.full((2, 25200), "a"))
    with pytest.raises(InputError, match="expected numbers"):
        load_array(tmp_path / "x.npy")


def test_decode_refuses_ids_of_another_length(reference: np.ndarray) -> None:
    with pytest.raises(InputError, match="3 ids for 2 arrays"):
        decode(reference[:2], ["a", "b", "c"])
