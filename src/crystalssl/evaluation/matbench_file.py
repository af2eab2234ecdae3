"""A Matbench task on disk -> structures, labels and Matbench ids, one for each row, in order.

Reads what matminer publishes (``matbench_*.json.gz``, a pandas table written with
``orient='split'``) row by row, so that the objects of a few rows are in memory at a time, and
structure tables in Parquet. Every row keeps its place, also where its structure cannot be used.
Source: Dunn et al., npj Comput. Mater. 6 (2020) 138; matminer's load_dataset.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from crystalssl.datasets.bundled import UNITS
from crystalssl.errors import InputError, Skip, unknown_name
from crystalssl.evaluation.matbench_tasks import (
    COMPOSITION_TASKS,
    TASKS,
    Published,
    TaskData,
    prefix_ids,
)
from crystalssl.models import Kind
from crystalssl.models.arrays import Floats, Index
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.objects import from_objects
from crystalssl.structures.table import ID, from_arrow

CHUNK = 2048
"""Structures that are turned into crystals at a time."""
ROW = "matbench_row"
"""Column that carries the place of a row through the structure table's reader."""
_GAP = re.compile(r"[\s,:]*")


def read_task(path: Path, target: str | None = None, name: str | None = None) -> TaskData:
    """Read a task from a matminer-format file or a structure table.

    Args:
        path: ``.json``, ``.json.gz`` or ``.parquet``.
        target: label column; by default that of the benchmark, or the only one there is.
        name: task name; by default the name of the file.

    Raises:
        InputError: if the file is missing, of another format, or lacks structures or labels.
        UnknownNameError: if there is no such label column.
    """
    path = Path(path)
    name = name or path.name.removesuffix(".gz").rpartition(".")[0]
    if name in COMPOSITION_TASKS:
        raise InputError(
            f"{name} gives compositions, not structures; features need structures. Tasks with "
            f"structures: {', '.join(TASKS)}."
        )
    if not path.is_file():
        raise InputError(f"Found no file {path}; expected a Matbench task, .json.gz or .parquet.")
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        columns = {key: table[key].to_pylist() for key in _scalar_columns(table)}
        crystals, rows, skipped = _from_table(table, path, prefix_ids(name, table.num_rows))
        total = table.num_rows
    else:
        crystals, rows, skipped, columns, total = _from_json(path, name)
    known = TASKS.get(name)
    chosen = _target(columns, target, known, path)
    labels, kind = _labels(columns[chosen], chosen, path)
    known = known if known is not None and known.target == chosen else None
    return TaskData(
        name=name,
        target=chosen,
        unit=known.unit if known else UNITS.get(chosen, ""),
        kind=kind,
        mbids=prefix_ids(name, total),
        labels=labels,
        crystals=crystals,
        rows=rows,
        skipped=skipped,
        official=known is not None and (known.rows, known.kind) == (total, kind),
    )


def split_table(text: str) -> Iterator[tuple[str, Any]]:
    """Keys and values of a table written with ``orient='split'``, in the order of the file.

    ``data`` is given row by row, ``("data", row)`` each, so that it is never decoded as a whole.

    Raises:
        ValueError: if the text is no such table.
        IndexError: if it ends too early.
    """
    decode = json.JSONDecoder().raw_decode
    place = _after(text, 0, "{")
    while text[place] != "}":
        key, place = decode(text, place)
        place = _past_gap(text, place)
        if key != "data":
            value, place = decode(text, place)
            yield str(key), value
        else:
            place = _after(text, place, "[")
            while text[place] != "]":
                value, place = decode(text, place)
                place = _past_gap(text, place)
                yield key, value
            place += 1
        place = _past_gap(text, place)


def _past_gap(text: str, place: int) -> int:
    match = _GAP.match(text, place)
    return match.end() if match else place


def _after(text: str, place: int, bracket: str) -> int:
    place = _past_gap(text, place)
    if text[place] != bracket:
        raise ValueError(f"expected {bracket!r} at character {place}, got {text[place]!r}")
    return _past_gap(text, place + 1)


Columns = dict[str, list[Any]]


