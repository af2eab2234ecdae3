"""Structures to pre-trained blocks, and features to a bottleneck: read, split, train, say how.

No label is read. In the folder of a run each block gets ``blocks/<name>`` with weights, card and
learning curve, and a bottleneck a folder of its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystalssl.config import Settings, TrainConfig, configured, get_preset
from crystalssl.errors import InputError, require, unknown_name
from crystalssl.files import exclusive
from crystalssl.pipeline.extraction import single_table
from crystalssl.pipeline.outputs import check_folder, forget_skipped, report_skipped
from crystalssl.pipeline.progress import SILENT, Progress, counted
from crystalssl.pipeline.structures import load_canonical
from crystalssl.pipeline.teaching import needs_student, teach_student, with_electrons
from crystalssl.processes import limited_threads

if TYPE_CHECKING:
    from crystalssl.blocks.contract import Block
    from crystalssl.datasets.corpus import Corpus
    from crystalssl.datasets.load import Structures
    from crystalssl.datasets.shards import ShardedCorpus
    from crystalssl.datasets.splits import Split
    from crystalssl.features.bottleneck_objective import BottleneckConfig
    from crystalssl.features.student_training import StudentConfig
    from crystalssl.hub.card import TaskFigure
    from crystalssl.structures.crystals import Crystals

HELD_OUT = 0.05
"""Fraction of the formulas that validate in pre-training from disk."""
FEW_CRYSTALS = 500
"""Crystals to train on below which figures say little."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is to be trained, and how.

    Attributes:
        blocks: blocks, ordered by number.
        config: training settings.
        configs: configuration of each block.
        bottleneck: configuration of a bottleneck.
        student: configuration of the student that predicts the electrons.
        init: run or name of weights to go on from; None for fresh ones.
    """

    blocks: tuple[type[Block], ...]
    config: TrainConfig
    configs: Mapping[str, Any]
    bottleneck: BottleneckConfig
    student: StudentConfig
    init: str | None = None


def plan_training(
    block: str | Sequence[str | int] = "all",
    preset: str = "quick",
    settings: Settings | None = None,
    *,
    init: str | Path | None = None,
    **changes: int | None,
) -> Plan:
    """Blocks and settings from what a user named; checked, before any work.

    Args:
        block: all, or names and numbers.
        preset: quick, paper or large.
        settings: values by section and setting.
        init: run or name of weights to go on from.
        changes: fields of ``TrainConfig`` given one by one; None leaves one as it is.

    Raises:
        InputError: if a setting cannot work, or ``init`` lacks a block.
        UnknownNameError: if there is no such block, preset, section, setting or weights.
        MissingExtraError: if Lightning is not installed.
    """
    require("pytorch_lightning", "train", "Pre-training")
    from crystalssl.blocks.registry import known_blocks, resolve_blocks
    from crystalssl.features.bottleneck_objective import BottleneckConfig
    from crystalssl.features.student_training import StudentConfig
    from crystalssl.hub.weights import load_cards

    blocks, given = resolve_blocks(block), settings or {}
    cards = {} if init is None else load_cards(init)
    missing = [entry.name for entry in blocks if init is not None and entry.name not in cards]
    if missing:
        raise InputError(
            f"{init} holds no weights of {', '.join(missing)} to go on from; it holds "
            f"{', '.join(cards)}. Choose among these with --block."
        )
    defaults: dict[str, Any] = {"bottleneck": BottleneckConfig(), "student": StudentConfig()}
    defaults["training"] = get_preset(preset)
    for entry in known_blocks():
        card = cards.get(entry.name)
        kept = {} if card is None else {**entry.absent, **card.config}
        defaults[entry.name] = entry.Config(**kept)
    for section in given:
        if section not in defaults:
            raise unknown_name("section of settings", section, defaults, "crystalssl config show")
    configs = {name: configured(c, given.get(name, {}), name) for name, c in defaults.items()}
    chosen = {name: value for name, value in changes.items() if value is not None}
    return Plan(
        blocks=blocks,
        config=configured(configs["training"], chosen, "training"),
        configs={entry.name: configs[entry.name] for entry in blocks},
        bottleneck=configs["bottleneck"],
        student=configs["student"],
        init=None if init is None else str(init),
    )


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
    """Pre-train blocks without labels; learning curves and weights go to RUN/blocks/NAME.

    Args:
        structures: paths or objects; a column ``split`` (train, val, test) is obeyed.
        out: folder of the run.
        block: all, or names and numbers.
        preset: quick, paper or large.
        settings: values by section and setting, as in a TOML file.
        epochs: passes over the training crystals at most, instead of the preset's.
        init: run or name of weights to go on from.
        resume: go on with the training that is there, with more epochs if asked for. The same
            call goes on where it was stopped in any case.
        force: replace training of other settings or crystals that is there.
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
            of other settings or crystals and ``force`` is not given.
        UnknownNameError: if there is no such block, preset, setting or weights.
    """
    from crystalssl.datasets.corpus import Corpus
    from crystalssl.datasets.splits import find_split

    changes = {"epochs": epochs, "seed": seed, "threads": threads}
    changes |= {"devices": devices, "nodes": nodes}
    plan = plan_training(block, preset, settings, init=init, **changes)
    folder = check_folder(out)
    corpus: Corpus | ShardedCorpus
    with _one_writer(folder), limited_threads(threads):
        if stream:
            corpus, split = _sharded(
                structures, folder, plan.config.seed, symprec, strict, progress
            )
        else:
            forget_skipped(folder)
            canonical = load_canonical(
                structures, folder, strict=strict, symprec=symprec, progress=progress
            )
            split = find_split(canonical.crystals, plan.config.seed)
            say_split(split, canonical.crystals, progress)
            with progress.step("Building neighbour graphs and lattice points"):
                corpus = Corpus.from_crystals(canonical)
            corpus = with_electrons(corpus, plan.blocks, progress)
        figures = train_blocks(
            plan, corpus, split, folder, resume=resume, force=force, progress=progress
        )
        if _is_first_process() and isinstance(corpus, Corpus) and needs_student(folder / "blocks"):
            teach_student(corpus, split, folder / "blocks", plan.student, progress)
    train, val = len(split.train), len(split.val)
    return Pretrained(folder=folder, figures=figures, train_crystals=train, val_crystals=val)


def _is_first_process() -> bool:
    """Whether this process is the one that writes, of several that a launcher started."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) == 0


