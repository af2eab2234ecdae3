"""Points (ids, coordinates, axes) to a safetensors file with a checksum, and back.

An index file holds what a query needs, so that features need not be read again. Used by
``index.py``; nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError
from crystalssl.features.features import read_origins, record_origins
from crystalssl.files import atomic, check_version
from crystalssl.search.axes import Axes
from crystalssl.search.points import Points, not_finite

ENDING = ".safetensors"
"""Ending of index files."""
INDEX_VERSION = 1
"""Version of the index files that this package writes."""
KEY = "crystalssl.index"
"""Key of the metadata that describes an index."""
_TENSORS = ("columns", "coordinates", "id_bytes", "id_ends", "mean", "rotation", "scale")

Arrays = dict[str, npt.NDArray[np.generic]]


def save_points(points: Points, path: str | Path) -> Path:
    """Write points; the same ones give the same bytes.

    Args:
        points: what to write.
        path: ends in ``.safetensors``.

    Raises:
        InputError: for another ending, or if the file cannot be written.
    """
    from safetensors.numpy import save_file

    path = Path(path)
    if path.suffix != ENDING:
        raise InputError(f"Got {path.name!r}, expected a name that ends in {ENDING}.")
    names = [name.encode() for name in points.ids.tolist()]
    axes = points.axes
    none = np.zeros((0, 0), np.float32)
    arrays: Arrays = {
        "columns": axes.columns,
        "coordinates": points.coordinates,
        "id_bytes": np.frombuffer(b"".join(names), np.uint8),
        "id_ends": np.cumsum([len(name) for name in names], dtype=np.int64),
        "mean": axes.mean,
        "rotation": none if axes.rotation is None else axes.rotation,
        "scale": axes.scale,
    }
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    card = {
        "version": INDEX_VERSION,
        "kind": axes.kind,
        "width": axes.width,
        "skipped": [skip.id for skip in points.skipped],
        "blocks": list(points.widths.items()),
        "origins": record_origins(points.origins, path),
        "sha256": checksum(arrays),
    }
    with atomic(path) as aside:
        save_file(arrays, aside, {KEY: json.dumps(card, sort_keys=True)})
    return path


def load_points(path: str | Path) -> Points:
    """Read what :func:`save_points` wrote.

    Raises:
        InputError: if it is missing, damaged, of a newer version, or something else.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise InputError(f"Found no index {path}. Make one with CrystalIndex.save.")
    try:
        with safe_open(path, framework="numpy") as file:
            card = json.loads((file.metadata() or {}).get(KEY, "{}"))
            if not isinstance(card, dict) or sorted(file.keys()) != sorted(_TENSORS):
                raise ValueError("it holds something else")
            check_version(card.get("version"), INDEX_VERSION, path)
            arrays: Arrays = {name: file.get_tensor(name) for name in _TENSORS}
        if checksum(arrays) != card["sha256"]:
            raise ValueError("its numbers are not those that were written")
        points = _assembled(arrays, str(card["kind"]), int(card["width"]))
        return replace(
            points,
            skipped=[not_finite(str(name)) for name in card["skipped"]],
            widths={str(name): int(width) for name, width in card["blocks"]},
            origins=read_origins(card["origins"], path),
        )
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path} is no index that can be read ({error}). Make it again from its features."
        ) from error


def checksum(arrays: Arrays) -> str:
    """SHA-256 of names, shapes, types and numbers."""
    state = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        state.update(f"{name} {array.dtype.str} {array.shape}".encode())
        state.update(array.data)
    return state.hexdigest()


def _assembled(arrays: Arrays, kind: str, width: int) -> Points:
    """Points of their arrays, if they fit each other.

    Raises:
        ValueError: if they do not.
    """
    coordinates = np.asarray(arrays["coordinates"], np.float32)
    columns, rotation = np.asarray(arrays["columns"], np.int64), arrays["rotation"]
    mean, scale = (np.asarray(arrays[name], np.float32) for name in ("mean", "scale"))
    axes = Axes(
        kind=kind,
        columns=columns,
        mean=mean,
        scale=scale,
        rotation=np.asarray(rotation, np.float32) if rotation.size else None,
        width=width,
    )
    shapes = {columns.shape, mean.shape, scale.shape}
    inside = len(columns) == 0 or (columns.min() >= 0 and columns.max() < width)
    ids = list(_texts(arrays["id_bytes"].tobytes(), arrays["id_ends"].tolist()))
    if len(shapes) > 1 or not inside or coordinates.shape != (len(ids), axes.count):
        raise ValueError("its arrays do not fit each other")
    return Points(ids=np.array(ids, dtype=np.str_), coordinates=coordinates, axes=axes)


def _texts(content: bytes, ends: list[int]) -> Iterator[str]:
    start = 0
    for end in ends:
        yield content[start:end].decode()
        start = end
