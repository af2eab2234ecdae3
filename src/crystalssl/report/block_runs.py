"""Folders of trained blocks -> what pre-training left of each: figures, curves, health, card.

A run holds all of it; weights that were shared, only their cards.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from crystalssl.blocks._registry import known_blocks, list_blocks
from crystalssl.errors import CrystalSSLError
from crystalssl.features.bottleneck import BottleneckCard, find_bottlenecks, load_card
from crystalssl.files import read_json
from crystalssl.hub.card import CARD_FILE, ModelCard, TaskFigure
from crystalssl.hub.weights import find_run, load_cards


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockRun:
    """What one block's pre-training left behind.

    Attributes:
        name: block name.
        index: position in the registry, which decides its colour.
        number: block number, or None for a block that is not installed here.
        summary: what it is, one sentence.
        width: number of its features, or None.
        figures: held-out figure of every task beside its baselines.
        teaches: what each task teaches.
        monitors: health of the features in the epoch that was kept.
        history: one row an epoch.
        card: model card, or None.
    """

    name: str
    index: int
    number: int | None = None
    summary: str = ""
    width: int | None = None
    figures: tuple[TaskFigure, ...] = ()
    teaches: dict[str, str] = field(default_factory=dict)
    monitors: dict[str, float] = field(default_factory=dict)
    history: tuple[dict[str, float], ...] = ()
    card: ModelCard | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """The weights that features come from.

    Attributes:
        name: folder of a run, or name of bundled weights; empty where not known.
        blocks: one record per block, in the order of the registry.
        bottlenecks: cards of what mixes them, by name.
    """

    name: str = ""
    blocks: tuple[BlockRun, ...] = ()
    bottlenecks: dict[str, BottleneckCard] = field(default_factory=dict)


def read_weights(folder: Path, names: Iterable[str]) -> Weights:
    """Blocks below a folder, else the cards of the first named weights that can be found.

    Args:
        folder: folder of the report.
        names: weights that features come from, by folder or name.
    """
    blocks = read_blocks(folder)
    if blocks:
        return Weights(name="", blocks=blocks, bottlenecks=_bottlenecks(folder, folder / "blocks"))
    for name in names:
        try:
            cards = load_cards(name)
            bottlenecks = _bottlenecks(find_run(name), find_run(name).parent)
        except CrystalSSLError:
            continue
        known = {block.name: index for index, block in enumerate(list_blocks())}
        found = [
            _from_card(card, known.get(block, len(known) + place))
            for place, (block, card) in enumerate(cards.items())
        ]
        return Weights(name=name, blocks=tuple(found), bottlenecks=bottlenecks)
    return Weights(bottlenecks=_bottlenecks(folder))


def read_blocks(folder: Path) -> tuple[BlockRun, ...]:
    """Blocks below a run folder, in the order of the registry, others last."""
    order = {block.name: index for index, block in enumerate(list_blocks())}
    found = {path.parent.name: path.parent for path in folder.glob("*/tasks.json")}
    found |= {path.parent.name: path.parent for path in folder.glob("blocks/*/tasks.json")}
    names = sorted(found, key=lambda name: (order.get(name, len(order)), name))
    extra = [name for name in names if name not in order]
    order |= {name: len(order) + index for index, name in enumerate(extra)}
    return tuple(_read_block(found[name], order[name]) for name in names)


def _bottlenecks(*folders: Path) -> dict[str, BottleneckCard]:
    found: dict[str, BottleneckCard] = {}
    for folder in folders:
        found |= {name: load_card(path) for name, path in find_bottlenecks(folder).items()}
    return found


def _read_block(folder: Path, index: int) -> BlockRun:
    stored = read_json(folder / "tasks.json")
    figures = tuple(
        TaskFigure(**{k: v for k, v in row.items() if k != "beats_trivial"})
        for row in stored.get("tasks", [])
    )
    return _known(
        folder.name,
        index,
        figures,
        monitors={k: float(v) for k, v in stored.get("monitors", {}).items() if v is not None},
        history=_read_history(folder / "metrics.csv"),
        card=ModelCard.load(folder) if (folder / CARD_FILE).is_file() else None,
    )


def _from_card(card: ModelCard, index: int) -> BlockRun:
    return _known(card.block, index, tuple(card.figures), monitors={}, history=(), card=card)


def _known(
    name: str,
    index: int,
    figures: tuple[TaskFigure, ...],
    *,
    monitors: dict[str, float],
    history: tuple[dict[str, float], ...],
    card: ModelCard | None,
) -> BlockRun:
    """A record, with what the registry says of the block where it is installed."""
    known = {block.name: block for block in known_blocks()}.get(name)
    return BlockRun(
        name=name,
        index=index,
        number=None if known is None else known.number,
        summary="" if known is None else known.summary,
        width=None if known is None else known.width,
        figures=figures,
        teaches={} if known is None else {task.name: task.teaches for task in known.tasks},
        monitors=monitors,
        history=history,
        card=card,
    )


def _read_history(path: Path) -> tuple[dict[str, float], ...]:
    """Learning curve; numbers that are absent or not finite are left out."""
    if not path.is_file():
        return ()
    with path.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    return tuple(
        {name: float(v) for name, v in row.items() if v and np.isfinite(float(v))} for row in rows
    )