@contextmanager
def _one_writer(folder: Path) -> Iterator[None]:
    """Keep other commands out of a folder; processes of one launcher share it."""
    if not _is_first_process():
        yield
        return
    with exclusive(folder):
        yield


def say_split(split: Split, crystals: Crystals | None, progress: Progress) -> None:
    """Say what is trained on, what is put aside, and whether it suffices.

    Args:
        split: rows of each part.
        crystals: where the split may come from; None if it comes from nowhere.
        progress: told.
    """
    from crystalssl.datasets.splits import has_split

    train, val, test = (len(rows) for rows in (split.train, split.val, split.test))
    how = "formulas kept together; a column 'split' chooses others"
    if crystals is not None and has_split(crystals):
        how = "by column 'split'"
    aside = f", {test:,} put aside for evaluation" if test else ""
    progress.note(f"{counted(train, 'crystal')} to train on, {val:,} to validate{aside} ({how})")
    if train < FEW_CRYSTALS:
        progress.note(
            f"Few crystals to learn from: {train:,}. Figures on {counted(val, 'crystal')} vary by "
            f"chance, a perfect one too; from about {FEW_CRYSTALS} they begin to mean something. "
            "For trained weights on these structures: crystalssl extract --weights default, or "
            "pretrain --init default to go on from them.",
            warning=True,
        )


