"""Commands that measure features and show the result: evaluate, report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crystalssl import pipeline
from crystalssl.cli.console import screen
from crystalssl.cli.options import (
    Also,
    BlockChoice,
    DropSeen,
    FeaturesFile,
    Labelled,
    OutFolder,
    Seed,
    Shared,
    Strict,
    Symprec,
    Target,
    Threads,
    Untrained,
    Weights,
)
from crystalssl.errors import InputError

if TYPE_CHECKING:
    from crystalssl.pipeline.evaluation import Scenario

app = typer.Typer(help="Measure features against labels and baselines.")


@app.callback()
def scenarios() -> None:
    """Keep ``evaluate`` a group, so that the scenario is spelled out."""


@app.command("linear-probe")
def linear_probe(
    features: FeaturesFile,
    structures: Labelled,
    target: Target,
    out: OutFolder,
    also: Also = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="held-out (folds of the test rows), repeated (90/10 to 60/40, random and "
            "grouped) or both; both where there is a split column, else repeated.",
            show_default=False,
        ),
    ] = None,
    repeats: Annotated[
        int, typer.Option(help="Repeats of each repeated split.", min=1, max=100)
    ] = 1,
    drop_seen: DropSeen = "none",
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights", "-w",
            help="Weights of features whose files do not name them.", show_default=False,
        ),
    ] = None,
    untrained: Untrained = True,
    shared: Shared = None,
    strict: Strict = False,
    symprec: Symprec = 0.01,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:  # fmt: skip
    """Scenario 1: ridge and least squares on features and every baseline, in the same splits."""
    from crystalssl.pipeline.evaluation import LinearProbe

    _evaluate(
        LinearProbe(protocol=protocol, repeats=repeats), features, structures, target, out,
        also=_named(also), drop_seen=drop_seen, weights=weights, untrained=untrained,
        shared=shared, strict=strict, symprec=symprec, seed=seed, threads=threads,
    )  # fmt: skip


@app.command("shap-share")
def shap_share(
    features: FeaturesFile,
    structures: Labelled,
    target: Target,
    out: OutFolder,
    explained: Annotated[int, typer.Option(help="Test rows that are explained.", min=2)] = 500,
    samples: Annotated[
        int, typer.Option(help="Points for each explained row of the network.", min=1)
    ] = 200,
    drop_seen: DropSeen = "none",
    shared: Shared = None,
    strict: Strict = False,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Scenario 2: the share of features in what a model on raw FTCP and features predicts."""
    from crystalssl.pipeline.evaluation import ShapShare

    _evaluate(
        ShapShare(explained=explained, samples=samples), features, structures, target, out,
        drop_seen=drop_seen, shared=shared, strict=strict, seed=seed, threads=threads,
    )  # fmt: skip


