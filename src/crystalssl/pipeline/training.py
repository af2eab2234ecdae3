"""Structures to pre-trained blocks: read, split, build the corpus, train, say how it went.

No label is read. Each block gets a folder ``blocks/<name>`` in the run with weights, card and
learning curve.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crystalssl.blocks.contract import Block
from crystalssl.blocks.registry import resolve_blocks
from crystalssl.config import TrainConfig
from crystalssl.datasets.corpus import Corpus
from crystalssl.datasets.parts import PartedCorpus, parts_fit, split_by_formula, write_parts
from crystalssl.errors import InputError
from crystalssl.files import exclusive
from crystalssl.hub.card import TaskFigure
from crystalssl.pipeline.outputs import (
    check_folder,
    forget_skipped,
    limited_threads,
    report_skipped,
)
from crystalssl.pipeline.progress import SILENT, Progress, counted
from crystalssl.pipeline.settings import Settings, check_settings, configured, training_config
from crystalssl.pipeline.structures import (
    Split,
    Structures,
    find_split,
    has_split,
    load_canonical,
)
from crystalssl.structures.canonical import CanonicalResult

HELD_OUT = 0.05
"""Fraction of the formulas that validate in pre-training from disk."""
FEW_CRYSTALS = 500
"""Crystals to train on below which figures say little."""
TABLES = (".parquet", ".pq")
"""Endings of structure tables."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is to be trained, and how.

    Attributes:
        blocks: blocks, ordered by number.
        config: training settings.
        configs: configuration of each block.
        init: run or name of weights to go on from; None for fresh ones.
    """

    blocks: tuple[type[Block], ...]
    config: TrainConfig
    configs: Mapping[str, Any] = field(default_factory=dict)
    init: str | None = None


def plan_training(
    block: str | Sequence[str | int],
    preset: str,
    settings: Settings,
    *,
    init: str | Path | None = None,
    **changes: int | None,
) -> Plan:
    """Blocks and settings from what a user named; checked, before any work.

    Args:
        block: all, or names and numbers.
        preset: quick, paper or large.
        settings: values by section and field (``pipeline.settings``).
        init: run or name of weights to go on from.
        changes: fields of ``TrainConfig`` given one by one.

    Raises:
        InputError: if a setting cannot work, or ``init`` lacks a block.
        UnknownNameError: if there is no such block, preset, setting or weights.
    """
    from crystalssl.hub.weights import load_cards

    blocks = resolve_blocks(block)
    check_settings(settings)
    config = training_config(preset, settings, **changes)
    cards = {} if init is None else load_cards(init)
    missing = [entry.name for entry in blocks if init is not None and entry.name not in cards]
    if missing:
        raise InputError(
            f"{init} holds no weights of {', '.join(missing)} to go on from; it holds "
            f"{', '.join(cards)}. Choose among these with --block."
        )
    configs = {}
    for entry in blocks:
        start = entry.Config(**cards[entry.name].config) if cards else entry.Config()
        configs[entry.name] = configured(start, settings.get(entry.name, {}), entry.name)
    return Plan(blocks=blocks, config=config, configs=configs, init=None if not init else str(init))


@dataclass(frozen=True, kw_only=True, slots=True)
class Pretrained:
    """What pre-training left behind.

    Attributes:
        folder: the run; give it as ``weights``.
        figures: held-out figures of the tasks of each block.
        train_crystals: number of crystals trained on.
        val_crystals: number of crystals that decided when to stop.
    """

    folder: Path
    figures: dict[str, list[TaskFigure]]
    train_crystals: int
    val_crystals: int


def pretrain(
    structures: Structures,
    out: str | Path = "runs/pretrained",
    *,
    block: str | Sequence[str | int] = "all",
    preset: str = "quick",
    settings: Settings | None = None,
    epochs: int | None = None,
    init: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    stream: bool = False,
    strict: bool = False,
    symprec: float = 0.01,
    seed: int | None = None,
    threads: int | None = None,
    devices: int | None = None,
    nodes: int | None = None,
    progress: Progress = SILENT,
) -> Pretrained:
    """Pre-train blocks without labels.

    Args:
        structures: paths or objects; a column ``split`` (train, val, test) is obeyed.
        out: folder of the run.
        block: all, or names and numbers.
        preset: quick, paper or large.
        settings: values by section and field, as in a TOML file.
        epochs: passes over the training crystals at most, instead of the preset's.
        init: run or name of weights to go on from.
        resume: go on where an earlier call stopped.
        force: replace weights that are there.
        stream: keep the corpus in shards on disk, not in memory; needs one structure table.
        strict: whether a structure that cannot be used is an error.
        symprec: tolerance of the symmetry search in angstrom.
        seed: seed of all randomness; 0 unless ``settings`` say otherwise.
        threads: threads to use; all cores by default.
        devices: GPUs or processes on each host, under a launcher.
        nodes: hosts, under a launcher.
        progress: told what is done.

    Raises:
        InputError: if structures or settings cannot be used, or the folder holds trained weights
            and neither ``resume`` nor ``force`` is given.
        UnknownNameError: if there is no such block, preset, setting or weights.
    """
    changes = {"epochs": epochs, "seed": seed, "threads": threads}
    changes |= {"devices": devices, "nodes": nodes}
    plan = plan_training(block, preset, settings or {}, init=init, **changes)
    out, names = check_folder(out), [entry.name for entry in plan.blocks]
    with _one_writer(out), limited_threads(threads):
        if not (resume or force) and is_first_process():
            refuse_trained(out, names)
        reading = {"strict": strict, "symprec": symprec}
        if stream:
            corpus, split = _sharded(structures, out, plan.config.seed, progress, **reading)
        else:
            forget_skipped(out)
            canonical = load_canonical(structures, out, progress=progress, **reading)
            split = find_split(canonical.crystals, plan.config.seed)
            told = has_split(canonical.crystals)
            say_split(split, told, progress)
            corpus = build_corpus(canonical, progress)
        figures = train_blocks(plan, corpus, split, out, names if resume else (), progress)
    return Pretrained(
        folder=out,
        figures=figures,
        train_crystals=len(split.train),
        val_crystals=len(split.val),
    )


def is_first_process() -> bool:
    """Whether this process is the one that writes, of several that a launcher started."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) == 0


