"""Train the bottlenecks that ship behind the encoders.

    python scripts/train_default_bottleneck.py TABLE... --run RUN --numbers NUMBERS

Tables and RUN are those of ``train_default_weights.py``; NUMBERS, block 7 and the student are those
of ``teach_electronic.py``. A bottleneck of each width is trained, without labels, on features of
the same structures: the block of the electrons reads what the student predicts of most crystals and
what the tight binding gave of the others, so that both ways work. Named physics is one more view.
It must also predict what the tight binding gave. One that is of these very encoders already is left
as it is.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from teach_electronic import DEFAULT, corpus_of, six_views

from crystalssl.datasets.corpus import Corpus
from crystalssl.features.bottleneck import (
    CARD_FILE,
    BottleneckCard,
    load_bottleneck,
    load_card,
    save_bottleneck,
)
from crystalssl.features.bottleneck_objective import BottleneckConfig
from crystalssl.features.bottleneck_training import train_bottleneck
from crystalssl.features.features import PHYSICS, Features
from crystalssl.features.physics import with_view
from crystalssl.features.student import STUDENT, load_student
from crystalssl.hub.card import ModelCard
from crystalssl.hub.weights import load_weights, run_folders
from crystalssl.representation import layout
from crystalssl.representation.electronic.view import COMMON
from crystalssl.representation.physics.view import view_checksum
from crystalssl.representation.targets import by_kind

COMPUTED = 0.25
"""Share of the training crystals whose electrons are those of the tight binding."""
ROWS = 4096


@torch.inference_mode()
def seven_views(
    six: Features, corpus: Corpus, computed: np.ndarray, target: Path
) -> Mapping[str, np.ndarray]:
    """Features of all blocks; the electrons computed where it says so, predicted elsewhere."""
    student = load_student(target / STUDENT)
    blocks = {name: load_weights(folder) for name, folder in run_folders(target).items()}
    reader = next(block for block in blocks.values() if block.group == layout.ELECTRONIC)
    made = np.empty((len(six), reader.width), np.float32)
    for start in range(0, len(six), ROWS):
        rows = np.arange(start, min(start + ROWS, len(six)))
        electrons = student(torch.from_numpy(six.take(rows).matrix))
        electrons[computed[rows]] = corpus.electrons[rows][computed[rows]]
        made[rows] = reader.encode(corpus.batch(rows, reader, electrons)).features.numpy()
    return {**six.blocks, reader.name: made}


def sums_of(features: Features, target: Path) -> dict[str, str]:
    """Checksum of what made each view."""
    names = [name for name in features.blocks if name != PHYSICS]
    sums = {name: ModelCard.load(target / name).sha256 for name in names}
    return {**sums, PHYSICS: view_checksum()}


def is_current(folder: Path, features: Features, target: Path) -> bool:
    """Whether a bottleneck of these very encoders is there already."""
    if not (folder / CARD_FILE).is_file():
        return False
    return load_card(folder).encoders == sums_of(features, target)


def main() -> None:
    """Make features of all blocks, train a bottleneck of each width."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="+", type=Path)
    parser.add_argument("--run", type=Path, required=True, help="folder of the trained encoders")
    parser.add_argument("--numbers", type=Path, required=True, help="what the tight binding gave")
    parser.add_argument("--widths", type=int, nargs="+", default=[2048, 512])
    parser.add_argument("--epochs", type=int, default=BottleneckConfig().epochs)
    parser.add_argument("--go-on", action="store_true", help="from the bottlenecks that are there")
    parser.add_argument("--into", type=Path, default=DEFAULT, help="folder of the encoders")
    options = parser.parse_args()
    target = options.into
    corpus, parts = corpus_of(options.tables, options.numbers, options.run)
    six = six_views(corpus, target, options.run)
    described = corpus.electrons[:, :COMMON].isfinite().all(1).numpy()
    parts = np.where(described, parts, "left out")
    train, val = np.flatnonzero(parts == "train"), np.flatnonzero(parts == "val")
    computed = (np.random.default_rng(0).random(len(six)) < COMPUTED) & (parts == "train")
    features = replace(six, blocks=dict(seven_views(six, corpus, computed, target)), names=())
    features = with_view(features, corpus)
    del six
    targets = [*by_kind(corpus.values.numpy()), corpus.electrons[:, :COMMON].numpy()]
    for width in options.widths:
        name = "bottleneck" if width == max(options.widths) else f"bottleneck_{width}"
        config = BottleneckConfig(width=width, epochs=options.epochs)
        if is_current(target / name, features, target):
            print(f"{name} is there", flush=True)
            continue
        outcome = train_bottleneck(
            features,
            targets,
            train,
            val,
            config,
            init=load_bottleneck(target / name) if options.go_on else None,
            progress=lambda done, total: print(f"epoch {done} of {total}", flush=True),
        )
        card = BottleneckCard(
            **outcome.bottleneck.shape,
            encoders=sums_of(features, target),
            training={**asdict(config), "computed_electrons": COMPUTED},
            data={
                "train_crystals": len(train),
                "val_crystals": len(val),
                "sources": [path.name for path in options.tables],
            },
            figures=outcome.figures,
        )
        save_bottleneck(outcome.bottleneck, target / name, card)
        print(name, outcome.figures["told"], outcome.figures.get("targets"), flush=True)


if __name__ == "__main__":
    main()
