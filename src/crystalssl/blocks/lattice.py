"""Block 2, lattice: the shape and size of the translation lattice.

Panel group (103, 4) -> Transformer over the shortest lattice vectors, attention biased by the
angles between them and their length ratios -> 256 features. Task 2: name the crystal system that
symmetry analysis gives for the full structure, of which this block sees the lattice alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from crystalssl.blocks._bravais import lattice_system
from crystalssl.blocks._clipping import bounded
from crystalssl.blocks._layers import (
    BiasedAttention,
    GaussianBasis,
    Pooling,
    Taps,
    even_powers,
    key_bias,
    layer_states,
    mlp,
    on_planes,
    rows_at,
)
from crystalssl.blocks._objectives import ClassCounts, StructureHead, structure_task
from crystalssl.blocks._precision import exact
from crystalssl.blocks._shells import shortest_shells
from crystalssl.blocks.contract import Block, BlockBatch, Encoded, PretextResult, TaskInfo
from crystalssl.representation.layout import ANGLE_ROW, CELL_ROWS, DIRECT_ROWS
from crystalssl.representation.layout import group as panel_group
from crystalssl.structures.canonical import CRYSTAL_SYSTEMS

VECTOR = panel_group("lattice").at("vector")
LENGTH = panel_group("lattice").column("length")


@dataclass(frozen=True, kw_only=True)
class LatticeConfig:
    """Settings of the lattice block."""

    dim: int = 64
    """Channels of the hidden states."""
    layers: int = 3
    """Attention layers."""
    heads: int = 4
    """Attention heads."""
    vectors: int = 16
    """Most lattice vectors read, in whole shells."""
    dropout: float = 0.1
    """Dropout during training."""
    structure_weight: float = 1.0
    """Weight of the crystal-level objective."""
    rule: bool = True
    """Whether every vector is given the system that the rotations of the metric name."""
    extremes: int = 32
    """Channels whose minimum and maximum over lattice vectors are features."""
    limit: float = 4.0
    """Where features are softly clipped, in standard deviations; 0 for nowhere."""
    rotated: bool = True
    """Whether clipped features are mixed, so that none is constant for a class of crystals."""


@final
class Lattice(Block):
    """Lattice encoder with crystal-system recognition."""

    name: ClassVar[str] = "lattice"
    number: ClassVar[int] = 2
    group: ClassVar[str] = "lattice"
    width: ClassVar[int] = 256
    mix_weight: ClassVar[float] = 0.5
    uses_graph: ClassVar[bool] = False
    summary: ClassVar[str] = (
        "Transformer over lattice vectors, attention biased by angles and length ratios"
    )
    Config: ClassVar[type] = LatticeConfig
    absent: ClassVar[Mapping[str, Any]] = {"rule": False, "extremes": 0, "rotated": False}
    tasks: ClassVar[tuple[TaskInfo, ...]] = (
        TaskInfo(
            name="crystal_system",
            number=2,
            figure="balanced accuracy (7 classes)",
            higher_is_better=True,
            trivial="majority",
            teaches="How the metric of a lattice shows the symmetry of what sits on it.",
        ),
        structure_task("lattice"),
    )

    def __init__(self, config: LatticeConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.length = GaussianBasis(0.0, 16.0, 33)
        self.relative = GaussianBasis(0.5, 4.5, 33)
        self.embed = mlp(33 + 33 + 2, 2 * dim, dim)
        self.pair = mlp(9, 16, config.heads)
        self.encoder = nn.ModuleList(
            [BiasedAttention(dim, config.heads, config.dropout) for _ in range(config.layers)]
        )
        if config.rule:
            self.rule = nn.Embedding(len(CRYSTAL_SYSTEMS), dim)
        self.pooling = Pooling(self.width, config.extremes)
        self.taps = Taps([dim] * (config.layers + 1), self.pooling.channels)
        self.squash, self.rotate = bounded(self.width, config.limit, config.rotated)
        self.head = nn.Sequential(
            nn.LayerNorm(self.width), mlp(self.width, dim, len(CRYSTAL_SYSTEMS))
        )
        self.structure = StructureHead(self.width)
        self.counts = ClassCounts(len(CRYSTAL_SYSTEMS))

    def _pair_bias(self, vectors: Tensor, lengths: Tensor) -> Float[Tensor, "crystal head row row"]:
        """Bias from angles and length ratios; the same for a vector and its opposite.

        What makes a lattice system are right angles, angles of 60 degrees and equal lengths:
        narrow Gaussians tell these from what is merely near, beside smooth functions of both.
        """
        unit = vectors / lengths.unsqueeze(-1).clamp_min(1e-6)
        with exact(unit):
            cosine = unit @ unit.transpose(1, 2)
        ratio = torch.log(lengths.clamp_min(1e-6))
        ratio = (ratio.unsqueeze(2) - ratio.unsqueeze(1)).clamp(-3, 3)  # (crystal, row, row)
        square = torch.exp(-((cosine / 0.02) ** 2))
        sixty = torch.exp(-(((cosine.abs() - 0.5) / 0.02) ** 2))
        equal = torch.exp(-((ratio / 0.02) ** 2))
        planes = [square, sixty, equal, ratio, ratio * ratio, *even_powers(cosine, 4)]
        return on_planes(self.pair, torch.stack(planes))

    def encode(self, batch: BlockBatch) -> Encoded:
        """Tokens are lattice vectors in whole shells, the shortest first."""
        direct = batch.rows[:, DIRECT_ROWS]
        rows, _, size, kept = shortest_shells(
            direct[..., LENGTH], batch.valid[:, DIRECT_ROWS], self.config.vectors
        )
        vectors, lengths = direct[:, rows, VECTOR], direct[:, rows, LENGTH]
        volume = batch.rows[:, ANGLE_ROW, LENGTH].clamp_min(1e-3)
        relative = lengths / volume.pow(1 / 3).unsqueeze(1)
        plain = torch.stack([torch.log(lengths.clamp_min(0.1)), torch.log(size.clamp_min(1.0))], -1)
        states = self.embed(torch.cat([self.length(lengths), self.relative(relative), plain], -1))
        if self.config.rule:
            system = lattice_system(batch.rows[:, CELL_ROWS, VECTOR])
            states = states + self.rule(system).unsqueeze(1)
        bias = self._pair_bias(vectors, lengths) + key_bias(kept)
        padded = self.taps(layer_states(self.encoder, states, bias))
        tokens, crystal = rows_at(padded, kept)
        features = self.rotate(self.squash(self.pooling(tokens, crystal, len(kept))))
        return Encoded(tokens=tokens, crystal=crystal, features=features)

    def pretext(self, batch: BlockBatch, generator: torch.Generator) -> Sequence[PretextResult]:
        """Crystal system, balanced over classes, and the crystal-level objective."""
        features = self.encode(batch).features
        logits, target = self.head(features), batch.crystal_system.long()
        return [
            self._system_result(logits, target, batch),
            self.structure(self.name, features, batch, self.config.structure_weight),
        ]

    def _system_result(
        self, logits: Tensor, target: Int[Tensor, "crystal"], batch: BlockBatch
    ) -> PretextResult:
        counts = self.counts(target)
        share = (counts + 1) / (counts + 1).sum()
        # logit adjustment (Menon et al. 2021): the balanced error is what is minimised
        loss = functional.cross_entropy(logits + torch.log(share).to(logits), target)
        predictions = {"model": logits.argmax(-1), "majority": counts.argmax().expand_as(target)}
        if not self.training:
            predictions["lattice metric rule"] = lattice_system(batch.rows[:, CELL_ROWS, VECTOR])
        per_class = functional.one_hot(target, len(CRYSTAL_SYSTEMS)).float()
        return PretextResult(
            task="crystal_system",
            loss=loss,
            weight=1.0,
            sums={
                key: ((value == target).float().unsqueeze(1) * per_class).sum(0)
                for key, value in predictions.items()
            },
            count=per_class.sum(0),
        )
