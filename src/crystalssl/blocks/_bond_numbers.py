"""Numbers of bonds for every site: lengths, stiffness, bond valence, orders of directions.

What ``sites`` and ``occupancy`` pool beside their learned states; from the bonds of
``_environment.py``, without parameters and without gradients.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from crystalssl.blocks._edge_kernels import kernels_apply
from crystalssl.blocks._environment import Bonds
from crystalssl.blocks._environment_kernels import fill_element_numbers
from crystalssl.blocks._layers import segment_sum
from crystalssl.structures.validity import MIN_DISTANCE

GEOMETRY_NUMBERS = 8
"""Numbers of a site's bonds in which no element enters."""
ELEMENT_NUMBERS = 16
"""Numbers of a site's bonds with elements, those of geometry that matter for them among these."""
_VALENCE_LENGTH = 0.37  # angstrom; Brown and Altermatt, Acta Cryst. B 41, 244 (1985)


@torch.no_grad()
def geometry_numbers(bonds: Bonds, orders: Float[Tensor, "site 3"]) -> Float[Tensor, "site number"]:
    """The ``GEOMETRY_NUMBERS`` of every site.

    Nearest distance and its inverse square, coordination, mean bond length, farthest neighbour
    (angstrom), and three orders of the bonds' directions.
    """
    distance = bonds.distance.unsqueeze(1)
    near = bonds.nearest
    columns = [
        near,
        1 / near.clamp_min(MIN_DISTANCE).square(),
        bonds.coordination,
        bonds.mean(distance)[:, 0],
        bonds.most(distance)[:, 0],
        *orders.unbind(1),
    ]
    return torch.stack(columns, dim=1)


@torch.no_grad()
def element_numbers(
    bonds: Bonds, orders: Float[Tensor, "site 3"], values: Float[Tensor, "site 4"]
) -> Float[Tensor, "site number"]:
    """The ``ELEMENT_NUMBERS`` of every site.

    Bonds: stiffness 1 / (sqrt(reduced mass) d^2) in u^-1/2 angstrom^-2, length over the sum of
    covalent radii, difference in electronegativity, bond valence exp((r + r' - d) / 0.37).

    Args:
        bonds: edges with their weights.
        orders: what :func:`orders_of` gives.
        values: what ``Species.values`` gives.
    """
    statistics = _compiled_statistics if kernels_apply(values) else _statistics
    means, most, valence = statistics(bonds, values)
    columns = [
        bonds.nearest,
        bonds.coordination,
        most[:, 0].clamp_min(1e-4).log(),
        *means.unbind(1),
        *most.unbind(1),
        valence,
        *orders[:, :2].unbind(1),
    ]
    return torch.stack(columns, dim=1)


def _statistics(
    bonds: Bonds, values: Float[Tensor, "site 4"]
) -> tuple[Float[Tensor, "site 5"], Float[Tensor, "site 5"], Float[Tensor, "site"]]:
    """Means and maxima over bonds, and the sum of bond valences."""
    here, there = values.index_select(0, bonds.source), values.index_select(0, bonds.target)
    distance, radii = bonds.distance, here[:, 1] + there[:, 1]
    reduced = here[:, 3] * there[:, 3] / (here[:, 3] + there[:, 3])
    stiffness = 1 / (reduced.sqrt() * distance.square())
    relative, charge = distance / radii, there[:, 0] - here[:, 0]
    valence = torch.exp(((radii - distance) / _VALENCE_LENGTH).clamp(max=4))
    means = bonds.mean(torch.stack([stiffness, relative, charge.abs(), charge, reduced.log()], 1))
    tops = [stiffness, -relative, charge.abs() * bonds.weight, valence, -reduced.log()]
    most = bonds.most(torch.stack(tops, dim=1))
    total = segment_sum(valence.unsqueeze(1), bonds.source, len(values))
    return means, most, total[:, 0]


def _compiled_statistics(
    bonds: Bonds, values: Float[Tensor, "site 4"]
) -> tuple[Float[Tensor, "site 5"], Float[Tensor, "site 5"], Float[Tensor, "site"]]:
    """As :func:`_statistics`, in one pass over the edges."""
    means, most, total = (values.new_zeros(len(values), width) for width in (5, 5, 1))
    fill_element_numbers(
        bonds.distance.numpy(), bonds.weight.numpy(), bonds.source.numpy(), bonds.target.numpy(),
        values.contiguous().numpy(), _VALENCE_LENGTH,
        means.numpy(), most.numpy(), total.numpy()[:, 0],
    )  # fmt: skip
    return means / bonds.coordination.clamp_min(1e-6).unsqueeze(1), most, total[:, 0]
