"""Pretext results of many batches, on one or many processes, into one figure for each task.

Sums and counts are added up first and divided once, so a figure does not depend on how crystals
were batched. Used by ``loop.py`` in training and validation.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from crystalssl.blocks.contract import PretextResult, TaskInfo
from crystalssl.hub.card import TaskFigure

_COUNT, _LOSS, _CRYSTALS = ".count", ".loss", ".crystals"


class Tally:
    """Running sums of every task."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str], Tensor] = {}

    @torch.no_grad()
    def add(self, results: Sequence[PretextResult], total: Tensor, crystals: int) -> None:
        """Take the results of one batch.

        Args:
            results: one for each task.
            total: weighted sum of their losses.
            crystals: crystals in the batch; the weight of its losses in the mean.
        """
        for result in results:
            for key, value in result.sums.items():
                self._put(result.task, key, value)
            self._put(result.task, _COUNT, result.count)
            self._put(result.task, _LOSS, result.loss.reshape(1) * crystals)
        self._put("", _LOSS, total.reshape(1) * crystals)
        self._put("", _CRYSTALS, total.new_ones(1) * crystals)

    def reduce(self) -> None:
        """Add up over all processes, if there are several."""
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return
        keys = sorted(self._sums)
        flat = torch.cat([self._sums[key] for key in keys])
        torch.distributed.all_reduce(flat)
        sizes = [len(self._sums[key]) for key in keys]
        self._sums = dict(zip(keys, torch.split(flat, sizes), strict=True))

    @property
    def crystals(self) -> int:
        """Crystals counted so far."""
        return int(self._sums[("", _CRYSTALS)])

    @property
    def loss(self) -> float:
        """Mean of the total loss over crystals."""
        return self._loss("")

    def figures(self, block: str, tasks: Sequence[TaskInfo]) -> list[TaskFigure]:
        """The readable figure of every task, beside those of its baselines.

        Args:
            block: block name.
            tasks: what the block says of its tasks; order is kept, unscored ones are left out.
        """
        scored = {task for task, _ in self._sums}
        return [
            TaskFigure(
                task=info.name,
                number=info.number,
                block=block,
                figure=info.figure,
                higher_is_better=info.higher_is_better,
                model=self._figure(info.name, "model"),
                baselines={
                    key: self._figure(info.name, key)
                    for task, key in self._sums
                    if task == info.name and key not in ("model", _COUNT, _LOSS)
                },
                trivial=info.trivial,
                loss=self._loss(info.name),
            )
            for info in tasks
            if info.name in scored
        ]

    def _put(self, task: str, key: str, value: Tensor) -> None:
        value = value.detach().to(torch.float64)
        held = self._sums.get((task, key))
        self._sums[(task, key)] = value.clone() if held is None else held + value

    def _loss(self, task: str) -> float:
        return float(self._sums[(task, _LOSS)] / self._sums[("", _CRYSTALS)])

    def _figure(self, task: str, key: str) -> float | None:
        count = self._sums[(task, _COUNT)]
        some = count > 0
        if not bool(some.any()):
            return None
        return float((self._sums[(task, key)][some] / count[some]).mean())
