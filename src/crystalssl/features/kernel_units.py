"""Leading kernel principal components, by landmarks: units of a bottleneck that know the corpus.

A linear model on them is a Gaussian process with an RBF kernel, cut to its leading functions: far
more of what properties depend on is linear in these than in as many mixtures that were trained to
tell one view from the others. Landmarks are crystals of training (Nystroem approximation: Williams
and Seeger, NIPS 13, 2001; kernel principal components: Schoelkopf et al., Neural Computation 10,
1998). Far from all of them every unit is 0, so nothing that is unlike the corpus runs away.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crystalssl.blocks._precision import exact
from crystalssl.features.axes import random_turn

SMALLEST = 1e-5
"""Eigenvalues of the kernel matrix count as at least this share of the largest: rounding."""


class KernelUnits(nn.Module):
    """``exp(-gamma |x - landmark|^2)`` of every landmark, projected on kernel principal axes.

    Attributes:
        landmarks: (L, D) crystals of training.
        project: (L, K) kernel principal axes, turned.
        gamma: () inverse square of the length of the kernel, halved.
    """

    landmarks: Tensor
    project: Tensor
    gamma: Tensor

    def __init__(self, inputs: int, landmarks: int, count: int) -> None:
        """Take the shape; ``fit`` fills it.

        Args:
            inputs: numbers of a crystal that distances are taken of.
            landmarks: number of landmarks.
            count: number of units.
        """
        super().__init__()
        self.register_buffer("landmarks", torch.zeros(landmarks, inputs))
        self.register_buffer("project", torch.zeros(landmarks, count))
        self.register_buffer("gamma", torch.zeros(()))

    def forward(self, inputs: Float[Tensor, "crystal input"]) -> Tensor:
        """Units of some crystals."""
        with exact(inputs):
            kernel = torch.exp(-self.gamma * squared_distances(inputs, self.landmarks))
            units: Tensor = kernel @ self.project  # (crystal, landmark) to (crystal, unit)
        return units

    @torch.no_grad()
    def fit(self, landmarks: Float[Tensor, "landmark input"], length: float, seed: int) -> None:
        """Take landmarks and find the axes; both are rounded to float16, as they are stored.

        Args:
            landmarks: as many crystals of training as there is room for.
            length: length of the kernel as a share of the median distance of two landmarks.
            seed: seed of the turn.
        """
        count, units = self.project.shape
        self.landmarks.copy_(landmarks.half())
        square = squared_distances(self.landmarks, self.landmarks).double()
        self.gamma.fill_(float(0.5 / (length**2 * square.median().clamp_min(1e-12))))
        values, vectors = torch.linalg.eigh(torch.exp(-self.gamma.double() * square))
        values, vectors = values[-units:], vectors[:, -units:]  # smallest first
        values = values.clamp_min(SMALLEST * float(values[-1]))
        # scaled so that all units together vary about as much as there are units
        scale = torch.sqrt(units * count / values.sum())
        project = scale * (vectors / values.sqrt()) @ random_turn(units, units, seed).T
        self.project.copy_(project.half())


def squared_distances(
    one: Float[Tensor, "crystal input"], other: Float[Tensor, "landmark input"]
) -> Float[Tensor, "crystal landmark"]:
    """Squared distance of each to each."""
    squares = one.square().sum(1)[:, None] + other.square().sum(1)
    apart: Tensor = torch.addmm(squares, one, other.T, alpha=-2).clamp_min(0)
    return apart