@contextmanager
def _one_writer(out: Path) -> Iterator[None]:
    """Keep other commands out of a folder; processes of one launcher share it."""
    if not is_first_process():
        yield
        return
    with exclusive(out):
        yield


def blocks_folder(out: Path) -> Path:
    """Where the blocks of a run go: one folder each, with weights, card and learning curve."""
    return out / "blocks"


def refuse_trained(out: Path, names: Sequence[str]) -> None:
    """Leave alone what hours of training may have gone into.

    Raises:
        InputError: if one of the blocks has weights or checkpoints there.
    """
    from crystalssl.pretraining.outputs import RunFolder

    folders = [RunFolder(path=blocks_folder(out) / name) for name in names]
    there = [f.path.name for f in folders if f.is_finished or f.last.is_file()]
    if there:
        raise InputError(
            f"{blocks_folder(out)} holds training of {', '.join(there)}. Go on from it with "
            "--resume (resume=True), replace it with --force (force=True), or choose another --out."
        )


def build_corpus(canonical: CanonicalResult, progress: Progress) -> Corpus:
    """Lattice points, neighbour graph and crystal-level targets of canonical crystals."""
    with progress.step("Building neighbour graphs and lattice points"):
        return Corpus.from_crystals(canonical)


def say_split(split: Split, given: bool, progress: Progress) -> None:
    """Say what is trained on, what is put aside, and whether it suffices."""
    train, val, test = (len(rows) for rows in (split.train, split.val, split.test))
    how = "by column split" if given else "formulas kept together; a column split chooses others"
    aside = f", {test:,} put aside for evaluation" if test else ""
    progress.note(f"{counted(train, 'crystal')} to train on, {val:,} to validate{aside} ({how})")
    if train < FEW_CRYSTALS:
        progress.note(
            f"Few crystals to learn from: {train:,}. Figures on {counted(val, 'crystal')} vary by "
            f"chance, a perfect one too; from about {FEW_CRYSTALS} they begin to mean something. "
            "To use these structures with trained weights: crystalssl extract --weights default, "
            "or --init default to go on from them.",
            warning=True,
        )


