"""``crystalssl evaluate few-shot``: features with few labels, directly and by residual.

Features and labels go in; tidy rows, a summary with intervals and a table on screen come out. The
protocol and the models are in ``evaluation``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crystalssl.cli import probing
from crystalssl.cli.console import (
    load,
    make_folder,
    progress_bar,
    report_skipped,
    say,
    use_threads,
)
from crystalssl.cli.options import Seed, Strict, Symprec, Target, Threads

if TYPE_CHECKING:
    pass

HYBRID = "hybrid"
"""Name of raw FTCP beside our features."""


def few_shot(
    features: Annotated[Path, typer.Argument(help="Features, .parquet or .npy.")],
    structures: Annotated[
        list[Path],
        typer.Option("--structures", "-s", help="Structures with labels; may be repeated."),
    ],
    target: Target,
    out: Annotated[Path, typer.Option("--out", help="Folder for rows and summary.")],
    also: Annotated[
        list[str] | None,
        typer.Option("--also", help="Another feature set, NAME=FILE; may be repeated."),
    ] = None,
    fractions: Annotated[
        str, typer.Option(help="Shares of the training labels in percent, joined by commas.")
    ] = "1,5,10,100",
    draws: Annotated[int, typer.Option(help="Draws of each share below 100 %.", min=1)] = 5,
    heads: Annotated[
        str, typer.Option(help="Heads joined by commas: ridge, lightgbm, mlp, random_forest.")
    ] = "ridge,lightgbm,mlp",
    residual: Annotated[
        str,
        typer.Option(help="Shares in percent for the residual protocol; empty for none."),
    ] = "1,5,10",
    folds: Annotated[int, typer.Option(help="Folds that residuals are taken from.", min=2)] = 5,
    untrained: Annotated[
        bool, typer.Option(help="Also compare with encoders that were never trained.")
    ] = True,
    strict: Strict = False,
    symprec: Symprec = 0.01,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Scenario 3: features with 1, 5, 10 and 100 % of the labels, beside raw FTCP and boosting.

    Stopped, it goes on where it was when the same command is given again.
    """
    from crystalssl.evaluation.bench import FewShotConfig
    from crystalssl.evaluation.draws import label_draws
    from crystalssl.evaluation.few_shot import few_shot as compare
    from crystalssl.evaluation.linear_probe import targets_of
    from crystalssl.evaluation.store import FOLDER, Store
    from crystalssl.features.store import load_features
    from crystalssl.structures.formulas import reduced_formulas

    make_folder(out)
    use_threads(threads)
    others = {name: load_features(path) for name, path in named_files(also or []).items()}
    found = load_features(features)
    loaded = load(structures)
    report_skipped(loaded.skipped, loaded.total, out, strict)
    crystals = probing.labelled(loaded.crystals, target)
    if untrained and probing.UNTRAINED not in others:
        others[probing.UNTRAINED] = probing.untrained_features(
            crystals, out, strict=strict, symprec=symprec, seed=seed
        )
    sets = build_sets(crystals, found, others, out / "cache")
    config = FewShotConfig(
        heads=tuple(heads.split(",")),
        residual_fractions=shares(residual),
        folds=folds,
        explainers=tuple(s.name for s in sets if s.name not in (*BASELINES, HYBRID)),
        ours=tuple(s.name for s in sets if s.name not in (*BASELINES, probing.UNTRAINED)),
        threads=threads or 0,
    )
    protocol = label_draws(crystals, fractions=shares(fractions), draws=draws, seed=seed)
    store = Store(out / FOLDER / "few_shot")
    with progress_bar("Few labels") as advance:
        result = compare(
            sets,
            targets_of(crystals, target),
            reduced_formulas(crystals),
            crystals.ids,
            protocol,
            store,
            config=config,
            progress=advance,
        )
    result.save(out)
    show(result)
    if store.reused:
        say(f"{store.reused} of {store.reused + store.computed} fits were done before")
    say(f"Rows and summary: {out}")
