"""Pre-train the ``tiny`` weights of the tests on bundled crystals, and their golden features.

    python scripts/train_tiny_weights.py [--epochs N] [--out RUN]

Every block in small, on every fourth of the bundled crystals (``train`` rows; ``val`` rows choose
the epoch), and a small bottleneck behind them: half a minute on one core. They are there to be fast
and to hold still, not to be good. ``tests/golden`` gets the features of some bundled crystals,
which later versions must reproduce; so run this again only when the weights cannot be kept.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from train_default_weights import BUNDLED, add_sources

from crystalssl.blocks.registry import build_block, list_blocks
from crystalssl.config import get_preset
from crystalssl.datasets.bundled import load_bundled
from crystalssl.datasets.corpus import Corpus
from crystalssl.datasets.splits import find_split
from crystalssl.features.bottleneck import BLOCKS, BOTTLENECK
from crystalssl.features.bottleneck_objective import BottleneckConfig
from crystalssl.features.bottleneck_training import train_and_save
from crystalssl.features.extractor import ExtractorConfig
from crystalssl.features.store import save_parquet
from crystalssl.hub.weights import export_run
from crystalssl.pretraining.loop import pretrain
from crystalssl.representation.targets import by_kind
from crystalssl.structures.canonical import canonicalize

NAME = "tiny"
GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden"
STEP = 4
"""One of so many bundled crystals is used."""
GOLDEN_ROWS = tuple(range(0, 6000, 500))
"""Rows of the bundled table whose features are kept."""
SMALL: dict[str, Any] = {"dim": 16, "layers": 1, "heads": 2, "vectors": 4, "basis": 8}
SMALL |= {"score_width": 8, "latent": 8}
"""Settings of the blocks, where a block has them and its own are larger."""
QUIET = {"progress": False, "tensorboard": False, "accelerator": "cpu"}
BOTTLENECK_CONFIG = BottleneckConfig(width=64, epochs=2, least_steps=100)


def small_config(block: Any) -> dict[str, Any]:
    """The settings of a block that make it small."""
    own = block.Config()
    return {
        name: value
        for name, value in SMALL.items()
        if hasattr(own, name) and getattr(own, name) > value
    }


def main() -> None:
    """Train, put the weights into the package and the golden features into the tests."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--out", type=Path, help="folder to go on in")
    options = parser.parse_args()
    torch.set_num_threads(1)  # so that the same bytes come out wherever it runs
    crystals = load_bundled()
    canonical = canonicalize(crystals.take(range(0, len(crystals), STEP)))
    corpus, split = Corpus.from_crystals(canonical), find_split(canonical.crystals, 0)
    config = get_preset("quick").updated({"epochs": options.epochs, "batch_size": 64, **QUIET})
    target = BUNDLED / NAME
    with tempfile.TemporaryDirectory() as temporary:
        run = options.out or Path(temporary)
        for block in list_blocks():
            fresh = build_block(block.name, small_config(block), seed=config.seed)
            done = pretrain(corpus, fresh, split.train, split.val, config, run, resume=True)
            print(f"{block.name}: loss {done.val_loss:.3f}, {done.seconds:.0f} s", flush=True)
        shutil.rmtree(target, ignore_errors=True)
        export_run(run, target)
    add_sources(target, ["mp6k.parquet (bundled)"])
    features = ExtractorConfig(weights=NAME, output=BLOCKS).extractor().features_of(corpus)
    targets, rows = by_kind(corpus.values.numpy()), (split.train, split.val)
    train_and_save(features, targets, rows, BOTTLENECK_CONFIG, target / BOTTLENECK)
    write_golden()
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"{target}: {size / 1e6:.2f} MB")


def write_golden() -> None:
    """Features of some bundled crystals, side by side and mixed."""
    crystals = canonicalize(load_bundled().take(list(GOLDEN_ROWS)))
    for output in (BLOCKS, BOTTLENECK):
        features = ExtractorConfig(weights=NAME, output=output).extractor().features_of(crystals)
        save_parquet(features, GOLDEN / f"{NAME}_{output}.parquet")


if __name__ == "__main__":
    main()
