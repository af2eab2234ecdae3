"""Several blocks at once: what an interrupt leaves running."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from crystalssl.blocks._registry import list_blocks
from crystalssl.config import TrainConfig
from crystalssl.pretraining import parallel
from crystalssl.pretraining._lightning import BlockBar

MANY_EPOCHS = TrainConfig(
    epochs=60, patience=0, batch_size=16, monitor_crystals=12, threads=2,
    progress=False, tensorboard=False, accelerator="cpu",
)  # fmt: skip


def test_an_interrupt_ends_all_processes_and_starts_no_further_block(made_corpus, tmp_path):
    interrupted = []

    def interrupt(block: str, epochs: int) -> None:
        if epochs:
            interrupted.append(time.monotonic())
            raise KeyboardInterrupt

    names = [block.name for block in list_blocks()][:3]
    rows = np.arange(70)
    with pytest.raises(KeyboardInterrupt):
        parallel.pretrain_blocks(
            made_corpus, names, rows[:50], rows[50:], MANY_EPOCHS, tmp_path,
            workers=2, watch=interrupt,
        )  # fmt: skip
    assert time.monotonic() - interrupted[0] < 5
    assert not (tmp_path / names[2]).exists()
    assert not (tmp_path / parallel.CORPUS_FILE).exists()


def test_processes_end_when_the_one_that_started_them_is_killed():
    program = """
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from crystalssl.processes import obey_parent
pool = ProcessPoolExecutor(1, get_context("spawn"), initializer=obey_parent)
print(pool.submit(os.getpid).result(), flush=True)
pool.submit(time.sleep, 60)
time.sleep(60)
"""
    run = [sys.executable, "-c", program]
    with subprocess.Popen(run, stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        parent.kill()
        try:
            parent.communicate(timeout=10)  # the worker holds the other end of the pipe
        except subprocess.TimeoutExpired:
            os.kill(worker, signal.SIGKILL)
            raise


def test_cores_are_counted_where_a_process_cannot_be_bound_to_some(monkeypatch):
    monkeypatch.delattr(parallel.os, "sched_getaffinity", raising=False)
    assert parallel.usable_cores() >= 1


def test_the_bar_of_an_epoch_names_the_block_and_no_version(monkeypatch):
    numbers = {"v_num": "oard", "val_loss": "0.5"}
    monkeypatch.setattr(BlockBar.__mro__[1], "get_metrics", lambda *_: dict(numbers))
    assert BlockBar("lattice").get_metrics(None, None) == {"block": "lattice", "val_loss": "0.5"}
