"""A batch as every block reads it: panel rows, periodic graph, crystal-level targets.

Made by ``datasets.corpus.Corpus.batch`` from flat tensors, read by ``blocks``. It lives below
both, so that neither needs to know the other.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Edges:
    """The periodic neighbour graph of a batch; sites are numbered through the whole batch.

    Attributes:
        source: centre site of each edge; non-decreasing.
        target: neighbour site of each edge.
        image: lattice translation of the neighbour, in whole cells.
        distance: length of the edge in angstrom.
        arrow: Cartesian vector from centre to neighbour in angstrom.
    """

    source: Int[Tensor, "edge"]
    target: Int[Tensor, "edge"]
    image: Int[Tensor, "edge 3"]
    distance: Float[Tensor, "edge"]
    arrow: Float[Tensor, "edge 3"]


def arrows(
    frac: Float[Tensor, "site 3"],
    lattice: Float[Tensor, "crystal 3 3"],
    crystal: Int[Tensor, "edge"],
    ends: tuple[Int[Tensor, "edge"], Int[Tensor, "edge"], Int[Tensor, "edge 3"]],
) -> Float[Tensor, "edge 3"]:
    """Cartesian vectors from centre to neighbour, in angstrom.

    Args:
        frac: fractional coordinates of all sites.
        lattice: cells, rows are vectors, in angstrom.
        crystal: crystal of each edge.
        ends: source, target and image of each edge.
    """
    source, target, image = ends
    step = frac.index_select(0, target) - frac.index_select(0, source) + image.to(frac)
    cell = lattice.index_select(0, crystal)  # (edge, 3, 3)
    # spelled out: mixed precision would round a product of matrices
    return (step.unsqueeze(2) * cell).sum(1)


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockBatch:
    """What every block reads.

    Attributes:
        rows: the block's panel group.
        valid: rows that hold something; for site groups the rows that hold a site.
        edges: periodic graph over the valid rows in order, or None if the block asks for none.
        targets: crystal-level targets made from the structure, standardised
            (``representation.targets.TARGET_NAMES`` in order); never an input.
        crystal_system: 0 triclinic, 1 monoclinic, 2 orthorhombic, 3 tetragonal, 4 trigonal,
            5 hexagonal, 6 cubic; never an input.
        histogram: pair-distance histogram of the crystal; never an encoder's input.
    """

    rows: Float[Tensor, "crystal row column"]
    valid: Bool[Tensor, "crystal row"]
    edges: Edges | None
    targets: Float[Tensor, "crystal target"]
    crystal_system: Int[Tensor, "crystal"]
    histogram: Float[Tensor, "crystal bin"]

    def to(self, device: torch.device | str) -> BlockBatch:
        """The same batch on another device."""
        moved: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Edges):
                value = Edges(**{f.name: getattr(value, f.name).to(device) for f in fields(value)})
            elif value is not None:
                value = value.to(device)
            moved[field.name] = value
        return BlockBatch(**moved)
