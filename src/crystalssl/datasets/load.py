"""Anything that holds structures to one batch of crystals: files, tables, raw FTCP, objects.

The one place that takes what ``structures.reading`` reads, the arrays of people who have nothing
else, and objects of pymatgen and ASE; every command and every stage starts here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from pyarrow import csv

from crystalssl.errors import InputError, Note, Skip
from crystalssl.representation.ftcp import decode, load_array
from crystalssl.representation.ftcp_files import ID_COLUMNS
from crystalssl.structures.crystals import Crystals, ReadResult
from crystalssl.structures.ids import unique_ids
from crystalssl.structures.objects import from_objects
from crystalssl.structures.reading import read_structures
from crystalssl.structures.validity import SOURCE_COLUMN, check

Structures: TypeAlias = Crystals | str | Path | Sequence[Any]
"""Crystals, a path, or a list of paths, pymatgen Structures, ASE Atoms or dictionaries of these."""

ARRAY_SUFFIX = ".npy"
"""Ending of raw FTCP arrays."""


def read_any(structures: Structures) -> ReadResult:
    """Read paths or objects.

    Raises:
        InputError: if a path is missing or of no known kind, or the input is no list.
        MissingExtraError: if a file needs an optional package that is not installed.
    """
    if isinstance(structures, Crystals):
        return ReadResult(crystals=structures, skipped=[])
    if isinstance(structures, str | Path):
        return load_crystals([structures])
    single = isinstance(structures, dict) or hasattr(structures, "species_and_occu")
    if single or hasattr(structures, "get_scaled_positions"):
        raise InputError("Got a single structure, expected a list. Put it in brackets: [structure]")
    items = list(structures)
    if all(isinstance(item, str | Path) for item in items):
        return load_crystals(items)
    return from_objects(items)


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """Structures as they were given, without those that cannot be used.

    Attributes:
        crystals: the valid ones, in input order.
        skipped: the others.
        notes: what readers chose or found to differ.
    """

    crystals: Crystals
    skipped: list[Skip]
    notes: list[Note] = field(default_factory=list)


def load_valid(structures: Structures) -> Loaded:
    """Read structures, cells as given, and set aside those that are not valid.

    Raises:
        InputError: as :func:`read_any`.
    """
    result = read_any(structures)
    valid, invalid = check(result.crystals, max_sites=None)
    return Loaded(
        crystals=result.crystals.take(valid),
        skipped=[*result.skipped, *invalid],
        notes=result.notes,
    )


def load_crystals(sources: Sequence[str | Path]) -> ReadResult:
    """Read structures from any mix of files, folders, archives, tables and raw FTCP arrays.

    Args:
        sources: paths; order is kept. An ``.npy`` file is raw FTCP, (n, 400, 63) or (n, 25200),
            with ids in ``<stem>_ids`` beside it or row numbers; other columns of a
            ``<stem>_ids.csv`` with a header are carried along (labels, splits).

    Returns:
        The crystals, cells as given, and one skip for each that could not be read.

    Raises:
        InputError: if a path does not exist, or the only one is of no known format, an array of
            another shape or a table without its columns; among others such a file is a skip.
        MissingExtraError: if a file needs an optional package that is not installed.
    """
    paths = [sources] if isinstance(sources, str | Path) else list(sources)
    if not any(_is_array(path) for path in paths):
        return read_structures(paths)
    several = len(paths) > 1
    parts: list[ReadResult] = []
    pending: list[str | Path] = []
    for path in paths:
        if not _is_array(path):
            pending.append(path)
            continue
        if pending:
            parts.append(read_structures(pending, among_others=several))
            pending = []
        parts.append(_read_array(Path(path), several))
    if pending:
        parts.append(read_structures(pending, among_others=several))
    found = [part.crystals for part in parts if len(part.crystals)]
    crystals = Crystals.concatenate(found) if found else Crystals.empty()
    return ReadResult(
        crystals=crystals.with_ids(unique_ids(crystals.ids)),
        skipped=[skip for part in parts for skip in part.skipped],
        notes=[note for part in parts for note in part.notes],
    )


def _is_array(path: str | Path) -> bool:
    return Path(path).suffix.lower() == ARRAY_SUFFIX


def _read_array(path: Path, several: bool) -> ReadResult:
    """Decoded crystals of one file, with the file as their source; a skip if it is one of several.

    Raises:
        InputError: if it does not exist, or is the only one and no raw FTCP array.
    """
    try:
        stored = load_array(path)
    except InputError as error:
        if not (several and path.is_file()):
            raise
        remedy = "give a raw FTCP array, made with crystalssl ftcp"
        skipped = Skip(id=path.name, file=str(path), reason=str(error), remedy=remedy)
        return ReadResult(crystals=Crystals.empty(), skipped=[skipped])
    result = decode(stored.array, np.arange(len(stored.ids)).astype(np.str_))
    rows = result.crystals.ids.astype(np.int64)
    labels = _labels_beside(path, len(stored.ids))
    columns = {name: values.take(pa.array(rows)) for name, values in labels.items()}
    columns[SOURCE_COLUMN] = pa.array([str(path)] * len(rows), type=pa.string())
    crystals = result.crystals.with_ids(stored.ids[rows])
    return ReadResult(
        crystals=crystals.with_columns(pa.table(columns)),
        skipped=[
            replace(skip, id=str(stored.ids[int(skip.id)]), file=str(path))
            for skip in result.skipped
        ],
    )


def _labels_beside(path: Path, rows: int) -> dict[str, pa.ChunkedArray]:
    """Columns beside the ids in ``<stem>_ids.csv``, so that arrays can carry labels too."""
    beside = path.with_name(f"{path.stem}_ids.csv")
    if not beside.is_file():
        return {}
    table = csv.read_csv(beside)
    labels = [name for name in table.column_names if name.strip().lower() not in ID_COLUMNS]
    has_header = len(labels) < table.num_columns and table.num_rows == rows
    return {name: table[name] for name in labels} if has_header else {}