def train_blocks(
    plan: Plan,
    corpus: Corpus | PartedCorpus,
    split: Split,
    out: Path,
    resume: Collection[str],
    progress: Progress,
) -> dict[str, list[TaskFigure]]:
    """Pre-train blocks, several at once, and say every task beside its trivial baseline.

    Args:
        plan: blocks and settings.
        corpus: their crystals.
        split: what to train on.
        out: folder of the run.
        resume: names of the blocks that go on from their last checkpoint.
        progress: told of epochs, and of the figures at the end.
    """
    from crystalssl.pretraining.parallel import default_workers, pretrain_blocks

    folder, names = blocks_folder(out), [block.name for block in plan.blocks]
    with progress.step("Epochs", names) as advance:
        summaries = pretrain_blocks(
            corpus,
            names,
            split.train,
            split.val,
            plan.config,
            folder,
            configs=plan.configs,
            init=plan.init,
            resume=resume,
            workers=default_workers(plan.config),
            watch=lambda name, epochs: advance(epochs, plan.config.epochs, name),
        )
    for block in plan.blocks:
        done = summaries[block.name]
        progress.note(f"Block {block.number}, {block.name}: {block.summary}")
        _say_figures(done.figures, progress)
        progress.note(
            f"  best epoch {done.best_epoch + 1}, {done.seconds:.0f} s, {folder / block.name}"
        )
    return {name: summaries[name].figures for name in names}


def _say_figures(figures: Sequence[TaskFigure], progress: Progress) -> None:
    """One line per task: its figure, the trivial baseline's, and which is better."""
    for figure in figures:
        trivial = figure.baselines.get(figure.trivial)
        if figure.model is None or trivial is None:
            continue
        verdict = "better than" if figure.beats_trivial else "not better than"
        progress.note(
            f"  {figure.task}: {figure.figure} {figure.model:.4g}, {verdict} "
            f"{trivial:.4g} ({figure.trivial})",
            warning=not figure.beats_trivial,
        )


def _sharded(
    structures: Structures,
    out: Path,
    seed: int,
    progress: Progress,
    *,
    strict: bool,
    symprec: float,
) -> tuple[PartedCorpus, Split]:
    """The corpus of one structure table in shards on disk, and rows to train and validate on.

    Shards that are there already and fit the table are taken; of several processes that a launcher
    started the first writes them.
    """
    paths = [structures] if isinstance(structures, str | Path) else list(structures)
    table = Path(paths[0]) if len(paths) == 1 and isinstance(paths[0], str | Path) else Path()
    if table.suffix.lower() not in TABLES:
        raise InputError(
            "--stream reads one structure table (.parquet). Make it with: crystalssl convert "
            "SOURCES -o structures.parquet"
        )
    folder = out / "corpus"
    while not (fits := parts_fit(table, folder, seed=seed, symprec=symprec)):
        if is_first_process():
            break
        time.sleep(5)
    if not fits:
        with progress.step("Canonical cells and neighbour graphs, shard by shard"):
            done = write_parts(table, folder, seed=seed, symprec=symprec)
        report_skipped(done.skipped, done.rows, out, strict=strict, progress=progress)
        progress.note(f"{counted(done.written, 'canonical crystal')} in shards: {folder}")
    corpus = PartedCorpus(folder)
    held_out = split_by_formula(corpus.formulas, HELD_OUT)
    split = Split(
        train=np.flatnonzero(~held_out),
        val=np.flatnonzero(held_out),
        test=np.zeros(0, np.int64),
    )
    say_split(split, False, progress)
    return corpus, split
