"""Columns of a structure table: which there must be, of which kinds, and as plain arrays.

Flat rows of numbers are taken for triples. Used by ``table.py``, which turns the columns into
crystals.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from crystalssl.errors import InputError, unknown_name

ID, LATTICE, POSITIONS, SPECIES_AT_SITES, SPECIES = (
    "immutable_id",
    "lattice_vectors",
    "cartesian_site_positions",
    "species_at_sites",
    "species",
)
REQUIRED = (ID, LATTICE, POSITIONS, SPECIES_AT_SITES)
"""Columns without which a file is no structure table."""


def check_columns(table: pa.Table, source: str) -> None:
    """Refuse a table that lacks a column, or holds one of another kind.

    Raises:
        InputError: with what it holds instead.
    """
    for name in REQUIRED:
        if name not in table.column_names:
            hint = str(unknown_name("column", name, table.column_names)).split(" Valid:")[0]
            raise InputError(
                f"{source} has no column {name!r}.{hint.partition('.')[2]} It has: "
                f"{', '.join(table.column_names)}. A structure table needs {', '.join(REQUIRED)}."
            )
    for name in (LATTICE, POSITIONS, SPECIES_AT_SITES):
        kind = table.schema.field(name).type
        if not _fits(kind, text=name == SPECIES_AT_SITES):
            raise InputError(
                f"{source}: column {name!r} is {kind}, expected a list. "
                "Write the table with crystalssl convert, or as OPTIMADE describes it."
            )


def _fits(kind: pa.DataType, *, text: bool) -> bool:
    """Whether a column is a list of texts, or of numbers or lists of numbers."""
    if not (pa.types.is_list(kind) or _other_list(kind)):
        return False
    inner = kind.value_type
    if pa.types.is_dictionary(inner):
        inner = inner.value_type
    if text:
        return bool(
            pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_null(inner)
        )
    if pa.types.is_list(inner) or _other_list(inner):
        inner = inner.value_type
    return bool(
        pa.types.is_floating(inner)
        or pa.types.is_integer(inner)
        or pa.types.is_decimal(inner)
        or pa.types.is_null(inner)
    )


def _other_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def nested(table: pa.Table) -> pa.Table:
    """The same table where plain rows of numbers in lattice and positions became triples.

    Nine numbers of a lattice, row after row, and three for each position are taken as meant; a
    row of another length becomes an empty list, which is refused like any other.
    """
    for name in (LATTICE, POSITIONS):
        kind = table.schema.field(name).type
        if pa.types.is_list(kind.value_type) or _other_list(kind.value_type):
            continue
        column = table[name].combine_chunks()
        column = pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy().astype(np.int64)
        fits = lengths % 3 == 0
        flat = pc.list_flatten(column).cast(pa.float64()).to_numpy(zero_copy_only=False)
        rows = flat[np.repeat(fits, lengths)].reshape(-1, 3)
        ends = np.concatenate([[0], np.cumsum(np.where(fits, lengths // 3, 0))])
        nested = pa.ListArray.from_arrays(pa.array(ends, type=pa.int32()), triples(rows))
        table = table.set_column(table.column_names.index(name), name, nested)
    return table


def texts(column: pa.ChunkedArray) -> list[str]:
    """Values of a column as texts; bytes that are not UTF-8 are replaced."""
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind):
        values = column.cast(pa.large_binary()).to_pylist()
        return [value.decode("utf-8", "replace") if value is not None else "" for value in values]
    return [str(value) for value in column.to_pylist()]


def numbers(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """(vectors, 3) numbers of a list of triples; a null number becomes NaN."""
    flat = pc.list_flatten(pc.list_flatten(column))
    if isinstance(flat, pa.ChunkedArray):
        flat = flat.combine_chunks()
    values = flat.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return np.asarray(values, dtype=np.float64).reshape(-1, 3)


def triples(vectors: npt.NDArray[np.float64]) -> pa.Array:
    """Vectors (n, 3) as an Arrow array of n lists of three numbers."""
    offsets = np.arange(0, vectors.size + 1, 3, dtype=np.int32)
    flat = np.ascontiguousarray(vectors, dtype=np.float64).reshape(-1)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat))
