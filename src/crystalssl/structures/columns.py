"""Values found beside structures to a table of carried columns, whatever their kinds.

Text, numbers and truth values stay what they are; kinds that do not mix become text. Called by
``assembly.py`` once for each batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from crystalssl.structures.ids import storable
from crystalssl.structures.validity import SOURCE_COLUMN

MOST_COLUMNS = 500
"""Columns that are carried; names beyond (a key of its own in each entry) are left out."""


def carried_columns(
    rows: Sequence[Mapping[str, Any] | None], files: Sequence[str]
) -> pa.Table | None:
    """A table of the values beside each structure, and of the files that they came from."""
    names: dict[str, None] = {}
    for row in rows:
        if row and len(names) < MOST_COLUMNS:
            names.update(dict.fromkeys(row))
    columns: dict[str, pa.Array] = {}
    for name in list(names)[:MOST_COLUMNS]:
        columns[storable(str(name))] = _column([row.get(name) if row else None for row in rows])
    if any(files):
        columns[SOURCE_COLUMN] = pa.array([_text(file) for file in files], type=pa.string())
    return pa.table(columns) if columns else None


def is_scalar(value: Any) -> bool:
    """Whether a value can be one cell of a column."""
    return isinstance(value, str | bool | int | float | np.generic)


def _column(values: Iterable[Any]) -> pa.Array:
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    try:
        return pa.array(plain)
    except (pa.ArrowException, OverflowError, ValueError, TypeError):
        texts = [None if value is None else _text(value) for value in plain]
        return pa.array(texts, type=pa.string())


def _text(value: Any) -> str:
    """Text of a value that UTF-8 can hold."""
    try:
        text = str(value)
    except ValueError:  # Python writes no integer of thousands of digits
        return "(a number of too many digits)"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
