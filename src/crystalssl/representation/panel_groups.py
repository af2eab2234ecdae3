"""Flat tensors of a ``PanelSource`` into the rows of each panel group, batched in torch.

One function a group; columns as in ``layout.py``. Every function returns float32 rows
(crystal, 103, width), zero where there is nothing, and a mask of the rows that hold something.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int, Int16
from torch import Tensor

from crystalssl.representation import elemental, layout
from crystalssl.representation.panel_source import PanelSource
from crystalssl.representation.scattering import STEPS, ZERO

Rows = tuple[Tensor, Tensor]
_SLOTS = layout.group("composition").width


def group_rows(
    source: PanelSource, name: str
) -> tuple[Float[Tensor, "crystal row column"], Bool[Tensor, "crystal row"]]:
    """Rows of one panel group for all crystals held, and which rows hold something.

    The site groups have a row for each site of the largest crystal, at least 100, and three for the
    lattice vectors; occupancy has two columns for each slot.

    Raises:
        UnknownNameError: if there is no such group.
    """
    return MAKERS[layout.group(name).name](source)


def slots(fraction: Float[Tensor, "crystal element"]) -> Float[Tensor, "crystal element slot"]:
    """Atomic fractions in their slots.

    Slots go by increasing electronegativity, then atomic number; a fifth and further element
    share the last one.
    """
    order = torch.tensor(elemental.by_electronegativity(), device=fraction.device)
    rank = torch.empty_like(fraction, dtype=torch.int64)
    # rank of an element among those present, at its own atomic number
    rank[:, order] = (fraction[:, order] > 0).cumsum(dim=1) - 1
    rows = fraction.new_zeros((*fraction.shape, _SLOTS))
    return rows.scatter_(2, rank.clamp(0, _SLOTS - 1)[..., None], fraction[..., None])


def _crystal_and_row(source: PanelSource) -> tuple[Int[Tensor, "site"], Int[Tensor, "site"]]:
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
    sites = max(layout.MAX_SITES, int(source.site_counts.max())) if len(source) else 0
    count = max(layout.ROWS, sites + layout.LATTICE_VECTORS)
    rows = values.new_zeros((len(source), count, values.shape[1]))
    rows[_crystal_and_row(source)] = values  # (site, column) -> (crystal, row, column)
    return rows, _first(source.site_counts, count)


def _first(used: Int[Tensor, "crystal"], count: int = layout.ROWS) -> Bool[Tensor, "crystal row"]:
    """Mask of the first ``used`` of ``count`` rows."""
    return torch.arange(count, device=used.device) < used[:, None]


def composition(source: PanelSource) -> Rows:
    """Atomic fractions in their slots; row = Z - 1."""
    crystal, _ = _crystal_and_row(source)
    amount = source.lattice.new_zeros((len(source), layout.ELEMENTS + 1))
    # one flat index per (site, species): empty species add nothing to element 0
    element = crystal[:, None] * (layout.ELEMENTS + 1) + source.numbers.long()
    amount.view(-1).index_add_(0, element.flatten(), source.occupancy.flatten())
    amount = amount[:, 1:]
    fraction = amount / amount.sum(dim=1, keepdim=True).clamp_min(1e-12)
    return slots(fraction), fraction > 0


def lattice(source: PanelSource) -> Rows:
    """Cell vectors with lengths; angles (degrees) and volume; short lattice vectors."""
    cell, group = source.lattice, layout.group("lattice")
    vector, length = group.at("vector"), group.column("length")
    lengths = torch.linalg.vector_norm(cell, dim=2)
    b_c, c_a, a_b = (cell[:, i] * cell[:, j] for i, j in ((1, 2), (2, 0), (0, 1)))
    dots = torch.stack([b_c.sum(1), c_a.sum(1), a_b.sum(1)], dim=1)
    products = lengths.prod(dim=1, keepdim=True) / lengths
    rows = cell.new_zeros((len(source), layout.ROWS, group.width))
    rows[:, layout.CELL_ROWS, vector], rows[:, layout.CELL_ROWS, length] = cell, lengths
    rows[:, layout.ANGLE_ROW, vector] = torch.rad2deg(torch.acos((dots / products).clamp(-1, 1)))
    rows[:, layout.ANGLE_ROW, length] = torch.linalg.det(cell).abs()
    vectors, lengths = _spanned(source.direct, cell.double())
    rows[:, layout.DIRECT_ROWS, vector], rows[:, layout.DIRECT_ROWS, length] = vectors, lengths
    return rows, _first(source.direct_used + layout.DIRECT_ROWS.start)


def sites(source: PanelSource) -> Rows:
    """Fractional and Cartesian coordinates and harmonics; the last three rows hold the cell."""
    crystal, _ = _crystal_and_row(source)
    cart = torch.einsum("si,sij->sj", source.frac, source.lattice[crystal])
    waves = []
    for k in range(1, layout.HARMONICS + 1):
        angle = 2 * math.pi * k * source.frac
        waves += [torch.sin(angle), torch.cos(angle)]
    rows, valid = _to_rows(source, torch.cat([source.frac, cart, *waves], dim=1))
    rows[:, layout.LATTICE_END, layout.group("sites").at("cartesian")] = source.lattice
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


def _waves(source: PanelSource) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Reciprocal vectors g (crystal, 103, 3), lengths, basis (crystal, 3, 3), 1/angstrom; mask."""
    a, b, c = source.lattice.double().unbind(dim=1)
    cross = torch.stack([torch.linalg.cross(x, y) for x, y in ((b, c), (c, a), (a, b))], dim=1)
    basis = cross / (a * cross[:, 0]).sum(dim=1)[:, None, None]
    return *_spanned(source.hkl, basis), basis.float(), _first(source.hkl_used)


