"""Give the bottlenecks of the bundled weights a block more, without labels and without training.

    python scripts/extend_default_bottleneck.py BOTTLENECKS --features SIX_BLOCKS --split SPLIT

BOTTLENECKS is the folder of weights that holds the bottlenecks of six blocks; SIX_BLOCKS the
features of these blocks side by side (``teach_electronic.py`` leaves them in its run, with the
split beside them). The seventh block reads what the bundled student predicts.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from train_default_weights import BUNDLED

from crystalssl.features.bottleneck import load_bottleneck, load_card, save_bottleneck
from crystalssl.features.bottleneck_extension import extended
from crystalssl.features.features import Features
from crystalssl.features.store import load_features
from crystalssl.features.student import STUDENT, load_student
from crystalssl.hub.card import ModelCard
from crystalssl.hub.weights import load_weights
from crystalssl.representation.batch import BlockBatch

ROOM = {"bottleneck": 112, "bottleneck_512": 32}
"""Units of the new block; 64, 112 and 256 of 2,048 were tried (docs/experiments.md)."""
CRYSTALS = 12_000


@torch.inference_mode()
def with_electrons(six: Features, folder: Path) -> Features:
    """Features of the six blocks and, last, those of the predicted electrons."""
    student, reader = load_student(folder / STUDENT), load_weights(folder / "electronic")
    numbers = student(torch.from_numpy(six.matrix))
    valid, count = numbers.isfinite(), len(six)
    batch = BlockBatch(
        rows=numbers.masked_fill(~valid, 0).unsqueeze(-1),
        valid=valid,
        edges=None,
        targets=torch.zeros(count, 1),
        crystal_system=torch.zeros(count, dtype=torch.long),
        histogram=torch.zeros(count, 1),
    )
    made = reader.encode(batch).features.numpy()
    return replace(six, blocks={**six.blocks, "electronic": made}, names=())


def main() -> None:
    """Extend both bottlenecks and put them into the package."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bottlenecks", type=Path)
    parser.add_argument("--features", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True)
    options = parser.parse_args()
    six, split = load_features(options.features), np.load(options.split, allow_pickle=False)
    train = np.random.default_rng(0).permutation(np.flatnonzero(split == "train"))
    target = BUNDLED / "default"
    features = with_electrons(six.take(train[:CRYSTALS]), target)
    sums = {name: ModelCard.load(target / name).sha256 for name in features.blocks}
    for name, room in ROOM.items():
        before, card = (
            load_bottleneck(options.bottlenecks / name),
            load_card(options.bottlenecks / name),
        )
        wider = extended(before, features, room)
        training = {**card.training, "extended_by": {"electronic": room}}
        training["extended_on"] = len(features)
        changed = replace(
            card, widths=features.widths, linear=wider.linear, encoders=sums, training=training
        )
        save_bottleneck(wider, target / name, changed)
        print(f"{name}: {room} units of {before.mix.out_features} for the electrons")


if __name__ == "__main__":
    main()
