"""Put trained encoders into the package and train the bottlenecks that ship behind them.

    python scripts/train_default_bottleneck.py TABLE... --run RUN

The tables and the split are those of ``train_default_weights.py``, whose run is RUN. Its encoders
go to ``src/crystalssl/hub/bundled/default``; a bottleneck of each width is trained, without
labels, on their features of the same structures.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from train_default_weights import BUNDLED, gather

from crystalssl.datasets.corpus import Corpus
from crystalssl.features.bottleneck import BottleneckCard, save_bottleneck
from crystalssl.features.bottleneck_training import BottleneckConfig, train_bottleneck
from crystalssl.features.extractor import ExtractorConfig
from crystalssl.features.store import load_features, save_parquet
from crystalssl.hub.card import ModelCard
from crystalssl.hub.weights import export_run
from crystalssl.pipeline.bottleneck import rows_of
from crystalssl.representation.targets import by_kind
from crystalssl.structures.canonical import canonicalize


def main() -> None:
    """Export the encoders, make features, train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="+", type=Path)
    parser.add_argument("--run", type=Path, required=True, help="folder of the trained encoders")
    parser.add_argument("--widths", type=int, nargs="+", default=[2048, 512])
    parser.add_argument("--epochs", type=int, default=BottleneckConfig().epochs)
    parser.add_argument("--name", default="default", help="name the weights are found by")
    options = parser.parse_args()
    target = BUNDLED / options.name
    export_run(options.run, target)
    for folder in sorted(path.parent for path in target.glob("*/card.json")):
        card = ModelCard.load(folder)
        data = {**card.data, "sources": [path.name for path in options.tables]}
        replace(card, data=data).save(folder)
    crystals, parts = gather(options.tables)
    canonical = canonicalize(crystals)
    corpus, parts = Corpus.from_crystals(canonical), parts[canonical.kept]
    table = options.run / "features.parquet"
    if not table.is_file():
        extractor = ExtractorConfig(weights=str(target), output="blocks").extractor()
        save_parquet(extractor.features_of(corpus), table)
    features = load_features(table)
    features = features.take(rows_of(features, canonical.crystals))
    train, val = np.flatnonzero(parts == "train"), np.flatnonzero(parts == "val")
    for width in options.widths:
        config = BottleneckConfig(width=width, epochs=options.epochs)
        outcome = train_bottleneck(
            features,
            by_kind(corpus.values.numpy()),
            train,
            val,
            config,
            progress=lambda done, total: print(f"epoch {done} of {total}", flush=True),
        )
        card = BottleneckCard(
            widths=features.widths,
            width=width,
            linear=outcome.bottleneck.linear,
            encoders={name: ModelCard.load(target / name).sha256 for name in features.blocks},
            training=asdict(config),
            data={
                "train_crystals": len(train),
                "val_crystals": len(val),
                "sources": [path.name for path in options.tables],
            },
            figures=outcome.figures,
        )
        name = "bottleneck" if width == max(options.widths) else f"bottleneck_{width}"
        save_bottleneck(outcome.bottleneck, target / name, card)
        print(name, outcome.figures["told"], outcome.figures.get("targets"), flush=True)


if __name__ == "__main__":
    main()
