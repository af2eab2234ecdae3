"""A structure table of any length to features, a few thousand rows at a time, in input order.

Canonical cells, neighbour graphs and encoders run in worker processes of one thread; memory does
not grow with the table. The pieces depend on the table alone, so one worker or many give the same
bytes. ``extract.py`` is for what is in memory already; ``corpora.py`` does many tables.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from crystalssl.datasets.corpus import Corpus
from crystalssl.errors import InputError, Skip
from crystalssl.features.container import Features
from crystalssl.features.recipe import Extractor, Recipe
from crystalssl.features.writing import FeatureWriter
from crystalssl.processes import obey_parent, usable_cores
from crystalssl.structures.canonical import CanonicalResult, canonicalize
from crystalssl.structures.ids import unique_ids
from crystalssl.structures.table import ID, from_arrow

PIECE = 1024
"""Rows that are turned into features at a time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Some rows of a table.

    Attributes:
        table: the rows.
        first_row: number of the first of them in the whole table.
        source: file, for messages.
    """

    table: pa.Table
    first_row: int
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A piece as canonical crystals, or as the corpus of them that a GPU reads.

    Attributes:
        source: what can be used.
        skipped: the rest.
        rows: rows of the piece.
    """

    source: CanonicalResult | Corpus
    skipped: list[Skip]
    rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Described:
    """A piece as features; ``rows`` is ``len(features) + len(skipped)``.

    Attributes:
        features: rows in input order.
        skipped: rows that could not be used.
        rows: rows of the piece.
    """

    features: Features
    skipped: list[Skip]
    rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamOutcome:
    """How many rows went where: ``rows`` is ``written + skipped``.

    Attributes:
        rows: rows of the table.
        written: rows with features.
        skipped: rows without.
    """

    rows: int
    written: int
    skipped: int


Result = TypeVar("Result")
Watcher = Callable[[Described, int], None]
"""Told of every finished piece and of the number of rows in all."""


def stream_features(
    path: Path,
    out: Path,
    recipe: Recipe,
    *,
    dtype: str = "float32",
    workers: int = 1,
    watch: Watcher = lambda piece, total: None,
) -> StreamOutcome:
    """Turn a structure table into a features file.

    Args:
        path: structure table.
        out: ``.parquet`` or ``.npy``; appears when complete.
        recipe: weights and settings.
        dtype: type of the stored numbers (``precision.py``).
        workers: processes; 1 works in this one. With a GPU they prepare crystals and this
            process encodes.
        watch: sees every piece; an error that it raises ends the work.

    Raises:
        InputError: if the file is no structure table, a piece came out with rows missing, or as
            ``FeatureWriter``.
    """
    total = count_rows(path)
    rows = skipped = 0
    with FeatureWriter(out, dtype) as writer:
        for piece in _described(pieces(path), recipe, workers):
            writer.append(piece.features)
            rows, skipped = rows + piece.rows, skipped + len(piece.skipped)
            watch(piece, total)
        if rows != total or writer.rows + skipped != rows:
            raise InputError(
                f"{path} holds {total} rows, but {writer.rows} got features and {skipped} were "
                "skipped; expected none to be lost. The file changed while it was read."
            )
    return StreamOutcome(rows=rows, written=writer.rows, skipped=skipped)


def count_rows(path: Path) -> int:
    """Rows of a Parquet file.

    Raises:
        InputError: if it cannot be read.
    """
    with _parquet(path) as file:
        return int(file.metadata.num_rows)


def pieces(path: Path) -> Iterator[Piece]:
    """The rows of a structure table, ``PIECE`` at a time; repeated ids are made different.

    Raises:
        InputError: if it cannot be read. A table without rows gives one empty piece.
    """
    with _parquet(path) as file:
        schema = file.schema_arrow
        renamed = _renamed_ids(file) if ID in schema.names else None
        first = 0
        for batch in file.iter_batches(PIECE):
            table = pa.Table.from_batches([batch], schema=schema)
            if renamed is not None:
                ids = renamed.slice(first, len(table))
                table = table.set_column(table.column_names.index(ID), ID, ids)
            yield Piece(table=table, first_row=first, source=str(path))
            first += len(table)
        if not first:
            yield Piece(table=schema.empty_table(), first_row=0, source=str(path))


