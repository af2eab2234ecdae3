"""Pre-train the weights that ship with the package, without labels; repeatable.

    python scripts/train_default_weights.py TABLE... --out RUN

Structure tables go in; a column ``split`` names rows to leave out (``test``) and rows that choose
the best epoch (``val``), all others are trained on, unless their formula is among those rows: no
formula of ``val`` or ``test`` is in training. The encoders go to
``src/crystalssl/hub/bundled/default`` with their cards. No column but ``split`` is read.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from crystalssl.blocks.registry import resolve_blocks
from crystalssl.config import get_preset
from crystalssl.datasets.corpus import Corpus
from crystalssl.datasets.load import load_crystals
from crystalssl.hub.card import ModelCard
from crystalssl.hub.weights import export_run, run_folders
from crystalssl.pretraining.parallel import pretrain_blocks
from crystalssl.structures.canonical import canonicalize
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.formulas import reduced_formulas

EPOCHS = {
    "composition": 24,
    "lattice": 6,
    "sites": 5,
    "occupancy": 24,
    "reciprocal": 10,
    "structure_factors": 6,
}
"""Epochs of the weights that ship; each has a learning-rate schedule of its own length."""
BUNDLED = Path(__file__).resolve().parents[1] / "src" / "crystalssl" / "hub" / "bundled"


def gather(paths: list[Path]) -> tuple[Crystals, np.ndarray]:
    """Structures without test rows, and the part of each: ``val`` or ``train``."""
    parts, names = [], []
    held_out: list[str] = []
    for path in paths:
        crystals = load_crystals([path]).crystals
        held = [] if crystals.columns is None else crystals.columns.column_names
        split = crystals.column("split") if "split" in held else np.full(len(crystals), "train")
        held_out += reduced_formulas(crystals.take(np.isin(split, ["val", "test"]))).tolist()
        kept = split != "test"
        parts.append(crystals.take(kept).with_columns(None))
        names.append(np.where(split[kept] == "val", "val", "train"))
    crystals, part = Crystals.concatenate(parts), np.concatenate(names)
    known = np.isin(reduced_formulas(crystals), held_out) & (part == "train")
    print(f"{known.sum():,} structures left out: their formulas are in val or test")
    return crystals.take(~known), part[~known]


def add_sources(run: Path, sources: list[str]) -> None:
    """Name in every card what the weights were trained on."""
    for folder in run_folders(run).values():
        card = ModelCard.load(folder)
        replace(card, data={**card.data, "sources": sources}).save(folder)


def main() -> None:
    """Train, and put the weights into the package."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="+", type=Path)
    parser.add_argument("--epochs", type=int, help="the same for all blocks; see EPOCHS")
    parser.add_argument("--block", default="all", help="names or numbers, separated by commas")
    parser.add_argument("--out", type=Path, default=Path("runs/default"))
    parser.add_argument("--name", default="default", help="name the weights are found by")
    options = parser.parse_args()
    crystals, parts = gather(options.tables)
    canonical = canonicalize(crystals)
    corpus, parts = Corpus.from_crystals(canonical), parts[canonical.kept]
    print(f"{(parts == 'train').sum():,} to train on, {(parts == 'val').sum():,} to validate with")
    for block in resolve_blocks(options.block):
        epochs = options.epochs or EPOCHS[block.name]
        pretrain_blocks(
            corpus,
            [block.name],
            np.flatnonzero(parts == "train"),
            np.flatnonzero(parts == "val"),
            get_preset("quick").updated(
                {"epochs": epochs, "progress": False, "monitor_crystals": 2048}
            ),
            options.out,
            workers=1,
            watch=lambda block, epochs: print(f"{block}: {epochs} epochs", flush=True),
        )
    target = BUNDLED / options.name
    export_run(options.out, target)
    add_sources(target, [path.name for path in options.tables])
    print(target)


if __name__ == "__main__":
    main()
