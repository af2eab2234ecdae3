"""Tables of results in files: what `neighbors`, `duplicates`, `novelty` and `select` write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crystalssl.files import atomic
from crystalssl.pipeline.progress import Progress, counted

if TYPE_CHECKING:
    import pyarrow as pa


TABLES = [".parquet", ".csv"]
"""Endings of tables of results."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """A table of results.

    Attributes:
        title: what it lists, in words.
        table: its rows.
        summary: counts and shares by name.
    """

    title: str
    table: pa.Table
    summary: dict[str, float]


def finished(listed: Listed, path: Path | None, progress: Progress) -> Listed:
    """Results, written to a table where one is asked for."""
    if path is not None:
        write_table(listed.table, path)
        progress.note(f"{counted(len(listed.table), 'row')}: {path}")
    return listed


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table of results, .parquet or .csv, atomically; texts in CSV are safe to open."""
    import pyarrow as pa
    import pyarrow.csv as pcsv
    import pyarrow.parquet as pq

    from crystalssl.errors import cell_text

    with atomic(path) as aside:
        if path.suffix == ".parquet":
            pq.write_table(table, aside, compression="zstd")
            return
        for number, field in enumerate(table.schema):
            if pa.types.is_string(field.type):
                texts = [None if v is None else cell_text(v) for v in table[number].to_pylist()]
                table = table.set_column(number, field.name, pa.array(texts, pa.string()))
        pcsv.write_csv(table, aside)
