"""Block 5, reciprocal: the reciprocal lattice and where its points are lit.

Panel group (103, 16) -> Transformer with reciprocal-space attention (bias from differences of g
vectors and the angle between them) -> 512 features. Task 6, masked k-distances: |g| of whole
shells is hidden, directions stay. Task 7, k-point interpolation: whole shells are left out and
their geometric structure factor is predicted from the rest.

Miller indices are no input: |g|^2 is linear in six numbers once h, k, l are known. Neither are
the shell index, the gap and |g|/|g1|, in which a hidden length could be read off its neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

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
from crystalssl.blocks._masking import uniform_per_shell
from crystalssl.blocks._objectives import (
    StructureHead,
    TargetMean,
    decorrelation_result,
    decorrelation_task,
    error_result,
    structure_task,
)
from crystalssl.blocks._precision import exact
from crystalssl.blocks._shells import shortest_shells
from crystalssl.blocks.contract import Block, BlockBatch, Encoded, PretextResult, TaskInfo
from crystalssl.representation.layout import group as panel_group


@dataclass(frozen=True, kw_only=True)
class ReciprocalConfig:
    """Settings of the reciprocal block."""

    dim: int = 64
    """Channels of the hidden states."""
    layers: int = 3
    """Attention layers."""
    heads: int = 4
    """Attention heads."""
    points: int = 32
    """Most reciprocal points read, in whole shells."""
    dropout: float = 0.0
    """Dropout during training."""
    length_ratio: float = 0.2
    """Share of shells whose length is hidden."""
    left_out_ratio: float = 0.2
    """Share of shells left out and interpolated."""
    structure_weight: float = 1.0
    """Weight of the crystal-level objective."""
    decorrelation_weight: float = 1.0
    """Weight of the correlations between features; without it their rank is a fifth of 512."""
    extremes: int = 16
    """Channels whose minimum and maximum over points are features."""
    limit: float = 2.0
    """Where features are softly clipped, in standard deviations; 0 for nowhere."""
    rotated: bool = True
    """Whether clipped features are mixed, so that none is constant for a class of crystals."""


class Points(NamedTuple):
    """Reciprocal points of a batch, padded, in whole shells.

    Attributes:
        vectors: g in 1/angstrom.
        lengths: |g| in 1/angstrom.
        lit: geometric structure factor |S(g)|/N.
        shell: shell index.
        size: points in the shell.
        kept: rows that hold a point.
    """

    vectors: Float[Tensor, "crystal row 3"]
    lengths: Float[Tensor, "crystal row"]
    lit: Float[Tensor, "crystal row"]
    shell: Int[Tensor, "crystal row"]
    size: Float[Tensor, "crystal row"]
    kept: Bool[Tensor, "crystal row"]


@final
class Reciprocal(Block):
    """Reciprocal-space Transformer with masked lengths and left-out points."""

    name: ClassVar[str] = "reciprocal"
    number: ClassVar[int] = 5
    group: ClassVar[str] = "reciprocal"
    width: ClassVar[int] = 512
    mix_weight: ClassVar[float] = 0.5
    uses_graph: ClassVar[bool] = False
    summary: ClassVar[str] = (
        "Transformer with reciprocal-space attention, biased by g differences and angles"
    )
    Config: ClassVar[type] = ReciprocalConfig
    absent: ClassVar[Mapping[str, Any]] = {"extremes": 0, "limit": 2.0, "rotated": False}
    tasks: ClassVar[tuple[TaskInfo, ...]] = (
        TaskInfo(
            name="masked_k_distances",
            number=6,
            figure="mean absolute error (1/angstrom)",
            higher_is_better=False,
            trivial="mean",
            teaches="That reciprocal points form a lattice: lengths follow from the others.",
        ),
        TaskInfo(
            name="k_point_interpolation",
            number=7,
            figure="mean absolute error of |S|/N",
            higher_is_better=False,
            trivial="mean",
            teaches="Extinction rules and the motif behind them: which reflections are lit.",
        ),
        structure_task("reciprocal"),
        decorrelation_task("reciprocal"),
    )

    def __init__(self, config: ReciprocalConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.length = GaussianBasis(0.0, 1.6, 33)
        self.bright = GaussianBasis(0.0, 1.0, 17)
        self.embed_length = mlp(33, dim, dim)
        self.embed_lit = mlp(17, dim, dim)
        self.embed_size = nn.Linear(1, dim)
        self.hidden_length = nn.Parameter(torch.randn(dim) * 0.3)
        self.hidden_lit = nn.Parameter(torch.randn(dim) * 0.3)
        self.pair = mlp(4 + 4, 16, config.heads)
        self.pair_hidden = nn.Parameter(torch.zeros(4))
        self.encoder = nn.ModuleList(
            [BiasedAttention(dim, config.heads, config.dropout) for _ in range(config.layers)]
        )
        self.pooling = Pooling(self.width, config.extremes)
        self.taps = Taps([dim] * (config.layers + 1), self.pooling.channels)
        self.squash, self.rotate = bounded(self.width, config.limit, config.rotated)
        self.tell_length = mlp(self.pooling.channels, dim, 1)
        self.tell_lit = mlp(self.pooling.channels, dim, 1)
        self.structure = StructureHead(self.width)
        self.mean_length, self.mean_lit = TargetMean(), TargetMean()

    def _points(self, batch: BlockBatch) -> Points:
        group = panel_group("reciprocal")
        lengths = batch.rows[..., group.column("length")]
        rows, shell, size, kept = shortest_shells(lengths, batch.valid, self.config.points)
        return Points(
            vectors=batch.rows[:, rows, group.at("vector")],
            lengths=lengths[:, rows],
            lit=batch.rows[:, rows, group.column("amplitude")],
            shell=shell,
            size=size,
            kept=kept,
        )

    def _pair_bias(
        self, points: Points, measured: Bool[Tensor, "crystal row"]
    ) -> Float[Tensor, "crystal head row row"]:
        """Bias from angles, and from |g_i -+ g_j| where both lengths are known.

        One of each Friedel pair stands for both, so only even functions of the angle and the
        unordered pair of distances may enter: |g_i -+ g_j|^2 = |g_i|^2 + |g_j|^2 -+ 2 |g_i.g_j|.
        """
        lengths = points.lengths.clamp_min(1e-6)
        unit = points.vectors / lengths.unsqueeze(-1)
        square = (lengths**2).unsqueeze(2) + (lengths**2).unsqueeze(1)  # (crystal, row, row)
        with exact(unit):
            cosine = unit @ unit.transpose(1, 2)
            cross = 2 * (points.vectors @ points.vectors.transpose(1, 2)).abs()
        near = torch.sqrt((square - cross).clamp_min(0) + 1e-6)
        far = torch.sqrt(square + cross + 1e-12)
        known = measured.unsqueeze(2) & measured.unsqueeze(1)
        # a pair with a hidden length gets a learned number for each plane instead
        metric = [
            torch.where(known, value, self.pair_hidden[index])
            for index, value in enumerate((near, far, near * near, near * far))
        ]
        return on_planes(self.pair, torch.stack([*even_powers(cosine, 4), *metric]))

    def _tokens(
        self,
        points: Points,
        measured: Bool[Tensor, "crystal row"],
        present: Bool[Tensor, "crystal row"],
    ) -> Float[Tensor, "crystal row channel"]:
        """Tokens of every row; only ``measured`` lengths and ``present`` amplitudes are read.

        Rows that are not present are read by nobody but themselves.
        """
        length = torch.where(
            measured.unsqueeze(-1),
            self.embed_length(self.length(points.lengths)),
            self.hidden_length,
        )
        lit = torch.where(
            present.unsqueeze(-1), self.embed_lit(self.bright(points.lit)), self.hidden_lit
        )
        size = self.embed_size(torch.log(points.size.clamp_min(1.0)).unsqueeze(-1))
        states = length + lit + size
        # (crystal, 1, 1, row) keys with (row, row) diagonal -> (crystal, 1, row, row)
        itself = torch.eye(states.shape[1], dtype=torch.bool, device=states.device)
        blocked = key_bias(points.kept & present).masked_fill(itself, 0.0)
        bias = self._pair_bias(points, measured) + blocked
        tokens: Tensor = self.taps(layer_states(self.encoder, states, bias))
        return tokens

    def encode(self, batch: BlockBatch) -> Encoded:
        """Tokens are reciprocal points in whole shells, the shortest first."""
        points = self._points(batch)
        padded = self._tokens(points, points.kept, points.kept)
        tokens, crystal = rows_at(padded, points.kept)
        clipped = self.squash(self.pooling(tokens, crystal, len(batch.rows)))
        return Encoded(tokens=tokens, crystal=crystal, features=self.rotate(clipped))

    def corrupt(
        self, points: Points, generator: torch.Generator
    ) -> tuple[Bool[Tensor, "crystal row"], Bool[Tensor, "crystal row"]]:
        """Choose whole shells whose length is hidden, and whole shells that are left out.

        Returns:
            Rows with a hidden length; rows that are left out. No row is both.
        """
        number = uniform_per_shell(points.shell, generator)
        unmeasured = number < self.config.length_ratio
        left_out = number > 1 - self.config.left_out_ratio
        return unmeasured & points.kept, left_out & points.kept

    def pretext(self, batch: BlockBatch, generator: torch.Generator) -> Sequence[PretextResult]:
        """Masked k-distances, k-point interpolation, and the crystal-level objective."""
        points = self._points(batch)
        unmeasured, left_out = self.corrupt(points, generator)
        # what is hidden is blanked as well, so that no path can read it
        seen = points._replace(
            lengths=points.lengths.masked_fill(unmeasured, 1.0),
            vectors=self._directions(points, unmeasured),
            lit=points.lit.masked_fill(left_out, 0.0),
        )
        tokens = self._tokens(seen, points.kept & ~unmeasured, points.kept & ~left_out)
        rows = rows_at(tokens, points.kept & ~left_out)
        clipped = self.squash(self.pooling(*rows, len(batch.rows)))
        return [
            self._length_result(points, tokens, unmeasured, left_out),
            self._lit_result(points, tokens, left_out),
            self.structure(self.name, self.rotate(clipped), batch, self.config.structure_weight),
            decorrelation_result(self.name, clipped, self.config.decorrelation_weight),
        ]

    @staticmethod
    def _directions(points: Points, unmeasured: Bool[Tensor, "crystal row"]) -> Tensor:
        """Vectors whose hidden lengths are replaced by one."""
        unit = points.vectors / points.lengths.clamp_min(1e-6).unsqueeze(-1)
        return torch.where(unmeasured.unsqueeze(-1), unit, points.vectors)

    def _length_result(
        self, points: Points, tokens: Tensor, hidden: Tensor, left_out: Tensor
    ) -> PretextResult:
        target = points.lengths[hidden].unsqueeze(1)
        around = _visible_mean(points.lengths, points.kept & ~hidden & ~left_out, hidden)
        predicted = nn.functional.softplus(self.tell_length(tokens[hidden]))
        baselines = {"mean": self.mean_length(target), "mean of the visible": around}
        return error_result("masked_k_distances", predicted, target, baselines, scale=0.1)

    def _lit_result(self, points: Points, tokens: Tensor, hidden: Tensor) -> PretextResult:
        target = points.lit[hidden].unsqueeze(1)
        around = _visible_mean(points.lit, points.kept & ~hidden, hidden)
        predicted = self.tell_lit(tokens[hidden]).sigmoid()
        baselines = {"mean": self.mean_lit(target), "mean of the visible": around}
        return error_result("k_point_interpolation", predicted, target, baselines, scale=0.1)


def _visible_mean(
    values: Float[Tensor, "crystal row"],
    visible: Bool[Tensor, "crystal row"],
    hidden: Bool[Tensor, "crystal row"],
) -> Float[Tensor, "hidden 1"]:
    """For every hidden row the mean of its crystal's visible rows."""
    seen = visible.to(values.dtype)
    mean = (values * seen).sum(1) / seen.sum(1).clamp_min(1)
    return mean[hidden.nonzero()[:, 0]].unsqueeze(1)
