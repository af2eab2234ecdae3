"""Trains the toy block on two processes, forked with the variables that torchrun sets.

What they need is imported once, before the fork; ``quiet_training.py`` runs under torchrun itself.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_only

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from crystalssl.blocks.registry import register_block
from crystalssl.config import TrainConfig
from crystalssl.datasets.corpus import Corpus
from crystalssl.pretraining.loop import pretrain
from crystalssl.structures.canonical import canonicalize
from worlds import Toy, make_crystals

PROCESSES = 2


def train(rank: int, port: int, out: Path) -> None:
    """One of the processes: train, then write a sum over all weights and the loss."""
    variables = {
        "RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": PROCESSES,
        "LOCAL_WORLD_SIZE": PROCESSES, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
        "TORCHELASTIC_RUN_ID": "two",
    }  # fmt: skip
    os.environ.update({name: str(value) for name, value in variables.items()})
    rank_zero_only.rank = rank  # Lightning has read it on import
    torch.manual_seed(0)
    config = TrainConfig(
        epochs=2, batch_size=8, monitor_crystals=8, progress=False, tensorboard=False,
        accelerator="cpu", devices=PROCESSES,
    )  # fmt: skip
    corpus = Corpus.from_crystals(canonicalize(make_crystals(35)))
    outcome = pretrain(corpus, Toy(Toy.Config()), np.arange(25), np.arange(25, 35), config, out)
    total = float(sum(p.detach().sum() for p in outcome.block.parameters()))
    assert torch.distributed.get_world_size() == PROCESSES
    (out / f"rank{torch.distributed.get_rank()}.json").write_text(
        json.dumps([total, outcome.val_loss])
    )


if __name__ == "__main__":
    warnings.simplefilter("error")
    register_block(Toy)
    torch.set_num_threads(1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.start_processes(
        train, args=(port, Path(sys.argv[1])), nprocs=PROCESSES, start_method="fork"
    )  # the first that fails ends the other and this process
