"""Periodic geometry in torch: edge vectors, shortest image distances, graphs of moved sites."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from crystalssl.blocks._precision import exact
from crystalssl.blocks.contract import Edges
from crystalssl.representation.batch import arrows
from crystalssl.representation.graph import periodic_graph
from crystalssl.structures.crystals import SLOTS, Crystals


def edge_vectors(
    frac: Float[Tensor, "site 3"],
    lattice: Float[Tensor, "crystal 3 3"],
    crystal: Int[Tensor, "site"],
    edges: Edges,
) -> Float[Tensor, "edge 3"]:
    """Cartesian vectors from centre to neighbour, in angstrom."""
    return arrows(frac, lattice, crystal[edges.source], (edges.source, edges.target, edges.image))


def image_distance(
    difference: Float[Tensor, "pair 3"], lattice: Float[Tensor, "pair 3 3"]
) -> Float[Tensor, "pair"]:
    """Distance to the nearest periodic image, for reduced cells, in angstrom.

    Args:
        difference: difference of fractional coordinates.
        lattice: cell of each pair, rows are vectors.
    """
    wrapped = difference - difference.round()
    grid = torch.tensor([-1.0, 0.0, 1.0], device=difference.device)
    shifts = torch.cartesian_prod(grid, grid, grid)  # (27, 3)
    images = wrapped.unsqueeze(1) + shifts
    with exact(images):
        cartesian = torch.einsum("psi,pij->psj", images, lattice)
    return cartesian.square().sum(-1).amin(1).sqrt()


def moved_graph(
    frac: Float[Tensor, "site 3"],
    lattice: Float[Tensor, "crystal 3 3"],
    crystal: Int[Tensor, "site"],
) -> Edges:
    """The neighbour graph of sites where they are now.

    A graph kept from before the move would tell where the sites came from.
    """
    counts = np.bincount(crystal.cpu().numpy(), minlength=len(lattice))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    numbers = np.zeros((len(frac), SLOTS), dtype=np.int16)
    numbers[:, 0] = 1
    graph = periodic_graph(
        Crystals(
            ids=np.array([""] * len(counts), dtype=np.str_),
            lattice=lattice.detach().cpu().numpy().astype(np.float64),
            offsets=offsets,
            frac_coords=frac.detach().cpu().numpy().astype(np.float64),
            numbers=numbers,
            occupancy=(numbers > 0).astype(np.float32),
        )
    )
    degree = np.diff(graph.edge_offsets)
    source = np.repeat(np.arange(len(frac)), degree)
    target = graph.target.astype(np.int64) + offsets[:-1][crystal.cpu().numpy()[source]]
    ends = (
        torch.from_numpy(source).to(frac.device),
        torch.from_numpy(target).to(frac.device),
        torch.from_numpy(graph.image.astype(np.int64)).to(frac.device),
    )
    return Edges(
        source=ends[0],
        target=ends[1],
        image=ends[2],
        distance=torch.from_numpy(graph.distance).to(frac),
        arrow=arrows(frac, lattice, crystal[ends[0]], ends),
    )
