"""A bottleneck and one more block -> a bottleneck of all, as wide as before, without training.

The features of the new block pass as they are, or as many leading axes of theirs as there is room
for; they take the place of the units that the others tell best. Quick, and nothing of the new block
is lost to a linear model; training may go on from it (``bottleneck_training.py``).
"""

from __future__ import annotations

import torch
from torch import Tensor

from crystalssl.errors import InputError
from crystalssl.features.bottleneck import Bottleneck
from crystalssl.features.features import Features

RIDGE = 1e-3
"""Added to the diagonal of a correlation matrix before it is inverted."""


@torch.no_grad()
def extended(bottleneck: Bottleneck, features: Features, room: int) -> Bottleneck:
    """Give a bottleneck one more block.

    Args:
        bottleneck: one that reads all blocks of the features but the last.
        features: features of some thousand crystals, the new block last.
        room: units that the new block gets; all are linear.

    Returns:
        A bottleneck of the same width. Its linear units are those from before, then those of the
        new block; of the non-linear ones the most redundant are left out.

    Raises:
        InputError: if the blocks are others, there are too few crystals, or there is no such room.
    """
    *before, new = features.widths.items()
    others = bottleneck.mix.out_features - bottleneck.linear
    if dict(before) != bottleneck.widths or not 0 < room <= min(new[1], others):
        raise InputError(
            f"Got features of {', '.join(features.widths)} and room for {room} units; expected "
            f"those of {', '.join(bottleneck.widths)} and one more block, and room for as many "
            "units as it has features at most."
        )
    if len(features) <= new[1]:
        raise InputError(
            f"Got {len(features)} crystals, expected more than the new block has features."
        )
    known = torch.from_numpy(features.only(*bottleneck.widths).matrix)
    mixed = bottleneck.units(bottleneck.standardise(known))  # (crystal, mixed)
    kept = bottleneck.linear + _least_redundant(mixed, others - room, bottleneck.linear)
    made = torch.from_numpy(features.blocks[new[0]])
    result = Bottleneck(features.widths, bottleneck.mix.out_features, bottleneck.linear + room)
    size = known.shape[1]
    for name, of_new in (("mean", made.mean(0)), ("scale", made.std(0) + 1e-6)):
        getattr(result, name).copy_(torch.cat([getattr(bottleneck, name), of_new]))
    rows = torch.cat([torch.arange(bottleneck.linear), kept])
    at = torch.cat([torch.arange(bottleneck.linear), torch.arange(len(kept)) + result.linear])
    result.mix.weight.zero_()
    result.mix.bias.zero_()
    result.mix.weight[at, :size] = bottleneck.mix.weight[rows]
    result.mix.bias[at] = bottleneck.mix.bias[rows]
    axes = _leading_axes((made - made.mean(0)) / (made.std(0) + 1e-6), room)
    result.mix.weight[bottleneck.linear : result.linear, size:] = axes
    result.mix.weight.copy_(result.mix.weight.half().float())  # as it is stored
    return result.eval()


def _least_redundant(mixed: Tensor, count: int, first: int) -> Tensor:
    """Columns from ``first`` on that all others predict worst, counted from there, in order.

    The diagonal of an inverse correlation matrix is 1 / (1 - R2) of a column by all others.
    """
    scaled = ((mixed - mixed.mean(0)) / (mixed.std(0) + 1e-6)).double()
    correlation = scaled.T @ scaled / len(scaled)
    inverse = torch.linalg.inv(correlation + RIDGE * torch.eye(len(correlation)))
    redundancy = inverse.diagonal()[first:]
    columns: Tensor = redundancy.argsort()[:count].sort().values
    return columns


def _leading_axes(scaled: Tensor, count: int) -> Tensor:
    """(count, feature) unit vectors; the features themselves where there is room for all."""
    if count == scaled.shape[1]:
        return torch.eye(count)
    axes: Tensor = torch.linalg.svd(scaled, full_matrices=False).Vh[:count]
    return axes
