"""Block 1, composition: which elements, how much of each.

Panel group (103, 4) -> 1-D convolution over the periodic-table axis, attention over the present
elements -> 256 features. Task 1, masked element modelling: one element is taken out, the rest is
rescaled to one, and the encoder says which element it was and how much of it there was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from crystalssl.blocks._layers import (
    BiasedAttention,
    ElementEmbedding,
    GaussianBasis,
    Taps,
    key_bias,
    mlp,
    pool,
    rows_at,
)
from crystalssl.blocks._masking import one_per_segment
from crystalssl.blocks._objectives import (
    ClassCounts,
    StructureHead,
    TargetMean,
    accuracy_result,
    error_result,
    structure_task,
)
from crystalssl.blocks.contract import Block, BlockBatch, Encoded, PretextResult, TaskInfo
from crystalssl.representation import elemental
from crystalssl.representation.layout import ELEMENTS


@dataclass(frozen=True, kw_only=True)
class CompositionConfig:
    """Settings of the composition block."""

    dim: int = 96
    """Channels of the hidden states."""
    layers: int = 3
    """Attention layers."""
    heads: int = 4
    """Attention heads."""
    kernel: int = 5
    """Width of the convolution along the periodic table, in elements."""
    dropout: float = 0.1
    """Dropout during training."""
    fraction_weight: float = 0.5
    """Weight of the hidden fraction's loss."""
    structure_weight: float = 4.0
    """Weight of the crystal-level objective."""


def slots(fraction: Float[Tensor, "crystal element"]) -> Float[Tensor, "crystal element 4"]:
    """Atomic fractions in their slots, by increasing electronegativity, then atomic number."""
    order = torch.as_tensor(np.lexsort((np.arange(ELEMENTS), elemental.WEIGHTS[1:, 1])))
    order = order.to(fraction.device)
    present = fraction[:, order] > 0
    rank = torch.empty(fraction.shape, dtype=torch.long, device=fraction.device)
    rank[:, order] = (present.long().cumsum(1) - 1).clamp(0, 3)
    return functional.one_hot(rank, 4).to(fraction.dtype) * fraction.unsqueeze(-1)


