"""``crystalssl evaluate ablation``: each block of features alone, and each left out.

Features and labels go in; tidy rows, a summary with intervals and a table on screen come out. The
comparison is in ``evaluation``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crystalssl.cli import probing
from crystalssl.cli.console import (
    grid,
    load,
    make_folder,
    progress_bar,
    report_skipped,
    say,
    use_threads,
)
from crystalssl.cli.options import Labelled, Seed, Strict, Symprec, Target, Threads

if TYPE_CHECKING:
    from crystalssl.evaluation.ablation import Ablation


def ablation(
    features: Annotated[Path, typer.Argument(help="Features, .parquet or .npy with names.")],
    structures: Labelled,
    target: Target,
    out: Annotated[Path, typer.Option("--out", help="Folder for rows and summary.")],
    untrained: Annotated[
        bool, typer.Option(help="Also compare with encoders that were never trained.")
    ] = True,
    untrained_features: Annotated[
        Path | None, typer.Option(help="Their features, where they are there already.")
    ] = None,
    drop_seen: Annotated[
        str, typer.Option(help="Test crystals to leave out: none, formulas or structures seen.")
    ] = "none",
    strict: Strict = False,
    symprec: Symprec = 0.01,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """What each block is worth, alone and when left out, beside the same block untrained."""
    from crystalssl.evaluation import ablation as scenario
    from crystalssl.evaluation.block_fits import BlockSet
    from crystalssl.evaluation.draws import label_draws
    from crystalssl.evaluation.feature_sets import given
    from crystalssl.evaluation.linear_probe import targets_of
    from crystalssl.evaluation.overlap import find_overlap
    from crystalssl.evaluation.store import FOLDER, Store
    from crystalssl.features.store import load_features
    from crystalssl.structures.formulas import reduced_formulas

    make_folder(out)
    use_threads(threads)
    sources = {probing.SSL: load_features(features)}
    if untrained_features is not None:
        sources[probing.UNTRAINED] = load_features(untrained_features)
    loaded = load(structures)
    crystals = probing.labelled(loaded.crystals, target)
    if untrained and probing.UNTRAINED not in sources:
        sources[probing.UNTRAINED] = probing.untrained_features(
            crystals, sources[probing.SSL], loaded, out, strict=strict, symprec=symprec, seed=seed
        )
    else:
        report_skipped(loaded.skipped, loaded.total, out, strict)
    sets = [
        BlockSet(
            part=given(name, probing.LABELS[name], found.ids, found.matrix, crystals),
            widths=found.widths,
        )
        for name, found in sources.items()
    ]
    with progress_bar("Ablation") as advance:
        result = scenario.ablation(
            sets,
            targets_of(crystals, target),
            reduced_formulas(crystals),
            crystals.ids,
            label_draws(crystals, fractions=(1.0,), draws=1, seed=seed),
            Store(out / FOLDER),
            overlap=find_overlap(sources[probing.SSL].origins, crystals),
            drop_seen=drop_seen,  # type: ignore[arg-type]  # any word; a wrong one is an error
            progress=advance,
        )
    result.save(out)
    show(result)
    say(f"Rows and summary: {out}")


def show(result: Ablation) -> None:
    """Print RMSE of every selection of blocks under ridge (and least squares, ``ols``).

    Beside it stand the differences to untrained encoders and to all blocks, with intervals.
    """
    record = result.table.record
    say(record.protocol)
    rows: list[dict[str, Any]] = result.summary.to_pylist()
    named = dict.fromkeys(row["feature_set"] for row in rows if ": " in row["feature_set"])
    names = list(dict.fromkeys(key.partition(": ")[0] for key in named))
    for name, unit in dict.fromkeys((row["property"], row["unit"]) for row in rows):
        own = [row for row in rows if row["property"] == name]
        value = {
            (row["feature_set"], row["baseline"], row["model"]): row
            for row in own
            if row["metric"] in ("rmse", "rmse_difference")
        }
        lines: list[list[str]] = []
        for part in dict.fromkeys(key.partition(": ")[2] for key in named):
            keys = [f"{source}: {part}" for source in names]
            alone = [value.get((keys[0], "", "ols")), *(value.get((k, "", "ridge")) for k in keys)]
            gains = [value.get((keys[0], key, "ridge")) for key in keys[1:]]
            loss = value.get((keys[0], f"{names[0]}: all", "ridge"))
            lines.append([part, *map(_mean, alone), *map(_interval, [*gains, loss])])
        heads = [f"{names[0]}, ols", *(f"{source}" for source in names)]
        gained = [f"{names[0]} less {source}" for source in names[1:]]
        title = f"Ablation, {name}{f' ({unit})' if unit else ''}: RMSE of ridge, and differences"
        grid(title, ["blocks", *heads, *gained, "less all blocks"], lines)


def _mean(row: dict[str, Any] | None) -> str:
    return "" if row is None else f"{row['mean']:.3f}"


def _interval(row: dict[str, Any] | None) -> str:
    return "" if row is None else f"{row['mean']:+.3f} [{row['low']:+.3f} {row['high']:+.3f}]"
