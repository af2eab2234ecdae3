"""The one loop that trains every block: corpus and block in, weights, card and figures out.

Lightning runs it (checkpoints, resume, precision, several devices); :class:`PretextTraining` is
all it is told. A block is called in two places only: ``pretext`` in a step, ``encode`` by monitors.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from crystalssl.allocator import keep_freed_memory
from crystalssl.blocks._contract import Block, BlockBatch
from crystalssl.config import TrainConfig
from crystalssl.datasets.corpus import Corpus
from crystalssl.datasets.parts import PartedCorpus
from crystalssl.datasets.samplers import BatchSampler, Index
from crystalssl.errors import InputError
from crystalssl.files import write_json
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
from crystalssl.pretraining.monitors import HEALTH, CollapseMonitor, ThroughputMonitor
from crystalssl.pretraining.optimizer import build_optimizer
from crystalssl.pretraining.outputs import RunFolder, effective_settings
from crystalssl.pretraining.scores import Tally

_TRAIN, _VALIDATE, _DROPOUT = 0, 1, 2


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
    """

    folder: Path
    block: Block
    figures: list[TaskFigure]
    val_loss: float
    best_epoch: int
    seconds: float


def generator_for(*numbers: int) -> torch.Generator:
    """A generator that depends on these numbers only: seed, purpose, epoch, batch."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


class PretextTraining(pl.LightningModule):  # type: ignore[misc]  # untyped base
    """A block in training: one step is ``block.pretext``, whatever the block."""

    def __init__(
        self, block: Block, corpus: Corpus | PartedCorpus, config: TrainConfig, steps: int
    ) -> None:
        """Take what is trained.

        Args:
            block: trained in place.
            corpus: source of the batches.
            config: training settings.
            steps: optimizer steps of the whole run.
        """
        super().__init__()
        self.block = block
        self.corpus = corpus
        self.settings = config
        self.steps = steps
        self.figures: list[TaskFigure] = []
        self._training, self._validation = Tally(), Tally()

    def transfer_batch_to_device(
        self, batch: tuple[int, Index], device: torch.device, dataloader_idx: int
    ) -> tuple[int, BlockBatch]:
        """Gather the crystals where the corpus is, in full precision."""
        number, rows = batch
        return number, self.corpus.batch(rows, self.block)

    def score(self, batch: BlockBatch, generator: torch.Generator, tally: Tally) -> Tensor:
        """The loss of a batch: all tasks of the block, by their weights."""
        results = self.block.pretext(batch, generator)
        loss = torch.stack([result.weight * result.loss for result in results]).sum()
        tally.add(results, loss, len(batch.rows))
        return loss

    def training_step(self, batch: tuple[int, BlockBatch], batch_idx: int) -> Tensor:
        """One optimizer step; corruption depends on seed, epoch and batch only."""
        number, crystals = batch
        generator = generator_for(self.settings.seed, _TRAIN, self.current_epoch, number)
        return self.score(crystals, generator, self._training)

    def validation_step(self, batch: tuple[int, BlockBatch], batch_idx: int) -> None:
        """Score held-out crystals under the same corruption in every epoch."""
        number, crystals = batch
        self.score(crystals, generator_for(self.settings.seed, _VALIDATE, number), self._validation)

    def on_fit_start(self) -> None:
        """Bring the corpus to where the block is."""
        self.corpus = self.corpus.to(self.device)

    def on_train_epoch_start(self) -> None:
        """Make dropout depend on seed, epoch and process only, so that resuming changes nothing."""
        numbers = (self.settings.seed, _DROPOUT, self.current_epoch, self.global_rank)
        torch.manual_seed(generator_for(*numbers).initial_seed())
        self._training = Tally()

    def on_validation_epoch_start(self) -> None:
        """Start counting anew."""
        self._validation = Tally()

    def on_validation_epoch_end(self) -> None:
        """Log losses, figures and baselines of the epoch.

        Raises:
            InputError: if a loss is not finite.
        """
        self._training.reduce()
        self._validation.reduce()
        self.figures = self._validation.figures(self.block.name, self.block.tasks)
        losses = {"train_loss": self._training.loss, "val_loss": self._validation.loss}
        if not np.isfinite(list(losses.values())).all():
            raise InputError(
                f"Training of block {self.block.name!r} diverged in epoch {self.current_epoch} "
                f"({losses}). Lower learning_rate (now {self.settings.learning_rate:g})."
            )
        self.log_dict(losses, prog_bar=True)
        self.log("learning_rate", self.optimizers().param_groups[0]["lr"])
        for figure in self.figures:
            values = {"loss": figure.loss, "model": figure.model, **figure.baselines}
            for key, value in values.items():
                self.log(f"{figure.task}/{key}", float("nan") if value is None else value)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the figures with the weights they belong to."""
        metrics = {name: float(value) for name, value in self.trainer.callback_metrics.items()}
        checkpoint["metrics"] = metrics
        checkpoint["figures"] = [asdict(figure) for figure in self.figures]

    def encode(self, rows: Index) -> Float[Tensor, "crystal feature"]:
        """Features of some crystals of the corpus."""
        return self.block.encode(self.corpus.batch(rows, self.block)).features

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Limit the norm of all gradients; Lightning refuses to for a fused optimizer and bf16."""
        if gradient_clip_val:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, gradient_clip_val)

    def configure_optimizers(self) -> Any:
        """Adam with decoupled weight decay, and the course of its learning rate."""
        return build_optimizer(self.block, self.settings, self.steps)


def pretrain(
    corpus: Corpus | PartedCorpus,
    block: Block,
    train_index: npt.ArrayLike,
    val_index: npt.ArrayLike,
    config: TrainConfig,
    out: Path,
    resume: bool = False,
    *,
    callbacks: Sequence[pl.Callback] = (),
) -> PretrainOutcome:
    """Train a block on its pretext tasks; outputs go to ``out/<block name>`` (``outputs.py``).

    The same seed gives the same weights on a CPU, in one go or resumed.

    Args:
        corpus: crystals with their symmetry, in memory or in parts on disk.
        block: freshly built block; trained in place.
        train_index: row numbers to train on; they also fix the statistics of the targets.
        val_index: row numbers that decide which epoch is best.
        config: training settings.
        out: folder of the run.
        resume: go on from the last checkpoint, if there is one; a finished run returns at once.
        callbacks: further Lightning callbacks.

    Raises:
        InputError: if there is nothing to train on or to validate with, if crystals lack their
            symmetry, if a run to be resumed had other settings, or if training diverges.
    """
    start = time.perf_counter()
    train, val = (np.asarray(index, dtype=np.int64) for index in (train_index, val_index))
    _check(corpus, train, val)
    folder = RunFolder(path=Path(out) / block.name)
    settings = effective_settings(block, config, corpus, train, val)
    if resume:
        folder.check_same(settings)
        if folder.is_finished:
            training = ModelCard.load(folder.path).training
            return PretrainOutcome(
                folder=folder.path,
                block=load_weights(folder.path),
                figures=folder.read_tasks(),
                val_loss=training["val_loss"],
                best_epoch=training["best_epoch"],
                seconds=time.perf_counter() - start,
            )
    elif is_main_process():
        folder.clear()
    if is_main_process():
        write_json(settings, folder.config)
    keep_freed_memory()
    if config.threads:
        torch.set_num_threads(config.threads)
    last = folder.last if resume and folder.last.is_file() else None
    _fit(corpus.fit_targets(train), block, train, val, config, folder, last, callbacks)
    best = read_checkpoint(folder.best)
    state = {name.removeprefix("block."): value for name, value in best["state_dict"].items()}
    block.cpu().load_state_dict(state)
    outcome = PretrainOutcome(
        folder=folder.path,
        block=block.eval(),
        figures=[TaskFigure(**values) for values in best["figures"]],
        val_loss=best["metrics"]["val_loss"],
        best_epoch=best["epoch"],
        seconds=time.perf_counter() - start,
    )
    if is_main_process():
        # validation crystals chose the epoch: they are not new to the weights either
        seen = Seen.from_parts(corpus.crystals(np.concatenate([train, val])))
        _write_results(folder, outcome, best["metrics"], settings, seen)
    return outcome


def _fit(
    corpus: Corpus | PartedCorpus,
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
    if corpus.part_of_row is not None:  # few parts to read; each is a mixture of the whole
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
            "parts": corpus.part_of_row,
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


def _check(corpus: Corpus | PartedCorpus, train: Index, val: Index) -> None:
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
    save_weights(outcome.block, folder.path, card, seen)
