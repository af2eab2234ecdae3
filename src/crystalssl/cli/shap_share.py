"""The command ``evaluate shap-share``: features and structures in, shares and accuracies out.

The scenario itself is in ``evaluation/shap_share.py``; here it gets its data and is shown.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crystalssl.cli.console import (
    console,
    grid,
    load,
    make_folder,
    progress_bar,
    report_skipped,
    say,
    use_threads,
)
from crystalssl.cli.options import Labelled, Seed, Shared, Strict, Target, Threads
from crystalssl.cli.probing import SSL, labelled

if TYPE_CHECKING:
    from crystalssl.evaluation.hybrid import Hybrid
    from crystalssl.evaluation.scenario import ResultTable
    from crystalssl.features.container import Features
    from crystalssl.structures.crystals import Crystals


def shap_share(
    features: Annotated[Path, typer.Argument(help="Features, .parquet or .npy.")],
    structures: Labelled,
    target: Target,
    out: Annotated[Path, typer.Option("--out", help="Folder for rows and predictions.")],
    explained: Annotated[int, typer.Option(help="Test rows that are explained.", min=2)] = 500,
    samples: Annotated[
        int, typer.Option(help="Points for each explained row of the network.", min=1)
    ] = 200,
    drop_seen: Annotated[
        str,
        typer.Option(help="Test crystals to leave out as seen: none, formulas or structures."),
    ] = "none",
    shared: Shared = None,
    strict: Strict = False,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Scenario 2: the share of features in what a model on raw FTCP and features says."""
    import numpy as np

    from crystalssl.evaluation import shap_share as scenario
    from crystalssl.evaluation.draws import label_draws
    from crystalssl.evaluation.linear_probe import targets_of
    from crystalssl.evaluation.overlap import find_overlap
    from crystalssl.evaluation.shap_units import ShapConfig
    from crystalssl.evaluation.shared_fits import SharedFits
    from crystalssl.evaluation.store import FOLDER, Store
    from crystalssl.features.store import load_features
    from crystalssl.structures.formulas import reduced_formulas

    make_folder(out)
    use_threads(threads)
    found = load_features(features)
    loaded = load(structures)
    report_skipped(loaded.skipped, loaded.total, out, strict)
    crystals = labelled(loaded.crystals, target)
    groups, targets = reduced_formulas(crystals), targets_of(crystals, target)
    overlap = find_overlap(found.origins, crystals)
    overlap.seen(drop_seen)  # type: ignore[arg-type]  # before any work: whether it can be told
    both = side_by_side(crystals, found)
    protocol = label_draws(crystals, fractions=(1.0,), draws=1, seed=seed)
    known = [np.flatnonzero(both.both.valid & np.isfinite(t.values)) for t in targets]
    splits = [protocol.splits(rows, groups)[0] for rows in known]
    say(overlap.words(np.concatenate([split.test for split in splits]), groups))
    del found, loaded
    with progress_bar("SHAP shares") as advance:
        result = scenario.shap_share(
            both,
            targets,
            splits,
            groups,
            crystals.ids,
            config=ShapConfig(explained=explained, samples=samples, seed=seed),
            overlap=overlap,
            drop_seen=drop_seen,  # type: ignore[arg-type]  # checked above
            threads=threads or 0,
            store=Store(out / FOLDER),
            fits=None if shared is None else SharedFits(store=Store(shared)),
            progress=advance,
        )
    result.save(out)
    show(result.table)
    say(f"Rows, explained rows and predictions: {out}")


def side_by_side(crystals: Crystals, features: Features) -> Hybrid:
    """Raw FTCP and features of the same crystals in one matrix.

    Raises:
        InputError: if the features are of other crystals.
    """
    from crystalssl.evaluation.feature_sets import given, raw_ftcp
    from crystalssl.evaluation.hybrid import hybrid

    with console.status("Raw FTCP"):
        raw = raw_ftcp(crystals)
    ssl = given(SSL, "Pre-trained encoders", features.ids, features.matrix, crystals)
    return hybrid(raw, ssl, features.widths)


def show(table: ResultTable) -> None:
    """Print accuracies of raw FTCP, features and both, then the shares by section."""
    from crystalssl.evaluation.scoring import MEAN

    labels = table.record.labels
    for name in dict.fromkeys(row.property for row in table.rows):
        own = [row for row in table.rows if row.property == name]
        unit = own[0].unit
        numbers = {(r.feature_set, r.model, r.metric): r.value for r in own}
        scored = dict.fromkeys((r.feature_set, r.model) for r in own if r.metric == "r2")
        rows = [
            [labels.get(part, part), "" if model == MEAN else model]
            + [f"{numbers[part, model, metric]:.3f}" for metric in ("r2", "rmse", "mae")]
            for part, model in scored
        ]
        units = f", {unit}" if unit else ""
        title = f"{name}{units}: {own[0].n_test:,} test crystals, {own[0].split_kind} formulas"
        grid(title, ["columns", "model", "R2", "RMSE", "MAE"], rows)
        shares = dict.fromkeys((r.feature_set, r.model) for r in own if r.metric == "shap_share")
        cells = [[labels.get(p, p), m, *_share_cells(numbers, p, m)] for p, m in shares]
        heads = ["share", "x its part of all columns", "x its part of those that vary"]
        grid(f"{name}: shares of absolute SHAP values", ["columns", "model", *heads], cells)


def _share_cells(numbers: dict[tuple[str, str, str], float], part: str, model: str) -> list[str]:
    """Share and both enrichments, with their intervals."""
    cells = []
    for metric, form in (
        ("shap_share", "{:.1%}"),
        ("enrichment_all", "{:.2f}"),
        ("enrichment_varying", "{:.2f}"),
    ):
        ends = [numbers.get((part, model, metric + end)) for end in ("", "_low", "_high")]
        middle, low, high = (form.format(x) if x is not None else "" for x in ends)
        cells.append(f"{middle} ({low} to {high})" if middle else "")
    return cells