def prepare(piece: Piece, symprec: float) -> Prepared:
    """Canonical crystals of a piece.

    Raises:
        InputError: if it lacks the columns of a structure table.
    """
    read = from_arrow(piece.table, piece.source, piece.first_row)
    found = canonicalize(read.crystals.with_columns(None), symprec=symprec)
    late = [replace(skip, file=piece.source) for skip in found.skipped]
    return Prepared(source=found, skipped=[*read.skipped, *late], rows=len(piece.table))


def prepare_corpus(piece: Piece, symprec: float) -> Prepared:
    """The corpus of a piece: graphs and short vectors as well, all that a CPU must do.

    Raises:
        InputError: as ``prepare``.
    """
    ready = prepare(piece, symprec)
    if isinstance(ready.source, Corpus) or not len(ready.source.crystals):
        return ready
    return replace(ready, source=Corpus.from_crystals(ready.source, targets=False))


def describe(ready: Prepared, extractor: Extractor) -> Described:
    """Features of a prepared piece."""
    features = extractor.features_of(ready.source)
    return Described(features=features, skipped=ready.skipped, rows=ready.rows)


def _described(parts: Iterator[Piece], recipe: Recipe, workers: int) -> Iterator[Described]:
    """Features of every piece, in order."""
    device = recipe.device or ("cuda" if torch.cuda.is_available() else "cpu")
    extractor = recipe.extractor()  # also where workers load their own: errors come up here
    if workers <= 1:
        for piece in parts:
            yield describe(prepare(piece, recipe.symprec), extractor)
    elif device == "cpu":
        with _workers(workers, _load_extractor, recipe) as pool:
            yield from _in_order(pool, _whole_way, parts, recipe.symprec, 2 * workers)
    else:
        with _workers(workers, obey_parent, max(1, usable_cores() // workers)) as pool:
            for ready in _in_order(pool, prepare_corpus, parts, recipe.symprec, 2 * workers):
                yield describe(ready, extractor)


_EXTRACTOR: list[Extractor] = []  # of a worker process


def _load_extractor(recipe: Recipe) -> None:
    """Make a worker process ready: one thread, encoders in memory."""
    obey_parent(cores=1)
    torch.set_num_threads(1)
    _EXTRACTOR[:] = [replace(recipe, device="cpu").extractor()]


def _whole_way(piece: Piece, symprec: float) -> Described:
    """Rows to features in a worker process."""
    return describe(prepare(piece, symprec), _EXTRACTOR[0])


@contextmanager
def _workers(count: int, start: Callable[..., None], *given: Any) -> Iterator[ProcessPoolExecutor]:
    """Worker processes; on an error they end at once."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, context, initializer=start, initargs=given)
    try:
        yield pool
    finally:
        for process in list((pool._processes or {}).values()):
            process.kill()  # all results are in by now, or nobody wants them
        pool.shutdown(wait=True, cancel_futures=True)


def _in_order(
    pool: ProcessPoolExecutor,
    work: Callable[[Piece, float], Result],
    parts: Iterator[Piece],
    symprec: float,
    ahead: int,
) -> Iterator[Result]:
    """Results in the order of the pieces, at most ``ahead`` of them in the making."""
    waiting: deque[Future[Result]] = deque()
    for piece in parts:
        waiting.append(pool.submit(work, piece, symprec))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _renamed_ids(file: pq.ParquetFile) -> pa.ChunkedArray | None:
    """The ids made different, or None if they are; the only column that is read as a whole."""
    ids = file.read(columns=[ID])[ID]
    if len(ids.unique()) == len(ids):
        return None
    known = ids.is_valid().to_numpy()
    names = np.array(ids.cast(pa.string()).to_pylist(), dtype=object)
    names[known] = unique_ids(names[known].astype(np.str_))
    return pa.chunked_array([pa.array(names.tolist(), pa.string())])


@contextmanager
def _parquet(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        file = pq.ParquetFile(path, pre_buffer=False)  # a buffer that is kept grows with the file
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path} cannot be read as Parquet ({error}). Make a structure table with: "
            "crystalssl convert SOURCES -o structures.parquet"
        ) from error
    with file:
        yield file
