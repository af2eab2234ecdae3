"""Commands that train encoders and use them: run, pretrain, extract, bottleneck, featurize-corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crystalssl import pipeline
from crystalssl.cli.console import say, screen
from crystalssl.cli.options import (
    Assignments,
    BlockChoice,
    ConfigFile,
    DType,
    Epochs,
    Force,
    MaybeSeed,
    OptionalSources,
    OutFolder,
    Output,
    Preset,
    Resume,
    Seed,
    Sources,
    Strict,
    Symprec,
    Threads,
    Weights,
)
from crystalssl.pipeline.settings import read_settings


def run(
    sources: OptionalSources = None,
    out: OutFolder = Path("runs/quick"),
    preset: Preset = "quick",
    block: BlockChoice = "all",
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            "-t",
            help="Label column to predict, or log10(COLUMN); formation_energy_per_atom if there "
            "is one.",
            show_default=False,
        ),
    ] = None,
    epochs: Epochs = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
    force: Force = False,
    strict: Strict = False,
    symprec: Symprec = 0.01,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Do everything: pre-train on structures, extract features, compare them, write the report.

    The same command again redoes only what changed or was not finished.
    """
    from crystalssl.cli.results import show

    result = pipeline.run(
        sources, out, block=block, preset=preset, targets=target, epochs=epochs,
        settings=read_settings(config, assignments or ()), force=force, strict=strict,
        symprec=symprec, seed=seed, threads=threads, progress=screen,
    )  # fmt: skip
    if result.linear_probe is not None:
        show(result.linear_probe)
    say(f"Report: {result.report}")


def pretrain(
    sources: Sources,
    out: OutFolder = Path("runs/pretrained"),
    block: BlockChoice = "all",
    preset: Preset = "quick",
    epochs: Epochs = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
    init: Annotated[
        str | None,
        typer.Option(
            help="Weights to go on from: folder of a run, or a name (info weights).",
            show_default=False,
        ),
    ] = None,
    resume: Resume = False,
    force: Force = False,
    strict: Strict = False,
    symprec: Symprec = 0.01,
    seed: MaybeSeed = None,
    threads: Threads = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="Keep the corpus in shards on disk, not in memory.")
    ] = False,
    devices: Annotated[
        int | None, typer.Option(help="Processes or GPUs on each host, under a launcher.", min=1)
    ] = None,
    nodes: Annotated[int | None, typer.Option(help="Hosts, under a launcher.", min=1)] = None,
) -> None:
    """Pre-train blocks without labels; learning curves and weights go to RUN/blocks/NAME."""
    done = pipeline.pretrain(
        sources, out, block=block, preset=preset, epochs=epochs, init=init,
        settings=read_settings(config, assignments or ()), resume=resume, force=force,
        stream=stream, strict=strict, symprec=symprec, seed=seed, threads=threads,
        devices=devices, nodes=nodes, progress=screen,
    )  # fmt: skip
    say(f"Weights: {done.folder}")


def extract(
    sources: Sources,
    out: Annotated[
        Path, typer.Option("--out", "-o", help=".parquet, or .npy for an array (n, 2048).")
    ],
    weights: Weights = "default",
    block: BlockChoice = "all",
    output: Output = "auto",
    dtype: DType = "float32",
    strict: Strict = False,
    symprec: Symprec = 0.01,
    threads: Threads = None,
) -> None:
    """Turn structures into features, rows in input order, same bytes every time.

    A structure table of many rows is streamed: memory does not grow with it.
    """
    pipeline.extract_to(
        sources, out, weights=weights, block=block, output=output, dtype=dtype, strict=strict,
        symprec=symprec, threads=threads, progress=screen,
    )  # fmt: skip


def bottleneck(
    features: Annotated[
        Path, typer.Argument(help="Features of all blocks (extract --output blocks).")
    ],
    structures: Annotated[
        list[Path],
        typer.Option("--structures", "-s", help="Their structures; labels are not read."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the run.")],
    width: Annotated[
        int | None, typer.Option(help="Number of features to give; 2048 if not given.", min=1)
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the training crystals.", min=1)
    ] = None,
    name: Annotated[str, typer.Option(help="Name it is chosen by.")] = "bottleneck",
    config: ConfigFile = None,
    assignments: Assignments = None,
    strict: Strict = False,
    symprec: Symprec = 0.01,
    seed: MaybeSeed = None,
    threads: Threads = None,
) -> None:
    """Train a network that mixes the features of all blocks, without labels."""
    pipeline.train_bottleneck(
        features, structures, out, width=width, epochs=epochs, name=name,
        settings=read_settings(config, assignments or ()), strict=strict, symprec=symprec,
        seed=seed, threads=threads, progress=screen,
    )  # fmt: skip


def featurize_corpus(
    shards: Annotated[
        Path, typer.Argument(help="Folder of structure tables, .parquet.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the features.")],
    weights: Weights = "default",
    block: BlockChoice = "all",
    output: Output = "auto",
    dtype: DType = "float32",
    workers: Annotated[
        int | None, typer.Option(help="Shards at a time; one a core if not given.", min=1)
    ] = None,
    gpus: Annotated[float, typer.Option(help="GPUs of each worker; a fraction.", min=0)] = 0.0,
    symprec: Symprec = 0.01,
) -> None:
    """Turn a folder of structure tables into feature tables with Ray, on one machine or many.

    Finished shards are not done again; the same command goes on where a stopped one was.
    """
    pipeline.featurize_corpus(
        shards, out, weights=weights, block=block, output=output, dtype=dtype, workers=workers,
        gpus=gpus, symprec=symprec, progress=screen,
    )  # fmt: skip
