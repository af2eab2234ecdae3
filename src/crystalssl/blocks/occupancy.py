"""Block 4, occupancy: which elements sit where.

Panel group (103, 8) and the periodic graph -> graph attention network, element mixtures on the
nodes, distances on the edges -> 256 features. Task 5: the occupation of some sites, or of every
site of one species, is hidden; the encoder predicts the distribution over elements and vacancy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from crystalssl.blocks._bond_numbers import ELEMENT_NUMBERS, element_numbers
from crystalssl.blocks._clipping import bounded
from crystalssl.blocks._edge_kernels import FilterTable, TabledEdges, attended, tabled
from crystalssl.blocks._environment import (
    ELEMENT_CHANNELS,
    PowerSpectrum,
    Species,
    bonds_of,
    surroundings,
)
from crystalssl.blocks._layers import (
    ElementEmbedding,
    GaussianBasis,
    Pooling,
    Taps,
    both,
    layer_states,
    mlp,
    segment_sum,
)
from crystalssl.blocks._masking import one_per_segment, sites_to_hide, uniform
from crystalssl.blocks._objectives import (
    ClassCounts,
    StructureHead,
    accuracy_result,
    structure_task,
)
from crystalssl.blocks.contract import Block, BlockBatch, Edges, Encoded, PretextResult, TaskInfo
from crystalssl.representation.layout import ELEMENTS, SITE_ROWS


@dataclass(frozen=True, kw_only=True)
class OccupancyConfig:
    """Settings of the occupancy block."""

    dim: int = 96
    """Channels of the hidden states."""
    layers: int = 3
    """Attention layers."""
    heads: int = 4
    """Attention heads."""
    score_width: int = 32
    """Channels from which attention scores are made."""
    basis: int = 24
    """Gaussians that expand a distance."""
    cutoff: float = 8.0
    """Upper end of the distance basis, in angstrom."""
    mask_ratio: float = 0.2
    """Share of sites hidden when sites are hidden one by one."""
    species_ratio: float = 0.5
    """Share of crystals in which every site of one species is hidden instead."""
    structure_weight: float = 2.0
    """Weight of the crystal-level objective."""
    angles: int = 16
    """Products of angular moments for each of l = 0..3 that sites start from; 0 for none."""
    numbers: bool = True
    """Whether statistics of bond lengths, stiffness, charge and valence are features."""
    extremes: int = 8
    """Channels whose minimum and maximum over sites are features."""
    limit: float = 6.0
    """Where features are softly clipped, in standard deviations; 0 for nowhere."""
    rotated: bool = True
    """Whether clipped features are mixed, so that none is constant for a class of crystals."""


class GraphAttention(nn.Module):
    """Multi-head attention of a site to its neighbours (after GATv2, Brody et al. 2022).

    Scores come from centre, neighbour and distance after a non-linearity; values are neighbour
    states filtered by the distance.
    """

    def __init__(self, dim: int, heads: int, basis: int, score_width: int) -> None:
        super().__init__()
        self.split, self.heads, self.lot = [score_width, dim], heads, dim // heads
        self.norm, self.norm_feed = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.centre = nn.Linear(dim, score_width)
        self.neighbour = nn.Linear(dim, score_width + dim)
        self.edge = nn.Linear(basis, score_width + dim)
        self.score = nn.Linear(score_width, heads, bias=False)
        self.out, self.feed = nn.Linear(dim, dim), mlp(dim, 2 * dim, dim)
        self.table = FilterTable()

    def forward(
        self,
        states: Float[Tensor, "site channel"],
        edges: Edges,
        near: Float[Tensor, "edge basis"] | TabledEdges,
    ) -> Float[Tensor, "site channel"]:
        """Attend once and update every site; ``near`` holds the distances, expanded or tabled."""
        normed = self.norm(states)
        if isinstance(near, TabledEdges):
            table = self.table.of(self.edge, near.basis)
            sent, centre = self.neighbour(normed), self.centre(normed)
            mixed = attended(sent, centre, self.score.weight, table, near)
        else:
            mixed = self._mixed(normed, edges, near)
        states = states + self.out(mixed)
        updated: Tensor = states + self.feed(self.norm_feed(states))
        return updated

    def _mixed(
        self,
        normed: Float[Tensor, "site channel"],
        edges: Edges,
        basis: Float[Tensor, "edge basis"],
    ) -> Float[Tensor, "site channel"]:
        """Filtered values of the neighbours, weighted by their scores."""
        count = len(normed)
        key, value = both(self.neighbour, normed, self.split)
        near, pass_through = both(self.edge, basis, self.split)
        hidden = key.index_select(0, edges.target) + near
        hidden = hidden + self.centre(normed).index_select(0, edges.source)
        # softmax over the edges of a site, exp(s) / sum exp(s); clamped scores need no maximum
        weight = torch.exp(self.score(functional.leaky_relu(hidden, 0.2)).clamp(-15, 15))
        total = segment_sum(weight, edges.source, count).clamp_min(1e-9)
        message = value.index_select(0, edges.target) * pass_through
        # (edge, dim) -> (edge, head, channel): every head weighs channels of its own
        message = message.view(len(message), self.heads, self.lot) * weight.unsqueeze(2)
        mixed = segment_sum(message.flatten(1), edges.source, count)
        averaged: Tensor = mixed.view(count, self.heads, self.lot) / total.unsqueeze(2)
        return averaged.flatten(1)


def occupation(rows: Float[Tensor, "site column"]) -> Float[Tensor, "site species"]:
    """Distribution over the vacancy (first) and the 103 elements of every site."""
    number, share = rows.view(len(rows), -1, 2).unbind(2)  # (site, slot) each
    species = rows.new_zeros(len(rows), ELEMENTS + 1).scatter_add(1, number.long(), share)
    species[:, 0] = (1 - share.sum(1)).clamp_min(0)  # what empty slots (Z = 0) added is replaced
    return species


@final
class Occupancy(Block):
    """Graph attention over occupied sites with hidden occupations."""

    name: ClassVar[str] = "occupancy"
    number: ClassVar[int] = 4
    group: ClassVar[str] = "occupancy"
    width: ClassVar[int] = 256
    mix_weight: ClassVar[float] = 4.0
    has_site_states: ClassVar[bool] = True
    uses_graph: ClassVar[bool] = True
    summary: ClassVar[str] = (
        "graph attention network, element mixtures on nodes, distances on edges"
    )
    Config: ClassVar[type] = OccupancyConfig
    absent: ClassVar[Mapping[str, Any]] = {
        "angles": 0, "numbers": False, "extremes": 0, "limit": 0.0, "rotated": False,
    }  # fmt: skip
    tasks: ClassVar[tuple[TaskInfo, ...]] = (
        TaskInfo(
            name="masked_occupancy",
            number=5,
            figure="accuracy (main species of a site)",
            higher_is_better=True,
            trivial="majority",
            teaches="Which element, or vacancy, fits a site: radius, coordination and charge.",
        ),
        structure_task("occupancy"),
    )

    def __init__(self, config: OccupancyConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.elements = ElementEmbedding(dim)
        self.basis = GaussianBasis(0.5, config.cutoff, config.basis)
        self.mask_token = nn.Parameter(torch.randn(dim) * 0.3)
        self.encoder = nn.ModuleList(
            [
                GraphAttention(dim, config.heads, config.basis, config.score_width)
                for _ in range(config.layers)
            ]
        )
        self.pooling = Pooling(
            self.width, config.extremes, ELEMENT_NUMBERS if config.numbers else 0
        )
        widths = [dim] * (config.layers + 1)
        if config.angles or config.numbers:
            self.species = Species()
        if config.angles:
            self.angles = PowerSpectrum(ELEMENT_CHANNELS, config.angles)
            self.enter = mlp(self.angles.width, dim, dim)
            widths.append(self.angles.width)
        self.taps = Taps(widths, self.pooling.channels)
        self.squash, self.rotate = bounded(self.width, config.limit, config.rotated)
        self.head = nn.Sequential(nn.SiLU(), mlp(self.pooling.channels, dim, ELEMENTS + 1))
        self.structure = StructureHead(self.width)
        self.counts = ClassCounts(ELEMENTS + 1)

    @property
    def site_channels(self) -> int:
        """Channels of a site's state."""
        return self.pooling.channels

    def _sites(self, batch: BlockBatch) -> tuple[Tensor, Int[Tensor, "site"], Edges]:
        if batch.edges is None:
            raise ValueError("this block needs the periodic graph, got a batch without edges")
        held = batch.valid[:, SITE_ROWS]
        return occupation(batch.rows[:, SITE_ROWS][held]), held.nonzero()[:, 0], batch.edges

    def _states(
        self, species: Float[Tensor, "site species"], hidden: Bool[Tensor, "site"], edges: Edges
    ) -> tuple[Float[Tensor, "site channel"], Float[Tensor, "site number"] | None]:
        """Tokens and numbers of every site; hidden sites enter as the mask token alone."""
        states = torch.where(hidden.unsqueeze(1), self.mask_token, species @ self.elements.table())
        near = tabled(self.basis, edges, edges.distance, len(states))
        if near is None:
            near = self.basis(edges.distance)
        spectra, numbers = [], None
        if self.config.angles or self.config.numbers:
            bonds = bonds_of(edges, edges.distance, len(states))
            unit = edges.arrow / edges.distance.clamp_min(1e-6).unsqueeze(1)
            weights = self.species.weights(species, hidden.to(species))
            around = surroundings(bonds, unit, weights, getattr(self, "angles", None))
            if around.invariants is not None:
                spectra = [around.invariants]
                states = states + self.enter(spectra[0])
            if self.config.numbers:
                numbers = element_numbers(bonds, around.orders, self.species.values(species))
        tokens: Tensor = self.taps(layer_states(self.encoder, states, edges, near) + spectra)
        return tokens, numbers

    def _tokens(
        self, species: Float[Tensor, "site species"], hidden: Bool[Tensor, "site"], edges: Edges
    ) -> Float[Tensor, "site channel"]:
        """Tokens of every site."""
        return self._states(species, hidden, edges)[0]

    def _features(
        self, tokens: Tensor, numbers: Tensor | None, crystal: Int[Tensor, "site"], count: int
    ) -> Float[Tensor, "crystal feature"]:
        """Pooled tokens and numbers."""
        pooled = self.pooling(tokens, crystal, count, numbers=numbers)
        features: Tensor = self.rotate(self.squash(pooled))
        return features

    def encode(self, batch: BlockBatch) -> Encoded:
        """Tokens are the sites."""
        species, crystal, edges = self._sites(batch)
        hidden = torch.zeros(len(species), dtype=torch.bool, device=species.device)
        tokens, numbers = self._states(species, hidden, edges)
        features = self._features(tokens, numbers, crystal, len(batch.rows))
        return Encoded(tokens=tokens, crystal=crystal, features=features)

    def corrupt(
        self,
        species: Float[Tensor, "site species"],
        crystal: Int[Tensor, "site"],
        count: int,
        generator: torch.Generator,
    ) -> tuple[Float[Tensor, "site species"], Bool[Tensor, "site"]]:
        """Hide single sites, or in some crystals every site with the same main species.

        Returns:
            Occupations with hidden sites emptied, and which sites are hidden.
        """
        single = sites_to_hide(crystal, count, self.config.mask_ratio, generator)
        main = species.argmax(1)
        chosen = main[one_per_segment(crystal, count, generator)]
        alike = main == chosen[crystal]
        by_species = uniform((count,), generator, species.device) < self.config.species_ratio
        hidden = torch.where(by_species[crystal], alike, single)
        return species.masked_fill(hidden.unsqueeze(1), 0.0), hidden

    def pretext(self, batch: BlockBatch, generator: torch.Generator) -> Sequence[PretextResult]:
        """Hidden occupations and the crystal-level objective."""
        species, crystal, edges = self._sites(batch)
        count = len(batch.rows)
        left, hidden = self.corrupt(species, crystal, count, generator)
        tokens, numbers = self._states(left, hidden, edges)
        logits, target = self.head(tokens[hidden]), species[hidden]
        loss = functional.cross_entropy(logits, target)  # soft: target is a distribution
        features = self._features(tokens, numbers, crystal, count)
        return [
            accuracy_result("masked_occupancy", logits, target.argmax(1), loss, self.counts),
            self.structure(self.name, features, batch, self.config.structure_weight),
        ]
