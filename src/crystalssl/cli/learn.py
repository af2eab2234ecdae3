"""Commands that train encoders and use them: pretrain, extract.

Structures go in; weights, learning curves and features come out. No label is read here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crystalssl.cli.console import (
    forget_skipped,
    load_canonical,
    make_file,
    make_folder,
    progress_bar,
    say,
    use_threads,
)
from crystalssl.cli.options import (
    BlockChoice,
    DType,
    OutFolder,
    Output,
    Preset,
    Resume,
    Seed,
    Sources,
    Strict,
    Symprec,
    Threads,
)

Epochs = Annotated[
    int | None, typer.Option(help="At most so many epochs, instead of the preset's.", min=1)
]


def pretrain(
    sources: Sources,
    out: OutFolder = Path("runs/pretrained"),
    block: BlockChoice = "all",
    preset: Preset = "quick",
    epochs: Epochs = None,
    resume: Resume = False,
    strict: Strict = False,
    symprec: Symprec = 0.01,
    seed: Seed = 0,
    threads: Threads = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="Keep the corpus in parts on disk, not in memory.")
    ] = False,
    devices: Annotated[
        int | None, typer.Option(help="Processes or GPUs on each host, under a launcher.", min=1)
    ] = None,
    nodes: Annotated[int | None, typer.Option(help="Hosts, under a launcher.", min=1)] = None,
) -> None:
    """Pre-train blocks without labels; learning curves and weights go to RUN/blocks/NAME."""
    from crystalssl.blocks.registry import resolve_blocks
    from crystalssl.cli import scale, steps

    chosen = resolve_blocks(block)
    config = steps.adjusted(preset, epochs=epochs, seed=seed, threads=threads)
    hosts = {"devices": devices, "nodes": nodes}
    config = config.updated({name: count for name, count in hosts.items() if count is not None})
    make_folder(out)
    use_threads(threads)
    names = [entry.name for entry in chosen] if resume else []
    if stream:
        parts, held_out = scale.parts_of(sources, out, seed, symprec, strict=strict)
        steps.pretrain_blocks(parts, held_out, chosen, config, out, resume=names)
        say(f"Weights: {out}")
        return
    forget_skipped(out)
    canonical = load_canonical(sources, out, strict=strict, symprec=symprec)
    corpus = steps.build_corpus(canonical)
    split = steps.find_split(canonical.crystals, seed)
    steps.pretrain_blocks(corpus, split, chosen, config, out, resume=names)
    say(f"Weights: {out}")


def extract(
    sources: Sources,
    out: Annotated[
        Path, typer.Option("--out", "-o", help=".parquet, or .npy for an array (n, 2048).")
    ],
    weights: Annotated[
        str, typer.Option("--weights", "-w", help="Folder of a run, or a name (info weights).")
    ] = "default",
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
    from crystalssl.cli import scale, steps
    from crystalssl.features.bottleneck import unused_bottleneck
    from crystalssl.features.precision import check_dtype
    from crystalssl.features.store import save_features

    make_file(out, [".parquet", ".npy"])
    check_dtype(dtype)
    use_threads(threads)
    blocks = list(steps.load_encoders(weights, block))
    recipe = scale.recipe_of(weights, blocks, symprec, output)
    if note := unused_bottleneck(weights, output, blocks):
        say(note)
    extractor = recipe.extractor()
    if scale.is_large_table(sources):
        scale.stream_table(sources[0], out, recipe, dtype=dtype, strict=strict, workers=threads)
        return
    canonical = load_canonical(sources, out.parent, strict=strict, symprec=symprec)
    with progress_bar("Features") as advance:
        features = extractor.features_of(canonical, advance)
    save_features(features, out, dtype)
    say(f"{len(features):,} x {len(features.names):,} features: {out}")
