"""``crystalssl evaluate linear-probe``: features and labels in, tidy rows, margins and wins out.

Reads features files, adds the baselines, and lets ``evaluation.linear_probe`` compare them; what is
finished is kept, so the same command again does the rest.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crystalssl.cli import probing
from crystalssl.cli.console import (
    load,
    make_canonical,
    make_folder,
    report_skipped,
    say,
    use_threads,
)
from crystalssl.cli.options import Also, DropSeenOption, Seed, Strict, Symprec, Target, Threads
from crystalssl.cli.probe_tables import show_results

if TYPE_CHECKING:
    from crystalssl.cli.console import Loaded
    from crystalssl.features.container import Features
    from crystalssl.structures.crystals import Crystals


def linear_probe(
    features: Annotated[Path, typer.Argument(help="Features, .parquet or .npy.")],
    structures: Annotated[
        list[Path],
        typer.Option("--structures", "-s", help="Structures with labels; may be repeated."),
    ],
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
        blank = untrained_features(crystals, loaded, out, strict=strict, symprec=symprec, seed=seed)
    else:
        report_skipped(loaded.skipped, loaded.total, out, strict)
    overlap = probing.overlap_of(list(trained.values()), crystals, weights)
    sets = probing.build_sets(crystals, trained, blank, out / "cache")
    result = probing.probe(
        sets, crystals, target, splits, out,
        champions=list(trained), overlap=overlap, drop_seen=drop_seen,
    )  # fmt: skip
    show_results(result)
    say(f"Rows, margins and predictions: {out}")


def untrained_features(
    crystals: Crystals, loaded: Loaded, out: Path, *, strict: bool, symprec: float, seed: int
) -> Features:
    """Features of encoders that were never trained, or those of an earlier run on these crystals.

    Everything skipped, when reading or here, is reported at once.
    """
    from crystalssl.blocks._registry import build_block, list_blocks
    from crystalssl.cli import steps
    from crystalssl.cli.stages import Stages, crystals_digest
    from crystalssl.features.container import UNTRAINED
    from crystalssl.features.store import load_features, save_features

    stages, path = Stages(out / "cache"), out / "cache" / "untrained_features.parquet"
    settings = {"seed": seed, "symprec": symprec, "blocks": [b.name for b in list_blocks()]}
    digest = stages.digest("untrained", settings, [crystals_digest(crystals.with_columns(None))])
    if stages.is_done("untrained", digest, path):
        report_skipped(loaded.skipped, loaded.total, out, strict)
        return load_features(path)
    canonical = make_canonical(
        crystals, out, strict=strict, symprec=symprec, skipped=loaded.skipped
    )
    fresh = {block.name: build_block(block.name, seed=seed) for block in list_blocks()}
    features = steps.extract_features(canonical, fresh, UNTRAINED, "Untrained encoders")
    save_features(features, path)
    stages.finish("untrained", digest, settings)
    return features
