"""Structures and trained weights to features, in memory, into a file, or shard by shard.

Rows are in input order and the same every time. A table of many rows never lies in memory as a
whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crystalssl.blocks.contract import Block
from crystalssl.blocks.registry import resolve_blocks
from crystalssl.datasets.corpus import Corpus
from crystalssl.errors import InputError, Skip
from crystalssl.features.bottleneck import AUTO, unused_bottleneck
from crystalssl.features.container import UNTRAINED, Features
from crystalssl.features.extract import extract as encode
from crystalssl.features.extract import settle_encoders
from crystalssl.features.origins import origin_of
from crystalssl.features.precision import check_dtype
from crystalssl.features.recipe import Recipe
from crystalssl.features.store import load_features, save_features
from crystalssl.hub.weights import load_run, run_folders
from crystalssl.pipeline.outputs import (
    check_file,
    check_folder,
    forget_skipped,
    limited_threads,
    report_skipped,
)
from crystalssl.pipeline.progress import SILENT, Progress, counted
from crystalssl.pipeline.structures import MANY, Structures, load_canonical
from crystalssl.processes import usable_cores
from crystalssl.structures.canonical import CanonicalResult

TABLES = (".parquet", ".pq")
"""Endings of structure tables."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Extracted:
    """A file of features.

    Attributes:
        path: the file.
        rows: crystals with features.
        width: features of each.
    """

    path: Path
    rows: int
    width: int


def extract(
    structures: Structures,
    out: str | Path | None = None,
    *,
    weights: str | Path = "default",
    block: str | Sequence[str | int] = "all",
    output: str = AUTO,
    dtype: str = "float32",
    strict: bool = False,
    symprec: float = 0.01,
    device: str | None = None,
    threads: int | None = None,
    progress: Progress = SILENT,
) -> Features:
    """Turn structures into features.

    Args:
        structures: paths or objects.
        out: file to write, ``.parquet``, or ``.npy`` with ids and names beside it.
        weights: folder of a run, or a name.
        block: all, or names and numbers.
        output: blocks side by side, the name of a bottleneck, or auto.
        dtype: number format of the file: float32, float16 or int8.
        strict: whether a structure that cannot be used is an error.
        symprec: tolerance of the symmetry search in angstrom.
        device: where to compute; a CUDA GPU if there is one by default.
        threads: threads to use; all cores by default.
        progress: told what is done.

    Returns:
        One row for each structure that can be used, in input order; what ``out`` holds, if given.

    Raises:
        InputError: if structures or weights cannot be used, or ``out`` cannot be written.
        UnknownNameError: if there is no such block, output, number format or weights.
    """
    if out is not None:
        extract_to(
            structures,
            out,
            weights=weights,
            block=block,
            output=output,
            dtype=dtype,
            strict=strict,
            symprec=symprec,
            device=device,
            threads=threads,
            progress=progress,
        )
        return load_features(Path(out))
    recipe = recipe_of(weights, block, output=output, symprec=symprec, device=device)
    with limited_threads(threads):
        return _in_memory(structures, recipe, None, strict, progress)


def extract_to(
    structures: Structures,
    out: str | Path,
    *,
    weights: str | Path = "default",
    block: str | Sequence[str | int] = "all",
    output: str = AUTO,
    dtype: str = "float32",
    strict: bool = False,
    symprec: float = 0.01,
    device: str | None = None,
    threads: int | None = None,
    progress: Progress = SILENT,
) -> Extracted:
    """Turn structures into a file of features; one table of many rows is streamed.

    Takes and raises what ``extract`` does.
    """
    path = check_file(out, [".parquet", ".npy"])
    check_dtype(dtype)
    recipe = recipe_of(weights, block, output=output, symprec=symprec, device=device)
    if note := unused_bottleneck(weights, output, recipe.blocks):
        progress.note(note)
    forget_skipped(path)
    with limited_threads(threads):
        table = _large_table(structures)
        if table is not None:
            workers = threads or usable_cores()
            done = _stream(table, path, recipe, dtype, strict, workers, progress)
        else:
            features = _in_memory(structures, recipe, path, strict, progress)
            save_features(features, path, dtype)
            done = Extracted(path=path, rows=len(features), width=len(features.names))
    progress.note(f"{done.rows:,} x {counted(done.width, 'feature')}: {path}")
    return done


def _in_memory(
    structures: Structures, recipe: Recipe, out: Path | None, strict: bool, progress: Progress
) -> Features:
    """Features of structures that fit in memory."""
    extractor = recipe.extractor()
    canonical = load_canonical(
        structures, out, strict=strict, symprec=recipe.symprec, progress=progress
    )
    with progress.step("Features") as advance:
        return extractor.features_of(canonical, advance)


def _large_table(structures: Structures) -> Path | None:
    """The one table that structures are, if it has more rows than are worth holding in memory."""
    paths = [structures] if isinstance(structures, str | Path) else structures
    if not isinstance(paths, Sequence) or len(paths) != 1 or not isinstance(paths[0], str | Path):
        return None
    table = Path(paths[0])
    if table.suffix.lower() not in TABLES or not table.is_file():
        return None
    from crystalssl.features.stream import count_rows

    return table if count_rows(table) > MANY else None


def _stream(
    table: Path,
    out: Path,
    recipe: Recipe,
    dtype: str,
    strict: bool,
    workers: int,
    progress: Progress,
) -> Extracted:
    """Features of a large table; skipped rows are reported as by every command."""
    from crystalssl.features.stream import Described, stream_features

    skipped: list[Skip] = []
    seen = 0
    with progress.step("Features") as advance:

        def watch(piece: Described, total: int) -> None:
            nonlocal seen
            seen += piece.rows
            skipped.extend(piece.skipped)
            advance(seen, total)
            if seen == total or (strict and skipped):
                report_skipped(skipped, total, out, strict=strict, progress=progress)

        outcome = stream_features(table, out, recipe, dtype=dtype, workers=workers, watch=watch)
    return Extracted(path=out, rows=outcome.written, width=recipe.extractor().width)


