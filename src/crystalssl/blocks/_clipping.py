"""Pooled features standardised and softly clipped.

Without it a few outliers lie far from all other crystals along directions in which features nearly
cancel, and a linear model that reads these directions is off by tens of eV there. Means and
standard deviations are running statistics of training, the same in every process; encoders that
were never trained take them from some crystals (``settle``).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crystalssl.blocks._precision import exact
from crystalssl.blocks.contract import Block, BlockBatch

MOMENTUM = 0.02
"""Share of the latest batch in the running statistics; batches count alike at first."""


class SoftClip(nn.Module):
    """``limit * tanh(z / limit)`` of features z standardised by their running statistics."""

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

    def forward(
        self,
        features: Float[Tensor, "crystal feature"],
        valid: Bool[Tensor, "crystal feature"] | None = None,
    ) -> Tensor:
        """Clip softly; in training the batch, where valid, enters the statistics first."""
        if self.training:
            self._update(features.detach().to(self.mean), valid)
        std = torch.sqrt((self.square - self.mean**2).clamp_min(1e-8))
        clipped: Tensor = self.limit * torch.tanh((features - self.mean) / (std * self.limit))
        return clipped

    @torch.no_grad()
    def set_statistics(
        self, mean: Float[Tensor, "feature"], square: Float[Tensor, "feature"]
    ) -> None:
        """Take means of features, and of their squares, from elsewhere."""
        self.mean.copy_(mean)
        self.square.copy_(square)
        self.steps.fill_(1)

    @torch.no_grad()
    def _update(
        self,
        features: Float[Tensor, "crystal feature"],
        valid: Bool[Tensor, "crystal feature"] | None,
    ) -> None:
        """Let a batch, over all processes, enter the statistics."""
        count = features.new_full((features.shape[1],), float(len(features)))
        if valid is not None:
            features, count = features * valid, valid.sum(0).to(features)
        sums = torch.stack([features.sum(0), features.square().sum(0), count])
        none = not len(features)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(sums)
            none = bool((sums[2] == 0).all())
        if none:  # known without a look at the device where there is one process
            return
        self.steps += 1
        share = torch.clamp(1 / self.steps, min=MOMENTUM) * (sums[2] > 0)  # (feature,)
        count = sums[2].clamp_min(1)
        self.mean.lerp_(sums[0] / count, share)
        self.square.lerp_(sums[1] / count, share)


class Rotation(nn.Module):
    """A fixed orthogonal mixture of standardised features: a Hadamard matrix with random signs.

    Some features are constant for whole classes of crystals (deviations over sites, where there is
    one element), so a model standardised on such a class divides by rounding, and others lie
    thousands of standard deviations away. Mixed, every feature varies in every class. A linear
    model reads the same.
    """

    signs: Tensor
    left: Tensor
    right: Tensor

    def __init__(self, width: int) -> None:
        """Take the number of features.

        Raises:
            ValueError: if it is no power of two.
        """
        super().__init__()
        if width < 1 or width & (width - 1):
            raise ValueError(f"got a width of {width}, expected a power of two")
        signs = np.random.default_rng(width).choice(np.array([-1, 1], np.float32), width)
        # a Hadamard matrix is the Kronecker product of two smaller ones: two quick products
        small = 2 ** (width.bit_length() // 2)
        for name, values in (
            ("signs", signs / np.float32(width**0.5)),
            ("left", _hadamard(width // small)), ("right", _hadamard(small)),
        ):  # fmt: skip
            tensor = torch.tensor(values, dtype=torch.float32)
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, features: Float[Tensor, "crystal feature"]) -> Tensor:
        """Features (standardised ones) mixed."""
        with exact(features):
            signed = (features * self.signs).view(-1, len(self.left), len(self.right))
            # (crystal, left, right): the index of a feature is left * len(right) + right
            mixed: Tensor = (self.left @ (signed @ self.right)).flatten(1)
        return mixed


def _hadamard(width: int) -> npt.NDArray[np.float32]:
    """Sylvester's matrix of plus and minus one."""
    matrix = np.ones((1, 1), np.float32)
    while len(matrix) < width:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix


def bounded(width: int, limit: float, rotated: bool) -> tuple[nn.Module, nn.Module]:
    """What pooled features go through last: soft clip, and rotation of what comes out of it.

    Args:
        width: number of features.
        limit: where they are clipped, in standard deviations; 0 for nowhere.
        rotated: whether they are mixed then.
    """
    clip = SoftClip(width, limit) if limit else nn.Identity()
    return clip, Rotation(width) if rotated else nn.Identity()


@torch.no_grad()
def settle(block: Block, batches: Iterable[BlockBatch]) -> None:
    """Let encoders take the statistics of their features from some crystals; no weight changes.

    Args:
        block: a block, as built; its mode is put back.
        batches: crystals to look at.
    """
    clips = [module for module in block.modules() if isinstance(module, SoftClip)]
    if not clips:
        return
    training = block.training
    block.eval()
    for module in clips:
        module.train()
    for batch in batches:
        block.encode(batch)
    block.train(training)
