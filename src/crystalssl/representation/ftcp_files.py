"""Raw FTCP files on disk: arrays opened without loading them, ids from the file beside them.

Takes (n, 400, 63) or flattened (n, 25200) ``.npy`` files and never unpickles. What it returns goes
to ``ftcp_decode.decode``, or to whoever reads raw FTCP itself.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError
from crystalssl.files import load_npy
from crystalssl.representation.ftcp_decode import as_raw
from crystalssl.structures.ids import from_line

ID_COLUMNS = ("immutable_id", "material_id", "mp_id", "id", "ids")
"""Names of a column of ids, in the order they are looked for."""
_ID_ENDINGS = (".npy", ".csv", ".txt", ".json")


class RawArray(NamedTuple):
    """Raw FTCP arrays from disk.

    Attributes:
        array: (n, 400, 63), memory-mapped, read-only, of the file's type.
        ids: (n,) from the sidecar, else row numbers.
    """

    array: npt.NDArray[np.generic]
    ids: npt.NDArray[np.str_]


def load_array(path: str | Path, ids_path: str | Path | None = None) -> RawArray:
    """Open a raw FTCP file and its ids.

    Args:
        path: ``.npy`` file of shape (n, 400, 63) or (n, 25200).
        ids_path: ids in the order of the rows, as ``.npy``, ``.csv``, ``.txt`` or ``.json``. If
            absent, ``<stem>_ids`` with one of these endings beside ``path``; else row numbers.

    Raises:
        InputError: if a file cannot be read, has another shape, or ids and rows differ in number.
    """
    path = Path(path)
    try:
        stored = load_npy(path)
    except FileNotFoundError:
        raise InputError(f"No file {path}. Give the path of a raw FTCP .npy file.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None
    except ValueError:
        raise InputError(
            f"{path} is no .npy array of numbers: it is cut off, of another format, or holds "
            "Python objects, which are never loaded. Save it with numpy.save after "
            "array.astype('float32')."
        ) from None
    array = as_raw(stored, str(path))
    sidecar = Path(ids_path) if ids_path else find_ids(path)
    if sidecar is None:
        return RawArray(array=array, ids=np.arange(len(array)).astype(np.str_))
    ids = read_ids(sidecar)
    if len(ids) != len(array):
        raise InputError(
            f"{sidecar} has {len(ids)} ids for the {len(array)} rows of {path}, expected as many. "
            "Give the ids that were saved with this array, in its order."
        )
    return RawArray(array=array, ids=ids)


def find_ids(path: Path) -> Path | None:
    """The file ``<stem>_ids`` beside an array, as .npy, .csv, .txt or .json, if there is one."""
    beside = (path.with_name(f"{path.stem}_ids{ending}") for ending in _ID_ENDINGS)
    return next((sidecar for sidecar in beside if sidecar.is_file()), None)


def read_ids(path: Path) -> npt.NDArray[np.str_]:
    """Ids from ``.npy``, ``.csv`` (a column of ids, or the first), ``.txt`` or ``.json``.

    Raises:
        InputError: if the file cannot be read as a list of ids.
    """
    try:
        if path.suffix == ".npy":
            return load_npy(path).ravel().astype(np.str_)
        text = path.read_bytes().decode("utf-8-sig")
        if path.suffix == ".json":
            content = json.loads(text)
            rows = content["ids"] if isinstance(content, dict) else content
            return np.array([str(row) for row in rows], dtype=np.str_)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"The ids in {path} cannot be read ({error!r}); expected a plain list. Write one id a "
            "line into a .txt file."
        ) from None
    if path.suffix != ".csv":
        lines = [line.strip() for line in text.split("\n")]
        return np.array([from_line(line) for line in lines if line], dtype=np.str_)
    cells = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    header = [name.strip().lower() for name in cells[0]] if cells else []
    column = next((header.index(name) for name in ID_COLUMNS if name in header), None)
    if column is None:
        return np.array([row[0].strip() for row in cells], dtype=np.str_)
    return np.array([row[column] for row in cells[1:] if column < len(row)], dtype=np.str_)
