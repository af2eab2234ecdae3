"""What pre-training left of each block -> pretext tasks, learning curves, health, model cards.

A run holds all of it; weights that were shared, only their cards. Colours of blocks follow the
registry.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from crystalssl.blocks.registry import known_blocks, list_blocks
from crystalssl.errors import CrystalSSLError
from crystalssl.features.bottleneck import BottleneckCard, find_bottlenecks, load_card
from crystalssl.files import read_json
from crystalssl.hub.card import CARD_FILE, ModelCard, TaskFigure
from crystalssl.hub.weights import find_run, load_cards
from crystalssl.report import page
from crystalssl.report.charts import curve, fraction_bars
from crystalssl.report.page import Drawing, Passage, Section, Table, TableCell, TableRow, words
from crystalssl.report.svg import block_colour

CARD_HEADS = (
    "Block", "Training crystals", "Held-out crystals", "Features", "Effective rank", "of at most",
    "Dead features",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockRun:
    """What one block's pre-training left behind.

    Attributes:
        name: block name.
        index: position in the registry, which decides its colour.
        summary: what it is, one sentence.
        width: number of its features, or None for a block that is not installed here.
        figures: held-out figure of every task beside its baselines.
        teaches: what each task teaches.
        monitors: health of the features in the epoch that was kept.
        history: one row an epoch.
        card: model card, or None.
    """

    name: str
    index: int
    summary: str = ""
    width: int | None = None
    figures: tuple[TaskFigure, ...] = ()
    teaches: dict[str, str] = field(default_factory=dict)
    monitors: dict[str, float] = field(default_factory=dict)
    history: tuple[dict[str, float], ...] = ()
    card: ModelCard | None = None

    def health(self, name: str) -> float | None:
        """Effective rank or dead features, from the run or from the card."""
        value = self.monitors.get(name, self.card.training.get(name) if self.card else None)
        return None if value is None else float(value)

    @property
    def watched(self) -> int | None:
        """Held-out crystals whose features were watched, None where not known."""
        if self.card is None or "val_crystals" not in self.card.data:
            return None
        held_out = int(self.card.data["val_crystals"])
        return min(held_out, int(self.card.training.get("monitor_crystals", held_out)))

    @property
    def rank_cap(self) -> int | None:
        """The most that the effective rank can be: features, or crystals where these are fewer."""
        return min((cap for cap in (self.width, self.watched) if cap), default=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """The weights that features come from.

    Attributes:
        name: folder of a run, or name of bundled weights; empty where trained in this folder.
        blocks: one record per block, in the order of the registry.
        bottlenecks: cards of bottleneck features, by name.
    """

    name: str = ""
    blocks: tuple[BlockRun, ...] = ()
    bottlenecks: dict[str, BottleneckCard] = field(default_factory=dict)


def read_weights(folder: Path, names: Iterable[str]) -> Weights:
    """Blocks below a folder, else the cards of the first named weights that can be read.

    Args:
        folder: folder of the report.
        names: weights that features come from, by folder or name.
    """
    stored = {path.parent.name: path.parent for path in folder.glob("*/tasks.json")}
    stored |= {path.parent.name: path.parent for path in folder.glob("blocks/*/tasks.json")}
    if stored:
        blocks = tuple(_read_block(stored[name], index) for name, index in _ordered(stored))
        return Weights(blocks=blocks, bottlenecks=_bottlenecks(folder, folder / "blocks"))
    for name in names:
        try:
            cards = load_cards(name)
            bottlenecks = _bottlenecks(find_run(name), find_run(name).parent)
        except CrystalSSLError:
            continue
        blocks = tuple(
            _described(block, index, figures=tuple(cards[block].figures), card=cards[block])
            for block, index in _ordered(cards)
        )
        return Weights(name=name, blocks=blocks, bottlenecks=bottlenecks)
    return Weights(bottlenecks=_bottlenecks(folder))


def _ordered(names: Iterable[str]) -> list[tuple[str, int]]:
    """Blocks with their positions in the registry, in its order; others by name, last."""
    order = {block.name: index for index, block in enumerate(list_blocks())}
    others = sorted(name for name in names if name not in order)
    order |= {name: len(order) + index for index, name in enumerate(others)}
    return sorted(((name, order[name]) for name in names), key=lambda entry: entry[1])


def _bottlenecks(*folders: Path) -> dict[str, BottleneckCard]:
    paths = {n: path for folder in folders for n, path in find_bottlenecks(folder).items()}
    return {name: load_card(path) for name, path in paths.items()}


def _read_block(folder: Path, index: int) -> BlockRun:
    stored = read_json(folder / "tasks.json")
    rows = [{k: v for k, v in r.items() if k != "beats_trivial"} for r in stored.get("tasks", [])]
    return _described(
        folder.name,
        index,
        figures=tuple(TaskFigure(**row) for row in rows),
        monitors={k: float(v) for k, v in stored.get("monitors", {}).items() if v is not None},
        history=_read_history(folder / "metrics.csv"),
        card=ModelCard.load(folder) if (folder / CARD_FILE).is_file() else None,
    )


def _described(name: str, index: int, **stored: Any) -> BlockRun:
    """A record, with what the registry says of the block where it is installed."""
    run = BlockRun(name=name, index=index, **stored)
    for block in known_blocks():
        if block.name == name:
            teaches = {task.name: task.teaches for task in block.tasks}
            run = replace(run, summary=block.summary, width=block.width, teaches=teaches)
    return run


def _read_history(path: Path) -> tuple[dict[str, float], ...]:
    """Learning curve; numbers that are absent or not finite are left out."""
    if not path.is_file():
        return ()
    with path.open(newline="", encoding="utf-8") as handle:
        rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(handle)]
    return tuple({k: v for k, v in row.items() if np.isfinite(v)} for row in rows)


def task_section(weights: Weights) -> Section | None:
    """Every pretext task beside its baselines; None without any."""
    rows = []
    for block in weights.blocks:
        tasks = sorted(block.figures, key=lambda f: (f.number is None, f.number or 0))
        rows += [task_row(block, task) for task in tasks]
    if not rows:
        return None
    shared = f"From the cards of the weights {weights.name}; these were not trained here."
    heads = ("Task", "Block", "Figure", "Value", "Baselines", "Verdict")
    passage = Passage(
        words=page.explained("tasks"),
        tables=(Table(heads=heads, rows=tuple(rows), title="Pretext tasks of every block"),),
        notes=((shared,) if weights.name else ()) + _label_notes(weights),
    )
    return Section(anchor="tasks", title="Pretext tasks", passages=(passage,))


def _label_notes(weights: Weights) -> tuple[str, ...]:
    """Which blocks were trained on labels."""
    return tuple(
        f"Block {block.name} was trained on labels of {block.card.labels}."
        for block in weights.blocks
        if block.card is not None and block.card.labels
    )


def task_row(block: BlockRun, task: TaskFigure) -> TableRow:
    """One task of one block: figure, baselines with the trivial one first, verdict."""
    order = sorted(task.baselines, key=lambda name: name != task.trivial)
    verdict, outcome = _verdict(task, order)
    baselines = "; ".join(f"{name} {page.number(task.baselines[name])}".strip() for name in order)
    name, measured, told = (
        TableCell(text=text, prose=True) for text in (words(block.name), _measured(task), baselines)
    )
    value, last = page.number(task.model), TableCell(text=verdict, outcome=outcome, prose=True)
    return TableRow(
        label=f"{'' if task.number is None else f'{task.number} '}{words(task.task)}",
        aside=block.teaches.get(task.task, ""),
        cells=(name, measured, TableCell(text=value), told, last),
    )


def _measured(task: TaskFigure) -> str:
    return f"{task.figure}, {'higher' if task.higher_is_better else 'lower'} is better"


def _verdict(task: TaskFigure, order: Sequence[str]) -> tuple[str, page.Outcome]:
    """In words and as outcome; beating the trivial baseline alone is not simply better."""
    if task.model is None or not task.beats_trivial:
        return "not better", "failed"
    sign = 1.0 if task.higher_is_better else -1.0
    known = [(name, value) for name in order if (value := task.baselines[name]) is not None]
    losing = [name for name, value in known if sign * task.model <= sign * value]
    return (f"not better than {page.listed(losing)}", "open") if losing else ("better", "held")


def curve_section(blocks: Sequence[BlockRun]) -> Section | None:
    """Figures of all tasks over epochs, by block; None without any."""
    passages = [Passage(words=page.explained("curves"))]
    for block in [block for block in blocks if block.history]:
        drawings = tuple(_curve(block, task) for task in block.figures)
        told, title = block.summary, words(block.name)
        passages.append(Passage(title=title, words=told, block=block.index, drawings=drawings))
    if len(passages) == 1:
        return None
    return Section(anchor="curves", title="Learning curves", passages=tuple(passages))


def _curve(block: BlockRun, task: TaskFigure) -> Drawing:
    names = (f"{task.task}/model", f"{task.task}/{task.trivial}")
    model, trivial = ([row.get(name, np.nan) for row in block.history] for name in names)
    text = f"{words(block.name)}: {task.task} over epochs"
    svg = curve((model, trivial), task.trivial, block_colour(block.index), text)
    return Drawing(svg=svg, title=words(task.task), small=_measured(task))


def rank_passage(blocks: Sequence[BlockRun]) -> Passage | None:
    """Effective rank of each block's features as a fraction of the most it can be."""
    ranks = [
        (block, rank, cap)
        for block in blocks
        if (rank := block.health("effective_rank")) is not None and (cap := block.rank_cap)
    ]
    if not ranks:
        return None
    bars, capped = [], []
    for block, rank, cap in ranks:
        text = f"{rank:.0f} of {cap:,}"
        bars.append((block.name, block_colour(block.index), rank / cap, text))
        if block.width and cap < block.width:
            crystals = page.counted(cap, "crystal")
            capped.append(f"{words(block.name).lower()} ({crystals}, {block.width:,} features)")
    note = f"Capped by the number of held-out crystals, not of features: {page.listed(capped)}."
    text = "Effective rank of each block's features"
    return Passage(
        title="Effective rank",
        words=page.explained("rank"),
        drawings=(Drawing(svg=fraction_bars(bars, "effective rank / most possible", text)),),
        notes=(note,) if capped else (),
    )


