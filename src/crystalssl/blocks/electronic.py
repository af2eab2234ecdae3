"""Block 7, electronic: what a tight binding without fitted numbers says of the electrons.

Rows beside the panel (quantity, 1), computed or predicted from the other views -> a few learnt
functions of each number, a residual multilayer perceptron over all of them -> 256 features.
Tasks: windows of the density of states are hidden, whole groups of quantities are hidden, geometry
is predicted from the electrons, and the electrons from geometry through a shared latent space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from crystalssl.blocks._clipping import SoftClip, bounded
from crystalssl.blocks._layers import layer_states, mlp, rows_at
from crystalssl.blocks._masking import uniform
from crystalssl.blocks._objectives import (
    StructureHead,
    TargetMean,
    decorrelation_result,
    decorrelation_task,
    error_result,
    structure_task,
)
from crystalssl.blocks.contract import Block, BlockBatch, Encoded, PretextResult, TaskInfo
from crystalssl.representation.electronic import view
from crystalssl.representation.layout import ELECTRONIC
from crystalssl.representation.targets import BINS, CORE

QUANTITIES = len(view.QUANTITIES)


@dataclass(frozen=True, kw_only=True)
class ElectronicConfig:
    """Settings of the electronic block."""

    channels: int = 4
    """Learnt functions of each number, beside the number itself."""
    dim: int = 256
    """Channels of the hidden states."""
    layers: int = 2
    """Residual layers."""
    latent: int = 64
    """Width of the space shared by electrons and geometry."""
    dropout: float = 0.0
    """Dropout during training."""
    mask_ratio: float = 0.25
    """Probability with which a group of quantities is hidden."""
    mask_all_ratio: float = 0.02
    """Probability with which all of a crystal is hidden, as of one that cannot be described."""
    mask_reach: float = 1.6
    """Windows of the density of states so far from a random energy are hidden, eV."""
    kept_weight: float = 0.5
    """Weight of predicting the numbers that were not hidden."""
    mapping_weight: float = 0.5
    """Weight of the map from geometry to electrons."""
    structure_weight: float = 1.0
    """Weight of the crystal-level objective."""
    decorrelation_weight: float = 16.0
    """Weight of the decorrelation of features."""
    limit: float = 4.0
    """Where features are softly clipped, in standard deviations."""
    rotated: bool = True
    """Whether clipped features are mixed, so that none is constant for a class of crystals."""


class Numbers(NamedTuple):
    """The numbers of a batch.

    Attributes:
        scaled: standardised and softly clipped; 0 where a number is not known.
        known: whether it is.
    """

    scaled: Float[Tensor, "crystal row"]
    known: Bool[Tensor, "crystal row"]


class Residual(nn.Module):
    """Pre-norm multilayer perceptron with a skip."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.feed = nn.LayerNorm(dim), mlp(dim, 2 * dim, dim, dropout=dropout)

    def forward(self, states: Float[Tensor, "crystal channel"]) -> Float[Tensor, "crystal channel"]:
        """One step."""
        updated: Tensor = states + self.feed(self.norm(states))
        return updated


