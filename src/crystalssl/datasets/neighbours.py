"""The periodic graph of many crystals as flat tensors, and indices of ragged ranges.

Part of ``corpus.py``, from which batches are gathered.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


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
