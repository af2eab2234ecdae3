"""Block 6, structure factors: the diffraction pattern under six elemental weights.

Panel group (103, 7) -> residual 1-D CNN along |g|, values sorted by magnitude within a shell
since rows of equal length are a set -> 256 features. Task 8: structure factors of whole shells
are hidden. Task 9, both ways between real and reciprocal space: the pair-distance histogram from
the pattern, and the pattern from the histogram, through one shared latent space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from crystalssl.blocks._clipping import bounded
from crystalssl.blocks._layers import (
    GaussianBasis,
    Pooling,
    Taps,
    layer_states,
    mlp,
    rows_at,
)
from crystalssl.blocks._masking import uniform_per_shell
from crystalssl.blocks._objectives import StructureHead, TargetMean, error_result, structure_task
from crystalssl.blocks._shells import shortest_shells
from crystalssl.blocks.contract import Block, BlockBatch, Encoded, PretextResult, TaskInfo
from crystalssl.representation.layout import group as panel_group
from crystalssl.representation.targets import BINS


@dataclass(frozen=True, kw_only=True)
class StructureFactorsConfig:
    """Settings of the structure-factor block."""

    dim: int = 64
    """Channels of the hidden states."""
    layers: int = 3
    """Residual blocks."""
    kernel: int = 5
    """Width of the convolutions along the rows."""
    reflections: int = 64
    """Most reflections read, in whole shells."""
    latent: int = 48
    """Width of the space shared by real and reciprocal space."""
    mask_ratio: float = 0.3
    """Share of shells hidden."""
    mapping_weight: float = 0.5
    """Weight of each direction of the real-reciprocal mapping."""
    structure_weight: float = 1.0
    """Weight of the crystal-level objective."""
    extremes: int = 32
    """Channels whose minimum and maximum over reflections are features."""
    limit: float = 6.0
    """Where features are softly clipped, in standard deviations; 0 for nowhere."""
    rotated: bool = True
    """Whether clipped features are mixed, so that none is constant for a class of crystals."""


FACTORS = len(panel_group("structure_factors").fields["factors"])


class Pattern(NamedTuple):
    """The first reflections of a batch, padded, in whole shells.

    Attributes:
        lengths: |g| in 1/angstrom.
        shell: shell index.
        size: reflections in the shell.
        factors: weighted structure factors, sorted by magnitude within a shell.
        kept: rows that hold a reflection.
    """

    lengths: Float[Tensor, "crystal row"]
    shell: Int[Tensor, "crystal row"]
    size: Float[Tensor, "crystal row"]
    factors: Float[Tensor, "crystal row factor"]
    kept: Bool[Tensor, "crystal row"]


class Residual(nn.Module):
    """Two dilated convolutions along the rows with a skip; padded rows stay zero."""

    def __init__(self, dim: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.pad, self.step = dilation * (kernel // 2), dilation
        self.norm = nn.LayerNorm(dim)
        self.first = nn.Conv1d(dim, dim, kernel, padding=self.pad, dilation=dilation)
        self.second = nn.Conv1d(dim, dim, 1)

    def forward(
        self, states: Float[Tensor, "crystal row channel"], valid: Float[Tensor, "crystal row 1"]
    ) -> Float[Tensor, "crystal row channel"]:
        """Convolve along the rows."""
        count, rows, dim = states.shape
        pad = self.pad
        # crystals one after the other with zeros between them, so that a convolution is a sum of
        # products with shifted rows, which stay in place
        hidden = functional.pad(self.norm(states) * valid, (0, 0, 0, pad)).flatten(0, 1)
        hidden = functional.pad(hidden, (0, 0, pad, 0))  # (pad + crystal * (row + pad), channel)
        length = len(hidden) - 2 * pad  # what windows that end outside would give is not read
        nearest, *others = self.first.weight.unbind(2)
        made = functional.linear(hidden[:length], nearest, self.first.bias)
        for shift, weight in enumerate(others, start=1):
            start = shift * self.step
            made = torch.addmm(made, hidden[start : start + length], weight.T)
        weight = self.second.weight[:, :, 0]
        made = functional.linear(functional.silu(made), weight, self.second.bias)
        made = functional.pad(made, (0, 0, 0, pad)).view(count, rows + pad, dim)[:, :rows]
        updated: Tensor = (states + made) * valid
        return updated


@final
class StructureFactors(Block):
    """Diffraction-pattern CNN with hidden reflections and a map to real space."""

    name: ClassVar[str] = "structure_factors"
    number: ClassVar[int] = 6
    group: ClassVar[str] = "structure_factors"
    width: ClassVar[int] = 256
    uses_graph: ClassVar[bool] = False
    summary: ClassVar[str] = "residual 1-D CNN along g over six weighted structure factors"
    Config: ClassVar[type] = StructureFactorsConfig
    absent: ClassVar[Mapping[str, Any]] = {"extremes": 0, "limit": 0.0, "rotated": False}
    tasks: ClassVar[tuple[TaskInfo, ...]] = (
        TaskInfo(
            name="masked_structure_factors",
            number=8,
            figure="mean absolute error of |F| / sum of weights",
            higher_is_better=False,
            trivial="mean",
            teaches="How one set of atoms scatters into all reflections at once.",
        ),
        TaskInfo(
            name="reciprocal_to_real",
            number=9,
            figure="mean absolute error of the pair-distance histogram",
            higher_is_better=False,
            trivial="mean",
            teaches="From the diffraction pattern to distances between atoms.",
        ),
        TaskInfo(
            name="real_to_reciprocal",
            number=9,
            figure="mean absolute error of |F| / sum of weights",
            higher_is_better=False,
            trivial="mean",
            teaches="From distances between atoms to the diffraction pattern.",
        ),
        structure_task("structure_factors"),
    )

    def __init__(self, config: StructureFactorsConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.position = GaussianBasis(0.0, 1.6, 33)
        self.embed = mlp(33 + FACTORS + 2, dim, dim)
        self.encoder = nn.ModuleList(
            [Residual(dim, config.kernel, 2**index) for index in range(config.layers)]
        )
        self.pooling = Pooling(self.width, config.extremes)
        self.taps = Taps([dim] * (config.layers + 1), self.pooling.channels)
        self.squash, self.rotate = bounded(self.width, config.limit, config.rotated)
        self.tell = mlp(self.pooling.channels, dim, FACTORS)
        self.from_pattern = mlp(self.width, 2 * dim, config.latent)
        self.from_distances = mlp(BINS, 2 * dim, config.latent)
        self.to_distances = mlp(config.latent, 2 * dim, BINS)
        self.to_pattern = mlp(config.latent + 33, 2 * dim, FACTORS)
        self.structure = StructureHead(self.width)
        self.mean_factor, self.mean_pattern = TargetMean(FACTORS), TargetMean(FACTORS)
        self.mean_distances = TargetMean(BINS)

    def _pattern(self, batch: BlockBatch) -> Pattern:
        """The shortest shells, with factors sorted by magnitude within every shell."""
        group = panel_group("structure_factors")
        lengths = batch.rows[..., group.column("length")]
        rows, shell, size, kept = shortest_shells(lengths, batch.valid, self.config.reflections)
        factors = batch.rows[:, rows, group.at("factors")]
        # by shell, then by falling magnitude: factors lie in 0..1, shells two apart
        order = (2.0 * shell.unsqueeze(-1) - factors.clamp(0, 1)).argsort(dim=1, stable=True)
        return Pattern(lengths[:, rows], shell, size, factors.gather(1, order), kept)

    def _tokens(
        self, pattern: Pattern, hidden: Bool[Tensor, "crystal row"]
    ) -> Float[Tensor, "crystal row channel"]:
        """Tokens of every row; hidden rows enter with zero factors and a flag."""
        lengths, factors = pattern.lengths, pattern.factors
        flags = [torch.log(pattern.size.clamp_min(1.0)), hidden.to(lengths.dtype)]
        shown = pattern.kept.unsqueeze(-1).to(lengths.dtype)
        entry = torch.cat([self.position(lengths), factors, torch.stack(flags, dim=-1)], dim=-1)
        states = self.embed(entry) * shown
        tokens: Tensor = self.taps(layer_states(self.encoder, states, shown))
        return tokens

    def encode(self, batch: BlockBatch) -> Encoded:
        """Tokens are reflections by increasing |g|."""
        pattern = self._pattern(batch)
        padded = self._tokens(pattern, torch.zeros_like(pattern.kept))
        tokens, crystal = rows_at(padded, pattern.kept)
        features = self.rotate(self.squash(self.pooling(tokens, crystal, len(batch.rows))))
        return Encoded(tokens=tokens, crystal=crystal, features=features)

    def pretext(self, batch: BlockBatch, generator: torch.Generator) -> Sequence[PretextResult]:
        """Hidden structure factors, both mappings, and the crystal-level objective."""
        pattern = self._pattern(batch)
        hidden = (
            uniform_per_shell(pattern.shell, generator) < self.config.mask_ratio
        ) & pattern.kept
        seen = pattern.factors.masked_fill(hidden.unsqueeze(-1), 0.0)
        tokens = self._tokens(pattern._replace(factors=seen), hidden)
        rows = rows_at(tokens, pattern.kept)
        features = self.rotate(self.squash(self.pooling(*rows, len(batch.rows))))
        return [
            self._factor_result(pattern, tokens, hidden),
            *self._mapping_results(features, pattern, batch),
            self.structure(self.name, features, batch, self.config.structure_weight),
        ]

    def _factor_result(self, pattern: Pattern, tokens: Tensor, hidden: Tensor) -> PretextResult:
        target = pattern.factors[hidden]
        seen = pattern.kept & ~hidden
        between = interpolate(pattern.lengths, pattern.factors, seen)[hidden]
        baselines = {"mean": self.mean_factor(target), "interpolation in |g|": between}
        predicted = self.tell(tokens[hidden])
        return error_result("masked_structure_factors", predicted, target, baselines, scale=0.1)

    def _mapping_results(
        self, features: Tensor, pattern: Pattern, batch: BlockBatch
    ) -> list[PretextResult]:
        """Pattern to distances, and distances to pattern, through the shared latent space."""
        distances, weight = batch.histogram, self.config.mapping_weight
        from_pattern, from_distances = self.from_pattern(features), self.from_distances(distances)
        to_real = self.to_distances(from_pattern)
        # one latent vector a crystal, asked at the |g| of every row
        latent = from_distances.unsqueeze(1).expand(-1, pattern.lengths.shape[1], -1)
        factors = self.to_pattern(torch.cat([latent, self.position(pattern.lengths)], dim=-1))
        predicted, target = factors[pattern.kept], pattern.factors[pattern.kept]
        histogram_mean = {"mean": self.mean_distances(distances)}
        pattern_mean = {"mean": self.mean_pattern(target)}
        there = error_result("reciprocal_to_real", to_real, distances, histogram_mean, weight, 0.5)
        back = error_result("real_to_reciprocal", predicted, target, pattern_mean, weight, 0.1)
        # both spaces meet in one latent: this ties the second direction to the encoder
        apart = nn.functional.mse_loss(from_pattern, from_distances)
        return [there, replace(back, loss=back.loss + 0.1 * apart)]


def interpolate(
    lengths: Float[Tensor, "crystal row"],
    values: Float[Tensor, "crystal row factor"],
    seen: Bool[Tensor, "crystal row"],
) -> Float[Tensor, "crystal row factor"]:
    """Linear interpolation in |g| between the nearest seen rows; constant at the ends.

    A crystal with no seen row gets zeros.
    """
    rows = torch.arange(lengths.shape[1], device=lengths.device).expand_as(lengths)
    last = lengths.shape[1]
    # index of the nearest seen row on either side; -1 and ``last`` where there is none
    left = torch.where(seen, rows, -1).cummax(1).values
    right = torch.where(seen, rows, last).flip(1).cummin(1).values.flip(1)
    left, right = torch.where(left < 0, right, left), torch.where(right >= last, left, right)
    # at an end both are the one seen row, and the share is 0; without any seen row both are out
    none = (left >= last) | (left < 0)
    left, right = left.clamp(0, last - 1), right.clamp(0, last - 1)
    low, high = lengths.gather(1, left), lengths.gather(1, right)
    share = ((lengths - low) / (high - low).clamp_min(1e-9)).clamp(0, 1).unsqueeze(-1)
    # (crystal, row) indices for (crystal, row, factor) values
    wide = (-1, -1, values.shape[-1])
    below = values.gather(1, left.unsqueeze(-1).expand(*wide))
    above = values.gather(1, right.unsqueeze(-1).expand(*wide))
    return ((1 - share) * below + share * above).masked_fill(none.unsqueeze(-1), 0.0)
