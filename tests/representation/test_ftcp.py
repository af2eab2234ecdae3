"""Raw FTCP against arrays made with the original program, and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from crystalssl.representation.ftcp import decode, encode, encode_to_file
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
