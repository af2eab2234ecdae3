"""Pre-train the weights that ship with the package, without labels; repeatable and resumable.

    python scripts/train_default_weights.py TABLE... --out RUN

Structure tables go in; a column ``split`` names rows to leave out (``test``) and rows that choose
the best epoch (``val``), all others are trained on, unless their formula is among those rows: no
formula of ``val`` or ``test`` is in training. No column but ``split`` is read. The corpus is made
once and stays in RUN; blocks train side by side, one thread each; the same command goes on where it
was stopped, block by block and epoch by epoch. The encoders go to
``src/crystalssl/hub/bundled/default`` with their cards when all are trained.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from crystalssl.blocks.registry import resolve_blocks
from crystalssl.config import TrainConfig, get_preset
from crystalssl.datasets.corpus import Corpus
from crystalssl.datasets.load import load_crystals
from crystalssl.files import read_json, write_json
from crystalssl.hub.card import ModelCard
from crystalssl.hub.weights import export_run, run_folders
from crystalssl.pretraining.parallel import pretrain_blocks
from crystalssl.processes import usable_cores
from crystalssl.structures.canonical import canonicalize
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.formulas import reduced_formulas

EPOCHS = {
    "occupancy": 8,
    "sites": 4,
    "composition": 9,
    "reciprocal": 5,
    "structure_factors": 4,
    "lattice": 4,
}
"""Epochs of the weights that ship, the longest work first; each has a learning-rate schedule of its
own length."""
OTHERS = 6
"""Epochs of any further block."""
BUNDLED = Path(__file__).resolve().parents[1] / "src" / "crystalssl" / "hub" / "bundled"


def gather(paths: list[Path], limit: int = 0) -> tuple[Crystals, np.ndarray]:
    """Structures without test rows, and the part of each: ``val`` or ``train``.

    Args:
        paths: structure tables.
        limit: training structures to take at most, evenly from all; 0 for all.
    """
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
    print(f"{known.sum():,} structures left out: their formulas are in val or test", flush=True)
    crystals, part = crystals.take(~known), part[~known]
    train = np.flatnonzero(part == "train")
    if limit and len(train) > limit:
        chosen = train[np.linspace(0, len(train) - 1, limit).astype(int)]
        rows = np.sort(np.concatenate([chosen, np.flatnonzero(part == "val")]))
        crystals, part = crystals.take(rows), part[rows]
    return crystals, part


def prepared(paths: list[Path], folder: Path, limit: int) -> tuple[Corpus, np.ndarray]:
    """Corpus and parts of the tables, made once and kept in a folder."""
    digest = hashlib.sha256(str(limit).encode())
    for path in paths:
        digest.update(path.read_bytes())
    made_from, stored, note = digest.hexdigest(), folder / "all.safetensors", folder / "parts.json"
    if stored.is_file() and note.is_file():
        known = read_json(note)
        if known["made_from"] == made_from:
            return Corpus.load(stored), np.array(known["parts"])
    crystals, parts = gather(paths, limit)
    canonical = canonicalize(crystals)
    corpus, parts = Corpus.from_crystals(canonical), parts[canonical.kept]
    corpus.save(stored)
    write_json({"made_from": made_from, "parts": parts.tolist()}, note)
    return corpus, parts


def add_sources(run: Path, sources: list[str]) -> None:
    """Name in every card what the weights were trained on."""
    for folder in run_folders(run).values():
        card = ModelCard.load(folder)
        replace(card, data={**card.data, "sources": sources}).save(folder)


def train(
    corpus: Corpus, parts: np.ndarray, epochs: dict[str, int], config: TrainConfig, out: Path
) -> None:
    """Train every block, as many side by side as there are threads."""
    start = time.monotonic()
    rows = np.flatnonzero(parts == "train"), np.flatnonzero(parts == "val")

    def tell(block: str, done: int) -> None:
        minutes = (time.monotonic() - start) / 60
        print(f"{minutes:7.1f} min  {block}: {done} of {epochs[block]} epochs", flush=True)

    pretrain_blocks(
        corpus, list(epochs), *rows, config, out,
        workers=min(config.threads, len(epochs)), watch=tell, epochs=epochs,
    )  # fmt: skip


def main() -> None:
    """Train, and put the weights into the package."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="+", type=Path)
    parser.add_argument("--epochs", type=int, help="the same for all blocks; see EPOCHS")
    parser.add_argument("--block", default=",".join(EPOCHS), help="names or numbers, with commas")
    parser.add_argument("--limit", type=int, default=0, help="training structures at most")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="blocks side by side")
    parser.add_argument("--precision", choices=["float32", "bf16"], default="float32")
    parser.add_argument("--batch-size", type=int, help="crystals in a batch")
    parser.add_argument("--out", type=Path, default=Path("runs/default"))
    parser.add_argument("--name", default="default", help="name the weights are found by")
    parser.add_argument("--no-export", action="store_true", help="leave the package as it is")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    corpus, parts = prepared(options.tables, options.out, options.limit)
    print(f"{(parts == 'train').sum():,} to train on, {(parts == 'val').sum():,} to validate with")
    changes = {
        "progress": False, "tensorboard": False, "monitor_crystals": 2048,
        "threads": options.threads, "precision": options.precision,
    }  # fmt: skip
    if options.batch_size:
        changes |= {"batch_size": options.batch_size, "max_atoms": 32 * options.batch_size}
    names = [block.name for block in resolve_blocks(options.block)]
    names.sort(key=lambda name: list(EPOCHS).index(name) if name in EPOCHS else len(EPOCHS))
    epochs = {name: options.epochs or EPOCHS.get(name, OTHERS) for name in names}
    train(corpus, parts, epochs, get_preset("quick").updated(changes), options.out)
    if options.no_export:
        return
    target = BUNDLED / options.name
    export_run(options.out, target, rounded=True)
    add_sources(target, [path.name for path in options.tables])
    print(target)


if __name__ == "__main__":
    main()
