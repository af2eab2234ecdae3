"""Run under torchrun by ``test_distributed.py``: trains the toy block on two processes."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from conftest import Toy, make_crystals
from crystalssl.blocks.registry import register_block
from crystalssl.config import TrainConfig
from crystalssl.datasets.corpus import Corpus
from crystalssl.pretraining.loop import pretrain
from crystalssl.structures.canonical import canonicalize

if __name__ == "__main__":
    warnings.simplefilter("error")
    register_block(Toy)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = TrainConfig(
        epochs=2, batch_size=8, monitor_crystals=8, progress=False, tensorboard=False,
        accelerator="cpu", devices=2,
    )  # fmt: skip
    corpus = Corpus.from_crystals(canonicalize(make_crystals(35)))
    out = Path(sys.argv[1])
    outcome = pretrain(corpus, Toy(Toy.Config()), np.arange(25), np.arange(25, 35), config, out)
    total = float(sum(p.detach().sum() for p in outcome.block.parameters()))
    rank = torch.distributed.get_rank()
    (out / f"rank{rank}.json").write_text(json.dumps([total, outcome.val_loss]))
