"""The periodic graph of many crystals as flat tensors, and indices of ragged ranges.

Part of ``corpus.py``, from which batches are gathered.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from crystalssl.representation.batch import Edges, arrows
from crystalssl.representation.graph import PeriodicGraph
from crystalssl.representation.panel_source import PanelSource


@dataclass(frozen=True, kw_only=True, slots=True)
class Neighbours:
    """Compact periodic graph of a corpus: edges lie site after site, crystal after crystal.

    Attributes:
        offsets: first edge of each crystal, one more than crystals.
        degree: edges of each site.
        target: neighbour, as a site number within its crystal.
        image: lattice translation of the neighbour.
        distance: angstrom.
    """

    offsets: Int[Tensor, "offset"]
    degree: Int[Tensor, "site"]
    target: Int[Tensor, "edge"]
    image: Int[Tensor, "edge 3"]
    distance: Float[Tensor, "edge"]

    def take(self, rows: Int[Tensor, "row"], site: Int[Tensor, "site"]) -> Neighbours:
        """The neighbours of some crystals.

        Args:
            rows: crystals to take.
            site: their sites, one crystal's after another's.
        """
        counts = self.offsets.diff()[rows]
        edge, _ = spans(self.offsets[rows], counts)
        offsets = torch.zeros(len(rows) + 1, dtype=torch.int64, device=self.offsets.device)
        torch.cumsum(counts, 0, out=offsets[1:])
        return Neighbours(
            offsets=offsets,
            degree=self.degree[site],
            target=self.target[edge],
            image=self.image[edge],
            distance=self.distance[edge],
        )

    def graph(self) -> PeriodicGraph:
        """The graph that these are of."""
        ends = torch.nn.functional.pad(self.degree.cumsum(0, dtype=torch.int64), (1, 0))
        return PeriodicGraph(
            edge_offsets=ends.numpy(force=True),
            target=self.target.to(torch.int32).numpy(force=True),
            image=self.image.numpy(force=True),
            distance=self.distance.numpy(force=True),
        )


def spans(
    starts: Int[Tensor, "item"], counts: Int[Tensor, "item"]
) -> tuple[Int[Tensor, "entry"], Int[Tensor, "entry"]]:
    """Indices of many ranges, one after the other, and the range each belongs to.

    Args:
        starts: first index of each range.
        counts: length of each range.
    """
    total = int(counts.sum())
    item = torch.repeat_interleave(counts, output_size=total)
    first = starts - (counts.cumsum(0) - counts)
    return first[item] + torch.arange(total, device=starts.device), item


def edges_of(
    held: Neighbours,
    rows: Int[Tensor, "row"],
    first_site: Int[Tensor, "row"],
    panel: PanelSource,
) -> Edges:
    """Edges of a batch of crystals, sites numbered through it.

    Args:
        held: neighbours of all crystals.
        rows: crystals of the batch.
        first_site: number of the first site of each among those of all crystals.
        panel: the crystals of the batch.
    """
    sites = panel.site_counts
    site, _ = spans(first_site, sites)
    degree = held.degree[site].long()
    counts = held.offsets.diff()[rows]
    edge, crystal = spans(held.offsets[rows], counts)
    first = sites.cumsum(0) - sites
    source = torch.repeat_interleave(degree, output_size=len(edge))
    target, image = held.target[edge].long() + first[crystal], held.image[edge].long()
    return Edges(
        source=source,
        target=target,
        image=image,
        distance=held.distance[edge],
        arrow=arrows(panel.frac, panel.lattice, crystal, (source, target, image)),
    )
