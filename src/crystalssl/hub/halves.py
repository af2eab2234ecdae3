"""Matrices of weights as float16: half of the bytes, and none of the features lost.

A network is rounded once (``round_matrices``), before anything is computed with it; from then on
float16 holds its matrices exactly. Vectors (biases, norms, statistics) stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def is_matrix(shape: tuple[int, ...]) -> bool:
    """Whether a tensor of this shape is stored as float16."""
    return len(shape) > 1


@torch.no_grad()
def round_matrices(network: nn.Module) -> None:
    """Round the matrices of a network to float16, in which they are stored."""
    for parameter in network.parameters():
        if is_matrix(parameter.shape):
            parameter.copy_(parameter.half().float())


def halved(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Float32 matrices as float16, all else as it is."""
    return {
        name: t.half() if is_matrix(t.shape) and t.dtype == torch.float32 else t
        for name, t in state.items()
    }


def halved_if_exact(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``halved`` where every matrix survives it bit by bit, else all as it is.

    All or none: weights that were stored as float32 keep their bytes, and so their checksum, when
    they are stored again, even if one matrix happens to be zero.
    """
    narrow = halved(state)
    exact = all(torch.equal(narrow[name].to(t.dtype), t) for name, t in state.items())
    return narrow if exact else dict(state)


def as_stored(
    header: Mapping[str, tuple[str, tuple[int, ...]]], state: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Tensors in the types in which a file holds them: narrow if any of its own is."""
    narrow = any(code == "F16" for code, _ in header.values())
    return halved(state) if narrow else dict(state)
