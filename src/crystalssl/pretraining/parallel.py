"""Several blocks at once on one host: each in a process of its own, with its share of the cores.

Blocks are independent and their tensors small, so two processes of one thread train faster than
one process of two threads. The corpus travels once, as a safetensors file beside the run; each
process runs ``loop.pretrain`` as it is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from crystalssl.blocks.contract import Block
from crystalssl.blocks.registry import build_block
from crystalssl.config import TrainConfig
from crystalssl.datasets.corpus import Corpus
from crystalssl.datasets.samplers import Index
from crystalssl.datasets.shards import ShardedCorpus
from crystalssl.errors import InputError, Skip, unknown_name, worker_died
from crystalssl.files import exclusive, make_folder, remove
from crystalssl.hub.card import ModelCard, TaskFigure
from crystalssl.hub.weights import load_weights, run_folders
from crystalssl.pretraining._lightning import is_main_process, read_history, uses_gpu
from crystalssl.pretraining.loop import pretrain
from crystalssl.pretraining.outputs import RunFolder
from crystalssl.processes import obey_parent, usable_cores, worker_pool

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
        left_out: crystals that could not be learnt from.
    """

    block: str
    figures: list[TaskFigure]
    best_epoch: int
    seconds: float
    left_out: list[Skip]


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
    corpus: Corpus | ShardedCorpus,
    blocks: Sequence[str],
    train_index: npt.ArrayLike,
    val_index: npt.ArrayLike,
    config: TrainConfig,
    out: Path,
    *,
    resume: Collection[str] = (),
    workers: int = 1,
    watch: Watcher = lambda block, epochs: None,
    configs: Mapping[str, Any] | None = None,
    init: str | Path | None = None,
    force: bool = False,
    epochs: Mapping[str, int] | None = None,
) -> dict[str, BlockSummary]:
    """Train several blocks, ``workers`` at a time.

    Args:
        corpus: crystals with their symmetry, in memory or in shards on disk.
        blocks: names of the blocks.
        train_index: row numbers to train on.
        val_index: row numbers that decide which epoch is best.
        config: training settings; ``threads`` is what all processes share.
        out: folder of the run; each block gets a folder in it.
        resume: names of the blocks that must be those of a run that is there; more epochs may be
            asked for. A run of the same settings and crystals is gone on with in any case.
        workers: processes; 1 trains one block after the other in this one.
        watch: told of every finished epoch.
        configs: settings of blocks that are not the default ones.
        init: run, or name of weights, to go on from instead of fresh weights.
        force: whether training with other settings or crystals may be replaced.
        epochs: epochs of blocks that differ from the ``config``'s.

    Returns:
        A summary per block, in the order given.

    Raises:
        CrystalSSLError: whatever ``loop.pretrain`` raises, from the first block that fails; if
            another process trains in the folder.
    """
    index = (np.asarray(train_index, np.int64), np.asarray(val_index, np.int64))
    out = make_folder(out)
    jobs = [
        _Job(
            block=name,
            config=(configs or {}).get(name),
            init=None if init is None else str(init),
            out=out,
            resume=name in resume,
            force=force,
            epochs=(epochs or {}).get(name, config.epochs),
        )
        for name in blocks
    ]
    workers = min(workers, len(blocks))
    path = out / CORPUS_FILE
    with exclusive(out) if is_main_process() else nullcontext():
        try:
            if workers <= 1:
                return {job.block: _train(corpus, index, config, job) for job in jobs}
            threads = config.threads or usable_cores()
            share = replace(config, threads=max(1, threads // workers), progress=False)
            at = corpus.folder if isinstance(corpus, ShardedCorpus) else corpus.save(path)
            with worker_pool(workers, obey_parent, share.threads) as pool:
                futures = {
                    job.block: pool.submit(_train_from_file, at, index, share, job) for job in jobs
                }
                _wait(futures, out, watch)
                return {name: future.result() for name, future in futures.items()}
        except BrokenExecutor as error:
            raise worker_died() from error
        finally:
            if is_main_process():
                remove(path)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    """A block to train, and where: see ``pretrain_blocks``."""

    block: str
    config: Any
    init: str | None
    out: Path
    resume: bool
    force: bool
    epochs: int


def _train(
    corpus: Corpus | ShardedCorpus, index: tuple[Index, Index], config: TrainConfig, job: _Job
) -> BlockSummary:
    """Train one block in this process."""
    config = replace(config, epochs=job.epochs)
    block = build_block(job.block, job.config, seed=config.seed)
    checksum = "" if job.init is None else _take_weights(block, job.init)
    outcome = pretrain(
        corpus, block, *index, config, job.out, job.resume, force=job.force, init=checksum
    )
    return BlockSummary(
        block=job.block,
        figures=outcome.figures,
        best_epoch=outcome.best_epoch,
        seconds=outcome.seconds,
        left_out=outcome.left_out,
    )


def _take_weights(block: Block, init: str) -> str:
    """Start a block from trained weights; returns their checksum.

    Raises:
        InputError: if they are of other settings.
    """
    folders = run_folders(init)
    if block.name not in folders:
        raise unknown_name("block in these weights", block.name, folders, "crystalssl info weights")
    try:
        block.load_state_dict(load_weights(folders[block.name]).state_dict())
    except RuntimeError as error:
        raise InputError(
            f"Weights of {block.name} in {init} do not fit the settings it is to be trained with "
            f"({error}). Leave the settings of the block as they are there."
        ) from error
    return ModelCard.load(folders[block.name]).sha256


def _train_from_file(
    path: Path, index: tuple[Index, Index], config: TrainConfig, job: _Job
) -> BlockSummary:
    """Train one block in a process of its own."""
    torch.set_num_threads(config.threads)
    corpus = ShardedCorpus(path) if path.is_dir() else Corpus.load(path)
    return _train(corpus, index, config, job)


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
