"""Flat tensors of a ``PanelSource`` into the rows of each panel group, batched in torch.

One function a group; columns as in ``layout.py``. Every function returns float32 rows
(crystal, 103, width), zero where there is nothing, and a mask of the rows that hold something.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from crystalssl.representation import elemental, layout
from crystalssl.representation.scattering import STEPS, ZERO

if TYPE_CHECKING:
    from crystalssl.representation.panel import PanelSource

Rows = tuple[Tensor, Tensor]
_HARMONICS = 3


@cache
def element_order() -> tuple[int, ...]:
    """Z - 1 of all elements, by increasing Pauling electronegativity, then Z."""
    order = np.argsort(elemental.WEIGHTS[1:, 1], kind="stable")
    return tuple(int(z) for z in order)


def site_index(source: PanelSource) -> tuple[Int[Tensor, "site"], Int[Tensor, "site"]]:
    """Crystal and panel row of every site."""
    counts = source.site_counts
    total = len(source.frac)
    device = counts.device
    crystal = torch.repeat_interleave(
        torch.arange(len(source), device=device), counts, output_size=total
    )
    return crystal, torch.arange(total, device=device) - source.offsets[crystal]


def _to_rows(source: PanelSource, values: Float[Tensor, "site column"]) -> Rows:
    """Scatter site values to rows 0:100 or more, with the mask of rows that hold a site.

    The last three rows are the lattice vectors', behind the sites of the largest crystal.
    """
    crystal, row = site_index(source)
    sites = max(layout.MAX_SITES, int(source.site_counts.max())) if len(source) else 0
    count = max(layout.ROWS, sites + layout.LATTICE_VECTORS)
    rows = values.new_zeros((len(source), count, values.shape[1]))
    rows[crystal, row] = values
    valid = torch.arange(count, device=rows.device) < source.site_counts[:, None]
    return rows, valid


def _first(used: Tensor, rows: int) -> Bool[Tensor, "crystal row"]:
    """Mask of the first ``used`` of ``rows`` rows."""
    return torch.arange(rows, device=used.device) < used[:, None]


def composition(source: PanelSource) -> Rows:
    """Atomic fractions; slots by increasing electronegativity, a fifth and further share one."""
    crystal, _ = site_index(source)
    amount = source.lattice.new_zeros((len(source), layout.ELEMENTS + 1))
    flat = amount.view(-1)
    place = crystal[:, None] * (layout.ELEMENTS + 1) + source.numbers.long()
    flat.index_add_(0, place.flatten(), source.occupancy.flatten())
    amount = amount[:, 1:]
    fraction = amount / amount.sum(dim=1, keepdim=True).clamp_min(1e-12)
    valid = fraction > 0
    order = torch.tensor(element_order(), device=fraction.device)
    rank = torch.empty_like(fraction, dtype=torch.int64)
    rank[:, order] = valid[:, order].cumsum(dim=1) - 1
    slot = rank.clamp(0, layout.group("composition").width - 1)
    rows = fraction.new_zeros((*fraction.shape, layout.group("composition").width))
    rows.scatter_(2, slot[..., None], fraction[..., None])
    return rows, valid


def lattice(source: PanelSource) -> Rows:
    """Cell vectors with lengths; angles (degrees) and volume; short lattice vectors."""
    cell = source.lattice
    lengths = torch.linalg.vector_norm(cell, dim=2)
    b_c, c_a, a_b = (cell[:, i] * cell[:, j] for i, j in ((1, 2), (2, 0), (0, 1)))
    dots = torch.stack([b_c.sum(1), c_a.sum(1), a_b.sum(1)], dim=1)
    products = lengths.prod(dim=1, keepdim=True) / lengths
    angles = torch.rad2deg(torch.acos((dots / products).clamp(-1, 1)))
    volume = torch.linalg.det(cell).abs()
    rows = cell.new_zeros((len(source), layout.ROWS, layout.group("lattice").width))
    rows[:, :3, :3], rows[:, :3, 3] = cell, lengths
    rows[:, layout.ANGLE_ROW, :3], rows[:, layout.ANGLE_ROW, 3] = angles, volume
    vectors, lengths = _spanned(source.direct, cell.double())
    rows[:, layout.DIRECT_ROWS, :3], rows[:, layout.DIRECT_ROWS, 3] = vectors, lengths
    return rows, _first(source.direct_used + layout.DIRECT_ROWS.start, layout.ROWS)


def sites(source: PanelSource) -> Rows:
    """Fractional and Cartesian coordinates and harmonics; the last three rows hold the cell."""
    crystal, _ = site_index(source)
    cart = torch.einsum("si,sij->sj", source.frac, source.lattice[crystal])
    waves = []
    for k in range(1, _HARMONICS + 1):
        angle = 2 * math.pi * k * source.frac
        waves += [torch.sin(angle), torch.cos(angle)]
    rows, valid = _to_rows(source, torch.cat([source.frac, cart, *waves], dim=1))
    rows[:, layout.LATTICE_END, 3:6] = source.lattice
    return rows, valid


def occupancy(source: PanelSource) -> Rows:
    """Atomic number and occupancy of the slots of each site, four or more."""
    pairs = torch.stack([source.numbers.to(source.occupancy.dtype), source.occupancy], dim=2)
    return _to_rows(source, pairs.flatten(1))


def _spanned(
    steps: Int[Tensor, "crystal row 3"], basis: Float[Tensor, "crystal 3 3"]
) -> tuple[Float[Tensor, "crystal row 3"], Float[Tensor, "crystal row"]]:
    """Integer combinations of a float64 basis and their lengths, rounded to float32.

    Blocks tell shells by lengths: rounded once, they are the same on every processor.
    """
    vectors = steps.to(basis.dtype) @ basis
    return vectors.float(), torch.linalg.vector_norm(vectors, dim=2).float()


def waves(source: PanelSource) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Reciprocal vectors g (crystal, 103, 3), lengths, basis (crystal, 3, 3), 1/angstrom; mask."""
    a, b, c = source.lattice.double().unbind(dim=1)
    cross = torch.stack([torch.linalg.cross(x, y) for x, y in ((b, c), (c, a), (a, b))], dim=1)
    basis = cross / (a * cross[:, 0]).sum(dim=1)[:, None, None]
    return *_spanned(source.hkl, basis), basis.float(), _first(source.hkl_used, layout.ROWS)


