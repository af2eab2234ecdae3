"""Several blocks at once on one host: each in a process of its own, with its share of the cores.

Blocks are independent and their tensors small, so two processes of one thread train faster than
one process of two threads. The corpus travels once, as a safetensors file beside the run; each
process runs ``loop.pretrain`` as it is.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from crystalssl.blocks.registry import build_block
from crystalssl.config import TrainConfig
from crystalssl.datasets.corpus import Corpus
from crystalssl.datasets.parts import PartedCorpus
from crystalssl.hub.card import TaskFigure
from crystalssl.pretraining._lightning import read_history, uses_gpu
from crystalssl.pretraining.loop import pretrain
from crystalssl.pretraining.outputs import RunFolder
from crystalssl.processes import obey_parent, usable_cores

CORPUS_FILE = "corpus.safetensors"
"""Where the corpus waits while processes train on it."""
GPU_BYTES = 8 * 2**30
"""Memory of a GPU that training of a block may take."""
_POLL_SECONDS = 0.5

Watcher = Callable[[str, int], None]
"""Told a block's name and how many epochs of it are done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockSummary:
    """How one block's training went.

    Attributes:
        block: its name.
        figures: held-out figures of every task.
        best_epoch: epoch with the lowest validation loss, from 0.
        seconds: time it took.
    """

    block: str
    figures: list[TaskFigure]
    best_epoch: int
    seconds: float


def default_workers(config: TrainConfig) -> int:
    """Processes to train blocks in.

    On a CPU one a core, or as many as there are ``threads``. On a GPU a step is a thousand small
    kernels, between which it idles, so blocks go side by side there too: one for two cores, and
    for ``GPU_BYTES`` of its memory. On several GPUs, or as one of several processes that a
    launcher started, blocks take turns.

    Args:
        config: training settings.

    Raises:
        InputError: if a GPU is asked for and there is none.
    """
    if "WORLD_SIZE" in os.environ or "SLURM_NTASKS" in os.environ:
        return 1
    cores = config.threads or usable_cores()
    if not uses_gpu(config):
        return max(1, cores)
    if (config.devices or torch.cuda.device_count()) > 1:
        return 1
    free, _ = torch.cuda.mem_get_info()
    return max(1, min(cores // 2, free // GPU_BYTES))


def pretrain_blocks(
    corpus: Corpus | PartedCorpus,
    blocks: Sequence[str],
    train_index: npt.ArrayLike,
    val_index: npt.ArrayLike,
    config: TrainConfig,
    out: Path,
    *,
    resume: Collection[str] = (),
    workers: int = 1,
    watch: Watcher = lambda block, epochs: None,
) -> dict[str, BlockSummary]:
    """Train several blocks, ``workers`` at a time.

    Args:
        corpus: crystals with their symmetry, in memory or in parts on disk.
        blocks: names of the blocks.
        train_index: row numbers to train on.
        val_index: row numbers that decide which epoch is best.
        config: training settings; ``threads`` is what all processes share.
        out: folder of the run; each block gets a folder in it.
        resume: names of the blocks that go on from their last checkpoint.
        workers: processes; 1 trains one block after the other in this one.
        watch: told of every finished epoch.

    Returns:
        A summary per block, in the order given.

    Raises:
        CrystalSSLError: whatever ``loop.pretrain`` raises, from the first block that fails.
    """
    train, val = np.asarray(train_index), np.asarray(val_index)
    workers = min(workers, len(blocks))
    if workers <= 1:
        return {
            name: _train(corpus, name, train, val, config, out, name in resume) for name in blocks
        }
    threads = config.threads or usable_cores()
    share = replace(config, threads=max(1, threads // workers), progress=False)
    path = Path(out) / CORPUS_FILE
    where = corpus.folder if isinstance(corpus, PartedCorpus) else corpus.save(path)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, obey_parent, (share.threads,))
    try:
        jobs = {
            name: pool.submit(
                _train_from_file, where, name, train, val, share, Path(out), name in resume
            )
            for name in blocks
        }
        _wait(jobs, Path(out), watch)
        return {name: job.result() for name, job in jobs.items()}
    finally:
        for process in list((pool._processes or {}).values()):
            process.kill()  # Lightning delays a gentler end; files are replaced whole
        pool.shutdown(wait=True, cancel_futures=True)
        path.unlink(missing_ok=True)


def _train(
    corpus: Corpus | PartedCorpus,
    name: str,
    train: npt.NDArray[np.int64],
    val: npt.NDArray[np.int64],
    config: TrainConfig,
    out: Path,
    resume: bool,
) -> BlockSummary:
    """Train one block in this process."""
    block = build_block(name, seed=config.seed)
    outcome = pretrain(corpus, block, train, val, config, out, resume)
    return BlockSummary(
        block=name,
        figures=outcome.figures,
        best_epoch=outcome.best_epoch,
        seconds=outcome.seconds,
    )


def _train_from_file(
    path: Path,
    name: str,
    train: npt.NDArray[np.int64],
    val: npt.NDArray[np.int64],
    config: TrainConfig,
    out: Path,
    resume: bool,
) -> BlockSummary:
    """Train one block in a process of its own."""
    torch.set_num_threads(config.threads)
    corpus = PartedCorpus(path) if path.is_dir() else Corpus.load(path)
    return _train(corpus, name, train, val, config, out, resume)


def _wait(jobs: dict[str, Future[BlockSummary]], out: Path, watch: Watcher) -> None:
    """Report epochs until all are done; the first failure ends the wait."""
    seen = dict.fromkeys(jobs, -1)
    while True:
        done = all(job.done() for job in jobs.values())
        for name, job in jobs.items():
            if job.done():
                job.result()
            epochs = len(read_history(RunFolder(path=out / name).metrics))
            if epochs != seen[name]:
                seen[name] = epochs
                watch(name, epochs)
        if done:
            return
        time.sleep(_POLL_SECONDS)