def card_section(weights: Weights) -> Section | None:
    """What each block was trained on, and its whole card to unfold; None without cards."""
    passages, rows = [], []
    for block in [block for block in weights.blocks if block.card is not None]:
        data = block.card.data if block.card else {}
        crystals = (data.get("train_crystals"), data.get("val_crystals"), block.width)
        rank, dead = block.health("effective_rank"), block.health("dead_features")
        counts = (*crystals, rank, block.rank_cap, dead)
        texts = ("unknown" if value is None else f"{value:,.0f}" for value in counts)
        rows.append(page.plain_row(words(block.name), *texts))
        title = ": ".join(filter(None, (words(block.name), block.summary)))
        facts = _facts(asdict(block)["card"])
        passages.append(Passage(title=title, facts=facts, folded=True, block=block.index))
    for name, card in weights.bottlenecks.items():
        made = f"{page.counted(card.width, 'feature')} made of those of all blocks"
        title = f"{words(name)}: {made}, trained without labels"
        passages.append(Passage(title=title, facts=_facts(asdict(card)), folded=True))
    if rows:
        table = Table(title="What the blocks were trained on", heads=CARD_HEADS, rows=tuple(rows))
        passages.insert(0, Passage(tables=(table,)))
    if not passages:
        return None
    return Section(anchor="cards", title="Model cards", passages=tuple(passages))


def _facts(card: Mapping[str, Any]) -> tuple[page.Facts, ...]:
    """A card as groups of names and values; lists (figures of tasks) stand elsewhere."""
    groups = {words(name): entry for name, entry in card.items() if isinstance(entry, dict)}
    groups["Weights"] = {k: v for k, v in card.items() if not isinstance(v, (dict, list))}
    facts = []
    for title, entries in groups.items():
        texts = {k: json.dumps(v) if isinstance(v, (dict, list)) else v for k, v in entries.items()}
        facts += [(title, tuple((k, str(v)) for k, v in texts.items()))] if entries else []
    return tuple(facts)
