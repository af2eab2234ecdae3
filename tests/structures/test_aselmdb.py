"""LMDB databases of ASE: whole, cut off, damaged, and without the package that reads them."""

from __future__ import annotations

import random
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from crystalssl.errors import MissingExtraError
from crystalssl.structures.formats import aselmdb
from crystalssl.structures.reading import read_structures

PAGE = 4096
backends = pytest.mark.skipif(find_spec("ase_db_backends") is None, reason="no ase-db-backends")


def header(last_page: int, transaction: int) -> bytes:
    """The page that opens an LMDB file, as far as it is read."""
    page = bytearray(PAGE)
    page[16:20] = b"\xde\xc0\xef\xbe"
    page[40:44] = PAGE.to_bytes(4, "little")
    page[136:144] = last_page.to_bytes(8, "little")
    page[144:152] = transaction.to_bytes(8, "little")
    return bytes(page)


@pytest.fixture(name="database")
def _database(tmp_path: Path) -> Path:
    from ase.build import bulk
    from ase.db import connect

    path = tmp_path / "a.aselmdb"
    with connect(path, type="aselmdb", use_lock_file=False) as database:
        for row in range(4):
            values = {"entry_id": f"omat-{row}", "gap": float(row), "forces": [1.0, 2.0]}
            database.write(bulk("NaCl", "rocksalt", a=5.6), sid=f"s{row}", data=values)
        molecule = bulk("Si")
        molecule.pbc = False
        database.write(molecule)
    return path


@backends
def test_rows_become_crystals_with_their_scalars(database: Path) -> None:
    result = read_structures([database])
    assert result.crystals.ids.tolist() == [f"omat-{row}" for row in range(4)]
    assert result.crystals.column("gap").tolist() == [0.0, 1.0, 2.0, 3.0]
    assert result.crystals.column("sid").tolist() == ["s0", "s1", "s2", "s3"]
    np.testing.assert_allclose(result.crystals.volumes, 5.6**3 / 4)
    assert ["not periodic" in skip.reason for skip in result.skipped] == [True]


@backends
def test_damaged_databases_end_no_process(database: Path, tmp_path: Path) -> None:
    content = database.read_bytes()
    bad = tmp_path / "bad.aselmdb"
    for seed in range(6):
        rng = random.Random(seed)
        changed = bytearray(content)
        for _ in range(40):
            changed[rng.randrange(2 * PAGE, len(content))] = rng.randrange(256)
        bad.write_bytes(changed)
        result = read_structures([bad, database])
        assert {f"omat-{row}" for row in range(4)} <= set(result.crystals.ids.tolist())
        assert len(result.skipped) >= 1


def test_a_database_that_is_cut_off_is_one_skip(tmp_path: Path) -> None:
    path = tmp_path / "a.aselmdb"
    path.write_bytes(header(2, 1) + header(40, 2) + b"\0" * PAGE)
    assert aselmdb._problem(path) == f"it is cut off: {3 * PAGE} bytes of {41 * PAGE}"
    path.write_bytes(header(2, 2) + header(40, 1) + b"\0" * PAGE)
    assert aselmdb._problem(path) == ""
    for content in (b"", b"x" * 5000, header(2, 1)):
        path.write_bytes(content)
        assert "no LMDB database" in aselmdb._problem(path)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aselmdb, "find_spec", lambda name: None if "backends" in name else name)
    path = tmp_path / "a.aselmdb"
    path.write_bytes(header(2, 1))
    with pytest.raises(MissingExtraError, match="ase-db-backends"):
        read_structures([path])
    good = tmp_path / "good.cif"
    good.write_text("data_x\n")
    reasons = [skip.reason for skip in read_structures([path, good]).skipped]
    assert "ase-db-backends" in reasons[0]


def test_a_row_that_takes_too_long_ends_the_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aselmdb, "find_spec", lambda name: name)
    monkeypatch.setattr(aselmdb, "LONGEST", 0.5)
    first = '{"id": 1, "values": {}, "data": {}, "numbers": [], "pbc": []}'
    child = f"import time\nprint('{first}', flush=True)\ntime.sleep(60)\n"
    monkeypatch.setattr(aselmdb, "_CHILD", child)
    path = tmp_path / "a.aselmdb"
    path.write_bytes(header(1, 1) + header(1, 0))
    reasons = [skip.reason for skip in read_structures([path]).skipped]
    assert reasons == ["no atoms in it", "it is damaged: its rows end after 1"]
