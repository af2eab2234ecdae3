"""What surrounds a site, as numbers no training touches: its bonds and their angular moments.

Moments are sums over neighbours of radial functions, real spherical harmonics up to l = 3 and
tabulated weights of the elements; products of two of them that share l and m, summed over m, do not
turn with the crystal and see angles between bonds (the power spectrum of SOAP, Bartok et al., Phys.
Rev. B 87, 184115 (2013)). They need no gradient: they are made of the input alone. Numbers of the
bonds are those of ``_bond_numbers.py``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from crystalssl.blocks._edge_kernels import kernels_apply
from crystalssl.blocks._environment_kernels import (
    HARMONICS,
    add_spectra,
    weigh_bonds,
)
from crystalssl.blocks._layers import GaussianBasis, extreme, segment_sum
from crystalssl.blocks._precision import exact, widened
from crystalssl.blocks.contract import Edges
from crystalssl.representation import elemental
from crystalssl.representation._compiled import compiled_sums
from crystalssl.structures.validity import MIN_DISTANCE

ORDERS = (1, 3, 5, 7)
"""How many of them each l has."""
RADIAL = 5
"""Radial functions: four Gaussians of the distance, and the weight of a bond."""
_REACH = (1.25, 4.25)  # angstrom; from the bonds of hydrogen to third neighbours
_WEIGHING = (
    elemental.ELECTRONEGATIVITY,
    "covalent_radius_angstrom",
    "valence_electrons",
    "atomic_mass_u",
    "first_ionization_energy_ev",
    "p_valence",
    "d_valence",
    "mendeleev_number",
)
GEOMETRY_CHANNELS = 2
"""Weights of a neighbour without its element: one, and whether it was moved."""
ELEMENT_CHANNELS = 2 + len(_WEIGHING)
"""Weights of a neighbour: one, whether it is hidden, and properties of its species."""


class Bonds(NamedTuple):
    """Edges with what weighs them.

    Attributes:
        distance: length in angstrom; sites that exclude each other count as ``MIN_DISTANCE`` apart.
        weight: 1 for the nearest neighbours of a site, falling to 0 beyond them (Hoppe).
        source: centre of each edge.
        target: neighbour.
        nearest: distance of the nearest neighbour of every site; 0 without any.
        coordination: sum of the weights of a site's edges.
    """

    distance: Float[Tensor, "edge"]
    weight: Float[Tensor, "edge"]
    source: Int[Tensor, "edge"]
    target: Int[Tensor, "edge"]
    nearest: Float[Tensor, "site"]
    coordination: Float[Tensor, "site"]

    def mean(self, values: Float[Tensor, "edge number"]) -> Float[Tensor, "site number"]:
        """Average over the bonds of every site."""
        total = segment_sum(values * self.weight.unsqueeze(1), self.source, len(self.nearest))
        return total / self.coordination.clamp_min(1e-6).unsqueeze(1)

    def most(self, values: Float[Tensor, "edge number"]) -> Float[Tensor, "site number"]:
        """Largest value among the edges of every site."""
        return extreme(values, self.source, len(self.nearest), "amax")


def bonds_of(edges: Edges, distance: Float[Tensor, "edge"], sites: int) -> Bonds:
    """Weigh the edges of a batch."""
    if kernels_apply(distance):
        return _compiled_bonds(edges, distance, sites)
    distance = distance.clamp_min(MIN_DISTANCE)
    nearest = extreme(distance.unsqueeze(1), edges.source, sites, "amin")[:, 0]
    ratio = distance / nearest.clamp_min(MIN_DISTANCE).index_select(0, edges.source)
    weight = torch.exp(1 - ratio**6)
    coordination = segment_sum(weight.unsqueeze(1), edges.source, sites)[:, 0]
    return Bonds(distance, weight, edges.source, edges.target, nearest, coordination)


def _compiled_bonds(edges: Edges, distance: Float[Tensor, "edge"], sites: int) -> Bonds:
    """As :func:`bonds_of`, in one pass over the edges."""
    length, weight = distance.clone(), torch.empty_like(distance)
    nearest, total = distance.new_zeros(2, sites)
    weigh_bonds(
        length.numpy(), edges.source.numpy(), MIN_DISTANCE, weight.numpy(), nearest.numpy(),
        total.numpy(),
    )  # fmt: skip
    return Bonds(length, weight, edges.source, edges.target, nearest, total)


def harmonics(unit: Float[Tensor, "edge 3"]) -> Float[Tensor, "edge harmonic"]:
    """Real spherical harmonics of l = 0..3, a sum over m being a Legendre polynomial."""
    x, y, z = unit.unbind(1)
    xx, yy, zz = x * x, y * y, z * z
    r3, r15, p, q = 3**0.5, 15**0.5, (5 / 8) ** 0.5, (3 / 8) ** 0.5
    columns = [
        torch.ones_like(x), x, y, z,
        r3 * x * y, r3 * y * z, (3 * zz - 1) / 2, r3 * x * z, r3 / 2 * (xx - yy),
        p * y * (3 * xx - yy), r15 * x * y * z, q * y * (5 * zz - 1), z * (5 * zz - 3) / 2,
        q * x * (5 * zz - 1), r15 / 2 * z * (xx - yy), p * x * (xx - 3 * yy),
    ]  # fmt: skip
    return torch.stack(columns, dim=1)


@compiled_sums
def _add_moments(
    angular: npt.NDArray[np.float32],
    radial: npt.NDArray[np.float32],
    weights: npt.NDArray[np.float32],
    source: npt.NDArray[np.int64],
    target: npt.NDArray[np.int64],
    out: npt.NDArray[np.float32],
) -> None:
    """Add every edge into ``out`` (site, harmonic, radial * weight)."""
    count = weights.shape[1]
    both = np.empty(out.shape[2], np.float32)
    for e in range(len(source)):
        there, mine = weights[target[e]], out[source[e]]
        for n in range(radial.shape[1]):
            for c in range(count):
                both[n * count + c] = radial[e, n] * there[c]
        for m in range(angular.shape[1]):
            line, factor = mine[m], angular[e, m]
            for k in range(len(both)):
                line[k] += factor * both[k]


@torch.no_grad()
def moments(
    bonds: Bonds, unit: Float[Tensor, "edge 3"], weights: Float[Tensor, "site channel"]
) -> Float[Tensor, "site harmonic moment"]:
    """Angular moments of the surroundings of every site, per bond.

    Args:
        bonds: edges with their weights.
        unit: their directions.
        weights: what every site counts as a neighbour.
    """
    with exact(unit):
        gaussians = GaussianBasis(*_REACH, RADIAL - 1).to(unit.device)(bonds.distance)
        per_bond = 1 / bonds.coordination.clamp_min(1e-6).index_select(0, bonds.source)
        radial = torch.cat([gaussians, bonds.weight.unsqueeze(1)], dim=1)
        radial = (radial * per_bond.unsqueeze(1)).to(unit)
        angular, sites = harmonics(unit), len(weights)
        weights = weights.to(unit)
        made = unit.new_zeros(sites, HARMONICS, RADIAL * weights.shape[1])
        if unit.device.type == "cpu" and unit.dtype == torch.float32:
            arrays = (angular, radial, weights, bonds.source, bonds.target, made)
            _add_moments(*(array.contiguous().numpy() for array in arrays))
        else:
            both = radial.unsqueeze(2) * weights.index_select(0, bonds.target).unsqueeze(1)
            # (edge, harmonic, 1) * (edge, 1, radial * weight)
            every = angular.unsqueeze(2) * both.flatten(1).unsqueeze(1)
            made.index_add_(0, bonds.source, every)
        return made


class PowerSpectrum(nn.Module):
    """Products of two learned mixtures of moments, summed over m: no turn changes them."""

    def __init__(self, channels: int, rank: int) -> None:
        """Take the weights of a neighbour, and how many products each l gives."""
        super().__init__()
        self.mix = nn.Linear(RADIAL * channels, 2 * rank, bias=False)
        self.width = len(ORDERS) * rank

    def forward(
        self, made: Float[Tensor, "site harmonic moment"]
    ) -> Float[Tensor, "site invariant"]:
        """Invariants of every site, large ones compressed."""
        left, right = self.mix(made).chunk(2, dim=2)  # (site, harmonic, rank) each
        product = widened(left * right)
        sums = [part.sum(1) for part in torch.split(product, list(ORDERS), dim=1)]
        invariants = torch.cat(sums, dim=1)
        return invariants * torch.rsqrt(1 + invariants.abs())  # grows as a root


class Species(nn.Module):
    """Tabulated values of what sits on a site; a hidden site has those of an average element."""

    properties: Tensor
    raw: Tensor

    def __init__(self) -> None:
        super().__init__()
        names = list(elemental.PROPERTY_NAMES)
        columns = elemental.PROPERTIES[:, [names.index(name) for name in _WEIGHING]]
        self.register_buffer("properties", torch.tensor(columns), persistent=False)
        raw = np.stack([elemental.raw(name) for name in _WEIGHING[:4]], axis=1)
        self.register_buffer("raw", torch.tensor(raw, dtype=torch.float32), persistent=False)

    def weights(
        self, species: Float[Tensor, "site species"], hidden: Float[Tensor, "site"]
    ) -> Float[Tensor, "site channel"]:
        """What every site counts as a neighbour: ``ELEMENT_CHANNELS`` numbers."""
        ones = torch.ones_like(hidden)
        with exact(species):
            shown = species @ self.properties
        return torch.cat([torch.stack([ones, hidden], dim=1), shown], dim=1)

    def values(self, species: Float[Tensor, "site species"]) -> Float[Tensor, "site 4"]:
        """Electronegativity, covalent radius (angstrom), valence electrons, mass (u)."""
        share = species[:, 1:]
        total = share.sum(1, keepdim=True)
        mean = self.raw[1:].mean(0)
        with exact(species):
            averaged = (share @ self.raw[1:]) / total.clamp_min(1e-6)
        return torch.where(total > 1e-6, averaged, mean)


@torch.no_grad()
def orders_of(
    made: Float[Tensor, "site harmonic moment"], channels: int
) -> Float[Tensor, "site 3"]:
    """How far the bonds of a site point to one side (l = 1) or along lines (2, 3): 0 to 1 each."""
    alone = made[:, :, (RADIAL - 1) * channels]  # weight of a bond, times one
    squares = torch.split(alone * alone, list(ORDERS), dim=1)
    return torch.stack([square.sum(1).sqrt() for square in squares[1:]], dim=1)


class Surroundings(NamedTuple):
    """What the directions of a site's bonds give.

    Attributes:
        invariants: learned products of moments; None where none are asked for.
        orders: see :func:`orders_of`.
    """

    invariants: Float[Tensor, "site invariant"] | None
    orders: Float[Tensor, "site 3"]


def surroundings(
    bonds: Bonds,
    unit: Float[Tensor, "edge 3"],
    weights: Float[Tensor, "site channel"],
    spectrum: PowerSpectrum | None,
) -> Surroundings:
    """Angular moments of every site as what encoders read of them.

    Args:
        bonds: edges with their weights.
        unit: their directions.
        weights: what every site counts as a neighbour; the first channel is one.
        spectrum: mixes moments into invariants.
    """
    if spectrum is None or not kernels_apply(unit):
        made = moments(bonds, unit, weights)
        invariants = None if spectrum is None else spectrum(made)
        return Surroundings(invariants, orders_of(made, weights.shape[1]))
    # the mixture is linear: what a site adds to those of its neighbours is made once a site
    matrix = spectrum.mix.weight.view(-1, RADIAL, weights.shape[1]).permute(2, 1, 0).flatten(1)
    mixed = (weights @ matrix).view(len(weights), RADIAL, -1)  # (site, radial, 2 * rank)
    basis = GaussianBasis(*_REACH, RADIAL - 1)
    spectra = unit.new_zeros(len(weights), spectrum.width)
    orders = unit.new_zeros(len(weights), len(ORDERS) - 1)
    add_spectra(
        unit.contiguous().numpy(), bonds.distance.numpy(), bonds.weight.numpy(),
        bonds.source.numpy(), bonds.target.numpy(), bonds.coordination.numpy(),
        basis.centres.numpy(), 1 / basis.width, mixed.numpy(), spectra.numpy(), orders.numpy(),
    )  # fmt: skip
    return Surroundings(spectra, orders)