@final
class Composition(Block):
    """Composition encoder with masked element modelling."""

    name: ClassVar[str] = "composition"
    number: ClassVar[int] = 1
    group: ClassVar[str] = "composition"
    width: ClassVar[int] = 256
    uses_graph: ClassVar[bool] = False
    summary: ClassVar[str] = (
        "1-D convolution over the periodic table and attention over the present elements"
    )
    Config: ClassVar[type] = CompositionConfig
    tasks: ClassVar[tuple[TaskInfo, ...]] = (
        TaskInfo(
            name="masked_element",
            number=1,
            figure="accuracy",
            higher_is_better=True,
            trivial="majority",
            teaches="Which elements form compounds together: charge balance, size and bonding.",
        ),
        TaskInfo(
            name="masked_fraction",
            number=1,
            figure="mean absolute error (atomic fraction)",
            higher_is_better=False,
            trivial="mean",
            teaches="In which proportions elements combine.",
        ),
        structure_task("composition"),
    )

    def __init__(self, config: CompositionConfig) -> None:
        super().__init__()
        self.config = config
        dim, half = config.dim, config.kernel // 2
        self.elements = ElementEmbedding(dim)
        self.axis = nn.Sequential(
            nn.Conv1d(5, dim // 2, config.kernel, padding=half),
            nn.SiLU(),
            nn.Conv1d(dim // 2, dim, config.kernel, padding=half),
        )
        self.amount = nn.Sequential(GaussianBasis(0.0, 1.0, 24), nn.Linear(24, dim))
        self.mask_token = nn.Parameter(torch.randn(dim) * 0.3)
        self.encoder = nn.ModuleList(
            [BiasedAttention(dim, config.heads, config.dropout) for _ in range(config.layers)]
        )
        self.taps = Taps([dim] * (config.layers + 1), self.width // 2)
        self.head = mlp(self.width // 2, dim, ELEMENTS + 1)
        self.structure = StructureHead(self.width)
        self.counts, self.mean_fraction = ClassCounts(ELEMENTS), TargetMean()

    def _states(
        self, fraction: Float[Tensor, "crystal element"], masked: Bool[Tensor, "crystal"]
    ) -> tuple[Tensor, Bool[Tensor, "crystal row"], Float[Tensor, "crystal row"]]:
        """Tokens of the present elements in padded rows; row 0 is the mask token."""
        present = fraction > 0
        most = int(present.sum(1).max())
        index = present.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]
        amount = fraction.gather(1, index)
        rows = functional.embedding(index, self.elements.table()[1:])
        rows = rows + self._along(fraction, index) + self.amount(amount)
        states = torch.cat([self.mask_token.expand(len(rows), 1, -1), rows], dim=1)
        readable = torch.cat([masked.unsqueeze(1), present.gather(1, index)], dim=1)
        weight = torch.cat([amount.new_zeros(len(amount), 1), amount], dim=1)
        layers, bias = [states], key_bias(readable)
        for layer in self.encoder:
            layers.append(layer(layers[-1], bias))
        return self.taps(layers), readable, weight

    def _along(
        self, fraction: Float[Tensor, "crystal element"], index: Int[Tensor, "crystal row"]
    ) -> Float[Tensor, "crystal row channel"]:
        """Convolutions over the periodic table, the second one only at elements ``index``."""
        present = (fraction > 0).unsqueeze(-1).to(fraction.dtype)
        axis = torch.cat([slots(fraction), present], dim=-1).transpose(1, 2)
        first, second = (layer for layer in self.axis if isinstance(layer, nn.Conv1d))
        hidden = functional.silu(first(axis)).transpose(1, 2)
        half = self.config.kernel // 2
        padded = functional.pad(hidden, (0, 0, half, half)).contiguous()
        windows = torch.arange(self.config.kernel, device=index.device) + index.unsqueeze(-1)
        start = torch.arange(len(index), device=index.device) * padded.shape[1]
        place = (windows + start[:, None, None]).flatten()
        width = self.config.kernel * padded.shape[-1]  # spelled out: there may be no elements
        near = padded.flatten(0, 1).index_select(0, place).view(*index.shape, width)
        weight = second.weight.transpose(1, 2).flatten(1)
        return functional.linear(near, weight, second.bias)

    def _features(self, tokens: Tensor, weight: Float[Tensor, "crystal row"]) -> Tensor:
        kept = weight > 0
        return pool(*rows_at(tokens, kept), len(tokens), weight[kept])

    def encode(self, batch: BlockBatch) -> Encoded:
        """Tokens are the present elements by atomic number; features are fraction-weighted."""
        fraction = batch.rows.sum(-1)
        masked = torch.zeros(len(fraction), dtype=torch.bool, device=fraction.device)
        tokens, _, weight = self._states(fraction, masked)
        kept = weight > 0
        return Encoded(
            tokens=tokens[kept],
            crystal=kept.nonzero()[:, 0],
            features=self._features(tokens, weight),
        )

    def corrupt(
        self, fraction: Float[Tensor, "crystal element"], generator: torch.Generator
    ) -> tuple[Tensor, Int[Tensor, "crystal"], Float[Tensor, "crystal"]]:
        """Take one element out of every crystal and rescale the rest to one.

        Returns:
            What is left, the element taken (0 = hydrogen), and its fraction.
        """
        owner, element = (fraction > 0).nonzero(as_tuple=True)
        taken = element[one_per_segment(owner, len(fraction), generator)]
        amount = fraction.gather(1, taken.unsqueeze(1))
        rest = fraction.scatter(1, taken.unsqueeze(1), 0.0)
        rest = rest / rest.sum(1, keepdim=True).clamp_min(1e-6)
        return rest, taken, amount.squeeze(1)

    def pretext(self, batch: BlockBatch, generator: torch.Generator) -> Sequence[PretextResult]:
        """Masked element, its fraction, and the crystal-level objective."""
        fraction = batch.rows.sum(-1)
        rest, taken, amount = self.corrupt(fraction, generator)
        tokens, _, weight = self._states(rest, torch.ones_like(taken, dtype=torch.bool))
        several = weight.sum(1) > 0  # an elemental crystal leaves no context
        answer = self.head(tokens[several, 0])
        logits, share = answer[:, :ELEMENTS], answer[:, ELEMENTS:].sigmoid()
        target, truth = taken[several], amount[several].unsqueeze(1)
        loss = functional.cross_entropy(logits, target) if len(target) else answer.sum() * 0
        parts = (fraction[several] > 0).sum(1, keepdim=True)
        baselines = {"mean": self.mean_fraction(truth), "equal parts": 1.0 / parts}
        whole = self.encode(batch).features
        return [
            accuracy_result("masked_element", logits, target, loss, self.counts),
            error_result(
                "masked_fraction", share, truth, baselines, self.config.fraction_weight, 0.1
            ),
            self.structure(self.name, whole, batch, self.config.structure_weight),
        ]
