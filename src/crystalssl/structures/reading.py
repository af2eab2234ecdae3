"""Files, folders, archives and tables of any supported format to one batch of crystals.

The only place that knows which reader takes which file: :data:`READERS` by format and
:func:`format_of` by file name. What cannot be read becomes a skip and the rest goes on.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from crystalssl.errors import InputError, MissingExtraError, Note, Skip
from crystalssl.structures.assembly import Assembler, reason_of
from crystalssl.structures.crystals import Crystals, ReadResult
from crystalssl.structures.formats.ase_files import read_ase_db
from crystalssl.structures.formats.aselmdb import read_aselmdb
from crystalssl.structures.formats.cif import read_cif
from crystalssl.structures.formats.extxyz import read_extxyz
from crystalssl.structures.formats.json import read_json
from crystalssl.structures.formats.poscar import read_poscar
from crystalssl.structures.ids import storable, unique_ids
from crystalssl.structures.parquet_footer import check_size
from crystalssl.structures.sniffing import kind_of_content
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
"""Reader of each format but the structure table, which ``table.py`` reads, and LMDB."""

SUFFIXES = {
    ".cif": "cif",
    ".mcif": "cif",
    ".poscar": "poscar",
    ".vasp": "poscar",
    ".xyz": "extxyz",
    ".extxyz": "extxyz",
    ".db": "ase-db",
    ".aselmdb": "ase-lmdb",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "table",
    ".pq": "table",
}
"""Format by file ending; each may be followed by ``.gz``, tables apart."""

_BESIDE = {".txt", ".md", ".csv", ".tsv", ".log", ".pdf", ".png", ".jpg", ".svg", ".html", ".py"}
_BESIDE |= {".yaml", ".yml", ".toml", ".sh", ".ipynb", ".rst", ".xml", ".bib"}
_UNNAMED = re.compile(
    r"^(readme|license|licence|copying|notice|changelog|authors|makefile|manifest|version|todo"
    r"|incar|kpoints|potcar|outcar|oszicar|chgcar?|wavecar|doscar|eigenval|procar|ibzkpt|pcdat"
    r"|xdatcar|locpot|report|vasprun|thumbs)",
    re.IGNORECASE,
)
"""Files without an ending that are no structures and need no word."""
_POSCAR = re.compile(r"(?:^|[^a-z])(poscar|contcar)(?:[^a-z]|$)", re.IGNORECASE)
_ARRAY = "raw FTCP arrays are not looked for in folders and archives: name this file outright"
_KNOWN = f"expected one of {', '.join(SUFFIXES)}, POSCAR, CONTCAR, or {', '.join(ARCHIVES)}"


def format_of(file_name: str) -> str:
    """Format that a file name stands for, or an empty text; ``.gz`` must be off already."""
    suffix = _suffix(file_name)
    kind = SUFFIXES.get(suffix, "")
    if not kind and file_name.upper().startswith(("POSCAR", "CONTCAR")):
        return "poscar"
    if not kind and suffix not in _BESIDE and _POSCAR.search(file_name):
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
        The crystals, cells as given, one skip for each structure or file that could not be read,
        and notes on structures that were read in a way that their owner should know of: a setting
        chosen among several, hydrogen that the file states but does not place, a contradiction
        that its formula decided.

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
        self.notes: list[Note] = []
        self._parts: list[Crystals] = []

    def close(self) -> None:
        """Turn what was read so far into one batch."""
        self.append(self.current.finish())
        self.current = Assembler()

    def append(self, result: ReadResult) -> None:
        """Append crystals that came as a whole."""
        self.skipped.extend(result.skipped)
        self.notes.extend(result.notes)
        if len(result.crystals):
            self._parts.append(result.crystals)

    def finish(self) -> ReadResult:
        """All parts as one batch with different ids."""
        self.close()
        if not self._parts:
            return ReadResult(crystals=Crystals.empty(), skipped=self.skipped, notes=self.notes)
        joined = self._parts[0] if len(self._parts) == 1 else Crystals.concatenate(self._parts)
        crystals = joined.with_ids(unique_ids(joined.ids))
        return ReadResult(crystals=crystals, skipped=self.skipped, notes=self.notes)


def _read_member(member: Member, batch: _Batch, alone: bool) -> None:
    kind = format_of(member.plain_name)
    suffix = _suffix(member.plain_name)
    name = member.plain_name
    if member.problem:
        batch.current.skip(name, member.name, member.problem, "pack it anew or leave it out")
    elif kind == "table":
        _read_table_member(member, batch, alone)
    elif kind:
        _read_file(member, kind, batch, alone)
    elif is_archive(name) and not member.explicit:
        batch.current.skip(name, member.name, "an archive inside an archive", "unpack it first")
    elif (suffix in _BESIDE and not member.explicit) or (_UNNAMED.match(name) and not suffix):
        return
    elif suffix in ("", *_BESIDE) and (sniffed := _sniffed(member)):
        _read_file(member, sniffed, batch, alone)
    elif member.explicit and alone:
        raise InputError(f"{member.name} is of no known format; {_KNOWN}.")
    else:
        reason = f"files of kind {suffix} are not read" if suffix else "of no known format"
        remedy = _ARRAY if suffix == ".npy" else _KNOWN
        batch.current.skip(name, member.name, reason, remedy)


def _sniffed(member: Member) -> str:
    """Format that the first bytes of a file without a telling name show, or an empty text."""
    try:
        return kind_of_content(member.read()[:200_000])
    except InputError:
        return ""


def _read_file(member: Member, kind: str, batch: _Batch, alone: bool) -> None:
    """Read one file; whatever a reader raises ends as a skip of the rest of this file."""
    stem = member.plain_name
    try:
        data = b"" if kind == "ase-lmdb" else member.read()
        stem = _stem(member, kind)
        if kind == "ase-lmdb":
            if member.path is None or member.name.lower().endswith(".gz"):
                raise InputError("a packed LMDB database is not read; unpack it first")
            read_aselmdb(member.path, member.name, stem, batch.current)
        else:
            READERS[kind](data, member.name, stem, batch.current)
    except MissingExtraError as error:
        if alone and member.explicit:
            raise
        batch.current.skip(stem, member.name, str(error), "install the package")
    except BaseException as error:
        batch.current.skip(stem, member.name, reason_of(error), "check the file")


def _stem(member: Member, kind: str) -> str:
    """Id of a lone structure: the file name without its ending, or what names its folder."""
    name = member.plain_name
    stem = name[: -len(_suffix(name))] if _suffix(name) in SUFFIXES else name
    if kind == "poscar" and stem.upper() in ("POSCAR", "CONTCAR"):
        return member.folder or stem
    if kind == "poscar" and stem == name:
        bare = re.sub(r"[_.\- ]*(poscar|contcar)$", "", stem, flags=re.IGNORECASE)
        return bare or stem
    return stem or name


def _read_table_member(member: Member, batch: _Batch, alone: bool) -> None:
    batch.close()
    try:
        if member.path is not None:
            result = read_table(member.path)
        else:
            content = io.BytesIO(member.read())
            check_size(content, member.name)
            result = from_arrow(pq.read_table(content), member.name)
    except BaseException as error:
        reason = reason_of(error)
        if member.explicit and alone:
            raise InputError(reason) from error
        remedy = "make a table with crystalssl convert"
        batch.current.skip(member.plain_name, member.name, reason, remedy)
        return
    crystals = _with_source(result.crystals, storable(member.name))
    batch.append(ReadResult(crystals=crystals, skipped=result.skipped, notes=result.notes))


def _with_source(crystals: Crystals, name: str) -> Crystals:
    columns = crystals.columns
    files = pa.array([name] * len(crystals), type=pa.string())
    if columns is None:
        return crystals.with_columns(pa.table({SOURCE_COLUMN: files}))
    if SOURCE_COLUMN in columns.column_names:
        return crystals
    return crystals.with_columns(columns.append_column(SOURCE_COLUMN, files))
