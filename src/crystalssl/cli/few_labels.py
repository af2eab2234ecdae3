"""``crystalssl evaluate few-shot``: features with few labels, directly and by residual.

Features and labels go in; tidy rows, a summary with intervals and tables on screen come out. The
protocol and the models are in ``evaluation``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crystalssl.cli import feature_files, probing
from crystalssl.cli.console import (
    grid,
    load,
    make_folder,
    progress_bar,
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

if TYPE_CHECKING:
    from crystalssl.evaluation.bench import FewShotConfig
    from crystalssl.evaluation.few_shot import FewShot

Untrained = Annotated[
    bool, typer.Option(help="Also compare with encoders that were never trained.")
]
Draws = Annotated[int, typer.Option(help="Draws of each share below 100 percent.", min=1)]
Folds = Annotated[int, typer.Option(help="Folds that residuals are taken from.", min=2)]
Fractions = Annotated[
    str, typer.Option(help="Shares of the training labels, in percent, joined by commas.")
]
FullDraws = Annotated[
    int, typer.Option(help="Seeds of the heads where all labels are used.", min=1)
]
Heads = Annotated[
    str, typer.Option(help="Heads, joined by commas: ridge, lightgbm, mlp, random_forest.")
]
ResidualShares = Annotated[
    str, typer.Option(help="Shares for the residual protocol, in percent; empty for none.")
]


def few_shot(
    features: Annotated[Path, typer.Argument(help="Features, .parquet or .npy.")],
    structures: Labelled,
    target: Target,
    out: Annotated[Path, typer.Option("--out", help="Folder for rows and summary.")],
    also: Also = None,
    fractions: Fractions = "1,5,10,100",
    draws: Draws = 5,
    full_draws: FullDraws = 1,
    heads: Heads = "ridge,lightgbm,mlp",
    residual: ResidualShares = "1",
    folds: Folds = 5,
    untrained: Untrained = True,
    shared: Shared = None,
    drop_seen: DropSeenOption = "none",
    strict: Strict = False,
    symprec: Symprec = 0.01,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Scenario 3: features with 1, 5, 10 and 100 percent of the labels, beside raw FTCP.

    Stopped, it goes on where it was when the same command is given again.
    """
    from crystalssl.evaluation import few_shot as scenario
    from crystalssl.evaluation.draws import label_draws
    from crystalssl.evaluation.linear_probe import targets_of
    from crystalssl.evaluation.overlap import find_overlap
    from crystalssl.evaluation.shared_fits import SharedFits
    from crystalssl.evaluation.store import FOLDER, Store
    from crystalssl.features.store import load_features
    from crystalssl.structures.formulas import reduced_formulas

    make_folder(out)
    use_threads(threads)
    shares = feature_files.percentages(fractions, "--fractions")
    explained = feature_files.percentages(residual, "--residual")
    found = load_features(features)
    others = probing.read_named(also or [])
    loaded = load(structures)
    crystals = probing.labelled(loaded.crystals, target)
    protocol = label_draws(
        crystals, fractions=shares, draws=draws, full_draws=full_draws, seed=seed
    )
    if untrained and probing.UNTRAINED not in others:
        others[probing.UNTRAINED] = probing.untrained_features(
            crystals, found, loaded, out, strict=strict, symprec=symprec, seed=seed, shared=shared
        )
    else:
        report_skipped(loaded.skipped, loaded.total, out, strict)
    sets = feature_files.with_baselines(crystals, found, others, shared or out / "cache")
    config = _config(heads, explained, folds, list(others), threads)
    store = Store(out / FOLDER)
    overlap = find_overlap([o for f in (found, *others.values()) for o in f.origins], crystals)
    del found, others, loaded  # the sets hold what is needed of them
    with progress_bar("Few labels") as advance:
        result = scenario.few_shot(
            sets,
            targets_of(crystals, target),
            reduced_formulas(crystals),
            crystals.ids,
            protocol,
            store,
            config=config,
            fits=None if shared is None else SharedFits(store=Store(shared)),
            overlap=overlap,
            drop_seen=drop_seen,  # type: ignore[arg-type]  # any word; a wrong one is an error
            progress=advance,
        )
    result.save(out)
    show(result)
    if store.reused:
        say(f"{store.reused} of {store.reused + store.computed} fits were there from before")
    say(f"Rows and summary: {out}")


def _config(
    heads: str, explained: Sequence[float], folds: int, others: Sequence[str], threads: int | None
) -> FewShotConfig:
    """Settings of the scenario; untrained encoders explain what is left over, but are not ours."""
    from crystalssl.evaluation.bench import FewShotConfig

    chosen = tuple(word.strip() for word in heads.split(","))
    own = [name for name in (*others, probing.SSL) if name != probing.UNTRAINED]
    return FewShotConfig(
        heads=chosen,
        residual_heads=tuple(head for head in chosen if head != "ridge"),
        residual_fractions=tuple(explained),
        folds=folds,
        explainers=(*own, *(name for name in others if name == probing.UNTRAINED)),
        ours=(*own, probing.HYBRID),
        threads=threads or 0,
    )


def show(result: FewShot) -> None:
    """Print R2 of every set and head, differences to raw FTCP, and residual contributions."""
    record = result.table.record
    say(record.protocol)
    rows: list[dict[str, Any]] = result.summary.to_pylist()
    for name in dict.fromkeys(row["property"] for row in rows):
        own = [row for row in rows if row["property"] == name]
        alone = [row for row in own if not row["baseline"]]
        _show_cells(
            f"{name}: R2 with few labels, mean and 95 % interval",
            [row for row in alone if row["metric"] == "r2"],
            record.labels,
        )
        _show_cells(
            f"{name}: R2, ours less that of raw FTCP with its best head",
            [row for row in own if row["metric"] == "r2_difference" and "best" in row["baseline"]],
            record.labels,
        )
        _show_cells(
            f"{name}: contribution, R2 of what raw FTCP leaves over",
            [row for row in alone if row["metric"] == "contribution"],
            record.labels,
        )


def _show_cells(title: str, rows: list[dict[str, Any]], labels: dict[str, str]) -> None:
    """One table: a line for each feature set and head, a column for each share of the labels."""
    if not rows:
        return
    shares = list(dict.fromkeys((row["train_fraction"], row["n_train"]) for row in rows))
    cells = {
        (row["feature_set"], row["model"], row["train_fraction"]): (
            f"{row['mean']:.3f} [{row['low']:.3f} {row['high']:.3f}]"
        )
        for row in rows
    }
    lines = [
        [labels.get(part, part), model, *(cells.get((part, model, s), "") for s, _ in shares)]
        for part, model in dict.fromkeys((row["feature_set"], row["model"]) for row in rows)
    ]
    heads = [f"{100 * share:g} %, {count:,} labels" for share, count in shares]
    grid(title, ["features", "head", *heads], lines)
