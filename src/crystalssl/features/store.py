"""Features on disk and back: Parquet with a list column for each block, or a plain array.

The array (n, total) has two files beside it: ``<stem>_ids.csv`` and ``<stem>_names.json``, which
holds size and checksum of both others. Crystals larger than those of training are marked: in a
column of the table, by the numbers of their rows in the names of the array. Files remember the
weights they come from and are replaced whole; the same features give the same bytes.
Features may be stored as float16 or int8 (``precision.py``) and are float32 once loaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from crystalssl.errors import InputError
from crystalssl.features.features import ID, Features, Origin, feature_names, read_origins
from crystalssl.features.precision import Steps
from crystalssl.features.writer import (
    BEYOND,
    FEATURES_VERSION,
    NAMES,
    ORIGINS,
    VERSION,
    marks_of,
    matrix_of,
    sidecars,
    write_features,
)
from crystalssl.files import check, check_version, load_npy, read_json
from crystalssl.representation.ftcp_files import find_ids, read_ids

__all__ = [
    "Features", "count_features", "iter_features", "load_features", "save_features", "save_npy",
    "save_parquet",
]  # fmt: skip

UNNAMED = "features"
"""Name of the only block of an array that came without names."""


def save_features(features: Features, path: Path, dtype: str = "float32") -> Path:
    """Write features in the format that the file's ending names.

    Args:
        features: what to write.
        path: ends in ``.parquet`` or ``.npy``.
        dtype: float32, float16 or int8 (``precision.py``); smaller types are less exact.

    Raises:
        InputError: for another ending, or numbers that the type cannot hold.
        UnknownNameError: for another type.
    """
    write_features(Path(path), [features], dtype)
    return Path(path)


def save_parquet(features: Features, path: Path) -> Path:
    """Write ids and one fixed-size list column of float32 for each block."""
    return save_features(features, Path(path))


def save_npy(features: Features, path: Path) -> Path:
    """Write the (n, total) float32 array, its ids and its names."""
    return save_features(features, Path(path))


def load_features(path: Path) -> Features:
    """Read features that ``save_features`` wrote, whatever their type, as float32.

    Arrays made elsewhere are read too. Ids come from ``<stem>_ids`` beside the file (.npy, .csv,
    .txt or .json), else they are row numbers; without names there is one block, ``UNNAMED``.

    Raises:
        InputError: if the file is missing, damaged, of another format, or does not fit its
            sidecars.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"Found no features {path}. Make some with `crystalssl extract`.")
    if path.suffix == ".npy":
        return _load_npy(path)
    if path.suffix == ".parquet":
        return _load_parquet(path)
    raise InputError(f"Got features {path.name!r}, expected a file that ends in .parquet or .npy.")


def iter_features(path: Path, rows: int = 8192) -> Iterator[Features]:
    """What :func:`load_features` gives, a few rows at a time, for files larger than memory.

    Args:
        path: the file.
        rows: rows of every batch but the last; a file without rows gives one empty batch.

    Raises:
        InputError: as :func:`load_features`.
    """
    path = Path(path)
    if path.suffix != ".parquet" or not path.is_file():
        whole = load_features(path)
        for start in range(0, max(len(whole), 1), rows):
            yield whole.between(start, start + rows)
        return
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            schema, empty = file.schema_arrow, True
            for batch in file.iter_batches(rows):
                empty = False
                yield _of_table(pa.Table.from_batches([batch], schema=schema), path)
            if empty:
                yield _of_table(schema.empty_table(), path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"Cannot read the features {path}: {error}. Extract again.") from error


def count_features(path: Path) -> tuple[int, int]:
    """Rows and columns of a features file.

    Raises:
        InputError: as :func:`load_features`.
    """
    path = Path(path)
    if path.suffix != ".parquet" or not path.is_file():
        whole = load_features(path)
        return len(whole), len(whole.names)
    first = next(iter_features(path, 1))
    with pq.ParquetFile(path) as file:
        return int(file.metadata.num_rows), len(first.names)


def _load_parquet(path: Path) -> Features:
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"Cannot read the features {path}: {error}. Extract again.") from error
    return _of_table(table, path)


def _of_table(table: pa.Table, path: Path) -> Features:
    """Features of rows of a Parquet file."""
    notes = table.schema.metadata or {}
    version = notes.get(VERSION.encode(), b"0")
    check_version(int(version) if version.isdigit() else str(version), FEATURES_VERSION, path)
    lists = [f.name for f in table.schema if pa.types.is_fixed_size_list(f.type)]
    if ID not in table.column_names or not lists:
        raise InputError(
            f"{path} holds the columns {', '.join(table.column_names)}; expected {ID} and one "
            "fixed-size list for each block. Make one with `crystalssl extract`."
        )
    return Features(
        ids=np.array(table[ID].to_pylist(), dtype=np.str_),
        blocks={name: _matrix(table, name) for name in lists},
        names=_names_in(notes, path),
        origins=read_origins(notes.get(ORIGINS.encode()), path),
        beyond_training=marks_of(table),
    )


