"""``crystalssl evaluate linear-probe``: features and labels in, tidy rows, margins and wins out.

Reads features files, adds the baselines, and lets ``evaluation.linear_probe`` compare them; what is
finished is kept, so the same command again does the rest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crystalssl.cli import probing
from crystalssl.cli.console import (
    load,
    make_folder,
    report_skipped,
    say,
    use_threads,
)
from crystalssl.cli.options import (
    Also,
    DropSeenOption,
    Labelled,
    Seed,
    Shared,
    Strict,
    Symprec,
    Target,
    Threads,
)
from crystalssl.cli.probe_tables import show_results


def linear_probe(
    features: Annotated[Path, typer.Argument(help="Features, .parquet or .npy.")],
    structures: Labelled,
    target: Target,
    out: Annotated[Path, typer.Option("--out", help="Folder for rows and predictions.")],
    also: Also = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="held-out (folds of the test part), repeated (90/10 to 60/40, random and "
            "grouped) or both; both where there is a split column, else repeated.",
            show_default=False,
        ),
    ] = None,
    repeats: Annotated[
        int, typer.Option(help="Seeds of each repeated split.", min=1, max=100)
    ] = 1,
    drop_seen: DropSeenOption = "none",
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights", "-w",
            help="Weights of features whose files do not name them.", show_default=False,
        ),
    ] = None,
    untrained: Annotated[
        bool, typer.Option(help="Also compare with encoders that were never trained.")
    ] = True,
    shared: Shared = None,
    strict: Strict = False,
    symprec: Symprec = 0.01,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:  # fmt: skip
    """Scenario 1: ridge and least squares on features and every baseline, in the same splits."""
    from crystalssl.features.store import load_features

    make_folder(out)
    use_threads(threads)
    others = probing.read_named(also or [])
    trained = {probing.SSL: load_features(features), **others}
    loaded = load(structures)
    crystals = probing.labelled(loaded.crystals, target)
    splits = probing.choose_protocol(crystals, target, protocol, seed, repeats)
    blank = None
    if untrained and probing.UNTRAINED not in others:
        blank = probing.untrained_features(
            crystals, trained[probing.SSL], loaded, out,
            strict=strict, symprec=symprec, seed=seed, shared=shared,
        )  # fmt: skip
    else:
        report_skipped(loaded.skipped, loaded.total, out, strict)
    overlap = probing.overlap_of(list(trained.values()), crystals, weights)
    cache, champions = shared or out / "cache", list(trained)
    sets = probing.build_sets(crystals, trained, blank, cache)
    del trained, others, blank  # the sets hold copies, and a probe of raw FTCP needs the memory
    result = probing.probe(
        sets, crystals, target, splits, out,
        champions=champions, overlap=overlap, drop_seen=drop_seen,
    )  # fmt: skip
    show_results(result)
    say(f"Rows, margins and predictions: {out}")
