"""Features on disk and back: Parquet with a list column for each block, or a plain array.

The array (n, total) has two files beside it: ``<stem>_ids.csv`` and ``<stem>_names.json``. Files
remember the weights they come from, are replaced whole, and are the same for the same features.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from crystalssl.config import read_json, write_json
from crystalssl.errors import InputError
from crystalssl.features.container import Features, Origin, feature_names
from crystalssl.representation.ftcp_files import find_ids, read_ids

__all__ = ["Features", "load_features", "save_features", "save_npy", "save_parquet"]

ID = "immutable_id"
"""Column of the ids."""
UNNAMED = "features"
"""Name of the only block of an array that came without names."""
_ORIGINS = "crystalssl.origins"
_ROWS = 8192


def save_features(features: Features, path: Path) -> Path:
    """Write features in the format that the file's ending names.

    Raises:
        InputError: if the ending is neither .parquet nor .npy.
    """
    path = Path(path)
    writers = {".parquet": save_parquet, ".npy": save_npy}
    if path.suffix not in writers:
        raise InputError(f"Got {path.name!r}, expected a name that ends in .parquet or .npy.")
    return writers[path.suffix](features, path)


def save_parquet(features: Features, path: Path) -> Path:
    """Write ids and one fixed-size list column of float32 for each block."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = pa.schema(
        [
            pa.field(ID, pa.string()),
            *(pa.field(name, pa.list_(pa.float32(), w)) for name, w in features.widths.items()),
        ],
        {_ORIGINS: json.dumps(_recorded(features.origins, path))} if features.origins else None,
    )
    partial = path.with_name(path.name + ".partial")
    with pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        for start in range(0, max(len(features), 1), _ROWS):
            rows = slice(start, start + _ROWS)
            columns = [pa.array(features.ids[rows].tolist(), pa.string())]
            for name, values in features.blocks.items():
                flat = pa.array(np.ascontiguousarray(values[rows], np.float32).reshape(-1))
                columns.append(pa.FixedSizeListArray.from_arrays(flat, features.widths[name]))
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
    partial.replace(path)
    return path


def save_npy(features: Features, path: Path) -> Path:
    """Write the (n, total) float32 array, its ids and its names."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = _sidecar(path, "ids.csv")
    partial = ids.with_name(ids.name + ".partial")
    with partial.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([[ID], *([name] for name in features.ids.tolist())])
    partial.replace(ids)
    names = {"blocks": [[n, w] for n, w in features.widths.items()], "names": features.names}
    origins = {"origins": _recorded(features.origins, path)} if features.origins else {}
    write_json({**names, **origins}, _sidecar(path, "names.json"))
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as handle:
        header = {"descr": "<f4", "fortran_order": False}
        shape = (len(features), len(features.names))
        np.lib.format.write_array_header_1_0(handle, {**header, "shape": shape})
        for start in range(0, len(features), _ROWS):
            part = [values[start : start + _ROWS] for values in features.blocks.values()]
            handle.write(np.concatenate(part, axis=1).astype("<f4", copy=False).tobytes())
    partial.replace(path)
    return path


def load_features(path: Path) -> Features:
    """Read features that ``save_parquet`` or ``save_npy`` wrote.

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


def _load_parquet(path: Path) -> Features:
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"Cannot read the features {path}: {error}. Extract anew.") from error
    lists = [f.name for f in table.schema if pa.types.is_fixed_size_list(f.type)]
    if ID not in table.column_names or not lists:
        raise InputError(
            f"{path} holds the columns {', '.join(table.column_names)}; expected {ID} and one "
            "fixed-size list for each block. Make one with `crystalssl extract`."
        )
    return Features(
        ids=np.array(table[ID].to_pylist(), dtype=np.str_),
        blocks={name: _matrix(table[name]) for name in lists},
        origins=_read_origins((table.schema.metadata or {}).get(_ORIGINS.encode()), path),
    )


def _recorded(origins: Sequence[Origin], path: Path) -> list[dict[str, Any]]:
    """Origins as they are stored: a run that lies beside the features is named relative to them."""
    recorded = [asdict(origin) for origin in origins]
    for entry in recorded:
        folder = Path(entry["weights"])
        if folder.is_dir():
            folder, home = folder.resolve(), path.parent.resolve()
            inside = folder.is_relative_to(home)
            entry["weights"] = (folder.relative_to(home) if inside else folder).as_posix()
    return recorded


def _read_origins(stored: bytes | list[Any] | None, path: Path) -> tuple[Origin, ...]:
    """What ``_recorded`` stored; none where features were made elsewhere or by an older version."""
    try:
        entries = json.loads(stored) if isinstance(stored, bytes) else stored or []
        found = [Origin(weights=str(e["weights"]), sha256=dict(e["sha256"])) for e in entries]
    except (KeyError, TypeError, ValueError):
        return ()
    beside = [path.parent / origin.weights for origin in found]
    return tuple(
        Origin(weights=str(folder), sha256=origin.sha256) if folder.is_dir() else origin
        for origin, folder in zip(found, beside, strict=True)
    )


def _matrix(column: Any) -> npt.NDArray[np.float32]:
    """(n, width) array of a fixed-size list column."""
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    matrix: npt.NDArray[np.float32] = flat.astype(np.float32, copy=False).reshape(
        len(column), column.type.list_size
    )
    return matrix


def _load_npy(path: Path) -> Features:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise InputError(
            f"Cannot read the features {path}: it is no .npy array of numbers, cut off, or holds "
            "Python objects, which are never loaded. Save it with numpy.save after "
            "array.astype('float32'), or extract anew."
        ) from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind not in "fiu":
        got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else "an archive"
        raise InputError(
            f"{path} holds {got}, expected numbers of shape (crystals, features). "
            "Save one row for each crystal."
        )
    widths, names = _read_names(path, array.shape[1])
    if sum(widths.values()) != array.shape[1]:
        raise InputError(
            f"{path} has {array.shape[1]} features, its names file {sum(widths.values())}. The "
            "files do not belong together: extract anew."
        )
    stops = np.cumsum(list(widths.values()))[:-1]
    blocks = dict(
        zip(widths, np.split(array.astype(np.float32, copy=False), stops, 1), strict=True)
    )
    ids, origins = _read_ids(path, len(array)), _npy_origins(path)
    return Features(ids=ids, blocks=blocks, names=names, origins=origins)


def _npy_origins(path: Path) -> tuple[Origin, ...]:
    sidecar = _sidecar(path, "names.json")
    return _read_origins(read_json(sidecar).get("origins"), path) if sidecar.is_file() else ()


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


def _read_names(path: Path, count: int) -> tuple[dict[str, int], tuple[str, ...]]:
    sidecar = _sidecar(path, "names.json")
    if not sidecar.is_file():
        return {UNNAMED: count}, feature_names({UNNAMED: count})
    found = read_json(sidecar)
    try:
        widths = {str(name): int(width) for name, width in found["blocks"]}
        return widths, tuple(str(name) for name in found["names"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{sidecar} lacks blocks or names. Extract the features anew.") from error


def _sidecar(path: Path, ending: str) -> Path:
    return path.with_name(f"{path.stem}_{ending}")
