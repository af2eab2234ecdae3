"""The one loop that trains every block: corpus and block in, weights, card and figures out.

Lightning runs it (checkpoints, resume, precision, several devices); ``module.PretextTraining`` is
all it is told.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch

from crystalssl.allocator import keep_freed_memory
from crystalssl.blocks.contract import Block
from crystalssl.config import TrainConfig
from crystalssl.datasets.corpus import Corpus
from crystalssl.datasets.samplers import BatchSampler, Index
from crystalssl.datasets.shards import ShardedCorpus
from crystalssl.errors import InputError, Skip
from crystalssl.files import exclusive, make_folder
from crystalssl.hub.card import ModelCard, TaskFigure
from crystalssl.hub.seen import Seen
from crystalssl.hub.weights import load_weights, new_card, save_weights
from crystalssl.pretraining._lightning import (
    EpochBatches,
    build_trainer,
    is_main_process,
    own_randomness,
    plain_interrupt,
    quiet,
    read_checkpoint,
)
from crystalssl.pretraining.module import PretextTraining
from crystalssl.pretraining.monitors import HEALTH, CollapseMonitor, ThroughputMonitor
from crystalssl.pretraining.outputs import RunFolder, effective_settings


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainOutcome:
    """A trained block and how it went.

    Attributes:
        folder: where its outputs are.
        block: the block with its best weights, in evaluation mode, on the CPU.
        figures: held-out figures of every task.
        val_loss: lowest validation loss.
        best_epoch: epoch it was reached in, from 0.
        seconds: time spent in this call.
        left_out: crystals that could not be learnt from.
    """

    folder: Path
    block: Block
    figures: list[TaskFigure]
    val_loss: float
    best_epoch: int
    seconds: float
    left_out: list[Skip]


def pretrain(
    corpus: Corpus | ShardedCorpus,
    block: Block,
    train_index: npt.ArrayLike,
    val_index: npt.ArrayLike,
    config: TrainConfig,
    out: Path,
    resume: bool = False,
    *,
    force: bool = False,
    init: str = "",
    callbacks: Sequence[pl.Callback] = (),
) -> PretrainOutcome:
    """Train a block on its pretext tasks; outputs go to ``out/<block name>`` (``outputs.py``).

    The same seed gives the same weights on a CPU, in one go or not: a run of the same settings and
    crystals that is there goes on from its last checkpoint, and returns at once if it is finished.
    A crystal whose targets or loss are not finite is left out, and named in ``left_out.csv``.

    Args:
        corpus: crystals with their symmetry, in memory or in shards on disk.
        block: block as built, or with the weights to go on from; trained in place.
        train_index: row numbers to train on; they also fix the statistics of the targets.
        val_index: row numbers that decide which epoch is best.
        config: training settings.
        out: folder of the run.
        resume: the run that is there, if any, must be of the same settings; ``epochs`` may be
            more, and training goes on with the learning rates of the longer run.
        force: whether training with other settings or crystals may be replaced.
        init: checksum of the weights that ``block`` comes with; empty for fresh ones.
        callbacks: further Lightning callbacks.

    Raises:
        InputError: if there is nothing to train on or to validate with, if crystals lack their
            symmetry, if the run that is there had other settings or crystals, if another process
            trains in the folder, or if training diverges.
    """
    start = time.perf_counter()
    train, val = (np.asarray(index, dtype=np.int64) for index in (train_index, val_index))
    _check(corpus, train, val)
    folder = RunFolder(path=make_folder(Path(out) / block.name))
    settings = effective_settings(block, config, corpus, (train, val), init)
    with exclusive(folder.path) if is_main_process() else nullcontext():
        finished = _finished(folder, settings, start)
        if finished is not None:
            return finished
        last = folder.last if folder.last.is_file() else None
        if is_main_process():
            last = folder.begin(settings, resume=resume, force=force)
        keep_freed_memory()
        if config.threads:
            torch.set_num_threads(config.threads)
        finite = [corpus.has_finite_targets(rows) for rows in (train, val)]
        used = (train[finite[0]], val[finite[1]])
        _check(corpus, *used)
        if last is None or not read_checkpoint(last).get("stopped"):
            _fit(corpus.fit_targets(train), block, *used, config, folder, last, callbacks)
        best, ended = read_checkpoint(folder.best), read_checkpoint(folder.last)
        state = {name.removeprefix("block."): value for name, value in best["state_dict"].items()}
        block.cpu().load_state_dict(state)
        odd = [train[~finite[0]], val[~finite[1]], np.array(ended.get("left_out", []), np.int64)]
        outcome = PretrainOutcome(
            folder=folder.path,
            block=block.eval(),
            figures=[TaskFigure(**values) for values in best["figures"]],
            val_loss=best["metrics"]["val_loss"],
            best_epoch=best["epoch"],
            seconds=time.perf_counter() - start,
            left_out=_skips(corpus, np.unique(np.concatenate(odd)), block.name),
        )
        if is_main_process():
            # validation crystals chose the epoch: they are not new to the weights either
            seen = Seen.from_batches(corpus.crystals(np.concatenate([train, val])))
            _write_results(folder, outcome, best["metrics"], settings, seen)
    return outcome


def _finished(folder: RunFolder, settings: dict[str, Any], start: float) -> PretrainOutcome | None:
    """What an earlier call has done already; None if it has not, or its weights are damaged."""
    if not folder.is_finished_with(settings):
        return None
    try:
        block = load_weights(folder.path)
    except InputError:
        return None
    training = ModelCard.load(folder.path).training
    return PretrainOutcome(
        folder=folder.path,
        block=block,
        figures=folder.read_tasks(),
        val_loss=training["val_loss"],
        best_epoch=training["best_epoch"],
        seconds=time.perf_counter() - start,
        left_out=folder.read_left_out(),
    )


def _skips(corpus: Corpus | ShardedCorpus, rows: Index, block: str) -> list[Skip]:
    """Crystals that could not be learnt from, by name."""
    ids = [name for crystals in corpus.crystals(rows) for name in crystals.ids.tolist()]
    reason = f"its targets, or its loss on a task of block {block}, are not finite"
    remedy = "look at its cell and coordinates; training went on without it"
    return [Skip(id=name, file="", reason=reason, remedy=remedy) for name in ids]


def _fit(
    corpus: Corpus | ShardedCorpus,
    block: Block,
    train: Index,
    val: Index,
    config: TrainConfig,
    folder: RunFolder,
    last: Path | None,
    callbacks: Sequence[pl.Callback],
) -> None:
    """Run Lightning from the ``last`` checkpoint, or from the start."""
    count = min(len(val), config.monitor_crystals)
    watched = val[np.linspace(0, len(val) - 1, count).astype(int)]
    if corpus.shard_of_row is not None:  # few shards to read; each is a mixture of the whole
        watched = val[:count]
    sites = corpus.site_counts
    monitors = [
        ThroughputMonitor(len(train)),
        CollapseMonitor(watched, sites, config.batch_size, config.max_atoms),
    ]
    with quiet(), plain_interrupt(), own_randomness():
        trainer = build_trainer(config, folder, [*monitors, *callbacks])
        shape = {
            "batch_size": config.batch_size,
            "max_atoms": config.max_atoms,
            "multiple": trainer.world_size,
            "shards": corpus.shard_of_row,
        }
        plan = BatchSampler(train, sites, seed=config.seed, epochs=config.epochs, **shape)
        held_out = BatchSampler(val, sites, shuffle=False, **shape)
        steps = config.epochs * plan.batches_per_epoch // trainer.world_size
        trainer.fit(
            PretextTraining(block, corpus, config, steps),
            EpochBatches(plan, trainer),
            EpochBatches(held_out, trainer),
            ckpt_path=None if last is None else str(last),
        )


def _check(corpus: Corpus | ShardedCorpus, train: Index, val: Index) -> None:
    """Refuse to start without crystals or without what tasks need."""
    if not len(train) or not len(val):
        raise InputError(
            f"Got {len(train)} crystals to train on and {len(val)} to validate with, expected "
            "some of each. Give more structures."
        )
    if not corpus.has_symmetry:
        raise InputError(
            "The corpus was built without symmetry, which a pretext task predicts. Build it with "
            "Corpus.from_crystals(canonicalize(crystals))."
        )
    if not corpus.has_targets:
        raise InputError(
            "The corpus was built for features, without crystal-level targets, which tasks "
            "predict. Build it with Corpus.from_crystals(canonicalize(crystals))."
        )


def _write_results(
    folder: RunFolder,
    outcome: PretrainOutcome,
    metrics: dict[str, float],
    settings: dict[str, Any],
    seen: Seen,
) -> None:
    """Figures, weights, seen crystals and card of the best epoch."""
    training = {
        **settings["training"],
        "best_epoch": outcome.best_epoch,
        "val_loss": outcome.val_loss,
        **{name: metrics[name] for name in HEALTH if name in metrics},
    }
    card = new_card(
        outcome.block, data=settings["data"], training=training, figures=outcome.figures
    )
    monitors = {name: value for name, value in metrics.items() if "/" not in name}
    folder.write_tasks(outcome.figures, monitors)
    folder.write_left_out(outcome.left_out)
    save_weights(outcome.block, folder.path, card, seen)
