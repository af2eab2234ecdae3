"""Pre-train the weights that ship with the package, without labels; repeatable.

    python scripts/train_default_weights.py TABLE... --epochs N --out RUN

Structure tables go in; a column ``split`` names rows to leave out (``test``) and rows that choose
the best epoch (``val``), all others are trained on. The six encoders go to
``src/crystalssl/hub/bundled/default`` with their cards. No column but ``split`` is read.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from crystalssl.blocks._registry import list_blocks
from crystalssl.config import get_preset
from crystalssl.datasets.corpus import Corpus
from crystalssl.datasets.load import load_crystals
from crystalssl.hub.card import ModelCard
from crystalssl.hub.weights import export_run
from crystalssl.pretraining.parallel import pretrain_blocks
from crystalssl.structures.canonical import canonicalize
from crystalssl.structures.crystals import Crystals

BUNDLED = Path(__file__).resolve().parents[1] / "src" / "crystalssl" / "hub" / "bundled"


def gather(paths: list[Path]) -> tuple[Crystals, np.ndarray]:
    """All structures but the test rows, and the part of each: ``val`` or ``train``."""
    parts, names = [], []
    for path in paths:
        crystals = load_crystals([path]).crystals
        held = [] if crystals.columns is None else crystals.columns.column_names
        split = crystals.column("split") if "split" in held else np.full(len(crystals), "train")
        kept = split != "test"
        parts.append(crystals.take(kept).with_columns(None))
        names.append(np.where(split[kept] == "val", "val", "train"))
    return Crystals.concatenate(parts), np.concatenate(names)


def main() -> None:
    """Train, and put the weights into the package."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="+", type=Path)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/default"))
    parser.add_argument("--name", default="default", help="name the weights are found by")
    options = parser.parse_args()
    crystals, parts = gather(options.tables)
    canonical = canonicalize(crystals, processes=options.workers)
    corpus, parts = Corpus.from_crystals(canonical), parts[canonical.kept]
    print(f"{(parts == 'train').sum():,} to train on, {(parts == 'val').sum():,} to validate with")
    pretrain_blocks(
        corpus,
        [block.name for block in list_blocks()],
        np.flatnonzero(parts == "train"),
        np.flatnonzero(parts == "val"),
        get_preset("quick").updated({"epochs": options.epochs, "progress": False}),
        options.out,
        workers=options.workers,
        watch=lambda block, epochs: print(f"{block}: {epochs} epochs", flush=True),
    )
    target = BUNDLED / options.name
    export_run(options.out, target)
    for folder in sorted(path for path in target.iterdir() if path.is_dir()):
        card = ModelCard.load(folder)
        data = {**card.data, "sources": [path.name for path in options.tables]}
        replace(card, data=data).save(folder)
    print(target)


if __name__ == "__main__":
    main()
