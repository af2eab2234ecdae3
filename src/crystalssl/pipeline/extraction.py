"""Structures and trained weights to features, in memory, into a file, or shard by shard.

Rows are in input order and the same every time. A table of many rows never lies in memory as a
whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crystalssl.errors import InputError, Skip
from crystalssl.files import exclusive
from crystalssl.pipeline.outputs import check_file, check_folder, forget_skipped, report_skipped
from crystalssl.pipeline.progress import SILENT, Progress, counted
from crystalssl.pipeline.site_extraction import extract_sites
from crystalssl.pipeline.structures import MANY, load_canonical
from crystalssl.processes import limited_threads, usable_cores

if TYPE_CHECKING:
    from crystalssl.datasets.load import Structures
    from crystalssl.features.extractor import ExtractorConfig
    from crystalssl.features.features import Features

TABLES = (".parquet", ".pq")
"""Endings of structure tables."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Extracted:
    """A file of features.

    Attributes:
        path: the file.
        rows: crystals with features, or sites.
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
    output: str = "auto",
    dtype: str = "float32",
    strict: bool = False,
    symprec: float = 0.01,
    electronic: str = "auto",
    pool: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    progress: Progress = SILENT,
) -> Features:
    """Turn structures into features.

    Args:
        structures: paths or objects.
        out: file to write, if any; see :func:`extract_to`.
        weights: folder of a run, or a name.
        block: all, or names and numbers.
        output: blocks side by side, the name of a bottleneck, auto, or named physics.
        dtype: number format of the file: float32, float16 or int8.
        strict: whether a structure that cannot be used is an error.
        symprec: tolerance of the symmetry search in angstrom.
        electronic: where numbers of the electrons come from: predicted by the student of the
            weights (taught), computed (exact), computed with spin (full); or off, without the
            block that reads them.
        pool: in place of the features of the blocks, states of sites pooled (``mean``,
            ``by-element`` or ``cumulants``).
        device: where to compute; a CUDA GPU if there is one by default.
        threads: threads to use; all cores by default.
        progress: told what is done.

    Returns:
        One row for each structure that can be used, in input order; what ``out`` holds, if given.

    Raises:
        InputError: if structures or weights cannot be used, or ``out`` cannot be written.
        UnknownNameError: if there is no such block, output, number format or weights.
    """
    from crystalssl.features.extractor import ExtractorConfig
    from crystalssl.features.store import load_features

    if out is not None:
        done = extract_to(
            structures, out, weights=weights, block=block, output=output, dtype=dtype,
            strict=strict, symprec=symprec, electronic=electronic, pool=pool, device=device,
            threads=threads, progress=progress,
        )  # fmt: skip
        return load_features(done.path)
    config = ExtractorConfig.of(
        weights, block, output=output, symprec=symprec, device=device, electronic=electronic,
        pool=pool,
    )  # fmt: skip
    _say_unmixed(config, progress)
    with limited_threads(threads):
        return _in_memory(structures, config, None, strict, progress)


def extract_to(
    structures: Structures,
    out: str | Path,
    *,
    weights: str | Path = "default",
    block: str | Sequence[str | int] = "all",
    output: str = "auto",
    dtype: str = "float32",
    strict: bool = False,
    symprec: float = 0.01,
    electronic: str = "auto",
    level: str = "crystal",
    pool: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    progress: Progress = SILENT,
) -> Extracted:
    """Turn structures into features, rows in input order, same bytes every time.

    A structure table of many rows is streamed: memory does not grow with it.

    Args:
        structures: as for :func:`extract`, and so are the others.
        out: file to write, ``.parquet``, or ``.npy`` with ids and names beside it.
        weights: folder of a run, or a name.
        block: all, or names and numbers.
        output: blocks side by side, the name of a bottleneck, or auto.
        dtype: number format of the file.
        strict: whether a structure that cannot be used is an error.
        symprec: tolerance of the symmetry search in angstrom.
        electronic: where numbers of the electrons come from.
        level: a row a ``crystal``, or a row a ``site``.
        pool: how states of sites are pooled, in place of the features of the blocks.
        device: where to compute.
        threads: threads to use.
        progress: told what is done.

    Raises:
        InputError: as :func:`extract`.
        UnknownNameError: as :func:`extract`, or if there is no such level.
    """
    from crystalssl.features.block_choice import SITE
    from crystalssl.features.extractor import ExtractorConfig
    from crystalssl.features.precision import check_dtype
    from crystalssl.features.store import save_features

    of_sites = level == SITE
    path = check_file(out, [".parquet"] if of_sites else [".parquet", ".npy"])
    check_dtype(dtype)
    config = ExtractorConfig.of(
        weights, block, output=output, symprec=symprec, device=device, electronic=electronic,
        level=level, pool=pool,
    )  # fmt: skip
    if of_sites and dtype != "float32":
        raise InputError(f"Got --dtype {dtype}, expected float32: sites are not compressed.")
    if not of_sites and pool is None:
        _say_unmixed(config, progress)
    with exclusive(path), limited_threads(threads):
        forget_skipped(path)
        table = _large_table(structures)
        if of_sites:
            sites, channels = extract_sites(
                structures, path, config, table=table, strict=strict, progress=progress
            )
            return Extracted(path=path, rows=sites, width=channels)
        if table is not None:
            workers = threads or usable_cores()
            done = _stream(table, path, config, dtype, strict, workers, progress)
        else:
            features = _in_memory(structures, config, path, strict, progress)
            save_features(features, path, dtype)
            done = Extracted(path=path, rows=len(features), width=len(features.names))
    progress.note(f"{done.rows:,} x {counted(done.width, 'feature')}: {path}")
    return done


def _say_unmixed(config: ExtractorConfig, progress: Progress) -> None:
    """Say where a bottleneck is left unused, and whose labels the encoders saw."""
    from crystalssl.features.bottleneck import unused_bottleneck

    if note := unused_bottleneck(config.weights, config.output, config.blocks):
        progress.note(note)
    if labels := config.labels():
        progress.note(f"These encoders were trained on labels of {labels}: features know them")


def _in_memory(
    structures: Structures,
    config: ExtractorConfig,
    out: Path | None,
    strict: bool,
    progress: Progress,
) -> Features:
    """Features of structures that fit in memory."""
    extractor = config.extractor()
    symprec = config.symprec
    canonical = load_canonical(structures, out, strict=strict, symprec=symprec, progress=progress)
    with progress.step("Features") as advance:
        features, odd = extractor.encode(canonical, advance).finite()
    if odd:
        skipped = [*canonical.skipped, *odd]
        total = len(features) + len(skipped)
        report_skipped(skipped, total, out, strict=strict, progress=progress)
    return extractor.mix(features)


def _large_table(structures: Structures) -> Path | None:
    """The one table that structures are, if it has more rows than are worth holding in memory."""
    from crystalssl.features.stream import count_rows

    table = single_table(structures)
    return table if table is not None and table.is_file() and count_rows(table) > MANY else None


def single_table(structures: Structures) -> Path | None:
    """The path of the one structure table that was given, or None for anything else."""
    paths = [structures] if isinstance(structures, str | Path) else structures
    if not isinstance(paths, list | tuple) or len(paths) != 1:
        return None
    first = paths[0]
    is_table = isinstance(first, str | Path) and Path(first).suffix.lower() in TABLES
    return Path(first) if is_table else None


def _stream(
    table: Path,
    out: Path,
    config: ExtractorConfig,
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

        outcome = stream_features(table, out, config, dtype=dtype, workers=workers, watch=watch)
    return Extracted(path=out, rows=outcome.written, width=config.extractor().width)


def featurize_corpus(
    shards: str | Path,
    out: str | Path,
    *,
    weights: str | Path = "default",
    block: str | Sequence[str | int] = "all",
    output: str = "auto",
    dtype: str = "float32",
    workers: int | None = None,
    gpus: float = 0.0,
    symprec: float = 0.01,
    electronic: str = "auto",
    progress: Progress = SILENT,
) -> Path:
    """Turn a folder of structure tables into feature tables with Ray, on one machine or many.

    Finished shards are not done again; the same command goes on where a stopped one was.

    Args:
        shards: folder of structure tables, ``.parquet``.
        out: folder of the features.
        weights: folder of a run, or a name.
        block: all, or names and numbers.
        output: blocks side by side, the name of a bottleneck, or auto.
        dtype: number format of the files.
        workers: tables in work at once; one a core by default.
        gpus: GPUs of each worker; a fraction shares one.
        symprec: tolerance of the symmetry search in angstrom.
        electronic: where numbers of the electrons come from, as for :func:`extract`.
        progress: told what is done.

    Returns:
        The manifest of all shards.

    Raises:
        InputError: if a shard could not be done; the others are.
    """
    from crystalssl.features import corpora
    from crystalssl.features.extractor import ExtractorConfig

    folder, done = check_folder(out), 0
    device = "cuda" if gpus > 0 else "cpu"
    config = ExtractorConfig.of(
        weights, block, output=output, symprec=symprec, device=device, electronic=electronic
    )
    _say_unmixed(config, progress)
    with exclusive(folder), progress.step("Shards") as advance:

        def watch(record: corpora.ShardRecord, total: int) -> None:
            nonlocal done
            done += 1
            advance(done, total, record.shard)

        outcome = corpora.featurize_corpus(
            Path(shards), folder, config, dtype=dtype, workers=workers or usable_cores(),
            gpus=gpus, watch=watch,
        )  # fmt: skip
    if outcome.done_before:
        progress.note(f"{counted(outcome.done_before, 'shard')} done before")
    rows, written, skipped = (outcome.total(name) for name in ("rows", "written", "skipped"))
    manifest = folder / corpora.MANIFEST
    progress.note(f"{rows:,} rows in = {written:,} with features + {skipped:,} skipped: {manifest}")
    if outcome.failed:
        first = outcome.failed[0]
        raise InputError(
            f"{len(outcome.failed)} of {len(outcome.records)} shards could not be done. First: "
            f"{first.shard}: {first.error} The same command tries them again."
        )
    return manifest
