"""Random choices of what to hide, all from the generator that ``pretext`` takes.

Numbers are generated on the CPU and move to the data's device, so that the same seed hides the same
entries everywhere.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def uniform(
    shape: tuple[int, ...], generator: torch.Generator, device: torch.device
) -> Float[Tensor, "..."]:
    """Uniform numbers in [0, 1)."""
    return torch.rand(shape, generator=generator).to(device)


def normal(
    shape: tuple[int, ...], generator: torch.Generator, device: torch.device
) -> Float[Tensor, "..."]:
    """Standard normal numbers."""
    return torch.randn(shape, generator=generator).to(device)


def one_per_segment(
    segment: Int[Tensor, "item"], count: int, generator: torch.Generator
) -> Int[Tensor, "segment"]:
    """Index of one random item of every segment (segments must not be empty).

    Args:
        segment: segment of each item, non-decreasing.
        count: number of segments.
        generator: source of randomness.
    """
    sizes = torch.bincount(segment, minlength=count)
    first = sizes.cumsum(0) - sizes
    pick = (uniform((count,), generator, segment.device) * sizes).long()
    return first + torch.minimum(pick, sizes - 1)


def sites_to_hide(
    crystal: Int[Tensor, "site"], count: int, ratio: float, generator: torch.Generator
) -> Bool[Tensor, "site"]:
    """A share of the sites of every crystal, at least one of each."""
    hidden = uniform((len(crystal),), generator, crystal.device) < ratio
    hidden[one_per_segment(crystal, count, generator)] = True
    return hidden


def uniform_per_shell(
    shell: Int[Tensor, "crystal row"], generator: torch.Generator
) -> Float[Tensor, "crystal row"]:
    """One uniform number per shell, the same for all its rows: shells are hidden whole."""
    numbers = uniform(tuple(shell.shape), generator, shell.device)
    return numbers.gather(1, shell)
