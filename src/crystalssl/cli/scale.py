"""Commands for corpora larger than one machine likes: generate.

Made-up corpora of any size for measuring cost; nothing here learns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crystalssl.cli.console import console, make_file, say
from crystalssl.cli.options import Seed


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
