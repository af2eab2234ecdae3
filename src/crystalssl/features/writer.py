"""Batches of features to a file, so that no more than a few thousand rows are in memory.

Rows are written in blocks of fixed length, so the bytes do not depend on how the rows came. int8
needs the range of every column first: rows wait in a float32 file beside and are read once more.
A ``.npy`` array, its ids and its names are one set; the names say what the others must be. Layouts
are described in ``store.py``.
"""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from crystalssl.errors import InputError
from crystalssl.features.features import ID, Features, feature_names, record_origins, regroup
from crystalssl.features.precision import Span, Steps, check_dtype, stored
from crystalssl.files import atomic, atomic_set, describe, exclusive, json_text, scratch

FEATURES_VERSION = 1
"""Version of the layouts that this package writes."""
ROWS = 8192
"""Rows written at a time, and rows of a row group."""
BEYOND = "beyond_training"
"""Column of a table, and key of the names of an array, that mark crystals larger than those of
training."""
ORIGINS, VERSION, NAMES = "crystalssl.origins", "crystalssl.version", "crystalssl.names"
"""Keys of the metadata of a Parquet file."""
_ARROW = {"float32": pa.float32(), "float16": pa.float16(), "int8": pa.int8()}


def write_features(path: Path, batches: Iterable[Features], dtype: str = "float32") -> int:
    """Write features batch by batch; the file is there once the last one came without an error.

    Args:
        path: ends in ``.parquet`` or ``.npy``.
        batches: features of the same blocks; one at least, which may be empty.
        dtype: one of ``precision.DTYPES``.

    Returns:
        The number of rows.

    Raises:
        InputError: for another ending, other blocks in a later batch, numbers that the type cannot
            hold, no batch at all, or if another process writes to the file.
        UnknownNameError: for another type.
    """
    path = Path(path)
    if path.suffix not in (".parquet", ".npy"):
        raise InputError(f"Got {path.name!r}, expected a name that ends in .parquet or .npy.")
    check_dtype(dtype)
    write = _write_table if path.suffix == ".parquet" else _write_array
    blocks = regroup(batches, ROWS)
    with exclusive(path):
        if dtype != "int8":
            return write(path, blocks, dtype, {})
        span = Span()
        with scratch(path) as waiting:
            shape, rows = _write_rows(waiting, path, span.over(blocks), "float32", {})
            write(path, _read_back(waiting, shape), "int8", span.steps(shape.widths))
        return rows


def _write_table(
    path: Path, blocks: Iterator[Features], dtype: str, steps: Mapping[str, Steps]
) -> int:
    """Parquet: ids and one fixed-size list column for each block."""
    with atomic(path) as aside:
        return _write_rows(aside, path, blocks, dtype, steps)[1]


def _write_rows(
    aside: Path, path: Path, blocks: Iterator[Features], dtype: str, steps: Mapping[str, Steps]
) -> tuple[Features, int]:
    """Rows to a Parquet file that will be ``path``; their shape, and how many there were."""
    shape, blocks = _shape_of(blocks)
    schema = _schema(shape, path, dtype, steps)
    rows = 0
    # of 256 values a dictionary saves space; other numbers hardly come twice
    with pq.ParquetWriter(aside, schema, compression="zstd", use_dictionary=dtype == "int8") as out:
        for block in blocks:
            columns = [pa.array(block.ids.tolist(), pa.string())]
            for name, values in block.blocks.items():
                flat = stored(np.ascontiguousarray(values), dtype, steps.get(name)).reshape(-1)
                columns.append(pa.FixedSizeListArray.from_arrays(pa.array(flat), values.shape[1]))
            if shape.beyond_training is not None:
                marks = block.beyond_training
                unknown = marks is None  # of a later batch
                columns.append(pa.nulls(len(block), pa.bool_()) if unknown else pa.array(marks))
            out.write_table(pa.Table.from_arrays(columns, schema=schema))
            rows += len(block)
    return shape, rows


