"""A structure table of any length to features, a few thousand rows at a time, in input order.

Canonical cells, neighbour graphs and encoders run in worker processes of one thread; memory does
not grow with the table. What is computed together follows from the crystals alone, so one worker,
many, or ``extract.py`` on all of it in memory give the same bytes. ``corpora.py`` does many tables.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from crystalssl.datasets.corpus import Corpus
from crystalssl.devices import choose_device
from crystalssl.errors import InputError, Skip, worker_died
from crystalssl.features.bottleneck import MIX_ROWS
from crystalssl.features.encoding import Extractor
from crystalssl.features.extract import whole_batches
from crystalssl.features.extractor import ExtractorConfig
from crystalssl.features.features import ID, PHYSICS, Features, regroup
from crystalssl.features.writer import write_features
from crystalssl.processes import obey_parent, usable_cores, worker_pool
from crystalssl.structures.canonical import CanonicalResult, canonicalize
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.ids import unique_ids
from crystalssl.structures.table import from_arrow

PIECE = 1024
"""Rows that are made canonical at a time."""


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
    """A piece with all that a CPU must do before encoders.

    Attributes:
        corpus: canonical crystals with graphs and short vectors; None if there are none.
        skipped: rows that cannot be used.
        rows: rows of the piece.
    """

    corpus: Corpus | None
    skipped: list[Skip]
    rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Described:
    """Rows that are done: ``rows`` is the number of features and of skipped ones together.

    Attributes:
        features: rows in input order.
        skipped: rows that could not be used.
    """

    features: Features
    skipped: list[Skip]

    @property
    def rows(self) -> int:
        """Rows of the table that these are."""
        return len(self.features) + len(self.skipped)


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
"""Told of all rows as they are done, and of the number of rows in all."""


def stream_features(
    path: Path,
    out: Path,
    config: ExtractorConfig,
    *,
    dtype: str = "float32",
    workers: int = 1,
    watch: Watcher = lambda described, total: None,
) -> StreamOutcome:
    """Turn a structure table into a features file.

    Args:
        path: structure table.
        out: ``.parquet`` or ``.npy``; appears when complete.
        config: weights and settings.
        dtype: type of the stored numbers (``precision.py``).
        workers: processes; 1 works in this one. With a GPU they prepare crystals and this
            process encodes.
        watch: sees all rows; an error that it raises ends the work.

    Raises:
        InputError: if the file is no structure table, rows got lost, or as ``write_features``.
    """
    total = count_rows(path)
    skipped = 0
    extractor = config.extractor()  # also where workers load their own: errors come up here

    def encoded() -> Iterator[Features]:
        nonlocal skipped
        rows = 0
        for described in _described(path, config, extractor, workers):
            watch(described, total)
            rows, skipped = rows + described.rows, skipped + len(described.skipped)
            yield described.features
        if rows != total:
            raise InputError(
                f"{path} holds {total} rows, but {rows} were seen. The file changed while it was "
                "read: run the command again."
            )

    written = write_features(out, map(extractor.mix, regroup(encoded(), MIX_ROWS)), dtype)
    return StreamOutcome(rows=total, written=written, skipped=skipped)


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
    """The corpus of a piece.

    Raises:
        InputError: if it lacks the columns of a structure table.
    """
    canonical, skipped = _canonical(piece, symprec)
    some = len(canonical.crystals) > 0
    return Prepared(
        corpus=Corpus.from_crystals(canonical, targets=False) if some else None,
        skipped=skipped,
        rows=len(piece.table),
    )


def _canonical(piece: Piece, symprec: float) -> tuple[CanonicalResult, list[Skip]]:
    """Canonical crystals of a piece, and all its rows that cannot be used."""
    read = from_arrow(piece.table, piece.source, piece.first_row)
    canonical = canonicalize(read.crystals.with_columns(None), symprec=symprec)
    late = [replace(skip, file=piece.source) for skip in canonical.skipped]
    return canonical, [*read.skipped, *late]


def _physics(piece: Piece, config: ExtractorConfig) -> Described:
    """Named numbers of a piece, which need its crystals."""
    canonical, skipped = _canonical(piece, config.symprec)
    return Described(features=config.extractor().encode(canonical), skipped=skipped)


def _described(
    table: Path, config: ExtractorConfig, extractor: Extractor, workers: int
) -> Iterator[Described]:
    """Features of the blocks, or named numbers, for all rows, in order."""
    if config.output == PHYSICS:
        yield from _physics_of(table, config, workers)
        return
    pending: list[Skip] = []  # go with the next features, so that every row is told of once
    with _encoders(table, config, extractor, workers, pending) as batches:
        for batch in _alive(batches):
            features, odd = batch.finite()
            skipped = [*pending, *(replace(skip, file=str(table)) for skip in odd)]
            pending.clear()
            yield Described(features=features, skipped=skipped)
    # crystals behind the last features, or all of them, cannot be used
    yield Described(features=extractor.encode(Crystals.empty()), skipped=pending)


def _physics_of(table: Path, config: ExtractorConfig, workers: int) -> Iterator[Described]:
    """Named numbers piece by piece, made here or by workers of one core each."""
    if workers <= 1:
        for piece in pieces(table):
            yield _physics(piece, config)
        return
    with worker_pool(workers, obey_parent, 1) as pool:
        yield from _alive(in_order(pool, _physics, pieces(table), 2 * workers, config))


def _alive(batches: Iterator[Result]) -> Iterator[Result]:
    try:
        yield from batches
    except BrokenExecutor as error:
        raise worker_died() from error


@contextmanager
def _encoders(
    table: Path, config: ExtractorConfig, extractor: Extractor, workers: int, pending: list[Skip]
) -> Iterator[Iterator[Features]]:
    """Features of whole batches, made here or by workers; skips are added to ``pending``."""
    device = choose_device(config.device)

    def corpora(prepared: Iterator[Prepared]) -> Iterator[Corpus]:
        for ready in prepared:
            pending.extend(ready.skipped)
            if ready.corpus is not None:
                yield ready.corpus

    if workers <= 1:
        prepared: Iterator[Prepared] = (prepare(piece, config.symprec) for piece in pieces(table))
        yield map(extractor.encode, whole_batches(corpora(prepared), device))
        return
    on_cpu = device.type == "cpu"
    start: tuple[Any, ...] = (obey_parent, max(1, usable_cores() // workers))
    with worker_pool(workers, *((_load_extractor, config) if on_cpu else start)) as pool:
        prepared = in_order(pool, prepare, pieces(table), 2 * workers, config.symprec)
        cut = whole_batches(corpora(prepared), device)
        yield in_order(pool, _encode, cut, 2 * workers) if on_cpu else map(extractor.encode, cut)


_EXTRACTOR: list[Extractor] = []  # of a worker process


def _load_extractor(config: ExtractorConfig) -> None:
    """Make a worker process ready: one thread, encoders in memory."""
    obey_parent(cores=1)
    torch.set_num_threads(1)
    _EXTRACTOR[:] = [replace(config, device="cpu").extractor()]


def _encode(corpus: Corpus) -> Features:
    """Features of whole batches in a worker process."""
    return _EXTRACTOR[0].encode(corpus)


def in_order(
    pool: Executor,
    work: Callable[..., Result],
    tasks: Iterator[Any],
    ahead: int,
    *arguments: Any,
) -> Iterator[Result]:
    """Results in the order of the tasks, at most ``ahead`` of them in the making."""
    waiting: deque[Future[Result]] = deque()
    for task in tasks:
        waiting.append(pool.submit(work, task, *arguments))
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
