"""Commands that turn crystal files into tables and arrays: convert, ftcp, panel, generate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crystalssl import pipeline
from crystalssl.cli.console import screen
from crystalssl.cli.options import OptionalSources, Seed, Sources, Strict, Symprec, Table


def convert(sources: Sources, out: Table, strict: Strict = False) -> None:
    """Turn crystal files into one structure table (Parquet), cells as given."""
    pipeline.convert(sources, out, strict=strict, progress=screen)


def ftcp(
    sources: Sources,
    out: Annotated[Path, typer.Option("--out", "-o", help="Array of (n, 400, 63), .npy.")],
    strict: Strict = False,
) -> None:
    """Encode cells as given into raw FTCP, byte-compatible with the original program."""
    pipeline.write_ftcp(sources, out, strict=strict, progress=screen)


def panel(
    sources: Sources,
    out: Annotated[Path, typer.Option("--out", "-o", help="Array of (n, 103, 64), .npy.")],
    strict: Strict = False,
    symprec: Symprec = 0.01,
) -> None:
    """Write the panel of canonical crystals: what the encoders read."""
    pipeline.write_panel(sources, out, strict=strict, symprec=symprec, progress=screen)


def generate(
    sources: OptionalSources = None,
    out: Table = Path("synthetic.parquet"),
    count: Annotated[int, typer.Option("--count", "-n", help="Crystals to make.", min=1)] = 129_473,
    mean_sites: Annotated[
        float | None, typer.Option(help="Sites a cell on average.", min=1)
    ] = None,
    seed: Seed = 0,
) -> None:
    """Make a synthetic corpus of any size, to measure cost with: strained, elements exchanged."""
    pipeline.generate(
        sources, out, count=count, mean_sites=mean_sites, seed=seed, progress=screen
    )
