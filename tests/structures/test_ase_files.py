from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crystalssl.structures.objects import from_objects
from crystalssl.structures.reading import read_structures

ase = pytest.importorskip("ase")


def salt() -> object:
    from ase.build import bulk

    return bulk("NaCl", "rocksalt", a=5.64)


def test_frames_of_an_extended_xyz_file_are_read_with_their_values(tmp_path: Path) -> None:
    from ase import Atoms
    from ase.io import write

    first, second, molecule = salt(), salt(), Atoms("CO", positions=[[0, 0, 0], [0, 0, 1.1]])
    first.info.update(energy_per_atom=-3.5, id="salt-1")
    write(tmp_path / "a.xyz", [first, second, molecule], format="extxyz")
    result = read_structures([tmp_path / "a.xyz"])
    assert result.crystals.ids.tolist() == ["salt-1", "a-1"]
    assert result.crystals.numbers[:, 0].tolist() == [11, 17, 11, 17]
    np.testing.assert_array_equal(result.crystals.column("energy_per_atom"), [-3.5, np.nan])
    assert "not periodic" in result.skipped[0].reason


def test_a_broken_frame_is_a_skip_and_those_before_it_stay(tmp_path: Path) -> None:
    from ase.io import write

    write(tmp_path / "a.extxyz", [salt(), salt()], format="extxyz")
    text = (tmp_path / "a.extxyz").read_text()
    (tmp_path / "a.extxyz").write_text(text[: len(text) - 30])
    result = read_structures([tmp_path / "a.extxyz"])
    assert len(result.crystals) == 1
    assert len(result.skipped) == 1


def test_rows_of_an_ase_database_are_read_with_their_values(tmp_path: Path) -> None:
    from ase.db import connect

    with connect(tmp_path / "a.db") as database:
        database.write(salt(), gap=5.0, material_id="mp-1")
        database.write(salt(), gap=6.0)
    result = read_structures([tmp_path / "a.db"])
    assert result.skipped == []
    assert result.crystals.ids.tolist() == ["mp-1", "a-2"]
    assert result.crystals.column("gap").tolist() == [5.0, 6.0]


def test_a_file_that_is_no_database_is_a_skip(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"nothing")
    assert "no SQLite" in read_structures([tmp_path / "a.db"]).skipped[0].reason
    (tmp_path / "b.db").write_bytes(b"SQLite format 3\0" + b"x" * 100)
    assert len(read_structures([tmp_path / "b.db"]).skipped) == 1


def test_ases_own_partial_occupancy_is_understood() -> None:
    atoms = salt()
    atoms.info["occupancy"] = {"0": {"Na": 0.75}, "1": {"Cl": 0.5, "Br": 0.5}}
    atoms.set_array("spacegroup_kinds", np.array([0, 1]))
    crystals = from_objects([atoms]).crystals
    assert crystals.numbers[:, :2].tolist() == [[11, 0], [17, 35]]
    assert crystals.occupancy[:, 0].tolist() == [0.75, 0.5]


def test_without_ase_the_extra_to_install_is_named(tmp_path: Path, monkeypatch) -> None:
    import sys

    from crystalssl.errors import MissingExtraError

    (tmp_path / "a.xyz").write_text("1\n\nH 0 0 0\n")
    monkeypatch.setitem(sys.modules, "ase.io.extxyz", None)
    with pytest.raises(MissingExtraError, match=r"crystalssl\[formats\]"):
        read_structures([tmp_path / "a.xyz"])
