"""Pre-trained encoders and labels -> encoders trained on, with a network behind them.

Encoders that learn an embedding of elements are trained on: they see species and, on the graph,
distances; the others add little for their time. Deep layers learn at smaller rates than shallow
ones (layer-wise rates); an inner part of the rows, formulas kept together, chooses the epoch.
After cross_validation.py, before blending.py. Source: Howard, Ruder, ACL 2018 (rates by layer).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from crystalssl.allocator import keep_freed_memory
from crystalssl.blocks._clipping import SoftClip
from crystalssl.blocks._layers import ElementEmbedding
from crystalssl.blocks.contract import Block
from crystalssl.datasets.corpus import Corpus
from crystalssl.datasets.splits import grouped_split
from crystalssl.evaluation.cache import digest
from crystalssl.models.scaling import Scaler, fit_scaler
from crystalssl.properties.cross_validation import Experiment
from crystalssl.properties.inputs import frozen_columns
from crystalssl.properties.tuned_encoders import (
    BATCH,
    TunedEncoders,
    TunedNetwork,
    head_of,
    tuned_of_arrays,
)

Floats = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
KIND = "finetuned"
"""Kind of the cache's entries."""
LEAST_LABELS = 2_000
"""Labels from which encoders are trained on unless told otherwise."""
SAMPLE = 1_500
"""Crystals from which features of the encoders are standardised."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finetuning:
    """Settings of the training."""

    hidden: tuple[int, ...] = (512, 128)
    """Widths of the hidden layers behind the encoders."""
    dropout: float = 0.1
    """Fraction of the hidden units left out of a step."""
    head_rate: float = 2e-3
    """Highest learning rate of the network behind the encoders."""
    encoder_rate: float = 5e-4
    """Highest learning rate of the last layer of the encoders."""
    decay: float = 0.7
    """Factor of the rate from a layer to the one before it."""
    weight_decay: float = 1e-4
    """Decoupled weight decay."""
    batch_size: int = 128
    """Crystals in a batch."""
    epochs: int = 8
    """Passes over the crystals, at least as many as make ``steps`` steps."""
    steps: int = 600
    """Steps at least."""
    inner: float = 0.1
    """Fraction of the training crystals that chooses the epoch."""
    smooth: float = 0.1
    """Error in standard deviations below which an absolute error counts squared."""

    def epochs_for(self, count: int) -> int:
        """Epochs for so many training crystals."""
        return max(self.epochs, -(-self.steps // self.batches_for(count)))

    def batches_for(self, count: int) -> int:
        """Steps in an epoch."""
        return max(1, count // self._batch(count))

    def _batch(self, count: int) -> int:
        return max(2, min(self.batch_size, count // 8))


def tunable_blocks(blocks: Mapping[str, Block]) -> dict[str, Block]:
    """The encoders that are worth being trained on: those that learn an embedding of elements."""
    return {
        name: block
        for name, block in blocks.items()
        if any(isinstance(module, ElementEmbedding) for module in block.modules())
    }


def layer_rates(block: Block, settings: Finetuning) -> list[dict[str, Any]]:
    """Parameters of a block in groups, each with its learning rate.

    The stack of layers is the longest list of modules; what is registered before it comes first in
    the network and learns slowest, what is registered behind it learns fastest.

    Args:
        block: an encoder.
        settings: rate of the last layer, and its decay.
    """
    stacks = {
        name: len(module)
        for name, module in block.named_modules()
        if isinstance(module, nn.ModuleList)
    }
    stack = max(stacks, key=lambda name: stacks[name], default="")
    depth_of: dict[int, list[nn.Parameter]] = {}
    passed = False
    for name, parameter in block.named_parameters():
        inside = bool(stack) and name.startswith(f"{stack}.")
        passed = passed or inside
        if inside:
            depth = 1 + int(name.removeprefix(f"{stack}.").partition(".")[0])
        else:
            depth = stacks.get(stack, 0) if passed or not stack else 0
        depth_of.setdefault(depth, []).append(parameter)
    last = max(depth_of)
    return [
        {"params": parameters, "lr": settings.encoder_rate * settings.decay ** (last - depth)}
        for depth, parameters in sorted(depth_of.items())
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuning:
    """What encoders are trained on.

    Attributes:
        experiment: labelled crystals.
        corpus: the same crystals.
        blocks: pre-trained encoders; copies of them are trained.
        origin: checksums of their weights.
        settings: of the training.
    """

    experiment: Experiment
    corpus: Corpus
    blocks: Mapping[str, Block]
    origin: tuple[str, ...]
    settings: Finetuning

    def fit(self, rows: Index, watch: Callable[[int, str], None]) -> TunedEncoders:
        """Encoders trained on with the labels of some rows, from the cache or now.

        Args:
            rows: training rows.
            watch: told of every epoch.
        """
        cache, experiment = self.experiment.cache, self.experiment
        settings = {**asdict(self.settings), "seed": experiment.seed, "kind": experiment.kind}
        data = [*experiment.data(), *self.origin, digest([rows])]
        key = cache.key(KIND, settings, data=data, code=(__name__,))
        stored = cache.get(key)
        blocks = {name: copy.deepcopy(block) for name, block in self.blocks.items()}
        if stored is None:
            tuned = self._train(blocks, rows, watch)
            state = {
                f"block.{name}.{key}": value.numpy()
                for name, block in tuned.network.encoders().items()
                for key, value in block.state_dict().items()
            }
            cache.put(key, {**tuned.arrays(), **state})
            return tuned
        for name, block in blocks.items():
            start = f"block.{name}."
            state_of = {k.removeprefix(start): v for k, v in stored.items() if k.startswith(start)}
            block.load_state_dict({k: torch.from_numpy(v) for k, v in state_of.items()})
        return tuned_of_arrays(stored, blocks, experiment.kind)

    def seconds(self, rows: Index) -> float:
        """Seconds that :meth:`fit` takes about, from three steps; kept with the fits."""
        cache = self.experiment.cache
        data = [*self.experiment.data(), *self.origin, digest([rows])]
        key = cache.key(KIND, {"seconds": asdict(self.settings)}, data=data, code=(__name__,))

        def measure() -> Mapping[str, npt.NDArray[np.float64]]:
            blocks = {name: copy.deepcopy(block) for name, block in self.blocks.items()}
            steps = _Steps(self, blocks, rows)
            steps.take(rows[: self.settings.batch_size])
            start = perf_counter()
            for _ in range(2):
                steps.take(rows[: self.settings.batch_size])
            each = (perf_counter() - start) / 2
            count = self.settings.epochs_for(len(rows)) * self.settings.batches_for(len(rows))
            return {"seconds": np.array(1.1 * each * count)}

        return float(cache.once(key, measure)["seconds"])

    def _train(
        self, blocks: Mapping[str, Block], rows: Index, watch: Callable[[int, str], None]
    ) -> TunedEncoders:
        """Train; the weights with the least error on the inner part are kept."""
        keep_freed_memory()
        settings, seed = self.settings, self.experiment.seed
        inner = grouped_split(
            self.experiment.groups[rows], (1 - settings.inner, settings.inner), seed
        )
        train, check = (rows[part] for part in inner)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            steps = _Steps(self, blocks, train)
            order = np.random.default_rng(seed)
            least, kept = np.inf, {}
            epochs, batches = settings.epochs_for(len(train)), settings.batches_for(len(train))
            for epoch in range(epochs):
                mixed = order.permutation(train)
                for batch in np.array_split(mixed, batches):
                    steps.take(batch)
                error = steps.error(check)
                watch(0, f"encoders, epoch {epoch + 1} of {epochs}")
                if error < least:
                    least = error
                    kept = {n: v.clone() for n, v in steps.network.state_dict().items()}
            steps.network.load_state_dict(kept)
        return TunedEncoders(
            network=steps.network.eval().requires_grad_(False),
            scaler=steps.scaler,
            centre=steps.centre,
            scale=steps.scale,
            kind=self.experiment.kind,
        )


class _Steps:
    """A network in training: one optimizer step a batch."""

    def __init__(self, tuning: Tuning, blocks: Mapping[str, Block], train: Index) -> None:
        experiment, settings = tuning.experiment, tuning.settings
        self.corpus, self.settings, self.kind = tuning.corpus, settings, experiment.kind
        columns = frozen_columns(experiment.inputs)
        self.frozen = experiment.inputs.matrix[:, columns]
        self.scaler: Scaler = fit_scaler(self.frozen, train).clipped(5.0)
        labels = experiment.labels
        width = labels.shape[1]
        self.centre, self.scale = np.zeros(width), np.ones(width)
        if experiment.kind == "regression":
            self.centre, self.scale = labels[train].mean(axis=0), labels[train].std(axis=0)
            self.scale[self.scale == 0] = 1.0
        self.targets = torch.from_numpy(((labels - self.centre) / self.scale).astype(np.float32))
        inputs = len(self.scaler.columns) + sum(block.width for block in blocks.values())
        self.network = TunedNetwork(
            blocks, head_of(inputs, (*settings.hidden, width), settings.dropout)
        )
        self._standardise(train, experiment.seed)
        groups: list[dict[str, Any]] = [
            {"params": list(self.network.head.parameters()), "lr": settings.head_rate}
        ]
        for block in blocks.values():
            block.requires_grad_(True)
            groups += layer_rates(block, settings)
        self.optimizer = torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
        count = settings.epochs_for(len(train)) * settings.batches_for(len(train))
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, [group["lr"] for group in groups], total_steps=count + 8
        )

    @torch.no_grad()
    def _standardise(self, train: Index, seed: int) -> None:
        """Centre and deviation of the features of the encoders, before they are trained on."""
        rows = np.random.default_rng(seed).permutation(train)[:SAMPLE]
        self.network.eval()
        made = torch.cat([self.network.features(self.corpus, part) for part in _batches(rows)])
        self.network.centre.copy_(made.mean(0))
        self.network.deviation.copy_(made.std(0).clamp_min(1e-3))

    def take(self, rows: Index) -> None:
        """One optimizer step; one whose gradient is not finite changes nothing."""
        self.network.train()
        for module in self.network.modules():
            if isinstance(module, SoftClip):
                module.eval()  # its statistics are those of pre-training
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(self._loss(rows))
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        if bool(torch.nn.utils.clip_grad_norm_(parameters, 1.0).isfinite()):
            self.optimizer.step()
        self.schedule.step()

    @torch.inference_mode()
    def error(self, rows: Index) -> float:
        """Loss of some rows in evaluation mode."""
        self.network.eval()
        losses = [(float(self._loss(part)), len(part)) for part in _batches(rows)]
        return sum(loss * count for loss, count in losses) / len(rows)

    def _loss(self, rows: Index) -> Tensor:
        frozen = torch.from_numpy(self.scaler.transform(self.frozen, rows, np.float32))
        outputs = self.network(self.corpus, rows, frozen)
        if self.kind == "classification":
            return nn.functional.binary_cross_entropy_with_logits(outputs, self.targets[rows])
        return nn.functional.smooth_l1_loss(outputs, self.targets[rows], beta=self.settings.smooth)


def _batches(rows: Index) -> list[Index]:
    return [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
