"""Block 3, sites: where the atoms are, whatever they are.

Panel group (103, 24) and the periodic graph -> equivariant message passing (scalars and vectors,
after PaiNN, Schuett et al. 2021), geometry only -> 512 features. Task 3: sites are displaced, and
the encoder predicts where they came from, as a sum of vectors towards neighbours, which turns with
the crystal. Task 4: distance between sites that are no neighbours in the graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from crystalssl.blocks._bond_numbers import GEOMETRY_NUMBERS, geometry_numbers
from crystalssl.blocks._clipping import bounded
from crystalssl.blocks._edge_kernels import (
    FilterTable,
    arrows,
    summed,
    tabled,
    tables_apply,
)
from crystalssl.blocks._environment import (
    GEOMETRY_CHANNELS,
    PowerSpectrum,
    bonds_of,
    surroundings,
)
from crystalssl.blocks._geometry import edge_vectors, image_distance, moved_graph
from crystalssl.blocks._interaction import Interaction
from crystalssl.blocks._layers import GaussianBasis, Pooling, Taps, mlp, segment_sum
from crystalssl.blocks._masking import normal, sites_to_hide, uniform
from crystalssl.blocks._objectives import StructureHead, TargetMean, error_result, structure_task
from crystalssl.blocks._precision import exact
from crystalssl.blocks.contract import Block, BlockBatch, Edges, Encoded, PretextResult, TaskInfo
from crystalssl.representation.layout import LATTICE_END, SITE_ROWS
from crystalssl.representation.layout import group as panel_group

FRACTIONAL = panel_group("sites").at("fractional")
CARTESIAN = panel_group("sites").at("cartesian")


@dataclass(frozen=True, kw_only=True)
class SitesConfig:
    """Settings of the sites block."""

    dim: int = 64
    """Scalar channels."""
    vectors: int = 16
    """Vector channels."""
    layers: int = 3
    """Message-passing layers."""
    basis: int = 24
    """Gaussians that expand a distance."""
    cutoff: float = 8.0
    """Upper end of the distance basis, in angstrom."""
    move_ratio: float = 0.3
    """Share of sites displaced."""
    move_scale: float = 0.3
    """Standard deviation of a displacement along each axis, in angstrom."""
    distance_weight: float = 0.5
    """Weight of the pair-distance task."""
    structure_weight: float = 1.0
    """Weight of the crystal-level objective."""
    angles: int = 16
    """Products of angular moments for each of l = 0..3 that sites start from; 0 for none."""
    numbers: bool = True
    """Whether statistics of bond lengths, coordination and directions are features."""
    extremes: int = 64
    """Channels whose minimum and maximum over sites are features."""
    limit: float = 3.0
    """Where features are softly clipped, in standard deviations; 0 for nowhere."""
    rotated: bool = True
    """Whether clipped features are mixed, so that none is constant for a class of crystals."""


class Geometry(NamedTuple):
    """Sites of a batch, flat.

    Attributes:
        frac: fractional coordinates.
        lattice: cells, rows are vectors, in angstrom.
        crystal: crystal of each site.
    """

    frac: Float[Tensor, "site 3"]
    lattice: Float[Tensor, "crystal 3 3"]
    crystal: Int[Tensor, "site"]


class States(NamedTuple):
    """What a pass over the graph gives every site.

    Attributes:
        tokens: what heads and pooling read.
        vectors: states that turn with the crystal.
        numbers: numbers of its bonds, where they are features.
    """

    tokens: Float[Tensor, "site channel"]
    vectors: Float[Tensor, "site 3 vector"]
    numbers: Float[Tensor, "site number"] | None


@final
class Sites(Block):
    """Equivariant geometry encoder with displaced sites and far distances."""

    name: ClassVar[str] = "sites"
    number: ClassVar[int] = 3
    group: ClassVar[str] = "sites"
    width: ClassVar[int] = 512
    mix_weight: ClassVar[float] = 2.0
    has_site_states: ClassVar[bool] = True
    uses_graph: ClassVar[bool] = True
    summary: ClassVar[str] = "equivariant graph network on the periodic graph, geometry only"
    Config: ClassVar[type] = SitesConfig
    absent: ClassVar[Mapping[str, Any]] = {
        "angles": 0, "numbers": False, "extremes": 0, "limit": 2.0, "rotated": False,
    }  # fmt: skip
    tasks: ClassVar[tuple[TaskInfo, ...]] = (
        TaskInfo(
            name="displaced_sites",
            number=3,
            figure="mean error of a displacement (angstrom)",
            higher_is_better=False,
            trivial="stay put",
            teaches="Where an atom sits between its neighbours: the forces that hold a crystal.",
        ),
        TaskInfo(
            name="far_distances",
            number=4,
            figure="mean absolute error (angstrom)",
            higher_is_better=False,
            trivial="mean",
            teaches="Order beyond the first neighbours, from local environments.",
        ),
        structure_task("sites"),
    )

    def __init__(self, config: SitesConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.basis = GaussianBasis(0.5, config.cutoff, config.basis)
        self.table = FilterTable()
        self.local = mlp(config.basis + 2, dim, dim)
        self.moved = nn.Parameter(torch.randn(dim) * 0.3)
        self.encoder = nn.ModuleList(
            [Interaction(dim, config.vectors, config.basis) for _ in range(config.layers)]
        )
        self.pooling = Pooling(
            self.width, config.extremes, GEOMETRY_NUMBERS if config.numbers else 0
        )
        channels, widths = self.pooling.channels, [dim] * (config.layers + 1)
        if config.angles:
            self.angles = PowerSpectrum(GEOMETRY_CHANNELS, config.angles)
            self.enter = mlp(self.angles.width, dim, dim)
            widths.append(self.angles.width)
        self.taps = Taps(widths, channels)
        self.squash, self.rotate = bounded(self.width, config.limit, config.rotated)
        self.place = nn.Linear(config.vectors, 1, bias=False)
        self.gate = mlp(channels, dim, config.vectors)
        self.distance = mlp(2 * channels + 1, dim, 1)
        self.structure = StructureHead(self.width)
        self.mean_distance, self.mean_ratio = TargetMean(), TargetMean()

    @property
    def site_channels(self) -> int:
        """Channels of a site's state."""
        return self.pooling.channels

    def _geometry(self, batch: BlockBatch) -> Geometry:
        held = batch.valid[:, SITE_ROWS]
        return Geometry(
            frac=batch.rows[:, SITE_ROWS, FRACTIONAL][held],
            lattice=batch.rows[:, LATTICE_END, CARTESIAN],
            crystal=held.nonzero()[:, 0],
        )

    def _directions(
        self, geometry: Geometry, edges: Edges
    ) -> tuple[Float[Tensor, "edge 3"], Float[Tensor, "edge"]]:
        """Unit vectors from centre to neighbour and lengths in angstrom."""
        if tables_apply(self.basis, geometry.frac):
            return arrows(*geometry, edges)
        arrow = edge_vectors(*geometry, edges)
        length = torch.sqrt((arrow**2).sum(1) + 1e-12)
        return arrow / length.unsqueeze(1), length

    def _states(
        self, geometry: Geometry, edges: Edges, moved: Bool[Tensor, "site"] | None
    ) -> States:
        """Tokens, vectors and numbers of every site."""
        frac, lattice, crystal = geometry
        unit, length = self._directions(geometry, edges)
        degree = torch.bincount(edges.source, minlength=len(frac)).to(frac).clamp_min(1.0)
        degree = degree.unsqueeze(1)
        sites = torch.bincount(crystal, minlength=len(lattice)).clamp_min(1)
        volume = torch.log(torch.linalg.det(lattice).abs() / sites).unsqueeze(1)[crystal]
        near = tabled(self.basis, edges, length, len(frac))
        if near is None:
            near = self.basis(length)
            around = segment_sum(near, edges.source, len(frac))
        else:
            around = summed(self.table.of(nn.Identity(), self.basis), near)
        scalars = self.local(torch.cat([around / degree, degree.log(), volume - 2.5], dim=1))
        if moved is not None:
            scalars = scalars + moved.unsqueeze(1) * self.moved
        spectra, numbers = [], None
        if self.config.angles or self.config.numbers:
            bonds = bonds_of(edges, length, len(frac))
            shaken = frac.new_zeros(len(frac)) if moved is None else moved.to(frac)
            weights = torch.stack([torch.ones_like(shaken), shaken], dim=1)
            seen = surroundings(bonds, unit, weights, getattr(self, "angles", None))
            if seen.invariants is not None:
                spectra = [seen.invariants]
                scalars = scalars + self.enter(spectra[0])
            if self.config.numbers:
                numbers = geometry_numbers(bonds, seen.orders)
        vectors = frac.new_zeros(len(frac), 3, self.config.vectors)
        layers = [scalars]
        for layer in self.encoder:
            scalars, vectors = layer(scalars, vectors, edges, unit, near, 1 / degree)
            layers.append(scalars)
        return States(self.taps(layers + spectra), vectors, numbers)

    def _features(
        self, states: States, crystal: Int[Tensor, "site"], count: int
    ) -> Float[Tensor, "crystal feature"]:
        """Pooled tokens and numbers."""
        pooled = self.pooling(states.tokens, crystal, count, numbers=states.numbers)
        features: Tensor = self.rotate(self.squash(pooled))
        return features

    def encode(self, batch: BlockBatch) -> Encoded:
        """Tokens are the sites."""
        if batch.edges is None:
            raise ValueError("the sites block needs the periodic graph, got a batch without edges")
        geometry = self._geometry(batch)
        states = self._states(geometry, batch.edges, None)
        features = self._features(states, geometry.crystal, len(batch.rows))
        return Encoded(tokens=states.tokens, crystal=geometry.crystal, features=features)

    def corrupt(
        self, geometry: Geometry, generator: torch.Generator
    ) -> tuple[Geometry, Bool[Tensor, "site"], Float[Tensor, "site 3"]]:
        """Displace a share of the sites of every crystal.

        Returns:
            The moved geometry, which sites moved, and by how much (angstrom).
        """
        frac, lattice, crystal = geometry
        moved = sites_to_hide(crystal, len(lattice), self.config.move_ratio, generator)
        step = normal((len(frac), 3), generator, frac.device) * self.config.move_scale
        step = step * moved.unsqueeze(1)
        inverse = torch.linalg.inv(lattice)[crystal]
        with exact(frac):
            shifted = frac + torch.einsum("si,sij->sj", step, inverse)
        return Geometry(shifted, lattice, crystal), moved, step

    def pretext(self, batch: BlockBatch, generator: torch.Generator) -> Sequence[PretextResult]:
        """Displaced sites, far distances, and the crystal-level objective."""
        geometry = self._geometry(batch)
        shaken, moved, step = self.corrupt(geometry, generator)
        edges = moved_graph(*shaken)
        states = self._states(shaken, edges, moved)
        tokens, vectors = states.tokens, states.vectors
        # (site, 3, vector) -> (site, 3): a gated sum of vectors turns with the crystal
        predicted = self.place(vectors * self.gate(tokens).unsqueeze(1)).squeeze(2)
        sites = torch.bincount(geometry.crystal, minlength=len(batch.rows))[geometry.crystal]
        scored = moved & (sites > 1)  # a lone atom cannot move against its own images
        features = self._features(states, geometry.crystal, len(batch.rows))
        return [
            self._displacement_result(predicted[scored], -step[scored]),
            self._distance_result(geometry, edges, tokens, generator),
            self.structure(self.name, features, batch, self.config.structure_weight),
        ]

    def _displacement_result(
        self, predicted: Float[Tensor, "site 3"], target: Float[Tensor, "site 3"]
    ) -> PretextResult:
        scale = self.config.move_scale
        loss = ((predicted - target) / scale).square().sum() / max(3 * len(target), 1)
        return PretextResult(
            task="displaced_sites",
            loss=loss,
            weight=1.0,
            sums={
                "model": (predicted.detach() - target).norm(dim=1).sum().reshape(1),
                "stay put": target.norm(dim=1).sum().reshape(1),
            },
            count=loss.new_ones(1) * len(target),
        )

    def _distance_result(
        self, geometry: Geometry, edges: Edges, tokens: Tensor, generator: torch.Generator
    ) -> PretextResult:
        """True distance of random pairs beyond the neighbour shells of both sites."""
        frac, lattice, crystal = geometry
        count = len(lattice)
        sizes = torch.bincount(crystal, minlength=count)
        # every site is paired with one further on in its crystal, the same step for all of it
        turn = uniform((count,), generator, frac.device) * (sizes - 1)
        first = sizes.cumsum(0) - sizes
        here = torch.arange(len(frac), device=frac.device)
        step = here - first[crystal] + 1 + turn.long()[crystal]
        other = first[crystal] + step % sizes[crystal]
        apart = image_distance(frac[other] - frac[here], lattice[crystal])
        # beyond the outermost neighbour of both sites by half an angstrom: no edge joins them
        reach = frac.new_zeros(len(frac)).scatter_reduce(
            0, edges.source, edges.distance.to(frac), "amax"
        )
        far = (here != other) & (apart > torch.maximum(reach[here], reach[other]) + 0.5)
        here, other, apart = here[far], other[far], apart[far].unsqueeze(1)
        size = torch.linalg.det(lattice).abs().pow(1 / 3)[crystal[here]].unsqueeze(1)
        # sum and product: the same whichever of the two comes first
        pair = torch.cat([tokens[here] + tokens[other], tokens[here] * tokens[other], size], dim=1)
        ratio = self.mean_ratio(apart / size)
        baselines = {"mean": self.mean_distance(apart), "mean share of cell size": ratio * size}
        predicted = size * torch.nn.functional.softplus(self.distance(pair))
        return error_result(
            "far_distances", predicted, apart, baselines, self.config.distance_weight
        )
