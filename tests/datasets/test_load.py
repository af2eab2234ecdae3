"""Structures and raw FTCP arrays go through one door, in order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from crystalssl.datasets.bundled import load_bundled
from crystalssl.datasets.load import load_crystals
from crystalssl.errors import InputError
from crystalssl.representation import ftcp
from crystalssl.structures.table import write_table


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(load_bundled().take(range(8)), tmp_path / "few.parquet")


@pytest.mark.parametrize("flat", [False, True])
def test_an_array_gives_its_crystals_back_with_ids_from_the_file_beside_it(
    flat: bool, tmp_path: Path
) -> None:
    crystals = load_bundled().take(range(8))
    encoded = ftcp.encode(crystals)
    array = encoded.array.reshape(len(encoded.array), -1) if flat else encoded.array
    np.save(tmp_path / "raw.npy", array)
    ids = crystals.ids[encoded.kept]
    (tmp_path / "raw_ids.txt").write_text("".join(f"{name}\n" for name in ids))
    found = load_crystals([tmp_path / "raw.npy"])
    assert found.skipped == []
    assert found.crystals.ids.tolist() == ids.tolist()
    assert np.allclose(found.crystals.volumes, crystals.volumes[encoded.kept], rtol=1e-4)


def test_files_and_arrays_may_be_mixed_and_keep_their_order(table: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "raw.npy", ftcp.encode(load_bundled().take(range(3))).array)
    found = load_crystals([table, tmp_path / "raw.npy", table]).crystals
    assert len(found) == 19
    assert len(set(found.ids.tolist())) == 19
    assert np.allclose(found.lattice[:8], found.lattice[11:])
    assert found.column("source_file")[8].endswith("raw.npy")


def test_a_bad_row_of_an_array_is_skipped_with_its_file(tmp_path: Path) -> None:
    array = ftcp.encode(load_bundled().take(range(4))).array
    array[1] = np.nan
    np.save(tmp_path / "raw.npy", array)
    found = load_crystals([tmp_path / "raw.npy"])
    assert len(found.crystals) == 3
    assert [(skip.id, Path(skip.file).name) for skip in found.skipped] == [("1", "raw.npy")]


def test_an_array_of_another_shape_is_an_error(tmp_path: Path) -> None:
    np.save(tmp_path / "raw.npy", np.zeros((2, 100), np.float32))
    with pytest.raises(InputError, match="25200"):
        load_crystals([tmp_path / "raw.npy"])


def test_a_bad_file_named_among_good_ones_is_one_skip(table: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "shape.npy", np.zeros((2, 100), np.float32))
    (tmp_path / "notes.py").write_text("no crystals")
    incomplete = tmp_path / "incomplete.parquet"
    pq.write_table(pq.read_table(table).drop(["species_at_sites"]), incomplete)
    for names in (["shape.npy", "notes.py", "incomplete.parquet"], ["incomplete.parquet"]):
        found = load_crystals([table, *(tmp_path / name for name in names)])
        assert len(found.crystals) == 8
        assert [skip.id for skip in found.skipped] == names


def test_a_path_that_does_not_exist_is_an_error_among_good_ones_too(
    table: Path, tmp_path: Path
) -> None:
    for name in ("nowhere.npy", "nowhere.cif"):
        with pytest.raises(InputError, match="nowhere"):
            load_crystals([table, tmp_path / name])


def test_an_array_in_a_folder_is_a_skip_that_says_to_name_it(table: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "raw.npy", ftcp.encode(load_bundled().take(range(3))).array)
    found = load_crystals([tmp_path])
    assert len(found.crystals) == 8
    assert "name this file" in found.skipped[0].remedy


def test_labels_in_the_csv_of_ids_come_along_with_the_array(tmp_path: Path) -> None:
    crystals = load_bundled().take(range(8))
    encoded = ftcp.encode(crystals)
    encoded.array[1, 103, 0] = np.nan
    np.save(tmp_path / "own.npy", encoded.array)
    ids = crystals.ids[encoded.kept].tolist()
    lines = [f"{name},{row / 8}" for row, name in enumerate(ids)]
    (tmp_path / "own_ids.csv").write_text("\n".join(["material_id,energy", *lines]))
    found = load_crystals([tmp_path / "own.npy"])
    expected = [row / 8 for row in range(len(ids)) if row != 1]
    assert found.crystals.column("energy").tolist() == expected
    assert found.crystals.ids.tolist() == [name for name in ids if name != ids[1]]
    assert [skip.id for skip in found.skipped] == [ids[1]]