def _shell_columns(
    source: PanelSource, lengths: Float[Tensor, "crystal 103"], valid: Bool[Tensor, "crystal 103"]
) -> Float[Tensor, "crystal 103 3"]:
    """Shell index from 1, multiplicity with both of each Friedel pair, gap to the next shell."""
    shell = source.opens.long().cumsum(dim=1) * valid  # 0 where there is no vector
    count = lengths.new_zeros((len(source), layout.ROWS + 2))
    count.scatter_add_(1, shell, torch.ones_like(lengths))
    # length at which shell s begins; the one after the last begins at the first vector left out
    start = source.beyond[:, None].repeat(1, layout.ROWS + 2)
    opener = torch.where(source.opens, shell, layout.ROWS + 1)  # other rows write past the end
    start.scatter_(1, opener, lengths)
    start[:, -1] = source.beyond
    last = shell.amax(dim=1, keepdim=True)
    start.scatter_(1, last + 1, source.beyond[:, None])
    gap = start.gather(1, shell + 1) - start.gather(1, shell)
    return torch.stack([shell.to(lengths.dtype), 2 * count.gather(1, shell), gap], dim=2)


def _amplitudes(stored: Int16[Tensor, "crystal 103 kind"]) -> Float[Tensor, "crystal 103 kind"]:
    """Stored 16-bit steps as fractions."""
    return (stored.to(torch.float32) + ZERO) / STEPS


def reciprocal(source: PanelSource) -> Rows:
    """Short reciprocal vectors, their shells and the geometric amplitude."""
    g, lengths, basis, valid = _waves(source)
    safe = lengths.clamp_min(1e-12)
    cosines = g @ torch.nn.functional.normalize(basis, dim=2).transpose(1, 2) / safe[..., None]
    rows = torch.cat(
        [
            source.hkl.to(g.dtype),
            lengths[..., None],
            g,
            torch.stack([1 / safe, (lengths / safe[:, :1]) ** 2], dim=2),
            _shell_columns(source, lengths, valid),
            cosines,
            _amplitudes(source.stored[..., :1]),
        ],
        dim=2,
    )
    return torch.where(valid[..., None], rows, 0.0), valid


def structure_factors(source: PanelSource) -> Rows:
    """Lengths and the six elemental amplitudes."""
    _, lengths, _, valid = _waves(source)
    rows = torch.cat([lengths[..., None], _amplitudes(source.stored[..., 1:])], dim=2)
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
