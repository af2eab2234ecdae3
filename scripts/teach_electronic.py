"""Block 7 and the student that ship with the package, from what the tight binding gave; resumable.

    python scripts/electronic_targets.py TABLE... --out NUMBERS
    python scripts/teach_electronic.py TABLE... --numbers NUMBERS --run RUN
    python scripts/train_default_bottleneck.py TABLE... --run RUN --numbers NUMBERS

Tables and RUN are those of ``train_default_weights.py``, whose corpus is read.
Block 7 is pre-trained on the numbers, the student is taught them from the features of the six
blocks in ``--into``, the weights that ship by default. RUN keeps the features: the same command
goes on where it was stopped. Without labels; formulas of ``val`` and ``test`` are not in training.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from train_default_weights import BUNDLED, add_sources, prepared

from crystalssl.blocks.registry import list_blocks
from crystalssl.config import get_preset
from crystalssl.datasets.corpus import Corpus
from crystalssl.features.extractor import ExtractorConfig
from crystalssl.features.features import Features
from crystalssl.features.store import load_features, save_parquet
from crystalssl.features.student import STUDENT
from crystalssl.features.student_training import StudentConfig, teach_and_save
from crystalssl.files import write_json
from crystalssl.hub.weights import export_run
from crystalssl.pretraining.parallel import pretrain_blocks
from crystalssl.representation import layout
from crystalssl.representation.electronic.view import QUANTITIES

DEFAULT = BUNDLED / "default"


def read_numbers(folder: Path) -> dict[str, np.ndarray]:
    """Numbers of each crystal that ``electronic_targets.py`` described, by id."""
    tables = [pq.read_table(path) for path in sorted(folder.glob("*.parquet"))]
    table = pa.concat_tables(tables)
    flat = table["electronic"].combine_chunks().flatten().to_numpy()
    rows = np.full((len(table), len(QUANTITIES)), np.nan, np.float32)
    values = flat.reshape(len(table), -1)
    rows[:, : values.shape[1]] = values
    return dict(zip(table["immutable_id"].to_pylist(), rows, strict=True))


def corpus_of(tables: Sequence[Path], numbers: Path, run: Path) -> tuple[Corpus, np.ndarray]:
    """All crystals as a corpus with the numbers that there are, and the part of each.

    The corpus of ``train_default_weights.py`` is read where RUN is its folder, else made and kept.
    """
    corpus, parts = prepared(list(tables), run, 0)
    known = read_numbers(numbers)
    none = np.full(len(QUANTITIES), np.nan, np.float32)
    electrons = np.stack([known.get(str(name), none) for name in corpus.ids])
    return replace(corpus, electrons=torch.from_numpy(electrons)), parts


def six_views(corpus: Corpus, target: Path, run: Path) -> Features:
    """Features of the blocks before the seventh, kept in RUN with the weights they are of."""
    extractor = ExtractorConfig(weights=str(target), output="blocks", electronic="off").extractor()
    table = run / "six_blocks.parquet"
    sums = extractor.origins[0].sha256
    if table.is_file():
        kept = load_features(table)
        if [origin.sha256 for origin in kept.origins] == [sums]:
            return kept
    features = extractor.features_of(corpus)
    save_parquet(features, table)
    return features


def main() -> None:
    """Pre-train the block, make features, teach the student."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="+", type=Path)
    parser.add_argument("--numbers", required=True, type=Path, help="what the tight binding gave")
    parser.add_argument("--run", required=True, type=Path)
    parser.add_argument("--epochs", type=int, default=12, help="of block 7")
    parser.add_argument("--student-epochs", type=int, default=StudentConfig().epochs)
    parser.add_argument("--into", type=Path, default=DEFAULT, help="folder of the encoders")
    options = parser.parse_args()
    target, blocks = options.into, options.run / "seven"
    corpus, parts = corpus_of(options.tables, options.numbers, options.run)
    train, val = np.flatnonzero(parts == "train"), np.flatnonzero(parts == "val")
    print(f"{len(train):,} crystals to teach, {len(val):,} to validate with", flush=True)
    seven = next(block.name for block in list_blocks() if block.group == layout.ELECTRONIC)
    config = get_preset("quick").updated(
        {"epochs": options.epochs, "progress": False, "monitor_crystals": 2048}
    )
    pretrain_blocks(
        corpus, [seven], train, val, config, blocks, workers=1,
        watch=lambda name, epochs: print(f"{name}: {epochs} epochs", flush=True),
    )  # fmt: skip
    add_sources(blocks, [path.name for path in options.tables])
    export_run(blocks, target, rounded=True)
    card = teach_and_save(
        six_views(corpus, target, options.run),
        corpus.electrons.numpy(),
        (train, val),
        StudentConfig(epochs=options.student_epochs),
        target / STUDENT,
        progress=lambda done, total: print(f"student: epoch {done} of {total}", flush=True),
    )
    write_json(card.figures, options.run / "student.json")
    print(f"mean R2 {card.figures['mean_r2']:.3f}, median {card.figures['median_r2']:.3f}")


if __name__ == "__main__":
    main()