def shell_columns(
    source: PanelSource, lengths: Float[Tensor, "crystal 103"], valid: Bool[Tensor, "crystal 103"]
) -> Float[Tensor, "crystal 103 3"]:
    """Shell index from 1, multiplicity with both of each Friedel pair, gap to the next shell."""
    shell = source.opens.long().cumsum(dim=1) * valid
    count = lengths.new_zeros((len(source), layout.ROWS + 2))
    count.scatter_add_(1, shell, torch.ones_like(lengths))
    start = source.beyond[:, None].repeat(1, layout.ROWS + 2)
    opener = torch.where(source.opens, shell, layout.ROWS + 1)
    start.scatter_(1, opener, lengths)
    start[:, -1] = source.beyond
    last = shell.amax(dim=1, keepdim=True)
    start.scatter_(1, last + 1, source.beyond[:, None])
    gap = start.gather(1, shell + 1) - start.gather(1, shell)
    return torch.stack([shell.to(lengths.dtype), 2 * count.gather(1, shell), gap], dim=2)


def reciprocal(source: PanelSource) -> Rows:
    """Short reciprocal vectors, their shells and the geometric amplitude."""
    g, lengths, basis, valid = waves(source)
    safe = lengths.clamp_min(1e-12)
    cosines = g @ torch.nn.functional.normalize(basis, dim=2).transpose(1, 2) / safe[..., None]
    amplitude = (source.stored[..., 0].to(g.dtype) + ZERO) / STEPS
    scalars = torch.stack([1 / safe, (lengths / safe[:, :1]) ** 2], dim=2)
    rows = torch.cat(
        [
            source.hkl.to(g.dtype),
            lengths[..., None],
            g,
            scalars,
            shell_columns(source, lengths, valid),
            cosines,
            amplitude[..., None],
        ],
        dim=2,
    )
    return torch.where(valid[..., None], rows, 0.0), valid


def structure_factors(source: PanelSource) -> Rows:
    """Lengths and the six elemental amplitudes."""
    g, lengths, _, valid = waves(source)
    amplitude = (source.stored[..., 1:].to(g.dtype) + ZERO) / STEPS
    rows = torch.cat([lengths[..., None], amplitude], dim=2)
    return torch.where(valid[..., None], rows, 0.0), valid


MAKERS: dict[str, Callable[[PanelSource], Rows]] = {
    "composition": composition,
    "lattice": lattice,
    "sites": sites,
    "occupancy": occupancy,
    "reciprocal": reciprocal,
    "structure_factors": structure_factors,
}
"""The maker of each group's rows."""
