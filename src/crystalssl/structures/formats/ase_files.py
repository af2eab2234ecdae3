"""Extended XYZ files and ASE databases to structures, through ASE (optional extra ``formats``).

Scalars that a frame or a row carries become columns. An id is taken from the usual keys when a
frame has one. Called by ``reading.py`` for .xyz, .extxyz and .db.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from crystalssl.errors import InputError, missing_extra
from crystalssl.structures.assembly import Assembler, Entry

ID_KEYS = ("immutable_id", "material_id", "mp_id", "id", "uid", "name")
"""Keys that hold an id, first match first."""

_REMEDY = "check that the file opens in ASE; periodic crystals need a Lattice"


def read_extxyz(data: bytes, name: str, stem: str, into: Assembler) -> None:
    """Read every frame of an extended XYZ file.

    Args:
        data: content of the file.
        name: file name used in messages.
        stem: id of a single frame; several are ``stem-0``, ``stem-1`` and so on.
        into: receives structures and skips.

    Raises:
        MissingExtraError: if ASE is not installed.
    """
    try:
        from ase.io.extxyz import read_xyz
    except ImportError:
        raise missing_extra("ase", "formats", "Reading extended XYZ") from None
    frames: list[Any] = []
    problem = "" if data.strip() else "the file is empty"
    try:
        for atoms in read_xyz(io.StringIO(data.decode("utf-8", errors="replace")), slice(None)):
            frames.append(atoms)  # noqa: PERF402  frames before a broken one are kept
    except Exception as error:  # ASE raises whatever its parsing meets
        problem = f"frame {len(frames)} cannot be read: {error!r}"
    for index, atoms in enumerate(frames):
        label = stem if len(frames) == 1 else f"{stem}-{index}"
        _add(atoms, _label(atoms.info, label), _scalars(atoms.info), name, into)
    if problem:
        into.skip(stem, name, problem, _REMEDY)


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
    try:
        import ase.db
    except ImportError:
        raise missing_extra("ase", "formats", "Reading an ASE database") from None
    if not data.startswith(b"SQLite format 3\0"):
        into.skip(stem, name, "it is no SQLite database", "give a database written by ase.db")
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.db"
        copy.write_bytes(data)
        with ase.db.connect(str(copy), type="db", append=True, use_lock_file=False) as database:
            _add_rows(database, name, stem, into)


def from_atoms(atoms: Any, label: str, columns: Mapping[str, Any] | None = None) -> Entry:
    """Read an ``ase.Atoms``, with the partial occupancy that ASE's own readers store.

    Raises:
        InputError: if it is not periodic in three directions.
    """
    if not atoms.cell.rank == 3 or not all(atoms.pbc):
        raise InputError("it is not periodic in three directions")
    frac = atoms.get_scaled_positions(wrap=False)
    occupancy = atoms.info.get("occupancy")
    kinds = atoms.arrays.get("spacegroup_kinds")
    if not occupancy or kinds is None:
        numbers = atoms.numbers.tolist()
        return Entry(
            id=label, lattice=atoms.cell.array, frac_coords=frac, numbers=numbers, columns=columns
        )
    from crystalssl.structures.elements import label_to_number

    entries = [
        (site, label_to_number(symbol), float(amount))
        for site, kind in enumerate(kinds.tolist())
        for symbol, amount in occupancy[str(kind)].items()
    ]
    return Entry(
        id=label,
        lattice=atoms.cell.array,
        frac_coords=frac,
        sites=[entry[0] for entry in entries],
        numbers=[entry[1] for entry in entries],
        amounts=[entry[2] for entry in entries],
        columns=columns,
    )


def _add_rows(database: Any, name: str, stem: str, into: Assembler) -> None:
    try:
        for row in _rows(database):
            values = dict(row.key_value_pairs)
            _add(row.toatoms(), _label(values, f"{stem}-{row.id}"), _scalars(values), name, into)
    except Exception as error:  # a damaged database fails in SQLite, JSON or ASE
        into.skip(stem, name, f"the database cannot be read on: {error!r}", _REMEDY)


def _rows(database: Any) -> Iterator[Any]:
    yield from database.select(sort="id")


def _add(atoms: Any, label: str, columns: Mapping[str, Any], name: str, into: Assembler) -> None:
    try:
        into.add(from_atoms(atoms, label, columns), name)
    except (InputError, KeyError) as error:
        into.skip(label, name, str(error), _REMEDY)


def _label(values: Mapping[str, Any], otherwise: str) -> str:
    return next((str(values[key]) for key in ID_KEYS if key in values), otherwise)


def _scalars(values: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values among those carried."""
    kinds = (str, bool, int, float, np.generic)
    return {str(key): value for key, value in values.items() if isinstance(value, kinds)}
