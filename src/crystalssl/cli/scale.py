"""Large corpora: the commands generate and featurize-corpus, and tables that are streamed.

Nothing here learns. A table of many rows never lies in memory as a whole.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crystalssl.cli.console import MANY, console, make_file, progress_bar, report_skipped, say
from crystalssl.cli.options import BlockChoice, DType, Output, Seed, Symprec
from crystalssl.errors import InputError

if TYPE_CHECKING:
    from crystalssl.cli.steps import Split
    from crystalssl.datasets.parts import PartedCorpus
    from crystalssl.errors import Skip
    from crystalssl.features.corpora import ShardRecord
    from crystalssl.features.recipe import Recipe
    from crystalssl.features.stream import Described

HELD_OUT = 0.05
"""Share of the formulas that validate in pre-training from disk."""
TABLES = (".parquet", ".pq")
"""Endings of structure tables."""


def generate(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Real structures to start from; the bundled ones if none are given.",
            metavar="[STRUCTURES]",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Structure table, .parquet.")] = Path(
        "synthetic.parquet"
    ),
    count: Annotated[int, typer.Option("--count", "-n", help="Crystals to make.", min=1)] = 129_473,
    mean_sites: Annotated[
        float | None, typer.Option(help="Sites a cell on average.", min=1)
    ] = None,
    seed: Seed = 0,
) -> None:
    """Make a synthetic corpus of any size, to measure cost with: strained, elements exchanged."""
    from crystalssl.datasets.bundled import load_bundled
    from crystalssl.datasets.generate import write_corpus
    from crystalssl.datasets.load import load_crystals

    make_file(out, [".parquet"])
    source = load_crystals(sources).crystals if sources else load_bundled()
    with console.status("Making crystals"):
        write_corpus(out, source, count, seed=seed, mean_sites=mean_sites)
    say(f"{count:,} synthetic crystals, for measuring cost only: {out}")


def featurize_corpus(
    shards: Annotated[
        Path, typer.Argument(help="Folder of structure tables, .parquet.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the features.")],
    weights: Annotated[
        str, typer.Option("--weights", "-w", help="Folder of a run, or a name (info weights).")
    ] = "default",
    block: BlockChoice = "all",
    output: Output = "auto",
    dtype: DType = "float32",
    workers: Annotated[
        int | None, typer.Option(help="Shards at a time; one a core if not given.", min=1)
    ] = None,
    gpus: Annotated[float, typer.Option(help="Share of a GPU for each worker.", min=0)] = 0.0,
    symprec: Symprec = 0.01,
) -> None:
    """Turn a folder of structure tables into feature tables with Ray, on one machine or many.

    Finished shards are not done again; the same command goes on where a stopped one was.
    """
    from crystalssl.cli import steps
    from crystalssl.cli.console import make_folder
    from crystalssl.features.bottleneck import unused_bottleneck
    from crystalssl.features.corpora import MANIFEST
    from crystalssl.features.corpora import featurize_corpus as featurize
    from crystalssl.processes import usable_cores

    make_folder(out)
    blocks = list(steps.load_encoders(weights, block))
    recipe = recipe_of(weights, blocks, symprec, output, gpus > 0)
    if note := unused_bottleneck(weights, output, blocks):
        say(note)
    many = workers or usable_cores()
    done = 0
    with progress_bar("Shards") as advance:

        def watch(record: ShardRecord, total: int) -> None:
            nonlocal done
            done += 1
            advance(done, total, record.shard)

        outcome = featurize(shards, out, recipe, dtype=dtype, workers=many, gpus=gpus, watch=watch)
    if outcome.done_before:
        say(f"{outcome.done_before:,} shards were done before")
    rows, written, skipped = (outcome.total(name) for name in ("rows", "written", "skipped"))
    say(f"{rows:,} rows in = {written:,} with features + {skipped:,} skipped: {out / MANIFEST}")
    if outcome.failed:
        first = outcome.failed[0]
        raise InputError(
            f"{len(outcome.failed)} of {len(outcome.records)} shards could not be done. First: "
            f"{first.shard}: {first.error} The same command tries them again."
        )


def is_large_table(sources: Sequence[Path]) -> bool:
    """Whether structures are one table with more rows than are worth holding in memory."""
    if len(sources) != 1 or sources[0].suffix.lower() not in TABLES or not sources[0].is_file():
        return False
    from crystalssl.features.stream import count_rows

    return count_rows(sources[0]) > MANY


def recipe_of(
    weights: str,
    blocks: Sequence[str],
    symprec: float,
    output: str,
    on_gpu: bool | None = None,
) -> Recipe:
    """What turns structures into features, for worker processes; on a GPU if there is one."""
    from crystalssl.features.recipe import Recipe

    device = None if on_gpu is None else ("cuda" if on_gpu else "cpu")
    place = str(Path(weights).resolve()) if Path(weights).is_dir() else weights
    return Recipe(
        weights=place, blocks=tuple(blocks), symprec=symprec, device=device, output=output
    )


def stream_table(
    table: Path, out: Path, recipe: Recipe, *, dtype: str, strict: bool, workers: int | None
) -> None:
    """Features of a large table; skipped rows are reported as by every command.

    Raises:
        InputError: as ``report_skipped`` and ``features.stream.stream_features``.
    """
    from crystalssl.features.stream import stream_features
    from crystalssl.processes import usable_cores

    skipped: list[Skip] = []
    seen = 0
    with progress_bar("Features") as advance:

        def watch(piece: Described, total: int) -> None:
            nonlocal seen
            seen += piece.rows
            skipped.extend(piece.skipped)
            advance(seen, total)
            if seen == total or (strict and skipped):
                report_skipped(skipped, total, out.parent, strict)

        many = workers or usable_cores()
        outcome = stream_features(table, out, recipe, dtype=dtype, workers=many, watch=watch)
    say(f"{outcome.written:,} x {recipe.extractor().width:,} features: {out}")


def parts_of(
    sources: Sequence[Path], out: Path, seed: int, symprec: float, *, strict: bool
) -> tuple[PartedCorpus, Split]:
    """The corpus of one structure table in parts on disk, and rows to train and validate on.

    Formulas are kept together; ``HELD_OUT`` of them validate. Parts that are there already and
    fit the table are taken; of several processes that a launcher started the first writes them.

    Raises:
        InputError: if there is not exactly one table, or as ``write_parts``.
    """
    import numpy as np

    from crystalssl.cli.steps import Split
    from crystalssl.datasets.parts import PartedCorpus, parts_fit, split_by_formula, write_parts

    if len(sources) != 1 or sources[0].suffix.lower() not in TABLES:
        raise InputError(
            "--stream reads one structure table (.parquet). Make it with: crystalssl convert "
            "SOURCES -o structures.parquet"
        )
    folder = out / "corpus"
    first = int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) == 0
    while not (fits := parts_fit(sources[0], folder, seed=seed, symprec=symprec)) and not first:
        time.sleep(5)
    if not fits:
        with console.status("Canonical cells and neighbour graphs, part by part"):
            done = write_parts(sources[0], folder, seed=seed, symprec=symprec)
        report_skipped(done.skipped, done.rows, out, strict)
        say(f"{done.written:,} canonical crystals in parts: {folder}")
    corpus = PartedCorpus(folder)
    held_out = split_by_formula(corpus.formulas, HELD_OUT)
    none = np.zeros(0, np.int64)
    split = Split(train=np.flatnonzero(~held_out), val=np.flatnonzero(held_out), test=none)
    return corpus, split
