"""Features to a file part by part, so that no more than a few thousand rows are in memory.

``FeatureWriter`` takes parts of any length and writes rows in blocks of fixed length, so the bytes
do not depend on how the rows came. int8 needs the range of every column first: rows wait in a
float32 file beside and are read once more at the end. Layouts are described in ``store.py``.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from crystalssl.errors import InputError
from crystalssl.features.container import Features
from crystalssl.features.origins import ORIGINS, record_origins
from crystalssl.features.precision import Span, Steps, check_dtype, stored
from crystalssl.files import write_json

ID = "immutable_id"
"""Column of the ids."""
ROWS = 8192
"""Rows written at a time, and rows of a row group."""
_WAITING = ".float32.partial"
_ARROW = {"float32": pa.float32(), "float16": pa.float16(), "int8": pa.int8()}


class Sink(Protocol):
    """A file format: rows in, a complete file at the end."""

    def write(self, rows: Features) -> None:
        """Append rows."""

    def close(self) -> None:
        """Complete the file and put it in its place."""

    def abandon(self) -> None:
        """Leave nothing behind."""


class FeatureWriter:
    """A features file in the making; it is there once the ``with`` block ends without an error.

    Attributes:
        rows: rows taken so far.
    """

    def __init__(self, path: Path, dtype: str = "float32") -> None:
        """Take the file's name.

        Args:
            path: ends in ``.parquet`` or ``.npy``.
            dtype: one of ``precision.DTYPES``.

        Raises:
            InputError: for another ending.
            UnknownNameError: for another type.
        """
        self._path = Path(path)
        if self._path.suffix not in (".parquet", ".npy"):
            name = self._path.name
            raise InputError(f"Got {name!r}, expected a name that ends in .parquet or .npy.")
        self._dtype = check_dtype(dtype)
        self._held: list[Features] = []
        self._waiting = 0
        self.rows = 0
        self._span = Span()
        self._sink: Sink | None = None
        self._shape: Features | None = None

    def append(self, part: Features) -> None:
        """Take the next rows.

        Raises:
            InputError: if they have other blocks than the rows before, or numbers that the type
                cannot hold.
        """
        if self._sink is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._shape = part.take([])
            self._sink = self._first_sink(part)
        elif self._shape is not None and part.widths != self._shape.widths:
            raise InputError(
                f"Got features of {part.widths} after {self._shape.widths}, expected the same "
                "blocks in every part."
            )
        if self._dtype == "int8":
            self._span.see(part.blocks)
        self._held.append(part)
        self._waiting += len(part)
        self.rows += len(part)
        while self._waiting >= ROWS:
            self._flush(ROWS)

    def __enter__(self) -> FeatureWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._sink is None or self._shape is None:
            return
        try:
            if kind is None:
                self._finish(self._sink, self._shape)
        finally:
            self._sink.abandon()  # a completed file has left its partial name

    def _first_sink(self, part: Features) -> Sink:
        if self._dtype == "int8":
            beside = self._path.with_name(self._path.name + _WAITING)
            return _Table(beside, part, "float32", None)
        return _sink(self._path, part, self._dtype, None)

    def _finish(self, sink: Sink, shape: Features) -> None:
        if self._waiting or not self.rows:
            self._flush(self._waiting)
        sink.close()
        if self._dtype != "int8":
            return
        beside = self._path.with_name(self._path.name + _WAITING)
        last = _sink(self._path, shape, "int8", self._span.steps(shape.widths))
        try:
            for rows in _read_back(beside, shape):
                last.write(rows)
            last.close()
        finally:
            last.abandon()
            beside.unlink(missing_ok=True)

    def _flush(self, count: int) -> None:
        """Write the ``count`` rows that came first."""
        taken: list[Features] = []
        while count > 0:
            part = self._held.pop(0)
            if len(part) > count:
                self._held.insert(0, part.take(np.arange(count, len(part))))
                part = part.take(np.arange(count))
            taken.append(part)
            count -= len(part)
            self._waiting -= len(part)
        if self._sink is not None and self._shape is not None:
            self._sink.write(_joined(taken or [self._shape]))


def _joined(parts: list[Features]) -> Features:
    if len(parts) == 1:
        return parts[0]
    return Features(
        ids=np.concatenate([part.ids for part in parts]),
        blocks={n: np.concatenate([p.blocks[n] for p in parts]) for n in parts[0].blocks},
        names=parts[0].names,
    )


def _sink(path: Path, shape: Features, dtype: str, steps: Mapping[str, Steps] | None) -> Sink:
    kind = _Table if path.suffix == ".parquet" else _Array
    return kind(path, shape, dtype, steps)


def _read_back(path: Path, shape: Features) -> Iterator[Features]:
    """Rows of a float32 table that waits, a row group at a time."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            blocks = {name: matrix_of(table[name]).astype(np.float32) for name in shape.blocks}
            ids = np.array(table[ID].to_pylist(), dtype=np.str_)
            yield Features(ids=ids, blocks=blocks, names=shape.names)


