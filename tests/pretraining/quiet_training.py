"""Train a block without chance on one process, or on two when run under torchrun.

Noise depends on the crystal alone, there is no dropout, and all crystals have two sites: then two
processes with batches of 8 do the arithmetic of one process with batches of 16.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from crystalssl.blocks._clipping import SoftClip
from crystalssl.config import TrainConfig
from crystalssl.datasets.corpus import Corpus
from crystalssl.features.extract import extract
from crystalssl.pretraining.loop import pretrain
from crystalssl.structures.canonical import canonicalize
from worlds import PROTOTYPES, Toy, make_crystals

TRAIN, VAL = np.arange(32), np.arange(32, 40)


class QuietToy(Toy):
    """The toy without dropout, with the same noise for a crystal at any time, and clipped."""

    def __init__(self, config):
        super().__init__(config)
        self.layer = self.layer[:2]
        self.squash = SoftClip(self.width)

    def encode(self, batch):
        found = super().encode(batch)
        return replace(found, features=self.squash(found.features))

    def pretext(self, batch, generator):
        self.encode(batch)  # statistics of the clipping, over both processes
        frozen = torch.sin(1e3 * batch.rows.double().sum(-1)).abs().float()
        asked = torch.rand
        torch.rand = lambda *shape, **options: frozen
        try:
            return super().pretext(batch, generator)
        finally:
            torch.rand = asked


def train(out: Path, processes: int):
    """Weights and features after a few epochs; the learning curve lies in ``out``."""
    torch.manual_seed(0)
    many = make_crystals(len(PROTOTYPES) * 40)
    corpus = Corpus.from_crystals(canonicalize(many.take(np.arange(40) * len(PROTOTYPES))))
    config = TrainConfig(
        epochs=6, batch_size=16 // processes, monitor_crystals=8, progress=False,
        tensorboard=False, accelerator="cpu", devices=processes,
    )  # fmt: skip
    outcome = pretrain(corpus, QuietToy(Toy.Config()), TRAIN, VAL, config, out)
    return extract(corpus, {"toy": outcome.block}, device="cpu")


if __name__ == "__main__":
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    features = train(Path(sys.argv[1]), 2)
    np.save(Path(sys.argv[1]) / f"features{torch.distributed.get_rank()}.npy", features.matrix)
