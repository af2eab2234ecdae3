"""A folder of structure tables to a folder of feature tables, on one machine or many, with Ray.

Each shard is done whole by one worker and leaves its features, a record with its row counts, and
its skipped rows; a shard whose record still fits is not done again, so a stopped job goes on where
it was. Ray Data (https://docs.ray.io, Apache-2.0) starts by itself, or joins the cluster of
``RAY_ADDRESS``. Needs the extra ``crystalssl[cluster]``.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from crystalssl.errors import CrystalSSLError, InputError, Skip, missing_extra, write_skipped
from crystalssl.features.precision import check_dtype
from crystalssl.features.recipe import Recipe
from crystalssl.features.stream import count_rows, stream_features
from crystalssl.files import read_json, write_json

TABLES = (".parquet", ".pq")
"""Endings of structure tables."""
RECORD, SKIPPED, FEATURES = ".record.json", ".skipped.csv", ".parquet"
"""What a shard leaves: endings after its name."""
MANIFEST = "manifest.json"
"""All records together, with their sums."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardRecord:
    """What became of one shard: ``rows`` is ``written + skipped``, or there is an ``error``.

    Attributes:
        shard: its name, the path within the corpus.
        digest: what its features depend on: file, weights, settings.
        rows: structures in it.
        written: structures with features.
        skipped: structures without.
        error: why it could not be done, empty if it was.
    """

    shard: str
    digest: str
    rows: int = 0
    written: int = 0
    skipped: int = 0
    error: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusOutcome:
    """What became of a corpus.

    Attributes:
        records: one for each shard, by name.
        done_before: shards that an earlier call had finished.
    """

    records: tuple[ShardRecord, ...]
    done_before: int

    @property
    def failed(self) -> list[ShardRecord]:
        """Shards that could not be done."""
        return [record for record in self.records if record.error]

    def total(self, name: str) -> int:
        """Sum of ``rows``, ``written`` or ``skipped`` over all shards."""
        return sum(int(getattr(record, name)) for record in self.records)


def featurize_corpus(
    shards: Path,
    out: Path,
    recipe: Recipe,
    *,
    dtype: str = "float32",
    workers: int = 1,
    gpus: float = 0.0,
    watch: Callable[[ShardRecord, int], None] = lambda record, total: None,
) -> CorpusOutcome:
    """Features of every structure table in a folder.

    Args:
        shards: folder of structure tables, walked in full, or one table.
        out: folder for the feature tables, under the same names.
        recipe: weights and settings; a folder of weights must be seen by all workers.
        dtype: type of the stored numbers.
        workers: shards done at a time, each by one core.
        gpus: share of a GPU that each worker gets.
        watch: sees every record that comes in, and the number of all shards.

    Raises:
        InputError: if there are no tables, or the counts of a finished corpus do not add up.
        UnknownNameError: for an unknown type, weights or block.
        MissingExtraError: without Ray.
    """
    check_dtype(dtype)
    found = find_shards(Path(shards))
    digests = _digests(found, recipe, dtype)
    records: dict[str, ShardRecord] = {}
    for name in found:
        record = read_record(Path(out), name)
        if record is not None and record.digest == digests[name] and not record.error:
            records[name] = record
    before = len(records)
    left = [
        {"shard": name, "path": str(path), "digest": digests[name]}
        for name, path in found.items()
        if name not in records
    ]
    if left:
        for record in _on_ray(left, Path(out), recipe, dtype, workers, gpus):
            records[record.shard] = record
            watch(record, len(found))
    outcome = CorpusOutcome(
        records=tuple(records[name] for name in sorted(records)), done_before=before
    )
    _write_manifest(outcome, Path(out))
    check_counts(found, Path(out), outcome)
    return outcome


def find_shards(source: Path) -> dict[str, Path]:
    """Name and path of every structure table, by name.

    Raises:
        InputError: if there is none.
    """
    if source.is_file():
        return {source.stem: source.resolve()}
    paths = sorted(p for p in source.rglob("*") if p.suffix.lower() in TABLES and p.is_file())
    if not paths:
        raise InputError(
            f"Found no structure tables (.parquet) in {source}. Make some with crystalssl convert."
        )
    names = {path.relative_to(source).with_suffix("").as_posix(): path.resolve() for path in paths}
    if len(names) < len(paths):
        raise InputError(f"Two tables in {source} have one name apart from their endings.")
    return names