def matrix_of(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """(n, width) array of a fixed-size list column, as it is stored."""
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    matrix: npt.NDArray[Any] = flat.reshape(len(column), column.type.list_size)
    return matrix


class _Table:
    """Parquet: ids and one fixed-size list column for each block."""

    def __init__(
        self, path: Path, shape: Features, dtype: str, steps: Mapping[str, Steps] | None
    ) -> None:
        self._path, self._dtype, self._steps = path, dtype, steps or {}
        self._partial = path.with_name(path.name + ".partial")
        fields = [pa.field(ID, pa.string())]
        for name, width in shape.widths.items():
            notes = {k: json.dumps(v) for k, v in self._steps[name].as_lists().items()} \
                if name in self._steps else None  # fmt: skip
            fields.append(pa.field(name, pa.list_(_ARROW[dtype], width), metadata=notes))
        origins = json.dumps(record_origins(shape.origins, path))
        self._schema = pa.schema(fields, {ORIGINS: origins} if shape.origins else None)
        # of 256 values a dictionary saves space; other numbers hardly come twice
        self._writer = pq.ParquetWriter(
            self._partial, self._schema, compression="zstd", use_dictionary=dtype == "int8"
        )

    def write(self, rows: Features) -> None:
        columns = [pa.array(rows.ids.tolist(), pa.string())]
        for name, values in rows.blocks.items():
            flat = stored(np.ascontiguousarray(values), self._dtype, self._steps.get(name))
            columns.append(
                pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), values.shape[1])
            )
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))

    def close(self) -> None:
        self._writer.close()
        self._partial.replace(self._path)

    def abandon(self) -> None:
        self._writer.close()
        self._partial.unlink(missing_ok=True)


class _Array:
    """NumPy: (n, total), with ``<stem>_ids.csv`` and ``<stem>_names.json`` beside it."""

    def __init__(
        self, path: Path, shape: Features, dtype: str, steps: Mapping[str, Steps] | None
    ) -> None:
        self._path, self._dtype, self._steps = path, dtype, steps or {}
        self._rows, self._shape = 0, shape
        self._partial = path.with_name(path.name + ".partial")
        self._ids = path.with_name(f"{path.stem}_ids.csv")
        self._ids_partial = self._ids.with_name(self._ids.name + ".partial")
        self._handle = self._partial.open("wb")
        self._names = self._ids_partial.open("w", newline="", encoding="utf-8")
        self._csv = csv.writer(self._names)
        self._csv.writerow([ID])
        self._header()

    def _header(self) -> None:
        """NumPy pads headers for any number of rows, so it can be written again at the end."""
        self._handle.seek(0)
        kind = np.dtype(self._dtype).newbyteorder("<").str
        shape = (self._rows, len(self._shape.names))
        header = {"descr": kind, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._handle, header)

    def write(self, rows: Features) -> None:
        self._csv.writerows([name] for name in rows.ids.tolist())
        blocks = [stored(v, self._dtype, self._steps.get(n)) for n, v in rows.blocks.items()]
        if blocks:
            self._handle.write(np.concatenate(blocks, axis=1).tobytes())
        self._rows += len(rows)

    def close(self) -> None:
        self._header()
        self._handle.close()
        self._names.close()
        self._ids_partial.replace(self._ids)
        described: dict[str, Any] = {
            "blocks": [[n, w] for n, w in self._shape.widths.items()],
            "names": self._shape.names,
        }
        if self._shape.origins:
            described["origins"] = record_origins(self._shape.origins, self._path)
        if self._steps:
            described["steps"] = {name: s.as_lists() for name, s in self._steps.items()}
        write_json(described, self._path.with_name(f"{self._path.stem}_names.json"))
        self._partial.replace(self._path)

    def abandon(self) -> None:
        self._handle.close()
        self._names.close()
        self._partial.unlink(missing_ok=True)
        self._ids_partial.unlink(missing_ok=True)
