"""A table of labels or descriptors in a file -> its columns as texts, whatever program wrote it.

CSV (comma, semicolon or tab), Parquet, or the first sheet of an Excel workbook. Cells stay texts,
so that ``<1E-10`` and ``0042`` arrive as they were written. Before labels.py.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crystalssl.errors import InputError, missing_extra, unknown_name

Table = dict[str, list[str]]
"""Cells of each column, all of one length; an empty text where there is none."""

ENDINGS = (".csv", ".tsv", ".txt", ".parquet", ".pq", ".xlsx")
"""Endings of files that can be read."""
DELIMITERS = ",;\t"
"""What may stand between the cells of a text file."""


def read_cells(path: str | Path) -> Table:
    """Columns of a table as texts.

    Args:
        path: a file of one of ``ENDINGS`` with a header.

    Raises:
        InputError: if it is missing, of another kind, empty, or repeats a column.
        MissingExtraError: for Excel without openpyxl.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"Found no table {path}. Check the path.")
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise InputError(
            f"Got the table {path.name!r}, expected one of {', '.join(ENDINGS)}. Save it as CSV."
        )
    try:
        if ending in (".parquet", ".pq"):
            return of_arrow(pq.read_table(path))
        rows = _excel_rows(path) if ending == ".xlsx" else _text_rows(path)
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        raise InputError(f"Cannot read the table {path} ({error}). Save it as CSV.") from error
    return _columns(rows, path)


def of_arrow(table: pa.Table) -> Table:
    """Columns of an Arrow table as texts; numbers in full precision."""
    return {
        name: [_text(value) for value in table[name].to_pylist()] for name in table.schema.names
    }


def column(table: Table, name: str, kind: str = "column") -> list[str]:
    """One column by name.

    Raises:
        UnknownNameError: if there is none.
    """
    if name not in table:
        raise unknown_name(kind, name, table)
    return table[name]


def _columns(rows: Sequence[Sequence[str]], path: Path) -> Table:
    """Columns from rows, the header first; short rows are filled up."""
    filled = [row for row in rows if any(cell.strip() for cell in row)]
    if len(filled) < 2:
        raise InputError(f"{path} holds no rows below a header; expected some. Check the file.")
    names = [name.strip() for name in filled[0]]
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    if repeated:
        raise InputError(
            f"{path} has several columns called {', '.join(repeated)}; expected each name once. "
            "Rename them."
        )
    width = len(names)
    body = [[*row[:width], *[""] * (width - len(row))] for row in filled[1:]]
    return {name: [row[at].strip() for row in body] for at, name in enumerate(names) if name}


def _text_rows(path: Path) -> list[list[str]]:
    """Rows of a text file; the separator is the one that the header holds most of."""
    with path.open(encoding="utf-8-sig", newline="") as handle:
        header = handle.readline()
        handle.seek(0)
        return list(csv.reader(handle, delimiter=max(DELIMITERS, key=header.count)))


def _excel_rows(path: Path) -> list[list[str]]:
    """Rows of the first sheet; of formulas the value that was last computed."""
    try:
        from openpyxl import load_workbook
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError as error:
        raise missing_extra("openpyxl", "excel", "Reading Excel files") from error
    try:
        book = load_workbook(path, read_only=True, data_only=True)
    except (InvalidFileException, KeyError, ValueError, OSError) as error:
        raise InputError(f"{path} is no Excel workbook ({error}). Save it as CSV.") from error
    try:
        return [_texts(row) for row in book.worksheets[0].iter_rows(values_only=True)]
    finally:
        book.close()


def _texts(values: Iterable[Any]) -> list[str]:
    return [_text(value) for value in values]


def _text(value: Any) -> str:
    """A cell as a text; whole numbers that a spreadsheet holds as floats lose their point."""
    if value is None:
        return ""
    if isinstance(value, float):
        if value != value:
            return ""
        return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(value).strip()