def featurize_shard(job: dict[str, Any], out: Path, recipe: Recipe, dtype: str) -> ShardRecord:
    """Do one shard, in this process; an error of the shard becomes part of its record."""
    name, path = str(job["shard"]), Path(job["path"])
    skipped: list[Skip] = []
    try:
        done = stream_features(
            path,
            out / f"{name}{FEATURES}",
            recipe,
            dtype=dtype,
            watch=lambda piece, total: skipped.extend(piece.skipped),
        )
    except (CrystalSSLError, OSError) as error:
        return ShardRecord(shard=name, digest=job["digest"], error=str(error))
    listed = out / f"{name}{SKIPPED}"
    listed.unlink(missing_ok=True)
    if skipped:
        write_skipped(skipped, listed)
    record = ShardRecord(
        shard=name,
        digest=job["digest"],
        rows=done.rows,
        written=done.written,
        skipped=done.skipped,
    )
    write_json(asdict(record), out / f"{name}{RECORD}")
    return record


def read_record(out: Path, name: str) -> ShardRecord | None:
    """The record of a shard that an earlier call finished, if its features are there too."""
    path = out / f"{name}{RECORD}"
    if not path.is_file() or not (out / f"{name}{FEATURES}").is_file():
        return None
    try:
        found = read_json(path)
        return ShardRecord(**{field.name: found[field.name] for field in fields(ShardRecord)})
    except (CrystalSSLError, KeyError, TypeError):
        return None  # damaged: the shard is done anew


def check_counts(found: dict[str, Path], out: Path, outcome: CorpusOutcome) -> None:
    """Compare the records with what the files themselves hold.

    Raises:
        InputError: if a shard's rows are not its rows with features plus those skipped.
    """
    for record in outcome.records:
        if record.error:
            continue
        given = count_rows(found[record.shard])
        made = count_rows(out / f"{record.shard}{FEATURES}")
        if given != made + record.skipped or given != record.rows or made != record.written:
            raise InputError(
                f"Shard {record.shard} holds {given} rows; {made} got features and "
                f"{record.skipped} were skipped. Remove {record.shard}{RECORD} in {out} and run "
                "the command again."
            )


class _Worker:
    """A Ray actor: loads nothing until its first shard, does shards one after the other."""

    def __init__(self, out: str, recipe: Recipe, dtype: str) -> None:
        import torch

        torch.set_num_threads(1)
        self._out, self._recipe, self._dtype = Path(out), recipe, dtype

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return asdict(featurize_shard(row, self._out, self._recipe, self._dtype))


def _on_ray(
    jobs: Sequence[dict[str, str]],
    out: Path,
    recipe: Recipe,
    dtype: str,
    workers: int,
    gpus: float,
) -> Iterator[ShardRecord]:
    """Records of all shards, as they are finished."""
    count = min(workers, len(jobs))
    with _ray(count) as ray:
        tasks = ray.data.from_items(list(jobs), override_num_blocks=len(jobs))
        made = tasks.map(
            _Worker,
            fn_constructor_args=(str(out.resolve()), recipe, dtype),
            compute=ray.data.ActorPoolStrategy(size=count),
            num_cpus=1,
            num_gpus=gpus or None,
        )
        for row in made.iter_rows():
            yield ShardRecord(**row)


@contextmanager
def _ray(cores: int) -> Iterator[Any]:
    """Ray, quiet: what is running, the cluster of ``RAY_ADDRESS``, or one started here.

    Raises:
        MissingExtraError: without Ray.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise missing_extra("ray", "cluster", "Featurizing a corpus") from error
    mine = not ray.is_initialized()
    if mine:
        settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if "RAY_ADDRESS" not in os.environ:
            settings |= {"num_cpus": cores, "include_dashboard": False}
        ray.init(**settings)
    for name in ("ray.data", "ray"):
        logging.getLogger(name).setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    try:
        yield ray
    finally:
        if mine:
            ray.shutdown()


def _digests(found: dict[str, Path], recipe: Recipe, dtype: str) -> dict[str, str]:
    """What the features of each shard depend on, as SHA-256."""
    same = [*recipe.checksums(), f"{recipe.blocks} {recipe.symprec!r} {dtype}"]
    made = {}
    for name, path in found.items():
        state = path.stat()
        text = "\n".join([*same, name, str(state.st_size), str(state.st_mtime_ns)])
        made[name] = hashlib.sha256(text.encode()).hexdigest()
    return made


def _write_manifest(outcome: CorpusOutcome, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    sums = {name: outcome.total(name) for name in ("rows", "written", "skipped")}
    shards = [asdict(record) for record in outcome.records]
    write_json({**sums, "shards": shards}, out / MANIFEST)
