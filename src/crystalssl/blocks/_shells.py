"""Rows sorted by length into shells: blocks read the shortest whole shells, never part of one.

Rows of equal length are a set. Which of them come first is rounding, so a block that read some of
a shell would give another cell of the same crystal other features.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from crystalssl.representation.layout import SHELL_RTOL


class Shells(NamedTuple):
    """The shortest whole shells of a batch, cropped to the rows that any crystal needs.

    Attributes:
        rows: the rows that are left.
        shell: shell index of each.
        size: valid rows in the shell of each.
        kept: rows that lie in a whole shell.
    """

    rows: slice
    shell: Int[Tensor, "crystal row"]
    size: Float[Tensor, "crystal row"]
    kept: Bool[Tensor, "crystal row"]


def shortest_shells(
    lengths: Float[Tensor, "crystal row"], valid: Bool[Tensor, "crystal row"], most: int
) -> Shells:
    """Crop rows sorted by length to the whole shells among the first ``most``.

    Args:
        lengths: length of the vector of each row, any unit.
        valid: rows that hold a vector.
        most: rows to read at most.
    """
    shell = shells(lengths, valid)
    kept = whole_shells(shell, valid, most)
    rows = slice(0, max(1, int(kept.sum(1).max())))
    return Shells(rows, shell[:, rows], shell_sizes(shell, valid)[:, rows], kept[:, rows])


def shells(
    lengths: Float[Tensor, "crystal row"], valid: Bool[Tensor, "crystal row"]
) -> Int[Tensor, "crystal row"]:
    """Shell index of rows sorted by length; invalid rows get the index after the last."""
    steps = lengths[:, 1:] > lengths[:, :-1] * (1 + SHELL_RTOL)
    steps = steps | (valid[:, :-1] & ~valid[:, 1:])
    first = torch.zeros_like(lengths[:, :1], dtype=torch.long)
    return torch.cat([first, steps.long().cumsum(1)], dim=1)


def whole_shells(
    shell: Int[Tensor, "crystal row"], valid: Bool[Tensor, "crystal row"], most: int
) -> Bool[Tensor, "crystal row"]:
    """Rows among the first ``most`` whose shell is complete there."""
    if shell.shape[1] <= most:
        return valid
    return valid & (shell < shell[:, most : most + 1])


def shell_sizes(
    shell: Int[Tensor, "crystal row"], valid: Bool[Tensor, "crystal row"]
) -> Float[Tensor, "crystal row"]:
    """Number of valid rows in each row's shell."""
    counts = torch.zeros(shell.shape, dtype=torch.float32, device=shell.device)
    counts = counts.scatter_add(1, shell, valid.float())
    return counts.gather(1, shell)