def _names_in(notes: Mapping[bytes, bytes], path: Path) -> tuple[str, ...]:
    """Names of columns that are not numbered by block; none where they are."""
    try:
        names = json.loads(notes.get(NAMES.encode(), b"[]"))
        return tuple(str(name) for name in names)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path} has damaged feature names. Extract again.") from error


def _matrix(table: pa.Table, name: str) -> npt.NDArray[np.float32]:
    """(n, width) values of a fixed-size list column."""
    matrix = matrix_of(table[name])
    notes = table.schema.field(name).metadata or {}
    if matrix.dtype == np.int8 and b"scale" in notes:
        try:
            lists = {k: json.loads(notes.get(k.encode(), b"null")) for k in ("scale", "offset")}
        except (ValueError, RecursionError):
            lists = {}
        return Steps.from_lists(lists, matrix.shape[1]).decode(matrix)
    return matrix.astype(np.float32, copy=False)


def _load_npy(path: Path) -> Features:
    try:
        array = np.array(load_npy(path))
    except (OSError, ValueError, MemoryError) as error:
        raise InputError(
            f"Cannot read the features {path}: it is no .npy array of numbers, cut off, or holds "
            "Python objects, which are never loaded. Save it with numpy.save after "
            "array.astype('float32'), or extract again."
        ) from error
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise InputError(
            f"{path} holds {array.dtype} {array.shape}, expected numbers of shape (crystals, "
            "features). Save one row for each crystal."
        )
    told = _read_names(path, array.shape[1])
    if sum(told.widths.values()) != array.shape[1]:
        raise InputError(
            f"{path} has {array.shape[1]} features, its names file {sum(told.widths.values())}. "
            "The files do not belong together: extract again."
        )
    stops = np.cumsum(list(told.widths.values()))[:-1]
    columns = dict(zip(told.widths, np.split(array, stops, axis=1), strict=True))
    blocks = {
        name: told.steps[name].decode(values)
        if name in told.steps
        else values.astype(np.float32, copy=False)
        for name, values in columns.items()
    }
    ids = _read_ids(path, len(array))
    beyond = None if told.beyond is None else np.isin(np.arange(len(array)), told.beyond)
    return Features(
        ids=ids, blocks=blocks, names=told.names, origins=told.origins, beyond_training=beyond
    )


def _read_ids(path: Path, count: int) -> npt.NDArray[np.str_]:
    sidecar = find_ids(path)
    if sidecar is None:
        return np.arange(count).astype(np.str_)
    ids = read_ids(sidecar)
    if len(ids) != count:
        raise InputError(
            f"{sidecar} has {len(ids)} ids for the {count} rows of {path}, expected as many. "
            "Give the ids that were saved with this array, in its order."
        )
    return ids


@dataclass(frozen=True, kw_only=True, slots=True)
class _Names:
    """What the names file says: ``steps`` of int8 blocks, rows ``beyond`` the size of training."""

    widths: dict[str, int]
    names: tuple[str, ...]
    steps: dict[str, Steps]
    origins: tuple[Origin, ...]
    beyond: tuple[int, ...] | None = None


def _read_names(path: Path, count: int) -> _Names:
    """Blocks and columns of an array; one block where nothing is said of them."""
    ids, sidecar = sidecars(path)
    if not sidecar.is_file():
        widths = {UNNAMED: count}
        return _Names(widths=widths, names=feature_names(widths), steps={}, origins=())
    fields = read_json(sidecar)
    check_version(fields.get("version"), FEATURES_VERSION, sidecar)
    try:
        files = fields.get("files", {})  # sets of older versions do not describe themselves
        described = {at.name: files[key] for key, at in (("array", path), ("ids", ids)) if files}
        widths = {str(name): int(width) for name, width in fields["blocks"]}
        names = tuple(str(name) for name in fields["names"])
        lists = dict(fields.get("steps", {}))
        steps = {n: Steps.from_lists(lists[n], widths.get(n, 0)) for n in lists}
        beyond = None if fields.get(BEYOND) is None else tuple(map(int, fields[BEYOND]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{sidecar} lacks blocks or names. Extract the features again.") from error
    remedy = f"Extract again, or remove {sidecar.name} to read the array as it is."
    check(described, path.parent, remedy)
    origins = read_origins(fields.get("origins"), path)
    return _Names(widths=widths, names=names, steps=steps, origins=origins, beyond=beyond)