def featurize_corpus(
    shards: str | Path,
    out: str | Path,
    *,
    weights: str | Path = "default",
    block: str | Sequence[str | int] = "all",
    output: str = AUTO,
    dtype: str = "float32",
    workers: int | None = None,
    gpus: float = 0,
    symprec: float = 0.01,
    progress: Progress = SILENT,
) -> Path:
    """Turn a folder of structure tables into a folder of features files, one each, with Ray.

    Args:
        shards: folder of structure tables, ``.parquet``.
        out: folder of the features; what is done there is not done again.
        weights: folder of a run, or a name.
        block: all, or names and numbers.
        output: blocks side by side, the name of a bottleneck, or auto.
        dtype: number format of the files.
        workers: tables in work at once; one a core by default.
        gpus: GPUs of each worker; a fraction shares one.
        symprec: tolerance of the symmetry search in angstrom.
        progress: told what is done.

    Returns:
        The manifest of all shards.

    Raises:
        InputError: if a shard could not be done; the others are.
    """
    from crystalssl.features import corpora

    out = check_folder(out)
    device = "cuda" if gpus > 0 else "cpu"
    recipe = recipe_of(weights, block, output=output, symprec=symprec, device=device)
    if note := unused_bottleneck(weights, output, recipe.blocks):
        progress.note(note)
    done = 0
    with progress.step("Shards") as advance:

        def watch(record: corpora.ShardRecord, total: int) -> None:
            nonlocal done
            done += 1
            advance(done, total, record.shard)

        outcome = corpora.featurize_corpus(
            Path(shards),
            out,
            recipe,
            dtype=dtype,
            workers=workers or usable_cores(),
            gpus=gpus,
            watch=watch,
        )
    if outcome.done_before:
        progress.note(f"{counted(outcome.done_before, 'shard')} done before")
    rows, written, skipped = (outcome.total(name) for name in ("rows", "written", "skipped"))
    manifest = out / corpora.MANIFEST
    progress.note(f"{rows:,} rows in = {written:,} with features + {skipped:,} skipped: {manifest}")
    if outcome.failed:
        first = outcome.failed[0]
        raise InputError(
            f"{len(outcome.failed)} of {len(outcome.records)} shards could not be done. First: "
            f"{first.shard}: {first.error} The same command tries them again."
        )
    return manifest


def generate(
    structures: Structures | None,
    out: str | Path,
    *,
    count: int,
    mean_sites: float | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Path:
    """Make a synthetic corpus of any size, to measure cost with.

    Args:
        structures: real crystals to start from; the bundled ones if None.
        out: structure table, ``.parquet``.
        count: crystals to make.
        mean_sites: sites of a cell on average.
        seed: seed of the random generator.
        progress: told what is done.

    Raises:
        InputError: if something cannot be read or written.
    """
    from crystalssl.datasets.bundled import load_bundled
    from crystalssl.datasets.generate import write_corpus
    from crystalssl.pipeline.structures import read

    path = check_file(out, [".parquet"])
    source = load_bundled() if structures is None else read(structures, progress).crystals
    with progress.step("Making crystals"):
        write_corpus(path, source, count, seed=seed, mean_sites=mean_sites)
    number = counted(count, "synthetic crystal")
    progress.note(f"{number}, for measuring cost only: {path}")
    return path


def recipe_of(
    weights: str | Path,
    block: str | Sequence[str | int],
    *,
    output: str = AUTO,
    symprec: float = 0.01,
    device: str | None = None,
) -> Recipe:
    """What turns structures into features, by absolute path, for worker processes too.

    Raises:
        InputError: as ``load_encoders``.
    """
    source = str(Path(weights).resolve()) if Path(weights).is_dir() else str(weights)
    blocks = tuple(load_encoders(weights, block))
    return Recipe(weights=source, blocks=blocks, symprec=symprec, device=device, output=output)


def load_encoders(weights: str | Path, block: str | Sequence[str | int]) -> dict[str, Block]:
    """Trained blocks of a run folder, or of weights known by name.

    Raises:
        InputError: if there are none, or a chosen block is not among them.
        UnknownNameError: if there is no such block or weights.
    """
    if block == "all":
        return load_run(weights)
    wanted = [entry.name for entry in resolve_blocks(block)]
    there = run_folders(weights)
    missing = [name for name in wanted if name not in there]
    if missing:
        raise InputError(
            f"{weights} holds no weights of {', '.join(missing)}; it holds {', '.join(there)}. "
            "Choose among these with --block, or pre-train the others."
        )
    return load_run(weights, wanted)


def encode_with(
    source: Corpus | CanonicalResult,
    encoders: Mapping[str, Block],
    weights: str | Path,
    progress: Progress,
    title: str = "Features",
) -> Features:
    """Features of every crystal, in order; ``weights`` says where the encoders come from."""
    with progress.step(title) as advance:
        origins = [origin_of(weights, encoders)]
        return encode(source, encoders, origins=origins, progress=advance)


def untrained_features(
    source: Corpus | CanonicalResult, blocks: Sequence[str], seed: int, progress: Progress
) -> Features:
    """Features of fresh encoders of ``blocks``: what architecture alone is worth."""
    from crystalssl.blocks.registry import build_block

    fresh = {name: build_block(name, seed=seed) for name in blocks}
    settle_encoders(source, fresh)
    return encode_with(source, fresh, UNTRAINED, progress, "Untrained encoders")
