"""Several blocks at once: how many, with which cores, and what an interrupt leaves running."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import active_children, get_context

import numpy as np
import pytest
import torch

from crystalssl.blocks.registry import build_block, get_block, list_blocks
from crystalssl.config import TrainConfig
from crystalssl.errors import CrystalSSLError, InputError, UnknownNameError
from crystalssl.hub.card import ModelCard
from crystalssl.hub.weights import load_weights
from crystalssl.pretraining import parallel
from crystalssl.pretraining._lightning import BlockBar
from crystalssl.processes import obey_parent, usable_cores

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


@pytest.fixture
def on_gpu(monkeypatch):
    """A process that sees one GPU with 80 GiB free and 16 cores, and no launcher."""
    for name in ("WORLD_SIZE", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(parallel.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(parallel.torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(parallel.torch.cuda, "mem_get_info", lambda: (80 * 2**30, 81 * 2**30))
    monkeypatch.setattr(parallel, "usable_cores", lambda: 16)
    return monkeypatch


def test_blocks_share_a_gpu_as_its_memory_and_the_cores_allow(on_gpu):
    assert parallel.default_workers(TrainConfig()) == 8
    assert parallel.default_workers(TrainConfig(threads=4)) == 2
    assert parallel.default_workers(TrainConfig(threads=1)) == 1
    on_gpu.setattr(parallel.torch.cuda, "mem_get_info", lambda: (24 * 2**30, 25 * 2**30))
    assert parallel.default_workers(TrainConfig()) == 3


def test_blocks_take_turns_on_several_gpus_and_under_a_launcher(on_gpu):
    assert parallel.default_workers(TrainConfig(devices=4)) == 1
    on_gpu.setattr(parallel.torch.cuda, "device_count", lambda: 2)
    assert parallel.default_workers(TrainConfig()) == 1
    assert parallel.default_workers(TrainConfig(devices=1)) == 8
    on_gpu.setenv("SLURM_NTASKS", "4")
    assert parallel.default_workers(TrainConfig(devices=1)) == 1


def test_a_cpu_gets_a_block_a_core_whether_or_not_there_is_a_gpu(on_gpu):
    assert parallel.default_workers(TrainConfig(accelerator="cpu")) == 16
    on_gpu.setattr(parallel.torch.cuda, "is_available", lambda: False)
    assert parallel.default_workers(TrainConfig()) == 16
    assert parallel.default_workers(TrainConfig(threads=3)) == 3


def test_a_worker_knows_its_share_of_the_cores():
    with ProcessPoolExecutor(1, get_context("spawn"), obey_parent, (3,)) as pool:
        assert pool.submit(usable_cores).result() == 3
    with ProcessPoolExecutor(1, get_context("spawn"), obey_parent) as pool:
        assert pool.submit(usable_cores).result() == usable_cores()


def test_processes_end_when_the_one_that_started_them_is_killed():
    program = """
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import active_children, get_context
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


def test_training_goes_on_from_given_weights_with_their_settings(made_corpus, tmp_path):
    rows = np.arange(70)
    config = MANY_EPOCHS.updated({"epochs": 1, "learning_rate": 1e-30})
    small = {"lattice": get_block("lattice").Config(dim=8, layers=1, heads=1)}

    def train(out, **options):
        parallel.pretrain_blocks(
            made_corpus, ["lattice"], rows[:50], rows[50:], config, tmp_path / out, **options
        )
        return load_weights(tmp_path / out / "lattice")

    first = train("first", configs=small)
    assert first.config.dim == 8
    second = train("second", configs=small, init=tmp_path / "first")
    fresh = build_block("lattice", small["lattice"], seed=config.seed)
    parameters = dict(second.named_parameters())
    for name, parameter in first.named_parameters():
        torch.testing.assert_close(parameter, parameters[name])
    assert fresh.config == second.config
    card, before = (ModelCard.load(tmp_path / o / "lattice") for o in ("second", "first"))
    assert card.data["init"] == before.sha256
    with pytest.raises(InputError, match="do not fit the settings"):
        train("third", init=tmp_path / "first")
    with pytest.raises(UnknownNameError, match="'sites'"):
        parallel.pretrain_blocks(
            made_corpus, ["sites"], rows[:50], rows[50:], config, tmp_path, init=tmp_path / "first"
        )


def test_a_worker_that_was_killed_is_said_in_words(made_corpus, tmp_path):
    def kill_workers(block: str, epochs: int) -> None:
        for process in active_children():
            process.kill()

    rows = np.arange(70)
    with pytest.raises(CrystalSSLError, match="want of memory"):
        parallel.pretrain_blocks(
            made_corpus, ["lattice", "composition"], rows[:50], rows[50:], MANY_EPOCHS, tmp_path,
            workers=2, watch=kill_workers,
        )  # fmt: skip
    assert not (tmp_path / parallel.CORPUS_FILE).exists()