@final
class Electronic(Block):
    """Encoder of electronic numbers with hidden windows, hidden groups, and a map to geometry."""

    name: ClassVar[str] = "electronic"
    number: ClassVar[int] = 7
    group: ClassVar[str] = ELECTRONIC
    width: ClassVar[int] = 256
    mix_weight: ClassVar[float] = 4.0
    uses_graph: ClassVar[bool] = False
    summary: ClassVar[str] = (
        "multilayer perceptron over electronic numbers of a tight binding without fitted numbers"
    )
    Config: ClassVar[type] = ElectronicConfig
    absent: ClassVar[Mapping[str, Any]] = {"rotated": False}
    tasks: ClassVar[tuple[TaskInfo, ...]] = (
        TaskInfo(
            name="masked_dos_windows",
            number=None,
            figure="mean absolute error (standard deviations)",
            higher_is_better=False,
            trivial="mean",
            teaches="How bands, charges and bonds fix the density of states at an energy.",
        ),
        TaskInfo(
            name="masked_electronic",
            number=None,
            figure="mean absolute error (standard deviations)",
            higher_is_better=False,
            trivial="mean",
            teaches="How gaps, band edges, bonds, charges and energies follow from one another.",
        ),
        TaskInfo(
            name="structure_to_electronic",
            number=None,
            figure="mean absolute error (standard deviations)",
            higher_is_better=False,
            trivial="mean",
            teaches="What geometry and the elements bonded say of the electrons.",
        ),
        structure_task("electronic"),
        decorrelation_task("electronic"),
    )

    group_of_row: Tensor
    centres: Tensor
    density: Tensor
    core: Tensor

    def __init__(self, config: ElectronicConfig) -> None:
        super().__init__()
        self.config = config
        dim, channels = config.dim, config.channels
        self.scale = SoftClip(QUANTITIES, limit=4.0)
        self.slope = nn.Parameter(torch.randn(QUANTITIES, channels))
        self.offset = nn.Parameter(torch.randn(QUANTITIES, channels))
        self.enter = nn.Linear(QUANTITIES * (channels + 2), dim)
        self.encoder = nn.ModuleList([Residual(dim, config.dropout) for _ in range(config.layers)])
        self.read = nn.Linear(QUANTITIES + dim * (config.layers + 1), self.width)
        self.clip, self.rotate = bounded(self.width, config.limit, config.rotated)
        self.tell = nn.Linear(self.width, QUANTITIES)
        self.from_features = nn.Linear(self.width, config.latent)
        self.from_structure = mlp(len(CORE) + BINS, dim, config.latent)
        self.to_electrons = mlp(config.latent, dim, QUANTITIES)
        self.structure = StructureHead(self.width)
        self.mean_window, self.mean_number, self.mean_all = (TargetMean() for _ in range(3))
        for name, values in (
            ("group_of_row", view.GROUP_OF_ROW), ("centres", view.CENTRES),
            ("density", view.DENSITY), ("core", CORE),
        ):  # fmt: skip
            self.register_buffer(name, torch.as_tensor(values), persistent=False)

    def _numbers(self, batch: BlockBatch) -> Numbers:
        """Standardised numbers; in training the batch enters the statistics."""
        raw = batch.rows[..., 0].masked_fill(~batch.valid, 0.0)
        return Numbers(self.scale(raw, batch.valid).masked_fill(~batch.valid, 0.0), batch.valid)

    def _tokens(
        self, scaled: Float[Tensor, "crystal row"], shown: Bool[Tensor, "crystal row"]
    ) -> Float[Tensor, "crystal row channel"]:
        """Each number, functions of it, and whether it is shown; all 0 where it is not."""
        seen = shown.to(scaled.dtype).unsqueeze(-1)
        value = scaled.unsqueeze(-1)
        functions = functional.silu(value * self.slope + self.offset)
        return torch.cat([value, functions, seen], dim=-1) * seen

    def _clipped(
        self, tokens: Float[Tensor, "crystal row channel"]
    ) -> Float[Tensor, "crystal feature"]:
        """Read from the numbers themselves and from every hidden state; not mixed yet."""
        states = layer_states(self.encoder, self.enter(tokens.flatten(1)))
        features: Tensor = self.clip(self.read(torch.cat([tokens[..., 0], *states], dim=-1)))
        return features

    def encode(self, batch: BlockBatch) -> Encoded:
        """Tokens are the numbers that are known."""
        numbers = self._numbers(batch)
        padded = self._tokens(numbers.scaled, numbers.known)
        tokens, crystal = rows_at(padded, numbers.known)
        features = self.rotate(self._clipped(padded))
        return Encoded(tokens=tokens, crystal=crystal, features=features)

    def pretext(self, batch: BlockBatch, generator: torch.Generator) -> Sequence[PretextResult]:
        """Hidden windows, hidden groups, both ways to geometry, decorrelated features."""
        numbers = self._numbers(batch)
        windows, scored = self._hidden_windows(batch, generator)
        groups = self._hidden_groups(batch, generator)
        shown = numbers.known & ~windows & ~groups
        clipped = self._clipped(self._tokens(numbers.scaled, shown))
        features = self.rotate(clipped)
        predicted = self.tell(features)
        target, others = numbers.scaled, numbers.known & groups & ~windows
        kept = functional.smooth_l1_loss(predicted[shown], target[shown])
        hidden = self._result("masked_electronic", predicted, target, others, self.mean_number)
        between = interpolate(target[:, self.density], shown[:, self.density])
        whole = torch.zeros_like(target).masked_scatter(self.density.expand_as(target), between)
        density = self._result(
            "masked_dos_windows", predicted, target, numbers.known & scored, self.mean_window,
            {"interpolation in energy": whole},
        )  # fmt: skip
        return [
            density,
            replace(hidden, loss=hidden.loss + self.config.kept_weight * kept),
            self._from_structure(features, numbers, batch),
            self.structure(self.name, features, batch, self.config.structure_weight),
            decorrelation_result(self.name, clipped, self.config.decorrelation_weight),
        ]

    def _result(
        self,
        task: str,
        predicted: Float[Tensor, "crystal row"],
        target: Float[Tensor, "crystal row"],
        scored: Bool[Tensor, "crystal row"],
        mean: TargetMean,
        others: dict[str, Float[Tensor, "crystal row"]] | None = None,
    ) -> PretextResult:
        """Predictions of the scored rows beside the mean and what else there is."""
        truth = target[scored].unsqueeze(-1)  # (item, 1)
        baselines = {"mean": mean(truth)}
        baselines |= {name: values[scored].unsqueeze(-1) for name, values in (others or {}).items()}
        return error_result(task, predicted[scored].unsqueeze(-1), truth, baselines)

    def _from_structure(
        self, features: Tensor, numbers: Numbers, batch: BlockBatch
    ) -> PretextResult:
        """Electrons from geometry, through a space in which the features lie as well."""
        geometry = torch.cat([batch.targets.index_select(1, self.core), batch.histogram], dim=-1)
        latent = self.from_structure(geometry)
        result = self._result(
            "structure_to_electronic", self.to_electrons(latent), numbers.scaled, numbers.known,
            self.mean_all,
        )  # fmt: skip
        apart = functional.mse_loss(self.from_features(features), latent)
        weight = self.config.mapping_weight
        return replace(result, loss=result.loss + 0.1 * apart, weight=weight)

    def _hidden_windows(
        self, batch: BlockBatch, generator: torch.Generator
    ) -> tuple[Bool[Tensor, "crystal row"], Bool[Tensor, "crystal row"]]:
        """Windows about one random energy, of shells and of the whole, and those that are scored.

        Windows overlap: the outermost hidden ones are partly seen and not scored.
        """
        lowest, highest = self.centres.nan_to_num(0.0).aminmax()
        lot = uniform((len(batch.rows), 1), generator, batch.rows.device)
        distance = (self.centres - (lowest + lot * (highest - lowest))).abs()  # NaN: no window
        hidden = distance <= self.config.mask_reach
        return hidden, hidden & self.density & (distance <= self.config.mask_reach - 0.6)

    def _hidden_groups(
        self, batch: BlockBatch, generator: torch.Generator
    ) -> Bool[Tensor, "crystal row"]:
        """Whole groups, gaps and those of spin together; of a few crystals all."""
        count, device = len(batch.rows), batch.rows.device
        lot = uniform((count, view.SPINS + 1), generator, device) < self.config.mask_ratio
        lot[:, view.SPINS] = lot[:, view.GAPS]
        everything = uniform((count, 1), generator, device) < self.config.mask_all_ratio
        hidden: Tensor = lot[:, self.group_of_row] | everything
        return hidden


def interpolate(
    values: Float[Tensor, "crystal window"], seen: Bool[Tensor, "crystal window"]
) -> Float[Tensor, "crystal window"]:
    """Linear interpolation between the nearest seen windows, which lie evenly.

    Constant at the ends; 0 where a crystal has no seen window.
    """
    last = values.shape[1]
    index = torch.arange(last, device=values.device).expand_as(values)
    left = torch.where(seen, index, -1).cummax(1).values
    right = torch.where(seen, index, last).flip(1).cummin(1).values.flip(1)
    left, right = torch.where(left < 0, right, left), torch.where(right >= last, left, right)
    none = (left >= last) | (left < 0)
    left, right = left.clamp(0, last - 1), right.clamp(0, last - 1)
    share = ((index - left) / (right - left).clamp_min(1)).clamp(0, 1)
    low, high = values.gather(1, left), values.gather(1, right)
    between: Tensor = ((1 - share) * low + share * high).masked_fill(none, 0.0)
    return between
