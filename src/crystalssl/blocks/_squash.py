"""Pooled features in units of their spread, brought softly within a limit.

Without it a few odd crystals lie far from all others along directions in which features nearly
cancel, and a linear model that reads these directions is off by tens of eV there. The spread is a
running statistic of training, the same in every process; encoders that were never trained take
it from some crystals (``settle``).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crystalssl.blocks.contract import Block, BlockBatch

MOMENTUM = 0.02
"""Share of the latest batch in the running statistics; batches count alike at first."""


class Squash(nn.Module):
    """``limit * tanh(z / limit)`` of features z in units of their running spread."""

    mean: Tensor
    square: Tensor
    steps: Tensor

    def __init__(self, width: int, limit: float = 2.0) -> None:
        """Take the number of features and the limit, in standard deviations."""
        super().__init__()
        self.limit = limit
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("square", torch.ones(width))
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, features: Float[Tensor, "crystal feature"]) -> Tensor:
        """Squash; in training mode the batch enters the statistics first."""
        if self.training:
            self._watch(features.detach().to(self.mean))
        spread = torch.sqrt((self.square - self.mean**2).clamp_min(1e-8))
        squashed: Tensor = self.limit * torch.tanh((features - self.mean) / (spread * self.limit))
        return squashed

    @torch.no_grad()
    def _watch(self, features: Float[Tensor, "crystal feature"]) -> None:
        """Let a batch, over all processes, enter the statistics."""
        sums = torch.stack([features.sum(0), features.square().sum(0)])
        count = sums.new_full((), float(len(features)))
        none = not len(features)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(sums)
            torch.distributed.all_reduce(count)
            none = bool(count == 0)
        if none:  # known without a look at the device where there is one process
            return
        self.steps += 1
        share = torch.clamp(1 / self.steps, min=MOMENTUM)
        self.mean.lerp_(sums[0] / count, share)
        self.square.lerp_(sums[1] / count, share)


@torch.no_grad()
def settle(block: Block, batches: Iterable[BlockBatch]) -> None:
    """Let encoders take the spread of their features from some crystals; no weight changes.

    Args:
        block: a block, as built; its mode is put back.
        batches: crystals to look at.
    """
    squashes = [module for module in block.modules() if isinstance(module, Squash)]
    if not squashes:
        return
    training = block.training
    block.eval()
    for module in squashes:
        module.train()
    for batch in batches:
        block.encode(batch)
    block.train(training)
