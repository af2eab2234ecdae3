"""Scoring: statistics behind the trivial baselines, and the crystal-level objective.

The crystal-level objective lets the pooled features tell facts of the whole crystal (volume per
atom, neighbour distances, coordination, how unlike bonded elements are: ``CORE_NAMES`` in
``representation/targets.py``). They come from the structure, not from labels, and they train the
path from tokens to features.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from crystalssl.blocks._layers import mlp
from crystalssl.blocks._precision import exact
from crystalssl.blocks.contract import BlockBatch, PretextResult, TaskInfo
from crystalssl.representation.targets import CORE


class TargetMean(nn.Module):
    """Mean of a task's targets over all training batches seen: the 'mean' baseline."""

    total: Tensor
    count: Tensor

    def __init__(self, width: int = 1) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(width, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    @torch.no_grad()
    def forward(self, target: Float[Tensor, "item channel"]) -> Float[Tensor, "channel"]:
        """The mean so far; in training mode ``target`` is added first."""
        if self.training:
            self.total += target.detach().double().sum(0)
            self.count += len(target)
        return (self.total / self.count.clamp_min(1)).to(target.dtype)


class ClassCounts(nn.Module):
    """How often each class was a target in training: the 'majority' baseline."""

    counts: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("counts", torch.zeros(classes, dtype=torch.float64))

    @torch.no_grad()
    def forward(self, target: Int[Tensor, "item"]) -> Float[Tensor, "class"]:
        """The counts so far; in training mode ``target`` is added first."""
        if self.training:
            self.counts += torch.bincount(target, minlength=len(self.counts)).double()
        return self.counts


def accuracy_result(
    task: str,
    logits: Float[Tensor, "item class"],
    target: Int[Tensor, "item"],
    loss: Float[Tensor, ""],
    counts: ClassCounts,
    weight: float = 1.0,
) -> PretextResult:
    """A classification scored by accuracy beside the majority class of training."""
    majority = counts(target).argmax()
    one = loss.new_ones
    return PretextResult(
        task=task,
        loss=loss,
        weight=weight,
        sums={
            "model": (logits.argmax(-1) == target).float().sum().reshape(1),
            "majority": (target == majority).float().sum().reshape(1),
        },
        count=one(1) * len(target),
    )


def error_result(
    task: str,
    predicted: Float[Tensor, "item channel"],
    target: Float[Tensor, "item channel"],
    baselines: dict[str, Float[Tensor, "..."]],
    weight: float = 1.0,
    scale: float = 1.0,
) -> PretextResult:
    """A regression: smooth L1 loss in units of ``scale``, scored by mean absolute error.

    Args:
        task: task name.
        predicted: what the model says.
        target: the truth, same unit.
        baselines: what each baseline says, broadcastable to ``target``.
        weight: factor of the loss.
        scale: error at which the loss turns from quadratic to linear, unit of the target.
    """
    if len(target) == 0:
        loss = predicted.sum() * 0.0
    else:
        loss = functional.smooth_l1_loss(predicted / scale, target / scale)
    answers = {"model": predicted.detach(), **baselines}
    return PretextResult(
        task=task,
        loss=loss,
        weight=weight,
        sums={key: (value - target).abs().sum().reshape(1) for key, value in answers.items()},
        count=loss.new_ones(1) * target.numel(),
    )


def decorrelation_task(block: str) -> TaskInfo:
    """The decorrelation objective of a block, as listed by ``crystalssl info tasks``."""
    return TaskInfo(
        name=f"{block}_decorrelation",
        number=None,
        figure="root mean square correlation of two features",
        higher_is_better=False,
        trivial="all features alike",
        teaches="To use all features: no two of them tell the same.",
    )


def decorrelation_result(
    block: str, features: Float[Tensor, "crystal feature"], weight: float
) -> PretextResult:
    """Mean squared correlation of two different features over a batch.

    The redundancy term of Barlow Twins (Zbontar et al. 2021) on one view. A batch of one crystal
    has no correlations and a loss of zero.

    Args:
        block: name of the block.
        features: pooled features.
        weight: factor of the loss.
    """
    count, width = features.shape
    centred = features - features.mean(0)
    scaled = centred / torch.sqrt(centred.square().mean(0) + 1e-4)
    with exact(scaled):
        correlation = scaled.T @ scaled / count
    apart = correlation.square().sum() - correlation.diagonal().square().sum()
    loss = apart / (width * (width - 1))
    return PretextResult(
        task=f"{block}_decorrelation",
        loss=loss,
        weight=weight,
        sums={"model": loss.detach().sqrt().reshape(1), "all features alike": loss.new_ones(1)},
        count=loss.new_ones(1),
    )


def structure_task(block: str) -> TaskInfo:
    """The crystal-level objective of a block, as listed by ``crystalssl info tasks``."""
    return TaskInfo(
        name=f"{block}_to_structure",
        number=None,
        figure="mean absolute error (standard deviations)",
        higher_is_better=False,
        trivial="mean",
        teaches="How this view alone fixes the geometry and the bonds of the whole crystal.",
    )


class StructureHead(nn.Module):
    """Predict the standardised crystal-level targets from the pooled features."""

    core: Tensor

    def __init__(self, width: int, hidden: int = 64) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.head = mlp(width, hidden, len(CORE))
        self.mean = TargetMean(len(CORE))
        self.register_buffer("core", torch.tensor(CORE), persistent=False)

    def forward(
        self,
        block: str,
        features: Float[Tensor, "crystal feature"],
        batch: BlockBatch,
        weight: float,
    ) -> PretextResult:
        """Score the features against the targets; the baseline is the training mean."""
        truth = batch.targets.index_select(1, self.core)
        answer, mean = self.head(self.norm(features)), self.mean(truth)
        return error_result(f"{block}_to_structure", answer, truth, {"mean": mean}, weight)
