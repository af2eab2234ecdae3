"""A run folder -> typed records of what is stored there, for the page.

Every part may be absent: a run that was stopped, or that had no labels, still gives a report. The
layout of the folder is described in ``docs/cli.md``.
"""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from crystalssl.blocks._registry import known_blocks, list_blocks
from crystalssl.config import read_json
from crystalssl.errors import InputError
from crystalssl.evaluation.linear_probe import SCENARIO, LinearProbe
from crystalssl.hub.card import CARD_FILE, ModelCard, TaskFigure
from crystalssl.report.embedding import EmbeddingMap, read_embedding
from crystalssl.representation.panel import GroupSparsity, iterate_panel, sparsity

SPARSITY_CRYSTALS = 512
"""Crystals on which the sparsity of the panel is measured, where it was not stored."""


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
class DataCounts:
    """What went in.

    Attributes:
        crystals: crystals in use, or None if unknown.
        parts: crystals of each part of the split.
        labels: crystals with each label column that is probed.
        skipped: structures left out, by reason, most frequent first.
    """

    crystals: int | None = None
    parts: dict[str, int] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    skipped: tuple[tuple[str, str, int], ...] = ()

    @property
    def skipped_count(self) -> int:
        """Structures left out in all."""
        return sum(count for _, _, count in self.skipped)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunData:
    """Everything a report may show.

    Attributes:
        folder: the run folder.
        config: effective settings of the run.
        blocks: one record per pre-trained block, in the order of the registry.
        data: counts of crystals.
        probe: the linear probe, or None.
        panel: sparsity of each panel group; empty if unknown.
        embedding: map of the features, or None.
    """

    folder: Path
    config: dict[str, Any]
    blocks: tuple[BlockRun, ...]
    data: DataCounts
    probe: LinearProbe | None
    panel: tuple[GroupSparsity, ...]
    embedding: EmbeddingMap | None


def read_run(folder: str | Path) -> RunData:
    """Read a run folder.

    Raises:
        InputError: if there is no such folder, it holds nothing to report, or a file in it is
            damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"Found no folder {folder}; expected the folder of a run. Check the path.")
    config = next((read_json(p) for p in _present(folder, "config.json", "run.json")), {})
    probe = next((LinearProbe.load(p) for p in _probe_folders(folder)), None)
    targets = list(dict.fromkeys(row.property for row in probe.table.rows)) if probe else []
    run = RunData(
        folder=folder,
        config=config,
        blocks=read_blocks(folder),
        data=_read_counts(folder, targets),
        probe=probe,
        panel=_read_sparsity(folder),
        embedding=read_embedding(folder, targets),
    )
    if not (run.blocks or run.probe or run.embedding):
        raise InputError(
            f"{folder} holds no trained blocks, no features and no evaluation; expected the folder "
            "of a run. Make one with: crystalssl run --out DIR"
        )
    return run


def read_blocks(folder: Path) -> tuple[BlockRun, ...]:
    """Blocks below a run folder, in the order of the registry, others last."""
    order = {block.name: index for index, block in enumerate(list_blocks())}
    found = {path.parent.name: path.parent for path in folder.glob("*/tasks.json")}
    found |= {path.parent.name: path.parent for path in folder.glob("blocks/*/tasks.json")}
    names = sorted(found, key=lambda name: (order.get(name, len(order)), name))
    extra = [name for name in names if name not in order]
    order |= {name: len(order) + index for index, name in enumerate(extra)}
    return tuple(_read_block(found[name], order[name]) for name in names)


def _read_block(folder: Path, index: int) -> BlockRun:
    stored = read_json(folder / "tasks.json")
    known = {block.name: block for block in known_blocks()}.get(folder.name)
    figures = tuple(
        TaskFigure(**{k: v for k, v in row.items() if k != "beats_trivial"})
        for row in stored.get("tasks", [])
    )
    return BlockRun(
        name=folder.name,
        index=index,
        number=None if known is None else known.number,
        summary="" if known is None else known.summary,
        width=None if known is None else known.width,
        figures=figures,
        teaches={} if known is None else {task.name: task.teaches for task in known.tasks},
        monitors={k: float(v) for k, v in stored.get("monitors", {}).items() if v is not None},
        history=_read_history(folder / "metrics.csv"),
        card=ModelCard.load(folder) if (folder / CARD_FILE).is_file() else None,
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


def _read_counts(folder: Path, targets: list[str]) -> DataCounts:
    """Counts from the structure table and the list of skipped structures."""
    skipped = _read_skipped(folder / "skipped.csv")
    path = folder / "structures.parquet"
    if not path.is_file():
        return DataCounts(skipped=skipped)
    schema = pq.read_schema(path).names
    wanted = [name for name in ("split", *targets) if name in schema]
    table = pq.read_table(path, columns=wanted)
    parts = Counter(table["split"].to_pylist()) if "split" in wanted else {}
    return DataCounts(
        crystals=pq.read_metadata(path).num_rows,
        parts={name: parts[name] for name in ("train", "val", "test") if name in parts},
        labels={t: table.num_rows - table[t].null_count for t in targets if t in wanted},
        skipped=skipped,
    )


def _read_skipped(path: Path) -> tuple[tuple[str, str, int], ...]:
    """(reason, remedy, count), most frequent first."""
    if not path.is_file():
        return ()
    with path.open(newline="", encoding="utf-8") as handle:
        counts = Counter((row["reason"], row["remedy"]) for row in csv.DictReader(handle))
    return tuple((reason, remedy, count) for (reason, remedy), count in counts.most_common())


def _read_sparsity(folder: Path) -> tuple[GroupSparsity, ...]:
    """Stored sparsity of the panel, or that of some crystals of the stored corpus."""
    for path in _present(folder, "panel_sparsity.json"):
        return tuple(GroupSparsity(**row) for row in read_json(path)["groups"])
    for path in _present(folder, "corpus.safetensors"):
        from crystalssl.datasets.corpus import Corpus

        source = Corpus.load(path).panel
        index = np.unique(np.linspace(0, len(source) - 1, SPARSITY_CRYSTALS).astype(int))
        return sparsity(np.concatenate(list(iterate_panel(source.take(index)))))
    return ()


def _present(folder: Path, *names: str) -> list[Path]:
    return [folder / name for name in names if (folder / name).is_file()]


def _probe_folders(folder: Path) -> list[Path]:
    return [path.parent for path in sorted(folder.glob(f"*/{SCENARIO}.parquet"))]
