"""Pretext tasks and counts -> table rows and the numbers at the top of the page.

What lost is said as plainly as what won.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crystalssl.hub.card import TaskFigure
from crystalssl.report.block_runs import BlockRun
from crystalssl.report.probe_tables import champion_of, margins_of
from crystalssl.report.run_folder import RunData
from crystalssl.report.wording import listed, number, words


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskRow:
    """One pretext task.

    Attributes:
        block: block it belongs to.
        number: number of the pretext task, empty for a further objective.
        name: task name.
        teaches: what it teaches.
        figure: name and unit of its figure, with the direction.
        model: figure of the block.
        baselines: every baseline with its figure; the trivial one first.
        verdict: whether the block is better than its baselines, in words.
        mark: ``yes``, ``partly`` (better than the trivial one alone) or ``no``.
    """

    block: BlockRun
    number: str
    name: str
    teaches: str
    figure: str
    model: str
    baselines: tuple[tuple[str, str], ...]
    verdict: str
    mark: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Tile:
    """One number at the top of the page.

    Attributes:
        value: the number, with its unit.
        label: what it counts.
    """

    value: str
    label: str


def task_rows(blocks: Sequence[BlockRun]) -> list[TaskRow]:
    """Every task of every block, numbered ones before further objectives."""
    return [
        task_row(block, task)
        for block in blocks
        for task in sorted(block.figures, key=lambda f: (f.number is None, f.number or 0))
    ]


def task_row(block: BlockRun, task: TaskFigure) -> TaskRow:
    """One task of one block."""
    order = sorted(task.baselines, key=lambda name: name != task.trivial)
    verdict, mark = _verdict(task, order)
    direction = "higher is better" if task.higher_is_better else "lower is better"
    return TaskRow(
        block=block,
        number="" if task.number is None else str(task.number),
        name=words(task.task),
        teaches=block.teaches.get(task.task, ""),
        figure=f"{task.figure}, {direction}",
        model=number(task.model),
        baselines=tuple((name, number(task.baselines[name])) for name in order),
        verdict=verdict,
        mark=mark,
    )


def _verdict(task: TaskFigure, order: Sequence[str]) -> tuple[str, str]:
    """In words and as a mark; a block that only beats the trivial baseline is not simply better."""
    if task.model is None or not task.beats_trivial:
        return "not better", "no"
    model = task.model if task.higher_is_better else -task.model
    known = [(name, value) for name in order if (value := task.baselines[name]) is not None]
    losing = [n for n, value in known if model <= (value if task.higher_is_better else -value)]
    return (f"not better than {listed(losing)}", "partly") if losing else ("better", "yes")


def tiles(run: RunData) -> list[Tile]:
    """Numbers for the top of the page; only those that are known."""
    found = []
    if run.data.crystals:
        found.append(Tile(value=f"{run.data.crystals:,}", label="crystals"))
    if run.embedding is not None:
        found.append(Tile(value=f"{run.embedding.width:,}", label="features per crystal"))
    every = [task for block in run.weights.blocks for task in block.figures]
    tasks = [task for task in every if task.number is not None]
    if tasks:
        beaten = sum(task.beats_trivial for task in tasks)
        label = "figures of pretext tasks beat the trivial baseline"
        found.append(Tile(value=f"{beaten} of {len(tasks)}", label=label))
    probe = run.evaluations.probe
    if probe is not None:
        margins = margins_of(probe, champion_of(probe.table), "ridge")
        if margins:
            won = sum(c.margin > 0 for c in margins)
            label = "comparisons won under ridge"
            found.append(Tile(value=f"{won} of {len(margins)}", label=label))
    return found
