"""Block 1, composition: which elements, how much of each.

Panel group (103, 4) -> 1-D convolution over the periodic-table axis, attention over the present
elements -> 256 features. Task 1, masked element modelling: one element is taken out, the rest is
rescaled to one, and the encoder predicts which element it was and its atomic fraction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from crystalssl.blocks._clipping import bounded
from crystalssl.blocks._layers import (
    BiasedAttention,
    ElementEmbedding,
    GaussianBasis,
    Pooling,
    Taps,
    key_bias,
    layer_states,
    mlp,
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
from crystalssl.representation.layout import group as panel_group
from crystalssl.representation.panel_groups import slots

STATED = (
    "electronegativity_pauling",
    "covalent_radius_angstrom",
    "valence_electrons",
    "first_ionization_energy_ev",
    "electron_affinity_ev",
    "atomic_mass_u",
    "mendeleev_number",
    "p_valence",
    "d_valence",
    "melting_point_k",
    "molar_volume_cm3",
    "polarizability_angstrom3",
    "ground_state_volume_angstrom3",
    "is_metal",
)
"""Tabulated properties whose statistics are features."""


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
    numbers: bool = True
    """Whether statistics of tabulated properties over the elements are features."""
    extremes: int = 24
    """Channels whose minimum and maximum over elements are features."""
    limit: float = 5.0
    """Where features are softly clipped, in standard deviations; 0 for nowhere."""
    rotated: bool = True
    """Whether clipped features are mixed, so that none is constant for a class of crystals."""


@final
class Composition(Block):
    """Composition encoder with masked element modelling."""

    name: ClassVar[str] = "composition"
    number: ClassVar[int] = 1
    group: ClassVar[str] = "composition"
    width: ClassVar[int] = 256
    mix_weight: ClassVar[float] = 4.0
    uses_graph: ClassVar[bool] = False
    summary: ClassVar[str] = (
        "1-D convolution over the periodic table and attention over the present elements"
    )
    Config: ClassVar[type] = CompositionConfig
    absent: ClassVar[Mapping[str, Any]] = {
        "numbers": False, "extremes": 0, "limit": 0.0, "rotated": False,
    }  # fmt: skip
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
            nn.Conv1d(panel_group("composition").width + 1, dim // 2, config.kernel, padding=half),
            nn.SiLU(),
            nn.Conv1d(dim // 2, dim, config.kernel, padding=half),
        )
        self.amount = nn.Sequential(GaussianBasis(0.0, 1.0, 24), nn.Linear(24, dim))
        self.mask_token = nn.Parameter(torch.randn(dim) * 0.3)
        self.encoder = nn.ModuleList(
            [BiasedAttention(dim, config.heads, config.dropout) for _ in range(config.layers)]
        )
        self.pooling = Pooling(self.width, config.extremes, len(STATED) if config.numbers else 0)
        self.taps = Taps([dim] * (config.layers + 1), self.pooling.channels)
        self.squash, self.rotate = bounded(self.width, config.limit, config.rotated)
        self.head = mlp(self.pooling.channels, dim, ELEMENTS + 1)
        self.stated = [elemental.PROPERTY_NAMES.index(name) for name in STATED]
        self.structure = StructureHead(self.pooling.learned)
        self.counts, self.mean_fraction = ClassCounts(ELEMENTS), TargetMean()

    def _states(
        self, fraction: Float[Tensor, "crystal element"], masked: Bool[Tensor, "crystal"]
    ) -> tuple[Tensor, Bool[Tensor, "crystal row"], Float[Tensor, "crystal row"]]:
        """Tokens of the present elements in padded rows; row 0 is the mask token."""
        present = fraction > 0
        most = int(present.sum(1).max())
        # a stable sort of 0 and 1: the present elements first, by atomic number
        index = present.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]
        amount = fraction.gather(1, index)
        rows = functional.embedding(index, self.elements.table()[1:])
        rows = rows + self._along(fraction, index) + self.amount(amount)
        states = torch.cat([self.mask_token.expand(len(rows), 1, -1), rows], dim=1)
        readable = torch.cat([masked.unsqueeze(1), present.gather(1, index)], dim=1)
        weight = torch.cat([amount.new_zeros(len(amount), 1), amount], dim=1)
        tokens = self.taps(layer_states(self.encoder, states, key_bias(readable)))
        return tokens, readable, weight

    def _along(
        self, fraction: Float[Tensor, "crystal element"], index: Int[Tensor, "crystal row"]
    ) -> Float[Tensor, "crystal row channel"]:
        """Convolutions over the periodic table, the second one only at elements ``index``.

        A crystal holds a handful of the 103 elements: the second convolution is one linear layer
        on the windows around these, equal to rounding, for a fraction of the products.
        """
        present = (fraction > 0).unsqueeze(-1).to(fraction.dtype)
        axis = torch.cat([slots(fraction), present], dim=-1).transpose(1, 2)  # (crystal, 5, 103)
        first, second = (layer for layer in self.axis if isinstance(layer, nn.Conv1d))
        hidden = functional.silu(first(axis)).transpose(1, 2)  # (crystal, 103, channel)
        half = self.config.kernel // 2
        # zeros at both ends, as the convolution pads: the window of element z begins at row z
        padded = functional.pad(hidden, (0, 0, half, half)).contiguous()
        window = torch.arange(self.config.kernel, device=index.device)
        first_row = torch.arange(len(index), device=index.device) * padded.shape[1]
        rows = index.unsqueeze(-1) + window + first_row[:, None, None]  # (crystal, row, kernel)
        width = self.config.kernel * padded.shape[-1]  # spelled out: there may be no elements
        near = padded.flatten(0, 1).index_select(0, rows.flatten()).view(*index.shape, width)
        # (out, in, kernel) -> (out, kernel * in), the order in which a window lies in memory
        weight = second.weight.transpose(1, 2).flatten(1)
        return functional.linear(near, weight, second.bias)

    def _whole(
        self, fraction: Float[Tensor, "crystal element"]
    ) -> tuple[Float[Tensor, "token channel"], Int[Tensor, "token"], Float[Tensor, "token"]]:
        """States of the present elements of uncorrupted crystals, crystal and fraction of each."""
        masked = torch.zeros(len(fraction), dtype=torch.bool, device=fraction.device)
        tokens, _, weight = self._states(fraction, masked)
        kept = weight > 0
        return *rows_at(tokens, kept), weight[kept]

    def _features(
        self,
        tokens: Float[Tensor, "token channel"],
        crystal: Int[Tensor, "token"],
        weight: Float[Tensor, "token"],
        fraction: Float[Tensor, "crystal element"],
    ) -> Float[Tensor, "crystal feature"]:
        """Pooled states of the present elements, and of their tabulated properties."""
        numbers = None
        if self.config.numbers:
            # tokens stand by atomic number, as the elements of the composition do
            element = (fraction > 0).nonzero()[:, 1]
            numbers = self.elements.properties[1:, self.stated].index_select(0, element)
        pooled = self.pooling(tokens, crystal, len(fraction), weight, numbers)
        features: Tensor = self.rotate(self.squash(pooled))
        return features

    def encode(self, batch: BlockBatch) -> Encoded:
        """Tokens are the present elements by atomic number; features are fraction-weighted."""
        fraction = batch.rows.sum(-1)
        tokens, crystal, weight = self._whole(fraction)
        features = self._features(tokens, crystal, weight, fraction)
        return Encoded(tokens=tokens, crystal=crystal, features=features)

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
        output = self.head(tokens[several, 0])  # row 0 is the mask token
        logits, predicted = output[:, :ELEMENTS], output[:, ELEMENTS:].sigmoid()
        target, truth = taken[several], amount[several].unsqueeze(1)
        loss = functional.cross_entropy(logits, target) if len(target) else output.sum() * 0
        elements = (fraction[several] > 0).sum(1, keepdim=True)
        baselines = {"mean": self.mean_fraction(truth), "equal parts": 1.0 / elements}
        present, crystal, weight = self._whole(fraction)
        with torch.no_grad():  # lets the batch enter the statistics of the clip
            self._features(present, crystal, weight, fraction)
        pooled = self.pooling(present, crystal, len(fraction), weight)
        return [
            accuracy_result("masked_element", logits, target, loss, self.counts),
            error_result(
                "masked_fraction", predicted, truth, baselines, self.config.fraction_weight, 0.1
            ),
            self.structure(self.name, pooled, batch, self.config.structure_weight),
        ]
