"""A layer of equivariant message passing: scalars and vectors of sites, after PaiNN.

Part of the sites block. Vectors are sums of directions and of vectors, scaled by scalars, so they
turn with the crystal. Source: Schuett et al., ICML 2021.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crystalssl.blocks._edge_kernels import FilterTable, TabledEdges, passed
from crystalssl.blocks._layers import mlp, segment_sum
from crystalssl.blocks.contract import Edges


class Interaction(nn.Module):
    """One layer: messages along edges into scalars and vectors, then a site-wise update."""

    def __init__(self, dim: int, vectors: int, basis: int) -> None:
        super().__init__()
        self.split = [dim, vectors, vectors]
        self.send = mlp(dim, dim, sum(self.split))
        self.filter = nn.Linear(basis, sum(self.split))
        self.mix = nn.Linear(vectors, 2 * vectors, bias=False)
        self.norm = nn.LayerNorm(dim)
        self.update = mlp(dim + vectors, dim, dim + vectors)
        self.table = FilterTable()

    def forward(
        self,
        scalars: Float[Tensor, "site channel"],
        vectors: Float[Tensor, "site 3 vector"],
        edges: Edges,
        unit: Float[Tensor, "edge 3"],
        near: Float[Tensor, "edge basis"] | TabledEdges,
        share: Float[Tensor, "site 1"],
    ) -> tuple[Tensor, Tensor]:
        """Pass messages once.

        Args:
            scalars: scalar states.
            vectors: vector states.
            edges: the graph.
            unit: direction of every edge.
            near: length of every edge, expanded or tabled.
            share: factor of the sums of every site, one over its number of neighbours.
        """
        sent = self.send(self.norm(scalars))
        if isinstance(near, TabledEdges):
            table = self.table.of(self.filter, near.basis)
            plain, pushed = passed(sent, vectors, unit, table, near)
        else:
            plain, pushed = self._sums(sent, vectors, edges, unit, near)
        scalars = scalars + plain * share
        vectors = vectors + pushed * share.unsqueeze(2)
        left, right = self.mix(vectors).chunk(2, dim=2)
        norm = torch.sqrt((left**2).sum(1) + 1e-6)
        change, gate = self.update(torch.cat([self.norm(scalars), norm], dim=1)).split(
            [scalars.shape[1], norm.shape[1]], dim=1
        )
        return scalars + change, vectors + right * gate.unsqueeze(1)

    def _sums(
        self,
        sent: Float[Tensor, "site message"],
        vectors: Float[Tensor, "site 3 vector"],
        edges: Edges,
        unit: Float[Tensor, "edge 3"],
        basis: Float[Tensor, "edge basis"],
    ) -> tuple[Float[Tensor, "site channel"], Float[Tensor, "site 3 vector"]]:
        """Filtered messages of the neighbours, added up into scalars and vectors."""
        count = len(sent)
        message = sent.index_select(0, edges.target) * self.filter(basis)  # (edge, message)
        plain, along, carried = message.split(self.split, dim=1)
        # (edge, 3, vector): new vectors along the edge, and the neighbour's own, both scaled
        pushed = unit.unsqueeze(2) * along.unsqueeze(1)
        pushed = pushed + vectors.index_select(0, edges.target) * carried.unsqueeze(1)
        flat = segment_sum(pushed.flatten(1), edges.source, count)
        return segment_sum(plain, edges.source, count), flat.view_as(vectors)
