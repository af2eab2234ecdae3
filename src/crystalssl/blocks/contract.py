"""What a block reads, what it returns, and what it must implement.

A block reads its own panel group (and, if it asks for it, the periodic graph) and turns it into
per-row tokens and per-crystal features; its pretext tasks corrupt the input and score predictions.
This is the only file with abstract classes; the loop that calls a block is ``pretraining/loop.py``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from crystalssl.representation.batch import BlockBatch, Edges

__all__ = [
    "Block",
    "BlockBatch",
    "Edges",
    "Encoded",
    "PretextResult",
    "TaskInfo",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoded:
    """What an encoder gives back.

    Attributes:
        tokens: one state per valid row, crystal after crystal.
        crystal: the crystal each token belongs to; non-decreasing.
        features: per-crystal numbers, as wide as the block.
    """

    tokens: Float[Tensor, "token channel"]
    crystal: Int[Tensor, "token"]
    features: Float[Tensor, "crystal feature"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PretextResult:
    """One task on one batch.

    The readable figure is the mean over the entries of ``count`` that are not zero of
    ``sums[key] / count``, sums added up over batches first. One entry gives a plain mean, one
    entry per class gives a balanced accuracy.

    Attributes:
        task: name of the task.
        loss: what is minimised, already averaged over the batch.
        weight: factor of the loss in the block's total.
        sums: additive statistics of the figure: ``"model"`` and one key per baseline.
        count: number of scored entries, per class or in all.
    """

    task: str
    loss: Float[Tensor, ""]
    weight: float
    sums: dict[str, Float[Tensor, "entry"]]
    count: Float[Tensor, "entry"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskInfo:
    """What a person should know about a task.

    Attributes:
        name: task name, unique in the package.
        number: number of the pretext task, or None for a further objective.
        figure: name and unit of the readable figure.
        higher_is_better: direction of the figure.
        trivial: key of the trivial baseline in ``PretextResult.sums`` (majority or mean).
        teaches: the physics it teaches, one sentence.
    """

    name: str
    number: int | None
    figure: str
    higher_is_better: bool
    trivial: str
    teaches: str


class Block(nn.Module, ABC):
    """An encoder with its corruptions, heads and losses.

    A concrete block is a final class in a file of its own. Its constructor takes one frozen
    keyword-only dataclass, its ``Config``. All randomness comes from the generator that
    ``pretext`` takes.
    """

    name: ClassVar[str]
    """Name used in every place a block can be chosen."""
    number: ClassVar[int]
    """Position of its features in the concatenation."""
    group: ClassVar[str]
    """Panel group it reads (``representation/layout.py``)."""
    width: ClassVar[int]
    """Number of features."""
    uses_graph: ClassVar[bool]
    """Whether it asks for the periodic graph."""
    summary: ClassVar[str]
    """One sentence: kind of encoder and what it sees."""
    tasks: ClassVar[tuple[TaskInfo, ...]]
    """Its pretext tasks and further objectives."""
    Config: ClassVar[type]
    """Its frozen configuration class."""
    has_site_states: ClassVar[bool] = False
    """Whether its tokens are the sites, in their order."""
    mix_weight: ClassVar[float] = 1.0
    """How much its standardised features count where a bottleneck takes principal axes of all."""
    replaces: ClassVar[str | None] = None
    """Name of the block it takes the place of; None for a block beside the others."""

    absent: ClassVar[Mapping[str, Any]] = {}
    """Settings that came later, as they are for weights whose card lacks them."""

    config: Any

    @property
    def site_channels(self) -> int:
        """Channels of its tokens where these are the sites; 0 where they are not."""
        return 0

    @abstractmethod
    def encode(self, batch: BlockBatch) -> Encoded:
        """Turn a batch into tokens and features; deterministic in evaluation mode."""

    @abstractmethod
    def pretext(self, batch: BlockBatch, generator: torch.Generator) -> Sequence[PretextResult]:
        """Corrupt the batch, encode it, and score every task.

        In training mode it also updates the statistics (class counts, means) on which the
        trivial baselines rest; in evaluation mode it only reads them.

        Args:
            batch: the true batch; must not be changed in place.
            generator: source of all randomness, on the CPU.
        """