@app.command("few-shot")
def few_shot(
    features: FeaturesFile,
    structures: Labelled,
    target: Target,
    out: OutFolder,
    also: Also = None,
    fractions: Annotated[
        str, typer.Option(help="Train fractions, in percent, joined by commas.")
    ] = "1,5,10,100",
    repeats: Annotated[int, typer.Option(help="Repeats of fractions below 100 %.", min=1)] = 5,
    full_repeats: Annotated[
        int, typer.Option(help="Seeds of the heads where all labels are used.", min=1)
    ] = 1,
    heads: Annotated[
        str, typer.Option(help="Heads, joined by commas: ridge, lightgbm, mlp, random_forest.")
    ] = "ridge,lightgbm,mlp",
    residual: Annotated[
        str, typer.Option(help="Fractions for the residual protocol, in percent; empty for none.")
    ] = "1",
    folds: Annotated[int, typer.Option(help="Folds that residuals are taken from.", min=2)] = 5,
    untrained: Untrained = True,
    shared: Shared = None,
    drop_seen: DropSeen = "none",
    strict: Strict = False,
    symprec: Symprec = 0.01,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Scenario 3: features with 1, 5, 10 and 100 percent of the labels, beside raw FTCP.

    Stopped, it goes on where it was when the same command is given again.
    """
    from crystalssl.pipeline.evaluation import FewShot

    scenario = FewShot(
        fractions=_percentages(fractions, "--fractions"), repeats=repeats,
        full_repeats=full_repeats, heads=tuple(word.strip() for word in heads.split(",")),
        residual_fractions=_percentages(residual, "--residual"), folds=folds,
    )  # fmt: skip
    _evaluate(
        scenario, features, structures, target, out, also=_named(also), drop_seen=drop_seen,
        untrained=untrained, shared=shared, strict=strict, symprec=symprec, seed=seed,
        threads=threads,
    )  # fmt: skip


@app.command("ablation")
def ablation(
    features: FeaturesFile,
    structures: Labelled,
    target: Target,
    out: OutFolder,
    untrained: Untrained = True,
    untrained_features: Annotated[
        Path | None, typer.Option(help="Their features, where they are there already.")
    ] = None,
    drop_seen: DropSeen = "none",
    strict: Strict = False,
    symprec: Symprec = 0.01,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """What each block is worth, alone and when left out, beside the same block untrained."""
    from crystalssl.pipeline.evaluation import Ablation

    _evaluate(
        Ablation(), features, structures, target, out,
        also={"untrained": untrained_features} if untrained_features else None,
        drop_seen=drop_seen, untrained=untrained, strict=strict, symprec=symprec, seed=seed,
        threads=threads,
    )  # fmt: skip


@app.command("matbench")
def matbench(
    file: Annotated[
        Path,
        typer.Argument(help="matbench_*.json.gz as matminer has it, or a structure table."),
    ],
    out: OutFolder,
    weights: Weights = "default",
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
    from crystalssl.cli.results import show

    show(
        pipeline.matbench(
            file, out, weights=weights, block=block, head=head, target=target, task=task,
            strict=strict, symprec=symprec, seed=seed, threads=threads, progress=screen,
        )
    )  # fmt: skip


def report(
    folder: Annotated[
        Path, typer.Argument(help="Folder of a run, or of evaluations.", metavar="DIR")
    ],
    features: Annotated[
        Path | None,
        typer.Option(help="Features for the map; those of DIR if none.", show_default=False),
    ] = None,
    structures: Annotated[
        Path | None,
        typer.Option(
            "--structures", "-s",
            help="Table of their structures, with labels; that of DIR if none.",
            show_default=False,
        ),
    ] = None,
    umap: Annotated[
        bool, typer.Option(help="Show UMAP beside principal components, where it is installed.")
    ] = True,
) -> None:  # fmt: skip
    """Write report.html from what is stored; nothing is trained or evaluated."""
    pipeline.report(folder, features=features, structures=structures, umap=umap, progress=screen)


def _evaluate(
    scenario: Scenario,
    features: Path,
    structures: Sequence[Path],
    target: Sequence[str],
    out: Path,
    **options: Any,
) -> None:
    """Run a scenario and show its results."""
    from crystalssl.cli.results import show

    show(
        pipeline.evaluate(
            features, structures, target, out, scenario=scenario, progress=screen, **options
        )
    )


def _named(texts: Sequence[str] | None) -> dict[str, Path]:
    """Files given as ``NAME=FILE``.

    Raises:
        InputError: if one is not of this form, or a name repeats.
    """
    files: dict[str, Path] = {}
    for text in texts or ():
        name, _, file = text.partition("=")
        if not name or not file:
            raise InputError(f"Got --also {text!r}; expected NAME=FILE, like mine=mine.parquet.")
        if name in files:
            raise InputError(f"The name {name!r} of --also is in use; choose another.")
        files[name] = Path(file)
    return files


def _percentages(text: str, option: str) -> tuple[float, ...]:
    """Fractions given in percent, joined by commas; empty text gives none.

    Raises:
        InputError: if it holds something else.
    """
    try:
        fractions = tuple(float(word) / 100 for word in text.split(",") if word.strip())
    except ValueError as error:
        raise InputError(
            f"Got {option} {text!r}; expected numbers joined by commas, for instance 1,10,100."
        ) from error
    if any(not 0 < fraction <= 1 for fraction in fractions):
        raise InputError(f"Got {option} {text!r}; expected more than 0 and at most 100 percent.")
    return tuple(dict.fromkeys(fractions))
