"""Leading principal axes of weighted views, turned: what the linear units of a bottleneck read.

Principal axes keep what varies, which is what a linear model reads with many labels. Views that
hold elements and electrons count more than those of geometry alone: few properties follow from
the shape of a cell. Each axis alone would be standardised by whoever reads it, and the smallest,
which are noise, would count as much as the largest. So they are turned by a random orthogonal
matrix: every unit then holds a little of each axis, all vary alike, and the axes keep their shares.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from crystalssl.blocks.registry import known_blocks
from crystalssl.features.features import PHYSICS

NAMED_WEIGHT = 4.0
"""Factor of named physics, which is no block."""
ROWS = 8192
"""Rows whose products are added up at a time."""


def view_weights(widths: Mapping[str, int]) -> Float[Tensor, "feature"]:
    """Factor of every feature of some views: what their blocks say, 1 for one that is unknown.

    The factors of the package were chosen on ``val``, see docs/experiments.md.

    Args:
        widths: number of features of each view, in order.
    """
    known = {block.name: block.mix_weight for block in known_blocks()} | {PHYSICS: NAMED_WEIGHT}
    factors = torch.tensor([known.get(name, 1.0) for name in widths])
    return torch.repeat_interleave(factors, torch.tensor(list(widths.values())))


@torch.no_grad()
def turned_axes(
    inputs: Float[Tensor, "crystal feature"],
    factors: Float[Tensor, "feature"],
    train: npt.NDArray[np.int64],
    count: int,
    seed: int,
) -> tuple[Float[Tensor, "unit feature"], Float[Tensor, "unit"]]:
    """Weights and biases of linear units on the leading principal axes of some rows.

    Args:
        inputs: standardised features.
        factors: what each is multiplied by first.
        train: rows that axes are taken from.
        count: units; beyond the number of features they repeat what the first ones hold.
        seed: seed of the rotation.

    Returns:
        Weights and biases, of features without their factors; over the rows, units have mean 0 and,
        together, variance ``count``.
    """
    width = inputs.shape[1]
    sums = torch.zeros(width, dtype=torch.float64)
    squares = torch.zeros(width, width, dtype=torch.float64)
    for start in range(0, len(train), ROWS):
        chunk = inputs[train[start : start + ROWS]] * factors  # (row, feature)
        sums += chunk.double().sum(0)
        squares += (chunk.T @ chunk).double()
    mean = sums / len(train)
    covariance = squares / len(train) - torch.outer(mean, mean)
    values, vectors = torch.linalg.eigh(covariance)  # smallest first
    kept = min(count, width)
    axes = vectors[:, -kept:]  # (feature, axis)
    scale = torch.sqrt(count / values[-kept:].sum().clamp_min(1e-12))
    weight = scale * (random_turn(count, kept, seed) @ axes.T)
    return (weight * factors).float(), -(weight @ mean).float()


def random_turn(count: int, kept: int, seed: int) -> Float[Tensor, "unit axis"]:
    """A random matrix with orthonormal columns, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(count, kept, generator=generator, dtype=torch.float64)
    turned: Tensor = torch.linalg.qr(drawn).Q
    return turned
