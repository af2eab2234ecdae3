"""Put trained encoders into the package and train the bottlenecks that ship behind them.

    python scripts/train_default_bottleneck.py TABLE... --run RUN --numbers NUMBERS

The tables and the split are those of ``train_default_weights.py``, whose run is RUN; NUMBERS and
the student are those of ``teach_electronic.py``. A bottleneck of each width is trained, without
labels, on features of the same structures: the block of the electrons reads what the student
predicts of most crystals and what the tight binding gave of the others, so that both ways work. It
must also predict what the tight binding gave.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from teach_electronic import corpus_of
from train_default_weights import BUNDLED

from crystalssl.datasets.corpus import Corpus
from crystalssl.features.bottleneck import BottleneckCard, load_bottleneck, save_bottleneck
from crystalssl.features.bottleneck_training import BottleneckConfig, train_bottleneck
from crystalssl.features.extractor import ExtractorConfig
from crystalssl.features.features import Features
from crystalssl.features.store import load_features, save_parquet
from crystalssl.features.student import STUDENT, load_student
from crystalssl.hub.card import ModelCard
from crystalssl.hub.weights import export_run, load_weights, run_folders
from crystalssl.representation import layout
from crystalssl.representation.electronic.view import COMMON
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


def main() -> None:
    """Export the encoders, make features, train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="+", type=Path)
    parser.add_argument("--run", type=Path, required=True, help="folder of the trained encoders")
    parser.add_argument("--numbers", type=Path, required=True, help="what the tight binding gave")
    parser.add_argument("--widths", type=int, nargs="+", default=[2048, 512])
    parser.add_argument("--epochs", type=int, default=BottleneckConfig().epochs)
    parser.add_argument("--go-on", action="store_true", help="from the bottlenecks that are there")
    parser.add_argument("--name", default="default", help="name the weights are found by")
    options = parser.parse_args()
    target = BUNDLED / options.name
    export_run(options.run / "blocks", target)
    for folder in run_folders(target).values():
        card = ModelCard.load(folder)
        data = {**card.data, "sources": [path.name for path in options.tables]}
        replace(card, data=data).save(folder)
    corpus, parts = corpus_of(options.tables, options.numbers, options.run)
    table = options.run / "six_blocks.parquet"
    if not table.is_file():
        extractor = ExtractorConfig(weights=str(target), output="blocks", electronic="off")
        save_parquet(extractor.extractor().features_of(corpus), table)
    six = load_features(table)
    train, val = np.flatnonzero(parts == "train"), np.flatnonzero(parts == "val")
    computed = (np.random.default_rng(0).random(len(six)) < COMPUTED) & (parts == "train")
    features = replace(six, blocks=dict(seven_views(six, corpus, computed, target)), names=())
    targets = [*by_kind(corpus.values.numpy()), corpus.electrons[:, :COMMON].numpy()]
    for width in options.widths:
        name = "bottleneck" if width == max(options.widths) else f"bottleneck_{width}"
        config = BottleneckConfig(width=width, epochs=options.epochs)
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
            widths=features.widths,
            width=width,
            linear=outcome.bottleneck.linear,
            encoders={name: ModelCard.load(target / name).sha256 for name in features.blocks},
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
