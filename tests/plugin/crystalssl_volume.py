"""An eighth block, outside of crystalssl: lengths of lattice vectors -> features.

The example of docs/add_a_block.md, and the package that the tests install: its entry point in
pyproject.toml is all that crystalssl is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from crystalssl import Block, BlockBatch, Encoded, PretextResult, TaskInfo


@dataclass(frozen=True, kw_only=True)
class VolumeConfig:
    """Settings of the example block."""

    hidden: int = 32
    """Channels of the hidden layer."""


@final
class VolumeBlock(Block):
    """Reads the lattice group; its task is to put back a masked column."""

    name: ClassVar[str] = "volume"
    number: ClassVar[int] = 8
    group: ClassVar[str] = "lattice"
    width: ClassVar[int] = 64
    mix_weight: ClassVar[float] = 0.5  # little follows from a volume alone; 1 if left out
    uses_graph: ClassVar[bool] = False
    summary: ClassVar[str] = "Multilayer perceptron over vector lengths (example)"
    tasks: ClassVar[tuple[TaskInfo, ...]] = (
        TaskInfo(
            name="masked lengths",
            number=None,
            figure="mean absolute error (angstrom)",
            higher_is_better=False,
            trivial="mean",
            teaches="Lattice vectors of one crystal are not independent.",
        ),
    )
    Config: ClassVar[type] = VolumeConfig

    def __init__(self, config: VolumeConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = nn.Sequential(
            nn.Linear(2, config.hidden), nn.SiLU(), nn.Linear(config.hidden, self.width)
        )
        self.head = nn.Linear(2 * self.width, 1)

    def _tokens(self, lengths: Tensor, hidden: Tensor) -> Tensor:
        shown = lengths.masked_fill(hidden, 0.0)
        return self.encoder(torch.stack([shown, hidden.float()], dim=-1))

    def encode(self, batch: BlockBatch) -> Encoded:
        lengths = batch.rows[..., 3]  # (crystal, row)
        tokens = self._tokens(lengths, torch.zeros_like(batch.valid))
        crystal, row = batch.valid.nonzero(as_tuple=True)
        return Encoded(
            tokens=tokens[crystal, row],
            crystal=crystal,
            features=self._mean(tokens, batch.valid),
        )

    def _mean(self, tokens: Tensor, valid: Tensor) -> Tensor:
        weight = valid.unsqueeze(-1)
        return (tokens * weight).sum(1) / weight.sum(1).clamp(min=1)

    def pretext(self, batch: BlockBatch, generator: torch.Generator) -> Sequence[PretextResult]:
        lengths = batch.rows[..., 3]
        draw = torch.rand(lengths.shape, generator=generator).to(lengths.device)
        hidden = batch.valid & (draw < 0.3)
        tokens = self._tokens(lengths, hidden)
        context = self._mean(tokens, batch.valid).unsqueeze(1).expand_as(tokens)
        predicted = self.head(torch.cat([tokens, context], dim=-1)).squeeze(-1)[hidden]
        truth = lengths[hidden]
        count = torch.tensor([float(len(truth))])
        mean = lengths[batch.valid & ~hidden].mean()
        return [
            PretextResult(
                task="masked lengths",
                loss=(predicted - truth).square().mean(),
                weight=1.0,
                sums={
                    "model": (predicted - truth).abs().sum().reshape(1).detach(),
                    "mean": (mean - truth).abs().sum().reshape(1),
                },
                count=count,
            )
        ]
