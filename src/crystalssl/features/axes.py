"""Leading principal axes, turned: what the linear units of a bottleneck read.

Principal axes keep what varies, which is what a linear model reads with many labels. Each alone
would be standardised by whoever reads it, and the smallest, which are noise, would count as much as
the largest. So they are turned by a random orthogonal matrix: every unit then holds a little of
each axis, all vary alike, and the axes keep their shares.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

ROWS = 8192
"""Rows whose products are added up at a time."""


@torch.no_grad()
def turned_axes(
    inputs: Float[Tensor, "crystal feature"],
    train: npt.NDArray[np.int64],
    count: int,
    seed: int,
) -> tuple[Float[Tensor, "unit feature"], Float[Tensor, "unit"]]:
    """Weights and biases of linear units on the leading principal axes of some rows.

    Args:
        inputs: standardised features.
        train: rows that axes are taken from.
        count: units; beyond the number of features they repeat what the first ones hold.
        seed: seed of the rotation.

    Returns:
        Weights and biases; over the rows, units have mean 0 and, together, variance ``count``.
    """
    width = inputs.shape[1]
    sums = torch.zeros(width, dtype=torch.float64)
    squares = torch.zeros(width, width, dtype=torch.float64)
    for start in range(0, len(train), ROWS):
        chunk = inputs[train[start : start + ROWS]]  # (row, feature)
        sums += chunk.double().sum(0)
        squares += (chunk.T @ chunk).double()
    mean = sums / len(train)
    covariance = squares / len(train) - torch.outer(mean, mean)
    values, vectors = torch.linalg.eigh(covariance)  # smallest first
    kept = min(count, width)
    axes = vectors[:, -kept:]  # (feature, axis)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(count, kept, generator=generator, dtype=torch.float64)
    turn = torch.linalg.qr(drawn).Q  # (unit, axis), orthonormal columns
    scale = torch.sqrt(count / values[-kept:].sum().clamp_min(1e-12))
    weight = scale * (turn @ axes.T)
    return weight.float(), -(weight @ mean).float()
