"""A block in training, as Lightning is told of it: losses, figures, what is left out of a step.

A block is called in two places only: ``pretext`` in a step, ``encode`` by monitors. A crystal whose
loss is not finite is left out and named, so that one odd structure does not end a run of hours.
Used by ``loop.py``.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float
from torch import Tensor

from crystalssl.blocks.contract import Block, BlockBatch
from crystalssl.config import TrainConfig
from crystalssl.datasets.corpus import Corpus
from crystalssl.datasets.samplers import Index
from crystalssl.datasets.shards import ShardedCorpus
from crystalssl.errors import InputError
from crystalssl.hub.card import TaskFigure
from crystalssl.pretraining.optimizer import build_optimizer
from crystalssl.pretraining.scores import Tally

_TRAIN, _VALIDATE, _DROPOUT = 0, 1, 2


def generator_for(*numbers: int) -> torch.Generator:
    """A generator that depends on these numbers only: seed, purpose, epoch, batch."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


class PretextTraining(pl.LightningModule):  # type: ignore[misc]  # untyped base
    """A block in training: one step is ``block.pretext``, whatever the block."""

    def __init__(
        self, block: Block, corpus: Corpus | ShardedCorpus, config: TrainConfig, steps: int
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
        self.left_out: set[int] = set()
        self._rows: Index = np.zeros(0, np.int64)
        self._training, self._validation = Tally(), Tally()

    def transfer_batch_to_device(
        self, batch: tuple[int, Index], device: torch.device, dataloader_idx: int
    ) -> tuple[int, Index, BlockBatch]:
        """Gather the crystals where the corpus is, in full precision."""
        number, rows = batch
        return number, rows, self.corpus.batch(rows, self.block)

    def score(self, batch: BlockBatch, generator: torch.Generator, tally: Tally) -> Tensor:
        """The loss of a batch: all tasks of the block, by their weights.

        It is counted if it is finite.
        """
        results = self.block.pretext(batch, generator)
        loss = torch.stack([result.weight * result.loss for result in results]).sum()
        if bool(loss.isfinite()):
            tally.add(results, loss, len(batch.rows))
        return loss

    def _finite_score(
        self, batch: tuple[int, Index, BlockBatch], numbers: tuple[int, ...], tally: Tally
    ) -> Tensor:
        """The loss of a batch without crystals whose loss is not finite; these are left out.

        Raises:
            InputError: if the weights are not finite.
        """
        _, rows, crystals = batch
        buffers = [buffer.clone() for buffer in self.block.buffers()]
        loss = self.score(crystals, generator_for(*numbers), tally)
        if bool(loss.isfinite()):
            return loss
        with torch.no_grad():  # running statistics have seen the crystal too
            for buffer, before in zip(self.block.buffers(), buffers, strict=True):
                buffer.copy_(before)
        self._check_weights()
        good = rows[[self._is_finite(row, numbers) for row in rows.tolist()]]
        if 0 < len(good) < len(rows):
            loss = self.score(self.corpus.batch(good, self.block), generator_for(*numbers), tally)
            if bool(loss.isfinite()):
                self.left_out.update(np.setdiff1d(rows, good).tolist())
                return loss
        self.left_out.update(rows.tolist())
        nothing = [(0 * p).sum() for p in self.block.parameters() if p.requires_grad]
        return torch.stack(nothing).sum()  # no gradient, the same on every process

    @torch.no_grad()
    def _is_finite(self, row: int, numbers: tuple[int, ...]) -> bool:
        """Whether the loss of a crystal alone is finite."""
        training = self.block.training
        self.block.eval()
        loss = self.score(self.corpus.batch([row], self.block), generator_for(*numbers), Tally())
        self.block.train(training)
        return bool(loss.isfinite())

    def _check_weights(self) -> None:
        """Tell weights that are lost from a crystal that is odd.

        Raises:
            InputError: if a weight is not finite.
        """
        if not all(bool(parameter.isfinite().all()) for parameter in self.block.parameters()):
            raise InputError(
                f"Training of block {self.block.name!r} diverged in epoch {self.current_epoch}: "
                f"weights are not finite. Lower learning_rate (now "
                f"{self.settings.learning_rate:g})."
            )

    def training_step(self, batch: tuple[int, Index, BlockBatch], batch_idx: int) -> Tensor:
        """One optimizer step; corruption depends on seed, epoch and batch only."""
        self._rows = batch[1]
        numbers = (self.settings.seed, _TRAIN, self.current_epoch, batch[0])
        return self._finite_score(batch, numbers, self._training)

    def validation_step(self, batch: tuple[int, Index, BlockBatch], batch_idx: int) -> None:
        """Score held-out crystals under the same corruption in every epoch."""
        self._finite_score(batch, (self.settings.seed, _VALIDATE, batch[0]), self._validation)

    def on_fit_start(self) -> None:
        """Bring the corpus to where the block is."""
        self.corpus = self.corpus.to(self.device)

    def on_train_epoch_start(self) -> None:
        """Make dropout depend on seed, epoch and process only, so that resuming changes nothing."""
        numbers = (self.settings.seed, _DROPOUT, self.current_epoch, self.global_rank)
        torch.manual_seed(generator_for(*numbers).initial_seed())
        self._training = Tally()

    def on_validation_epoch_start(self) -> None:
        """Start counting again."""
        self._validation = Tally()

    def on_validation_epoch_end(self) -> None:
        """Log losses, figures and baselines of the epoch.

        Raises:
            InputError: if no crystal has a finite loss.
        """
        self._check_weights()
        self._training.reduce()
        self._validation.reduce()
        self.figures = self._validation.figures(self.block.name, self.block.tasks)
        losses = {"train_loss": self._training.loss, "val_loss": self._validation.loss}
        if not np.isfinite(list(losses.values())).all():
            raise InputError(
                f"Block {self.block.name!r} has a finite loss on no crystal ({losses}). Look at "
                "the structures, or lower learning_rate (now "
                f"{self.settings.learning_rate:g})."
            )
        self.log_dict(losses, prog_bar=True)
        self.log("learning_rate", self.trainer.optimizers[0].param_groups[0]["lr"])
        for figure in self.figures:
            values = {"loss": figure.loss, "model": figure.model, **figure.baselines}
            for key, value in values.items():
                self.log(f"{figure.task}/{key}", float("nan") if value is None else value)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the figures with the weights they belong to."""
        metrics = {name: float(value) for name, value in self.trainer.callback_metrics.items()}
        checkpoint["metrics"] = metrics
        checkpoint["figures"] = [asdict(figure) for figure in self.figures]
        checkpoint["left_out"] = sorted(self.left_out)
        checkpoint["stopped"] = bool(self.trainer.should_stop)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with what was left out, and along the learning rates of as many steps as now."""
        self.left_out = set(checkpoint.get("left_out", []))
        schedules = build_optimizer(self.block, self.settings, self.steps)
        for state, made in zip(
            checkpoint["lr_schedulers"],
            schedules[1] if isinstance(schedules, tuple) else [],
            strict=True,
        ):
            now = made["scheduler"].state_dict()
            state.update({name: now[name] for name in ("total_steps", "_schedule_phases")})

    def encode(self, rows: Index) -> Float[Tensor, "crystal feature"]:
        """Features of some crystals of the corpus."""
        return self.block.encode(self.corpus.batch(rows, self.block)).features

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Limit the norm of all gradients; Lightning refuses to for a fused optimizer and bf16.

        Gradients that are not finite, of a loss that is, are left out with their batch.
        """
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        limit = gradient_clip_val or float("inf")
        if not bool(torch.nn.utils.clip_grad_norm_(parameters, limit).isfinite()):
            self.left_out.update(self._rows.tolist())
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.grad.zero_()

    def configure_optimizers(self) -> Any:
        """Adam with decoupled weight decay, and the course of its learning rate."""
        return build_optimizer(self.block, self.settings, self.steps)
