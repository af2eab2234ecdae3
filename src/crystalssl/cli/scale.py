"""Large corpora: the command generate, and features of tables that are streamed.

Nothing here learns. A table of many rows never lies in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crystalssl.cli.console import MANY, console, make_file, progress_bar, report_skipped, say
from crystalssl.cli.options import Seed

if TYPE_CHECKING:
    from crystalssl.errors import Skip
    from crystalssl.features.stream import Described, Recipe

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


def is_large_table(sources: Sequence[Path]) -> bool:
    """Whether structures are one table with more rows than are worth holding in memory."""
    if len(sources) != 1 or sources[0].suffix.lower() not in TABLES or not sources[0].is_file():
        return False
    from crystalssl.features.stream import count_rows

    return count_rows(sources[0]) > MANY


def recipe_of(weights: str, blocks: Sequence[str], symprec: float) -> Recipe:
    """What turns structures into features, for worker processes."""
    from crystalssl.features.stream import Recipe

    return Recipe(weights=weights, blocks=tuple(blocks), symprec=symprec)


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
    widths = sum(block.width for block in recipe.encoders().values())
    say(f"{outcome.written:,} x {widths:,} features: {out}")
