"""The command ``evaluate matbench``: a Matbench task in, scores and a Matbench record out.

Structures become features once, without labels; heads are fitted in ``evaluation/matbench.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crystalssl.cli.console import (
    console,
    forget_skipped,
    grid,
    make_canonical,
    make_folder,
    progress_bar,
    say,
    use_threads,
)
from crystalssl.cli.options import BlockChoice, Seed, Strict, Symprec, Threads
from crystalssl.cli.probe_tables import spread
from crystalssl.cli.probing import SSL

if TYPE_CHECKING:
    from crystalssl.evaluation.feature_sets import FeatureSet
    from crystalssl.evaluation.matbench import Matbench
    from crystalssl.evaluation.matbench_tasks import TaskData
    from crystalssl.evaluation.overlap import Overlap


def matbench(
    file: Annotated[
        Path,
        typer.Argument(help="matbench_*.json.gz as matminer has it, or a structure table."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for rows, predictions, record.")],
    weights: Annotated[
        str, typer.Option("--weights", "-w", help="Folder of a run, or a name (info weights).")
    ] = "default",
    head: Annotated[str, typer.Option(help="ridge, lightgbm, mlp or random_forest.")] = "ridge",
    target: Annotated[
        str | None, typer.Option("--target", "-t", help="Label column, if it is not clear.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Task name, if the file has another name.")
    ] = None,
    block: BlockChoice = "all",
    strict: Strict = False,
    symprec: Symprec = 0.01,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Matbench: the five official folds of a task, frozen features, one head."""
    from crystalssl.cli import steps
    from crystalssl.evaluation.matbench import matbench as run_folds
    from crystalssl.evaluation.matbench_file import read_task
    from crystalssl.evaluation.store import FOLDER, Store
    from crystalssl.models import build_head

    use_threads(threads)
    blocks = steps.load_encoders(weights, block)
    make_folder(out)
    with console.status("Reading the task"):
        data = read_task(file, target, task)
    model = build_head(head, kind=data.kind, threads=threads or 0)
    tell_task(data)
    features, overlap = task_features(data, out, weights, block, strict=strict, symprec=symprec)
    with progress_bar(f"Matbench, {data.name}") as advance:
        result = run_folds(
            data,
            features,
            model,
            seed=seed,
            overlap=overlap,
            details={"weights": weights, "blocks": ",".join(blocks)},
            store=Store(out / FOLDER),
            progress=advance,
        )
    result.save(out)
    show(result, data)
    say(f"Rows, predictions and results.json: {out}")


def tell_task(task: TaskData) -> None:
    """Say what the task is, and whether its folds are those of the benchmark."""
    say(f"{task.name}: {len(task.labels):,} rows, {task.kind} of {task.target}")
    if not task.official:
        say(
            "This is not a task of Matbench v0.1 as published (name, target and number of rows): "
            "its folds are made the same way, but scores do not belong on the leaderboard.",
            "yellow",
        )


def task_features(
    task: TaskData, out: Path, weights: str, block: str, *, strict: bool, symprec: float
) -> tuple[FeatureSet, Overlap]:
    """Features of every row of a task, kept in the output folder; what their weights have seen.

    Raises:
        InputError: if no structure can be used, or one cannot and ``strict``.
    """
    import numpy as np

    from crystalssl.cli import steps
    from crystalssl.cli.stages import Stages, crystals_digest
    from crystalssl.evaluation.feature_sets import FeatureSet
    from crystalssl.evaluation.overlap import find_overlap
    from crystalssl.features.store import load_features, save_features
    from crystalssl.hub.weights import load_cards
    from crystalssl.structures.formulas import reduced_formulas

    stages, path = Stages(out), out / "cache" / "features.parquet"
    settings = {"weights": weights, "block": block, "symprec": symprec, "strict": strict}
    sums = [card.sha256 for card in load_cards(weights).values()]
    digest = stages.digest("features", settings, [crystals_digest(task.crystals), *sums])
    if not stages.is_done("features", digest, path):
        forget_skipped(out)
        canonical = make_canonical(
            task.crystals, out, strict=strict, symprec=symprec, skipped=task.skipped
        )
        encoders = steps.load_encoders(weights, block)
        save_features(steps.extract_features(canonical, encoders, weights), path)
        stages.finish("features", digest, settings)
    found = load_features(path)
    valid = np.isin(task.mbids, found.ids)
    matrix = np.zeros((len(valid), len(found.names)), np.float32)
    matrix[valid] = found.matrix  # both in the order of the task
    if not valid.all():
        say(
            f"{int((~valid).sum()):,} of {len(valid):,} rows have no features; they are predicted "
            "by the mean of the training labels",
            "yellow",
        )
    overlap = find_overlap(found.origins, task.crystals)
    say(overlap.words(np.arange(len(task.crystals)), reduced_formulas(task.crystals)))
    features = FeatureSet(
        name=SSL, label="Pre-trained encoders", matrix=matrix, valid=valid, width=matrix.shape[1]
    )
    return features, overlap


def show(result: Matbench, task: TaskData) -> None:
    """Print the scores: means and spreads over the five folds, beside the mean of the labels."""
    from crystalssl.evaluation.scoring import MEAN

    rows: dict[str, list[str]] = {}
    for summary in result.table.summarize(["metric", "model"]):
        metric, model = summary.key
        if metric != "fit_seconds":
            rows.setdefault(metric, [metric, "", ""])[2 if model == MEAN else 1] = spread(
                summary.mean, summary.spread, summary.count
            )
    unit = f", {task.unit}" if task.unit else ""
    title = f"{task.name} ({task.target}{unit}), five folds, mean and spread"
    grid(title, ["score", result.table.rows[0].model, "mean of labels"], list(rows.values()))
