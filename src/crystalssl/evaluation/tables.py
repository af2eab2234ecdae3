"""Records of an experiment -> Parquet and CSV, and back: one column an attribute, NaN as null.

Any dataclass of texts, numbers and truth values. Used by results.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from crystalssl.errors import InputError
from crystalssl.files import atomic

Row = TypeVar("Row")


def table_of(records: Sequence[Any], kind: type) -> pa.Table:
    """Records as a table, one column an attribute; NaN becomes null."""
    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    return pa.table(
        {
            name: pa.array([getattr(r, name) for r in records], kinds[hint], from_pandas=True)
            for name, hint in get_type_hints(kind).items()
        }
    )


def records_of(path: Path, kind: type[Row]) -> tuple[Row, ...]:
    """Records that :func:`table_of` made a table of.

    Raises:
        InputError: if the file is missing or damaged, or lacks a column.
    """
    table, hints = read_table(path), get_type_hints(kind)
    lacking = sorted(set(hints) - set(table.column_names))
    if lacking:
        raise InputError(
            f"{path} lacks the columns {', '.join(lacking)}; expected a table of results. "
            "Run the evaluation again."
        )
    rows = table.select(list(hints)).to_pylist()
    return tuple(
        kind(**{name: np.nan if value is None else value for name, value in row.items()})
        for row in rows
    )


def write_table(table: pa.Table, path: Path) -> Path:
    """Write a table as Parquet or CSV by its suffix, atomically.

    Raises:
        InputError: for another suffix.
    """
    if path.suffix not in (".parquet", ".csv"):
        raise InputError(f"Cannot write a table to {path}; expected a name in .parquet or .csv.")
    with atomic(path) as aside:
        if path.suffix == ".csv":
            pacsv.write_csv(table, aside)
        else:
            pq.write_table(table, aside, compression="zstd")
    return path


def read_table(path: Path) -> pa.Table:
    """Read a table that :func:`write_table` wrote.

    Raises:
        InputError: if the file is missing or is no table.
    """
    if not path.is_file():
        raise InputError(f"Found no file {path}; expected a table of results. Check the path.")
    try:
        return pacsv.read_csv(path) if path.suffix == ".csv" else pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise InputError(f"{path} is no readable table ({error}). Write it again.") from error
