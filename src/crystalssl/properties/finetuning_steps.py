"""Settings and optimizer steps of encoders that are trained on with labels.

Rates by layer, the network behind the encoders, and what a stopped training needs to go on. A
batch with many sites is taken in parts whose gradients add up, so that memory stays bounded
whatever the crystals. Between finetuning.py, which plans the training, and tuned_encoders.py.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from crystalssl.blocks._clipping import SoftClip
from crystalssl.blocks.contract import Block
from crystalssl.datasets.corpus import Corpus
from crystalssl.datasets.samplers import pack
from crystalssl.models.scaling import Scaler, fit_scaler
from crystalssl.properties.cross_validation import Experiment
from crystalssl.properties.inputs import ALSO, Inputs, frozen_columns
from crystalssl.properties.tuned_encoders import TunedEncoders, TunedNetwork, head_of

Index = npt.NDArray[np.int64]
SAMPLE = 1_500
"""Crystals from which features of the encoders are standardised."""
SITES = 16_384
"""Sites whose states are held at a time."""
WIDEST = 5.0
"""Standard deviations from the mean at which the user's own columns are clipped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finetuning:
    """Settings of the training."""

    hidden: tuple[int, ...] = (512, 128)
    """Widths of the hidden layers behind the encoders."""
    head_rate: float = 2e-3
    """Highest learning rate of the network behind the encoders."""
    encoder_rate: float = 2e-3
    """Highest learning rate of the last layer of the encoders."""
    decay: float = 0.9
    """Factor of the rate from a layer to the one before it."""
    weight_decay: float = 1e-2
    """Decoupled weight decay."""
    batch_size: int = 256
    """Crystals in a batch at most; at least sixteen batches are made of the crystals."""
    epochs: int = 24
    """Passes over the crystals, at least as many as make ``steps`` steps."""
    steps: int = 600
    """Steps at least."""
    smooth: float = 0.02
    """Error in standard deviations below which an absolute error counts squared."""

    def epochs_for(self, count: int) -> int:
        """Epochs for so many training crystals."""
        return max(self.epochs, -(-self.steps // self.batches_for(count)))

    def batches_for(self, count: int) -> int:
        """Steps in an epoch."""
        return max(1, count // max(2, min(self.batch_size, count // 16)))

    def steps_for(self, count: int) -> int:
        """Steps in all."""
        return self.epochs_for(count) * self.batches_for(count)


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


class Steps:
    """A network in training: one optimizer step a batch."""

    def __init__(
        self,
        experiment: Experiment,
        corpus: Corpus,
        blocks: Mapping[str, Block],
        train: Index,
        settings: Finetuning,
    ) -> None:
        """Put a network behind encoders.

        Args:
            experiment: labelled crystals.
            corpus: the same crystals, on the device of the training.
            blocks: encoders, which are changed.
            train: rows that are trained on.
            settings: of the training.
        """
        self.corpus, self.settings, self.kind = corpus, settings, experiment.kind
        inputs = experiment.inputs
        self.frozen = inputs.matrix[:, frozen_columns(inputs)]
        self.scaler = own_columns(inputs, fit_scaler(self.frozen, train).clipped(WIDEST))
        labels = experiment.labels
        self.centre, self.scale = np.zeros(labels.shape[1]), np.ones(labels.shape[1])
        if self.kind == "regression":
            self.centre, self.scale = labels[train].mean(axis=0), labels[train].std(axis=0)
            self.scale[self.scale == 0] = 1.0
        targets = ((labels - self.centre) / self.scale).astype(np.float32)
        self.targets = torch.from_numpy(targets).to(corpus.device)
        width = len(self.scaler.columns) + sum(block.width for block in blocks.values())
        head = head_of(width, (*settings.hidden, labels.shape[1]))
        self.network = TunedNetwork(blocks, head).to(corpus.device).requires_grad_(True)
        self._standardise(train, experiment.seed)
        head_parameters = list(self.network.head.parameters())
        groups: list[dict[str, Any]] = [{"params": head_parameters, "lr": settings.head_rate}]
        for block in blocks.values():
            groups += layer_rates(block, settings)
        self.optimizer = torch.optim.AdamW(groups, weight_decay=settings.weight_decay, fused=True)
        rates = [group["lr"] for group in self.optimizer.param_groups]
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, rates, total_steps=settings.steps_for(len(train)) + 8
        )

    @torch.no_grad()
    def _standardise(self, train: Index, seed: int) -> None:
        """Centre and deviation of the features of the encoders, before they are trained on."""
        rows = np.random.default_rng(seed).permutation(train)[:SAMPLE]
        self.network.eval()
        made = torch.cat([self.network.features(self.corpus, part) for part in self._parts(rows)])
        self.network.centre.copy_(made.mean(0))
        self.network.deviation.copy_(made.std(0).clamp_min(1e-3))

    def take(self, rows: Index) -> None:
        """One optimizer step; one whose gradient is not finite changes nothing."""
        self.network.train()
        for module in self.network.modules():
            if isinstance(module, SoftClip):
                module.eval()  # its statistics are those of pre-training
        self.optimizer.zero_grad(set_to_none=True)
        for part in self._parts(rows):
            torch.autograd.backward(self._loss(part) * (len(part) / len(rows)))
        if bool(nn.utils.clip_grad_norm_(self._parameters(), 1.0).isfinite()):
            self.optimizer.step()
        self.schedule.step()

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Everything that later steps depend on, but for the order of the crystals."""
        moments = {
            f"{number}.{name}": value
            for number, parameter in enumerate(self._parameters())
            for name, value in self.optimizer.state[parameter].items()
        }
        network = {f"network.{name}": v for name, v in self.network.state_dict().items()}
        taken = torch.tensor(self.schedule.last_epoch)
        tensors = {**network, **moments, "taken": taken, "random": self._random_state()}
        return {name: value.cpu().numpy() for name, value in tensors.items()}

    def resume(self, state: Mapping[str, npt.NDArray[Any]]) -> int:
        """Take up a state; the number of steps that were taken."""
        there = self.corpus.device
        tensors = {name: torch.from_numpy(value) for name, value in state.items()}
        start = "network."
        network = {n.removeprefix(start): v for n, v in tensors.items() if n.startswith(start)}
        self.network.load_state_dict(network)
        for number, parameter in enumerate(self._parameters()):
            own = {n.partition(".")[2]: v for n, v in tensors.items() if n.startswith(f"{number}.")}
            self.optimizer.state[parameter] = {name: v.to(there) for name, v in own.items()}
        taken = int(tensors["taken"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of rates without steps: the steps were taken before
            for _ in range(taken):
                self.schedule.step()
        if there.type == "cuda":
            torch.cuda.set_rng_state(tensors["random"], there)
        else:
            torch.set_rng_state(tensors["random"])
        return taken

    def _random_state(self) -> Tensor:
        there = self.corpus.device
        return torch.cuda.get_rng_state(there) if there.type == "cuda" else torch.get_rng_state()

    def _parameters(self) -> list[nn.Parameter]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def finished(self) -> TunedEncoders:
        """The network as it is, on the CPU."""
        return TunedEncoders(
            network=self.network.cpu().eval().requires_grad_(False),
            scaler=self.scaler,
            centre=self.centre,
            scale=self.scale,
            kind=self.kind,
        )

    def _parts(self, rows: Index) -> list[Index]:
        """Rows in parts of a bounded number of sites."""
        return pack(rows, self.corpus.site_counts, len(rows), SITES)

    def _loss(self, rows: Index) -> Tensor:
        """Mean loss of some rows."""
        beside = torch.from_numpy(self.scaler.transform(self.frozen, rows, np.float32))
        outputs = self.network(self.corpus, rows, beside.to(self.corpus.device))
        target = self.targets[torch.from_numpy(rows).to(self.corpus.device)]
        if self.kind == "classification":
            return nn.functional.binary_cross_entropy_with_logits(outputs, target)
        return nn.functional.smooth_l1_loss(outputs, target, beta=self.settings.smooth)


def own_columns(inputs: Inputs, scaler: Scaler) -> Scaler:
    """The part of a scaler of frozen columns that stands for the user's own ones."""
    first = frozen_columns(inputs).start
    chosen = inputs.columns([ALSO])[0] if ALSO in inputs.kinds() else slice(first, first)
    columns = scaler.columns + first
    kept = (columns >= chosen.start) & (columns < chosen.stop)
    return replace(
        scaler,
        centre=scaler.centre[kept], scale=scaler.scale[kept], low=scaler.low[kept],
        high=scaler.high[kept], columns=scaler.columns[kept],
    )  # fmt: skip
