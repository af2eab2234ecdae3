"""The footer of a Parquet file to the number of values that it claims, before anything is read.

Arrow's own view of the footer ends the whole process where statistics of a damaged file contradict
each other, so the counts are taken from the bytes: Thrift's compact protocol, of which only the
fields on the way to ``num_values`` are kept. Used by ``table.py`` and ``reading.py``.
Source: Apache Parquet format (parquet.thrift) and Thrift compact protocol.
"""

from __future__ import annotations

import io
import os
from typing import IO

from crystalssl.errors import InputError

MAGIC = b"PAR1"
"""First and last bytes of a Parquet file whose footer is not encrypted."""
LARGEST_FOOTER = 32 * 2**20
"""Bytes of the largest footer that is read; one of five million rows has less than a megabyte."""
_SAFE_VALUES = 50_000_000
_MOST_VALUES_A_BYTE = 50
_DEEPEST = 64
_ROWS = (3,)  # FileMetaData.num_rows
_VALUES = (4, 1, 3, 5)  # row_groups, columns, meta_data, num_values
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
_INTEGERS = (4, 5, 6)


def check_size(file: IO[bytes], source: str) -> None:
    """Refuse a Parquet file that unpacks to far more than its size.

    Args:
        file: the file, open for reading; its position is restored.
        source: name for messages.

    Raises:
        InputError: if it has no readable footer, or its columns hold more values than any table of
            that size.
    """
    start = file.tell()
    packed = file.seek(0, os.SEEK_END)
    try:
        rows, values = _counts(_footer(file, packed))
    except (ValueError, IndexError) as error:
        raise InputError(
            f"{source} cannot be read as Parquet ({error}). Make a structure table with: "
            "crystalssl convert SOURCES -o structures.parquet"
        ) from error
    finally:
        file.seek(start)
    most = max(_SAFE_VALUES, _MOST_VALUES_A_BYTE * packed)
    if values > most or rows > most:
        raise InputError(f"{source} claims {values} values in {packed} bytes; it is damaged.")


def _footer(file: IO[bytes], packed: int) -> bytes:
    file.seek(max(0, packed - 8))
    tail = file.read(8)
    size = int.from_bytes(tail[:4], "little")
    if tail[4:] != MAGIC or size > packed - 8:
        raise ValueError("it has no Parquet footer at its end")
    if size > LARGEST_FOOTER:
        raise ValueError(f"a footer of {size:,} bytes; write it with fewer row groups")
    file.seek(packed - 8 - size)
    return file.read(size)


def _counts(footer: bytes) -> tuple[int, int]:
    """Rows and values that a footer claims."""
    reader = _Compact(footer)
    reader.structure(())
    return sum(map(abs, reader.rows)), sum(map(abs, reader.values))


class _Compact:
    """A walk over a Thrift structure that keeps the integers at two paths of field numbers."""

    def __init__(self, data: bytes) -> None:
        self.rows: list[int] = []
        self.values: list[int] = []
        self._data = io.BytesIO(data)
        self._size = len(data)

    def structure(self, path: tuple[int, ...]) -> None:
        """Read fields up to the end of a structure; ``path`` leads to it."""
        if len(path) > _DEEPEST:
            raise ValueError("its footer is nested too deep")
        field = 0
        while head := self._byte():
            kind, step = head & 15, head >> 4
            field = field + step if step else self._integer()
            self._value(kind, (*path, field), in_list=False)

    def _value(self, kind: int, path: tuple[int, ...], *, in_list: bool) -> None:
        if kind in _INTEGERS:
            value = self._integer()
            if path == _VALUES:
                self.values.append(value)
            elif path == _ROWS:
                self.rows.append(value)
        elif kind == _BINARY:
            self._skip(self._unsigned())
        elif kind == _STRUCT:
            self.structure(path)
        elif kind in (_LIST, _SET):
            self._list(path)
        elif kind in (_TRUE, _FALSE):
            self._skip(int(in_list))  # the head of a field holds its value
        elif kind in (_BYTE, _DOUBLE):
            self._skip(1 if kind == _BYTE else 8)
        elif kind == _MAP:
            self._map(path)
        else:
            raise ValueError(f"its footer has a field of unknown kind {kind}")

    def _list(self, path: tuple[int, ...]) -> None:
        head = self._byte()
        count = head >> 4 if head >> 4 != 15 else self._unsigned()
        for _ in range(self._bounded(count)):
            self._value(head & 15, path, in_list=True)

    def _map(self, path: tuple[int, ...]) -> None:
        count = self._bounded(self._unsigned())
        kinds = self._byte() if count else 0
        for _ in range(count):
            self._value(kinds >> 4, (*path, 0), in_list=True)
            self._value(kinds & 15, (*path, 0), in_list=True)

    def _bounded(self, count: int) -> int:
        if count > self._size:  # every element has a byte at least
            raise ValueError("its footer holds a list longer than itself")
        return count

    def _byte(self) -> int:
        return self._data.read(1)[0]

    def _skip(self, count: int) -> None:
        if self._data.tell() + count > self._size:
            raise ValueError("its footer ends within a field")
        self._data.seek(count, os.SEEK_CUR)

    def _unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("its footer holds an endless number")

    def _integer(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)  # zigzag
