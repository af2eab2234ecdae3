"""``crystalssl bottleneck``: train what mixes the features of all blocks, without labels.

Features and the structures they were made from go in; a folder ``bottleneck`` of the run comes
out, which ``crystalssl extract`` then uses.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import numpy.typing as npt
import typer

from crystalssl.cli.console import load_canonical, make_folder, progress_bar, say, use_threads
from crystalssl.cli.options import Seed, Strict, Symprec, Threads
from crystalssl.errors import InputError

if TYPE_CHECKING:
    from crystalssl.cli.steps import Split
    from crystalssl.datasets.corpus import Corpus
    from crystalssl.features.bottleneck import BottleneckCard
    from crystalssl.features.bottleneck_training import BottleneckConfig
    from crystalssl.features.container import Features
    from crystalssl.structures.crystals import Crystals


def bottleneck(
    features: Annotated[
        Path, typer.Argument(help="Features of all blocks (extract --output blocks).")
    ],
    structures: Annotated[
        list[Path],
        typer.Option("--structures", "-s", help="Their structures; labels are not read."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the run.")],
    width: Annotated[int, typer.Option(help="Number of features to give.", min=1)] = 2048,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the training crystals.", min=1)
    ] = None,
    name: Annotated[str, typer.Option(help="Name it is chosen by.")] = "bottleneck",
    strict: Strict = False,
    symprec: Symprec = 0.01,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Train a network that mixes the features of all blocks, without labels."""
    from crystalssl.cli import steps
    from crystalssl.datasets.corpus import Corpus
    from crystalssl.features.bottleneck_training import BottleneckConfig
    from crystalssl.features.store import load_features

    make_folder(out)
    use_threads(threads)
    found = load_features(features)
    canonical = load_canonical(structures, out, strict=strict, symprec=symprec)
    split = steps.find_split(canonical.crystals, seed)
    rows = rows_of(found, canonical.crystals)
    config = BottleneckConfig(width=width, seed=seed)
    if epochs is not None:
        config = replace(config, epochs=epochs)
    corpus = Corpus.from_crystals(canonical)
    card = train_and_save(found.take(rows), corpus, split, config, out / name)
    told = ", ".join(f"{block} {value:.2f}" for block, value in card.figures["told"].items())
    say(f"R2 of each block told from the others, held-out crystals: {told}")
    error = card.figures["targets"]
    say(
        f"Crystal-level targets: mean absolute error {error['model']:.3f} standard deviations, "
        f"mean {error['mean']:.3f}"
    )
    say(f"Bottleneck, {card.width:,} features: {out / name}")


def rows_of(features: Features, crystals: Crystals) -> npt.NDArray[np.int64]:
    """Row of every crystal among the features.

    Raises:
        InputError: if a crystal has no features.
    """
    place = {str(key): row for row, key in enumerate(features.ids)}
    rows = np.array([place.get(str(key), -1) for key in crystals.ids], dtype=np.int64)
    if len(rows) and rows.min() < 0:
        raise InputError(
            f"{(rows < 0).sum():,} of {len(rows):,} structures have no features, "
            f"{crystals.ids[int(rows.argmin())]!r} first. Give the structures that the features "
            "were extracted from."
        )
    return rows


def train_and_save(
    features: Features, corpus: Corpus, split: Split, config: BottleneckConfig, folder: Path
) -> BottleneckCard:
    """Train a bottleneck on the training part of a corpus and write it with its card."""
    from crystalssl.features.bottleneck import BottleneckCard, save_bottleneck
    from crystalssl.features.bottleneck_training import settings_of, train_bottleneck
    from crystalssl.representation.targets import by_kind

    with progress_bar("Bottleneck") as advance:
        targets = by_kind(corpus.values.numpy())
        outcome = train_bottleneck(
            features, targets, split.train, split.val, config, progress=advance
        )
    card = BottleneckCard(
        widths=features.widths,
        width=config.width,
        linear=outcome.bottleneck.linear,
        encoders=features.origins[0].sha256 if len(features.origins) == 1 else {},
        training=settings_of(config),
        data={"train_crystals": len(split.train), "val_crystals": len(split.val)},
        figures=outcome.figures,
    )
    return save_bottleneck(outcome.bottleneck, folder, card)
