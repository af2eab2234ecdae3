"""Ensemble head: networks that differ by their seed, averaged.

Averaging takes away what chance put into one network: its start, and the rows it stopped on. The
members are MLP heads; any head that follows its seed would do. Source: Lakshminarayanan, Pritzel,
Blundell, NeurIPS 2017.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from crystalssl.models.arrays import Features, Floats, Index
from crystalssl.models.contract import Fitted, Head, Training
from crystalssl.models.mlp import MLP

SEED_STEP = 101
"""Difference between the seeds of two members."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedEnsemble(Fitted):
    """Heads after fitting.

    Attributes:
        members: fitted heads, each of all labels.
    """

    members: list[Fitted]

    def _predict(self, matrix: Features, rows: Index) -> Floats:
        predictions = [
            member.predict(matrix, rows).reshape(len(rows), -1) for member in self.members
        ]
        return np.asarray(np.mean(predictions, axis=0))


@dataclass(frozen=True, kw_only=True, slots=True)
class Ensemble(Head):
    """Several networks, averaged."""

    name: str = "ensemble"
    """Name in the registry."""
    member: MLP = field(default_factory=MLP)
    """What each member is."""
    size: int = 3
    """Number of members."""

    def _fit(self, data: Training) -> FittedEnsemble:
        members = [
            self.member.fit(
                data.matrix, data.rows, data.labels, data.groups, data.seed + SEED_STEP * number
            )
            for number in range(self.size)
        ]
        return FittedEnsemble(members=members, label_shape=data.label_shape)
