"""Pages of a fetch to files beside its output, and these to one structure table.

A page is one Parquet file that holds its crystals, what was skipped and where to go on, so a fetch
that dies at any moment goes on with the next page. The folder is removed once the table is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crystalssl.databases.contract import Page
from crystalssl.errors import InputError, Skip
from crystalssl.files import atomic, make_folder, read_json, remove, write_json
from crystalssl.locks import short
from crystalssl.structures.table import ID, TABLE_VERSION, VERSION, to_arrow

REQUEST = "request.json"
"""What was asked, and when."""
PAGE = "crystalssl_page"
"""Key in the metadata of a page."""
FETCH = "crystalssl_fetch"
"""Key in the metadata of a table that was fetched: source, address, query, licence, date."""
STARTED = "retrieved"
"""Field of a request that says when it began."""


class PageStore:
    """Pages that were fetched so far.

    Attributes:
        folder: where they are.
        request: what is asked, with the time at which it began.
    """

    def __init__(self, out: Path, request: Mapping[str, Any]) -> None:
        """Take up what is there for the same request, else begin anew."""
        self.folder = out.with_name(f".{short(out.name)}.pages")
        make_folder(self.folder)
        there = self._stored_request()
        if {key: there.get(key) for key in request if key != STARTED} != {
            key: value for key, value in request.items() if key != STARTED
        }:
            remove(*sorted(path for path in self.folder.iterdir() if path.name != REQUEST))
            there = dict(request)
            write_json(there, self.folder / REQUEST)
        self.request: dict[str, Any] = there
        self._notes = [_note(path) for path in self._files()]

    def _stored_request(self) -> dict[str, Any]:
        try:
            return read_json(self.folder / REQUEST)
        except InputError:
            return {}

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.parquet"))

    def append(self, page: Page) -> None:
        """Keep a page."""
        note = {
            "cursor": page.cursor,
            "total": page.total,
            "left_out": page.left_out,
            "skipped": [astuple(skip) for skip in page.skipped],
            "crystals": len(page.crystals),
        }
        table = to_arrow(page.crystals)
        kept = {**(table.schema.metadata or {}), PAGE.encode(): json.dumps(note).encode()}
        with atomic(self.folder / f"{len(self._notes):06}.parquet") as aside:
            pq.write_table(table.replace_schema_metadata(kept), aside, compression="zstd")
        self._notes.append(note)

    @property
    def complete(self) -> bool:
        """Whether the last page is there."""
        return bool(self._notes) and not self._notes[-1]["cursor"]

    @property
    def cursor(self) -> str:
        """Where to go on."""
        return str(self._notes[-1]["cursor"]) if self._notes else ""

    @property
    def crystals(self) -> int:
        """Crystals so far."""
        return sum(note["crystals"] for note in self._notes)

    @property
    def skipped(self) -> list[Skip]:
        """Entries that cannot be used, so far."""
        return [Skip(**_skip_of(values)) for note in self._notes for values in note["skipped"]]

    @property
    def left_out(self) -> int:
        """Entries left out for their licence, so far."""
        return sum(note["left_out"] for note in self._notes)

    def write(
        self, out: Path, description: Mapping[str, Any], limit: int | None
    ) -> tuple[int, int]:
        """Write the pages as one table, page after page; they stay until :meth:`remove`.

        Args:
            out: structure table.
            description: what goes into its metadata.
            limit: most crystals that it may have.

        Returns:
            Rows written, and entries that came twice and were kept once.
        """
        files = self._files()
        schema = _common([pq.read_schema(path) for path in files])
        metadata = {VERSION: str(TABLE_VERSION), FETCH: json.dumps(description, sort_keys=True)}
        schema = schema.with_metadata(metadata)
        rows, repeated = 0, 0
        with atomic(out) as aside, pq.ParquetWriter(aside, schema, compression="zstd") as writer:
            for table, again in _distinct(files):
                repeated += again
                if limit is not None:
                    table = table.slice(0, limit - rows)
                if table.num_rows:
                    writer.write_table(_as(table, schema))
                rows += table.num_rows
        return rows, repeated

    def remove(self) -> None:
        """Remove the pages."""
        remove(self.folder)


def _note(path: Path) -> dict[str, Any]:
    """What is noted with a page.

    Raises:
        InputError: if the file is damaged.
    """
    try:
        note = json.loads((pq.read_schema(path).metadata or {})[PAGE.encode()])
        return {**note, "cursor": str(note["cursor"]), "crystals": int(note["crystals"])}
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} is no page of a fetch ({error!r}). Remove the folder {path.parent} and begin "
            "again."
        ) from error


def _skip_of(values: Any) -> dict[str, str]:
    return dict(zip(("id", "file", "reason", "remedy"), map(str, values), strict=True))


def _distinct(files: list[Path]) -> Iterator[tuple[pa.Table, int]]:
    """Tables of pages without rows whose id came before, and how many there were.

    A database may grow while it is read, which moves entries from one page to the next.
    """
    seen: set[str] = set()
    for path in files:
        table = pq.read_table(path)
        names = table[ID].to_pylist()
        new = np.array([name not in seen for name in names], dtype=bool)
        seen.update(names)
        again = int((~new).sum())
        yield (table.filter(pa.array(new)) if again else table), again


def _common(schemas: list[pa.Schema]) -> pa.Schema:
    """One schema for all pages; kinds that do not mix become text."""
    kinds: dict[str, list[pa.DataType]] = {}
    for schema in schemas:
        for field in schema:
            kinds.setdefault(field.name, []).append(field.type)
    return pa.schema([pa.field(name, _one(set(types))) for name, types in kinds.items()])


def _one(kinds: set[pa.DataType]) -> pa.DataType:
    """A type that holds values of all of some types."""
    kinds = {kind for kind in kinds if not pa.types.is_null(kind)} or {pa.string()}
    if len(kinds) == 1:
        return kinds.pop()
    if all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in kinds):
        whole = all(pa.types.is_integer(kind) for kind in kinds)
        return pa.int64() if whole else pa.float64()
    return pa.string()


def _as(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A table with the columns of a schema, nulls where it lacks one."""
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        column = table[field.name]
        try:
            columns.append(column.cast(field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            texts = [None if value is None else str(value) for value in column.to_pylist()]
            columns.append(pa.array(texts, type=pa.string()))
    return pa.table(columns, schema=schema)
