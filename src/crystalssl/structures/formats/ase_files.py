"""ASE databases to structures, through ASE (optional extra ``formats``).

SQLite (.db) and ASE's own JSON. Scalars that a row carries, energies among them, become columns; a
row that cannot be read is one skip. Called by ``reading.py``.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from crystalssl.errors import InputError, missing_extra
from crystalssl.structures.assembly import Assembler, Entry, reason_of
from crystalssl.structures.columns import is_scalar
from crystalssl.structures.formats.ase_objects import from_atoms
from crystalssl.structures.formats.id_keys import id_of

REMEDY = "check that the file opens in ASE; periodic crystals need a cell and pbc"
"""What to do about a database that cannot be read."""
ENERGIES = ("energy", "free_energy", "magmom", "charge")
"""Numbers of a row's calculation that become columns."""


def read_ase_db(data: bytes, name: str, stem: str, into: Assembler) -> None:
    """Read every row of an ASE database (SQLite).

    Args:
        data: content of the file.
        name: file name used in messages.
        stem: rows without an id become ``stem-1``, ``stem-2`` and so on.
        into: receives structures and skips.

    Raises:
        MissingExtraError: if ASE is not installed.
    """
    if not data.startswith(b"SQLite format 3\0"):
        _ase()
        into.skip(stem, name, "it is no SQLite database", "give a database written by ase.db")
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.db"
        copy.write_bytes(data)
        _read_database(copy, "db", name, stem, into)


def read_ase_json(data: bytes, name: str, stem: str, into: Assembler) -> None:
    """Read every row of ASE's own JSON database.

    Raises:
        MissingExtraError: if ASE is not installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.json"
        copy.write_bytes(data)
        _read_database(copy, "json", name, stem, into)


def _ase() -> Any:
    try:
        import ase.db
    except ImportError:
        raise missing_extra("ase", "formats", "Reading an ASE database") from None
    return ase.db


def _read_database(path: Path, kind: str, name: str, stem: str, into: Assembler) -> None:
    """Each row by its id, so that a damaged one does not end the others."""
    database = None
    connect = _ase().connect
    try:
        database = connect(str(path), type=kind, append=True, use_lock_file=False)
        rows = _row_ids(database, path, kind)
        if not rows:
            into.skip(stem, name, "the database holds no rows", REMEDY)
        for row in rows:
            into.read(f"{stem}-{row}", name, REMEDY, _entry, database, row, stem)
    except BaseException as error:  # a damaged database fails in SQLite, JSON or ASE
        into.skip(stem, name, f"the database cannot be read: {reason_of(error)}", REMEDY)
    finally:
        _close(database)


def _row_ids(database: Any, path: Path, kind: str) -> Sequence[int]:
    if kind == "db":
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            found = connection.execute("SELECT id FROM systems ORDER BY id").fetchall()
        return [int(row) for (row,) in found if isinstance(row, int)]
    return [row.id for row in database.select(sort="id")]


def _close(database: Any) -> None:
    connection = getattr(database, "connection", None)
    if connection is not None:
        connection.close()


def _entry(database: Any, number: int, stem: str) -> Entry:
    """One row as an entry.

    Raises:
        InputError: if it is not periodic.
    """
    row = database.get(id=number)
    values: dict[str, Any] = {}
    for key in ENERGIES:
        value = row.get(key)
        if is_scalar(value):
            values[key] = value
    values.update(_scalars(row.key_value_pairs))
    data = row.data if isinstance(row.data, Mapping) else {}
    values.update({k: v for k, v in _scalars(data).items() if k not in values})
    label = id_of(values, f"{stem}-{number}")
    if not len(row.numbers):
        raise InputError("no atoms in it")
    return from_atoms(row.toatoms(), label, values)


def _scalars(values: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values among those carried."""
    return {str(key): value for key, value in values.items() if is_scalar(value)}