def _schema(shape: Features, path: Path, dtype: str, steps: Mapping[str, Steps]) -> pa.Schema:
    fields = [pa.field(ID, pa.string())]
    for name, width in shape.widths.items():
        notes = None
        if name in steps:
            notes = {key: json.dumps(value) for key, value in steps[name].as_lists().items()}
        fields.append(pa.field(name, pa.list_(_ARROW[dtype], width), metadata=notes))
    if shape.beyond_training is not None:
        fields.append(pa.field(BEYOND, pa.bool_()))
    metadata = {VERSION: str(FEATURES_VERSION)}
    if shape.origins:
        metadata[ORIGINS] = json.dumps(record_origins(shape.origins, path))
    if shape.names != feature_names(shape.widths):
        metadata[NAMES] = json.dumps(shape.names)
    return pa.schema(fields, metadata)


def _read_back(path: Path, shape: Features) -> Iterator[Features]:
    """Rows of a float32 table that waits, a row group at a time."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            blocks = {name: matrix_of(table[name]).astype(np.float32) for name in shape.blocks}
            ids = np.array(table[ID].to_pylist(), dtype=np.str_)
            yield replace(shape, ids=ids, blocks=blocks, beyond_training=marks_of(table))


def marks_of(table: pa.Table) -> npt.NDArray[np.bool_] | None:
    """Which rows of a table are of crystals beyond the size of training; None if it is not said."""
    if BEYOND not in table.column_names or not pa.types.is_boolean(table.schema.field(BEYOND).type):
        return None
    marks: npt.NDArray[np.bool_] = table[BEYOND].fill_null(False).to_numpy()
    return marks


def matrix_of(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """(n, width) array of a fixed-size list column, as it is stored."""
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)  # (n * width,)
    matrix: npt.NDArray[Any] = flat.reshape(len(column), column.type.list_size)
    return matrix


def sidecars(path: Path) -> tuple[Path, Path]:
    """Where the ids and the names of an array are."""
    return path.with_name(f"{path.stem}_ids.csv"), path.with_name(f"{path.stem}_names.json")


def _write_array(
    path: Path, blocks: Iterator[Features], dtype: str, steps: Mapping[str, Steps]
) -> int:
    """NumPy: (n, total), with ids and names beside it."""
    shape, blocks = _shape_of(blocks)
    rows = 0
    beyond: list[int] = []
    with atomic_set(path, *sidecars(path)) as (array, ids, names):
        with array.open("wb") as numbers, ids.open("w", newline="", encoding="utf-8") as listed:
            table = csv.writer(listed)
            table.writerow([ID])
            _write_header(numbers, dtype, rows, len(shape.names))
            for block in blocks:
                table.writerows([name] for name in block.ids.tolist())
                columns = [stored(v, dtype, steps.get(n)) for n, v in block.blocks.items()]
                if columns:
                    numbers.write(np.concatenate(columns, axis=1).tobytes())
                if block.beyond_training is not None:
                    beyond += (rows + np.flatnonzero(block.beyond_training)).tolist()
                rows += len(block)
            # NumPy pads headers for any number of rows, so that it can be written again
            _write_header(numbers, dtype, rows, len(shape.names))
        described: dict[str, Any] = {
            "version": FEATURES_VERSION,
            "files": describe({"array": array, "ids": ids}),
            "blocks": [[n, w] for n, w in shape.widths.items()],
            "names": shape.names,
        }
        if shape.beyond_training is not None:
            described[BEYOND] = beyond
        if shape.origins:
            described["origins"] = record_origins(shape.origins, path)
        if steps:
            described["steps"] = {name: s.as_lists() for name, s in steps.items()}
        names.write_text(json_text(described), encoding="utf-8", newline="\n")
    return rows


def _write_header(handle: IO[bytes], dtype: str, rows: int, columns: int) -> None:
    handle.seek(0)
    kind = np.dtype(dtype).newbyteorder("<").str
    header = {"descr": kind, "fortran_order": False, "shape": (rows, columns)}
    np.lib.format.write_array_header_1_0(handle, header)


def _shape_of(blocks: Iterator[Features]) -> tuple[Features, Iterator[Features]]:
    """Features of no row, and all the blocks of rows."""
    first = next(blocks, None)
    if first is None:
        raise InputError("Got no features to write, expected one batch at least.")
    return first.between(0, 0), itertools.chain([first], blocks)