def train_blocks(
    plan: Plan,
    corpus: Corpus | ShardedCorpus,
    split: Split,
    out: Path,
    *,
    resume: bool = False,
    force: bool = False,
    progress: Progress = SILENT,
) -> dict[str, list[TaskFigure]]:
    """Pre-train blocks, several at once, and say every task beside its trivial baseline.

    Training of the same settings and crystals that is there goes on from its last checkpoint.

    Args:
        plan: blocks and settings.
        corpus: their crystals.
        split: what to train on.
        out: folder of the run.
        resume: whether the training that is there must be of the same settings; epochs may be more.
        force: whether training of other settings or crystals may be replaced.
        progress: told of epochs, and of the figures at the end.

    Raises:
        InputError: if there is training of other settings, or training diverges.
    """
    from crystalssl.pretraining.parallel import default_workers, pretrain_blocks

    folder, names = out / "blocks", [block.name for block in plan.blocks]
    quiet = {"progress": False} if progress is SILENT else {}  # Lightning has a bar of its own
    with progress.step("Epochs", names) as advance:
        summaries = pretrain_blocks(
            corpus, names, split.train, split.val, plan.config.updated(quiet), folder,
            configs=plan.configs, init=plan.init, resume=names if resume else (), force=force,
            workers=default_workers(plan.config),
            watch=lambda name, epochs: advance(epochs, plan.config.epochs, name),
        )  # fmt: skip
    for block in plan.blocks:
        done = summaries[block.name]
        progress.note(f"Block {block.number}, {block.name}: {block.summary}")
        for figure in done.figures:
            trivial = figure.baselines.get(figure.trivial)
            if figure.model is None or trivial is None:
                continue
            verdict = "better than" if figure.beats_trivial else "not better than"
            line = f"  {figure.task}: {figure.figure} {figure.model:.4g}, {verdict} {trivial:.4g}"
            progress.note(f"{line} ({figure.trivial})", warning=not figure.beats_trivial)
        if done.left_out:
            number = counted(len(done.left_out), "crystal")
            first = f"first {done.left_out[0].id}: {done.left_out[0].reason}"
            progress.note(f"  {number} could not be learnt from, {first}", warning=True)
        progress.note(
            f"  best epoch {done.best_epoch + 1}, {done.seconds:.0f} s, {folder / block.name}"
        )
    return {name: summaries[name].figures for name in names}


def _sharded(
    structures: Structures, out: Path, seed: int, symprec: float, strict: bool, progress: Progress
) -> tuple[ShardedCorpus, Split]:
    """The corpus of one structure table in shards on disk, and rows to train and validate on.

    Shards that are there already and fit the table are taken; of several processes that a launcher
    started the first writes them.
    """
    import numpy as np

    from crystalssl.datasets.shards import ShardedCorpus, shards_fit, split_by_formula, write_shards
    from crystalssl.datasets.splits import Split

    table = single_table(structures)
    if table is None:
        raise InputError(
            "--stream reads one structure table (.parquet). Make it with: crystalssl convert "
            "SOURCES -o structures.parquet"
        )
    folder = out / "corpus"
    while not (fits := shards_fit(table, folder, seed=seed, symprec=symprec)):
        if _is_first_process():
            break
        time.sleep(5)
    if not fits:
        with progress.step("Canonical cells and neighbour graphs, shard by shard"):
            done = write_shards(table, folder, seed=seed, symprec=symprec)
        report_skipped(done.skipped, done.rows, out, strict=strict, progress=progress)
        progress.note(f"{counted(done.written, 'canonical crystal')} in shards: {folder}")
    corpus = ShardedCorpus(folder)
    held_out = split_by_formula(corpus.formulas, HELD_OUT)
    train, val = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    split = Split(train=train, val=val, test=np.zeros(0, np.int64))
    say_split(split, None, progress)
    return corpus, split