def _from_json(path: Path, name: str) -> tuple[Crystals, Index, list[Skip], Columns, int]:
    """Crystals, their rows, skips, all other values by column, and the number of rows."""
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
        del data
        names: list[str] = []
        structures: list[Any] = []
        others: list[list[Any]] = []
        batches: list[tuple[Crystals, list[Skip]]] = []
        for key, value in split_table(text):
            if key == "columns":
                names = [str(column) for column in value]
            if key == "data":
                place = next((i for i, x in enumerate(value) if isinstance(x, dict)), 0)
                structures.append(value[place])
                others.append([None if i == place else x for i, x in enumerate(value)])
            if len(structures) == CHUNK:
                batches.append(_crystals(structures, len(others)))
                structures = []
        batches.append(_crystals(structures, len(others)))
    except (OSError, EOFError, zlib.error, ValueError, IndexError, TypeError) as error:
        raise InputError(
            f"{path} is no matminer-format table ({error}); expected JSON with 'index', 'columns' "
            "and 'data', a structure in each row. Get the file anew, or give a structure table."
        ) from error
    mbids = prefix_ids(name, len(others))
    crystals = Crystals.concatenate([part for part, _ in batches])
    rows = crystals.ids.astype(np.int64)
    if not len(rows):
        raise InputError(f"{path} holds no structure that can be read in {len(others)} rows.")
    skipped = [_renamed(skip, mbids, path) for _, part in batches for skip in part]
    columns = {
        column: [row[i] if i < len(row) else None for row in others]
        for i, column in enumerate(names)
    }
    kept = {k: v for k, v in columns.items() if any(x is not None for x in v)}
    return crystals.with_ids(mbids[rows]), rows, skipped, kept, len(others)


def _crystals(structures: Sequence[Any], stop: int) -> tuple[Crystals, list[Skip]]:
    """Crystals of some rows, the last of which is ``stop - 1``; ids are row numbers."""
    first = stop - len(structures)
    found = from_objects(structures, [str(first + i) for i in range(len(structures))])
    return found.crystals.with_columns(None), found.skipped


def _renamed(skip: Skip, mbids: npt.NDArray[np.str_], path: Path) -> Skip:
    return Skip(id=str(mbids[int(skip.id)]), file=str(path), reason=skip.reason, remedy=skip.remedy)


def _from_table(
    table: pa.Table, path: Path, mbids: npt.NDArray[np.str_]
) -> tuple[Crystals, Index, list[Skip]]:
    numbered = table.append_column(ROW, pa.array(np.arange(table.num_rows)))
    found = from_arrow(numbered, str(path))
    rows = found.crystals.column(ROW).astype(np.int64)
    return found.crystals.with_columns(None).with_ids(mbids[rows]), rows, found.skipped


def _scalar_columns(table: pa.Table) -> list[str]:
    """Columns that can be labels: numbers and truth values."""
    kinds = (pa.types.is_floating, pa.types.is_integer, pa.types.is_boolean)
    return [f.name for f in table.schema if f.name != ID and any(is_(f.type) for is_ in kinds)]


def _target(columns: Columns, target: str | None, known: Published | None, path: Path) -> str:
    """The label column: the one asked for, the benchmark's, or the only one."""
    if target is not None and target not in columns:
        raise unknown_name("label column", target, columns)
    if target is not None:
        return target
    if known is not None and known.target in columns:
        return known.target
    if len(columns) != 1:
        raise InputError(
            f"{path} holds {len(columns)} columns that could be labels "
            f"({', '.join(list(columns)[:8])}); expected one. Choose it with --target."
        )
    return next(iter(columns))


def _labels(values: list[Any], target: str, path: Path) -> tuple[Floats, Kind]:
    """(n,) labels; truth values become 0 and 1 and make it a classification.

    Raises:
        InputError: if a label is missing or is no number.
    """
    try:
        labels = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"Column {target!r} of {path} holds no numbers; expected labels. Choose --target."
        ) from error
    lacking = np.flatnonzero(~np.isfinite(labels))
    if len(lacking):
        raise InputError(
            f"Column {target!r} of {path} has no label in {len(lacking)} of {len(labels)} rows "
            f"(row {lacking[0]} first); a Matbench task has one in each. Leave these rows out."
        )
    truths = all(isinstance(value, bool) for value in values)
    return labels, "classification" if truths else "regression"
