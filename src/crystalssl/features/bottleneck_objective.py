"""Objective of a bottleneck: tell whole blocks that were dropped, and what crystals are like.

Settings, heads, loss of one batch, and figures on held-out crystals; ``bottleneck_training.py``
trains with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from crystalssl.features.bottleneck import Bottleneck


@dataclass(frozen=True, kw_only=True, slots=True)
class BottleneckConfig:
    """Settings of a bottleneck and its training."""

    width: int = 2048
    """Number of features."""
    linear_share: float = 0.5
    """Share of the features that are linear, on the leading principal axes; see
    docs/experiments.md."""
    kernel_share: float = 0.4375
    """Share of the features that are kernel principal components of the linear ones."""
    landmarks: int = 2048
    """Crystals that the kernel is taken with, at most."""
    kernel_length: float = 0.7
    """Length of the kernel as a share of the median distance of two landmarks."""
    limit: float = 8.0
    """Where features are softly clipped, in standard deviations; 0 for nowhere."""
    rotated: bool = True
    """Whether clipped features are mixed where their number is a power of two."""
    named_physics: bool = True
    """Whether named physics (``--output physics``, without charges and symmetry) is mixed in as one
    more view."""
    epochs: int = 8
    """Passes over the training crystals."""
    least_steps: int = 300
    """Optimizer steps at least; few crystals are passed over more often."""
    batch_size: int = 512
    """Crystals in a batch."""
    learning_rate: float = 1e-3
    """Highest learning rate of Adam, one-cycle."""
    weight_decay: float = 1e-4
    """Decoupled weight decay."""
    drop_ratio: float = 0.3
    """Probability with which a block is dropped; one always stays."""
    kept_weight: float = 0.3
    """Weight of predicting what was not dropped, against 1 for what was."""
    structure_weight: float = 1.0
    """Weight of the crystal-level targets."""
    decorrelation_weight: float = 0.0
    """Weight of the mean squared correlation between two features."""
    seed: int = 0
    """Seed of weights, batches and dropped blocks."""


class Heads(nn.Module):
    """What mixed features must predict: features of all blocks, and the targets of each kind."""

    def __init__(self, width: int, features: int, kinds: Sequence[int]) -> None:
        super().__init__()
        self.features = nn.Linear(width, features)
        self.targets = nn.Linear(width, sum(kinds)) if kinds else None
        self.ends = np.cumsum(kinds).tolist()


def bottleneck_loss(
    heads: Heads,
    mixed: Float[Tensor, "crystal mixed"],
    inputs: Float[Tensor, "crystal feature"],
    shown: Float[Tensor, "crystal feature"],
    truth: Float[Tensor, "crystal target"] | None,
    config: BottleneckConfig,
) -> Float[Tensor, ""]:
    """What training minimises on one batch.

    Squared error of all features, ``kept_weight`` where they were shown; smooth L1 error of the
    targets, each kind of them counting alike; mean squared correlation of two mixed features.
    """
    weight = 1 - (1 - config.kept_weight) * shown
    loss = ((heads.features(mixed) - inputs).square() * weight).mean()
    if truth is not None and heads.targets is not None:
        error = functional.smooth_l1_loss(heads.targets(mixed), truth, reduction="none").mean(0)
        starts = [0, *heads.ends[:-1]]  # error: (target,)
        kinds = torch.stack([error[i:j].mean() for i, j in zip(starts, heads.ends, strict=True)])
        loss = loss + config.structure_weight * kinds.sum()
    if config.decorrelation_weight:
        centred = mixed - mixed.mean(0)
        scaled = centred / torch.sqrt(centred.square().mean(0) + 1e-4)
        correlation = scaled.T @ scaled / len(mixed)
        count = len(correlation) * (len(correlation) - 1)
        square = correlation.square().sum() - correlation.diagonal().square().sum()
        loss = loss + config.decorrelation_weight * square / count
    total: Tensor = loss
    return total


def keep_some(
    count: int, blocks: int, ratio: float, generator: torch.Generator
) -> Bool[Tensor, "crystal block"]:
    """Which blocks of each crystal are shown; at least one."""
    keep = torch.rand((count, blocks), generator=generator) >= ratio
    keep[torch.arange(count), torch.randint(blocks, (count,), generator=generator)] = True
    return keep


def owners_of(widths: Sequence[int]) -> Int[Tensor, "feature"]:
    """Position of the block that each feature is of."""
    return torch.repeat_interleave(torch.arange(len(widths)), torch.tensor(list(widths)))


@torch.inference_mode()
def held_out_figures(
    bottleneck: Bottleneck,
    heads: Heads,
    inputs: Tensor,
    truth: Tensor | None,
    val: npt.NDArray[np.int64],
) -> dict[str, Any]:
    """Held-out figures beside those of the mean."""
    held = inputs[val]
    owner = owners_of(list(bottleneck.widths.values()))
    r2 = {}
    for number, name in enumerate(bottleneck.widths):
        columns = owner == number  # (feature,) of this block
        prediction = heads.features(bottleneck.units(held * (~columns).to(held.dtype)))[:, columns]
        truth_of_block = held[:, columns]
        total = (truth_of_block - truth_of_block.mean(0)).square().sum()
        residual = (prediction - truth_of_block).square().sum()
        r2[name] = float(1 - residual / total.clamp_min(1e-9))
    figures: dict[str, Any] = {"told": r2}
    if truth is not None and heads.targets is not None:
        prediction = heads.targets(bottleneck.units(held))
        figures["targets"] = {
            "model": float((prediction - truth[val]).abs().mean()),
            "mean": float(truth[val].abs().mean()),
        }
    return figures
