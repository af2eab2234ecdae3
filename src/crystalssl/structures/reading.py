"""Files, folders, archives and tables of any supported format to one batch of crystals.

The only place that knows which reader takes which file: :data:`READERS` by format and
:func:`format_of` by file name. What cannot be read becomes a skip and the rest goes on.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from crystalssl.errors import InputError, Skip
from crystalssl.structures.assembly import Assembler
from crystalssl.structures.crystals import Crystals, ReadResult
from crystalssl.structures.formats.ase_files import read_ase_db, read_extxyz
from crystalssl.structures.formats.cif import read_cif
from crystalssl.structures.formats.json_documents import read_json
from crystalssl.structures.formats.poscar import read_poscar
from crystalssl.structures.ids import unique_ids
from crystalssl.structures.sources import ARCHIVES, Member, is_archive, members
from crystalssl.structures.table import from_arrow, read_table
from crystalssl.structures.validity import SOURCE_COLUMN

Reader = Callable[[bytes, str, str, Assembler], None]
"""Content, name for messages, id for a lone structure, and where to deliver."""

READERS: dict[str, Reader] = {
    "cif": read_cif,
    "poscar": read_poscar,
    "extxyz": read_extxyz,
    "ase-db": read_ase_db,
    "json": read_json,
}
"""Reader of each format but the structure table, which ``table.py`` reads."""

SUFFIXES = {
    ".cif": "cif",
    ".poscar": "poscar",
    ".vasp": "poscar",
    ".xyz": "extxyz",
    ".extxyz": "extxyz",
    ".db": "ase-db",
    ".json": "json",
    ".parquet": "table",
    ".pq": "table",
}
"""Format by file ending; each may be followed by ``.gz``, tables apart."""

_BESIDE = {".txt", ".md", ".csv", ".tsv", ".log", ".pdf", ".png", ".jpg", ".svg", ".html", ".py"}
_BESIDE |= {".yaml", ".yml", ".toml", ".sh", ".ipynb", ".rst", ".xml", ".bib", ""}
_ARRAY = "raw FTCP arrays are not looked for in folders and archives: name this file outright"
_KNOWN = f"expected one of {', '.join(SUFFIXES)}, POSCAR, CONTCAR, or {', '.join(ARCHIVES)}"


def format_of(file_name: str) -> str:
    """Format that a file name stands for, or an empty text; ``.gz`` must be off already."""
    kind = SUFFIXES.get(_suffix(file_name), "")
    if not kind and file_name.upper().startswith(("POSCAR", "CONTCAR")):
        return "poscar"
    return kind


def _suffix(file_name: str) -> str:
    return os.path.splitext(file_name)[1].lower()  # noqa: PTH122  called once per file


def read_structures(
    sources: Sequence[str | Path], *, among_others: bool | None = None
) -> ReadResult:
    """Read structures from any mix of files, folders, archives and tables.

    Ids come from the file (names of CIF blocks, keys and id fields of tables and JSON) or else
    from its name. A repeated id gets ``#2``, ``#3`` and so on at its end. The file that each
    crystal came from is carried as the column ``source_file``. In folders and archives,
    documents such as notes and figures are passed over without a word.

    Args:
        sources: paths; order is kept, folders are walked in alphabetical order.
        among_others: whether a file named outright that is of no known format, or a table that
            lacks its columns, is a skip; by default if there is more than one source.

    Returns:
        The crystals, cells as given, and one skip for each structure or file that could not be
        read.

    Raises:
        InputError: if a path does not exist, or the only one is a file of no known format or a
            table that lacks its columns.
        MissingExtraError: if a file needs an optional package that is not installed.
    """
    if isinstance(sources, str | Path):
        sources = [sources]
    batch = _Batch()
    alone = not (len(sources) > 1 if among_others is None else among_others)
    for source in sources:
        for member in members(source):
            _read_member(member, batch, alone)
    return batch.finish()


class _Batch:
    """Crystals of many files in order, tables whole and other files one structure at a time."""

    def __init__(self) -> None:
        self.current = Assembler()
        self.skipped: list[Skip] = []
        self._parts: list[Crystals] = []

    def close_part(self) -> None:
        """Turn what was found so far into a part."""
        self.add_part(self.current.finish())
        self.current = Assembler()

    def add_part(self, result: ReadResult) -> None:
        """Append crystals that came as a whole."""
        self.skipped.extend(result.skipped)
        if len(result.crystals):
            self._parts.append(result.crystals)

    def finish(self) -> ReadResult:
        """All parts as one batch with different ids."""
        self.close_part()
        if not self._parts:
            return ReadResult(crystals=Crystals.empty(), skipped=self.skipped)
        joined = self._parts[0] if len(self._parts) == 1 else Crystals.concatenate(self._parts)
        return ReadResult(crystals=joined.with_ids(unique_ids(joined.ids)), skipped=self.skipped)


def _read_member(member: Member, batch: _Batch, alone: bool) -> None:
    kind = format_of(member.plain_name)
    suffix = _suffix(member.plain_name)
    if member.problem:
        batch.current.skip(member.plain_name, member.name, member.problem, "pack it anew")
    elif kind == "table":
        _read_table_member(member, batch, alone)
    elif kind:
        _read_file(member, kind, batch)
    elif member.explicit and alone:
        raise InputError(f"{member.name} is of no known format; {_KNOWN}.")
    elif is_archive(member.plain_name):
        batch.current.skip(
            member.plain_name, member.name, "an archive inside an archive", "unpack it first"
        )
    elif member.explicit or suffix not in _BESIDE:
        reason = f"files of kind {suffix} are not read" if suffix else "of no known format"
        remedy = _ARRAY if suffix == ".npy" else _KNOWN
        batch.current.skip(member.plain_name, member.name, reason, remedy)


def _read_file(member: Member, kind: str, batch: _Batch) -> None:
    try:
        data = member.read()
    except InputError as error:
        batch.current.skip(member.plain_name, member.name, str(error), "check the file")
        return
    READERS[kind](data, member.name, _stem(member, kind), batch.current)


def _stem(member: Member, kind: str) -> str:
    name = member.plain_name
    stem = name[: -len(_suffix(name))] if _suffix(name) in SUFFIXES else name
    if kind == "poscar" and stem.upper() in ("POSCAR", "CONTCAR"):
        return member.folder or stem
    return stem


def _read_table_member(member: Member, batch: _Batch, alone: bool) -> None:
    batch.close_part()
    try:
        if member.path is not None:
            result = read_table(member.path)
        else:
            result = from_arrow(pq.read_table(io.BytesIO(member.read())), member.name)
    except (InputError, pa.ArrowException, OSError) as error:
        if member.explicit and alone:
            raise
        remedy = "make a table with crystalssl convert"
        batch.current.skip(member.plain_name, member.name, str(error), remedy)
        return
    batch.add_part(
        ReadResult(crystals=_with_source(result.crystals, member.name), skipped=result.skipped)
    )


def _with_source(crystals: Crystals, name: str) -> Crystals:
    columns = crystals.columns
    files = pa.array([name] * len(crystals), type=pa.string())
    if columns is None:
        return crystals.with_columns(pa.table({SOURCE_COLUMN: files}))
    if SOURCE_COLUMN in columns.column_names:
        return crystals
    return crystals.with_columns(columns.append_column(SOURCE_COLUMN, files))
