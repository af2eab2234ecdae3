"""The steps that several commands share: corpus, split, pre-training, features.

Each step calls one function of a layer below and says on screen what happened.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from crystalssl.cli.console import console, progress_bar, say, training_bars
from crystalssl.errors import InputError

if TYPE_CHECKING:
    from crystalssl.blocks.contract import Block
    from crystalssl.config import TrainConfig
    from crystalssl.datasets.corpus import Corpus
    from crystalssl.datasets.parts import PartedCorpus
    from crystalssl.features.extract import Features
    from crystalssl.hub.card import TaskFigure
    from crystalssl.structures.canonical import CanonicalResult
    from crystalssl.structures.crystals import Crystals

PARTS = ("train", "val", "test")
"""Values of a split column."""
FRACTIONS = (0.7, 0.1, 0.2)
"""Shares of the parts when the structures carry no split column."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Rows of each part; a reduced formula is in one part only.

    Attributes:
        train: rows that encoders are trained on.
        val: rows that decide when to stop.
        test: rows never seen in pre-training.
    """

    train: npt.NDArray[np.int64]
    val: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]

    def names(self) -> npt.NDArray[np.str_]:
        """(n,) the part of every row."""
        named = np.full(len(self.train) + len(self.val) + len(self.test), "train")
        named[self.val] = "val"
        named[self.test] = "test"
        return named


def find_split(crystals: Crystals, seed: int) -> Split:
    """The split column if there is one, else parts made with formulas kept together.

    Raises:
        InputError: if the split column holds other words than train, val and test, or if a part
            needed for training would be empty.
    """
    columns = [] if crystals.columns is None else crystals.columns.column_names
    if "split" in columns:
        names = crystals.column("split")
        unknown = sorted({str(name) for name in names} - set(PARTS))
        if unknown:
            raise InputError(
                f"Column 'split' holds {', '.join(unknown)}; expected only {', '.join(PARTS)}."
            )
        found = [np.flatnonzero(names == part) for part in PARTS]
    else:
        from crystalssl.datasets.splits import grouped_split
        from crystalssl.structures.formulas import reduced_formulas

        formulas = reduced_formulas(crystals)
        found = [np.arange(len(crystals))] + [np.zeros(0, np.int64)] * 2
        if len(np.unique(formulas)) >= len(PARTS):
            found = list(grouped_split(formulas, FRACTIONS, seed))
    split = Split(train=found[0], val=found[1], test=found[2])
    if not len(split.train) or not len(split.val):
        raise InputError(
            f"Pre-training needs crystals to train on and to validate with; got {len(split.train)} "
            f"and {len(split.val)} from {len(crystals)} structures. Give more structures of "
            "different formulas."
        )
    return split


def with_split(crystals: Crystals, seed: int) -> Crystals:
    """The same crystals with a split column; one that is there is kept.

    Raises:
        InputError: as ``find_split``.
    """
    import pyarrow as pa

    split = find_split(crystals, seed)
    names = pa.array(split.names().tolist())
    if crystals.columns is None:
        return crystals.with_columns(pa.table({"split": names}))
    if "split" in crystals.columns.column_names:
        return crystals
    return crystals.with_columns(crystals.columns.append_column("split", names))


def adjusted(
    preset: str, *, epochs: int | None, seed: int, threads: int | None = None
) -> TrainConfig:
    """The settings of a preset with what the user gave instead."""
    from crystalssl.config import get_preset

    changes = {"epochs": epochs, "seed": seed, "threads": threads}
    return get_preset(preset).updated({k: v for k, v in changes.items() if v is not None})


def build_corpus(canonical: CanonicalResult) -> Corpus:
    """Panel source, neighbour graph and crystal-level targets of canonical crystals."""
    from crystalssl.datasets.corpus import Corpus

    with console.status("Building neighbour graphs and lattice points"):
        return Corpus.from_crystals(canonical)


def blocks_folder(out: Path) -> Path:
    """Where the blocks of a run go: one folder each, with weights, card and learning curve."""
    return out / "blocks"


def pretrain_blocks(
    corpus: Corpus | PartedCorpus,
    split: Split,
    blocks: Sequence[type[Block]],
    config: TrainConfig,
    out: Path,
    *,
    resume: Collection[str],
) -> None:
    """Pre-train blocks, several at once; print every task beside its trivial baseline."""
    from crystalssl.pretraining.parallel import default_workers, pretrain_blocks

    folder = blocks_folder(out)
    with training_bars([block.name for block in blocks], config.epochs) as watch:
        summaries = pretrain_blocks(
            corpus,
            [block.name for block in blocks],
            split.train,
            split.val,
            config,
            folder,
            resume=resume,
            workers=default_workers(config),
            watch=watch,
        )
    for block in blocks:
        done = summaries[block.name]
        say(f"Block {block.number}, {block.name}: {block.summary}", "bold")
        say_figures(done.figures)
        say(f"  best epoch {done.best_epoch + 1}, {done.seconds:.0f} s, {folder / block.name}")


def say_figures(figures: Sequence[TaskFigure]) -> None:
    """One line per task: its figure, the trivial baseline's, and which is better."""
    for figure in figures:
        trivial = figure.baselines.get(figure.trivial)
        if figure.model is None or trivial is None:
            continue
        verdict = "better than" if figure.beats_trivial else "not better than"
        say(
            f"  {figure.task}: {figure.figure} {figure.model:.4g}, {verdict} "
            f"{trivial:.4g} ({figure.trivial})",
            None if figure.beats_trivial else "yellow",
        )


def load_encoders(weights: str | Path, choice: str) -> dict[str, Block]:
    """Trained blocks of a run folder, or of weights known by name.

    Raises:
        InputError: if there are none, or a chosen block is not among them.
    """
    from crystalssl.blocks.registry import resolve_blocks
    from crystalssl.hub.weights import load_run, run_folders

    if choice == "all":
        return load_run(weights)
    wanted = [block.name for block in resolve_blocks(choice)]
    found = run_folders(weights)
    missing = [name for name in wanted if name not in found]
    if missing:
        raise InputError(
            f"{weights} holds no weights of {', '.join(missing)}; it holds {', '.join(found)}. "
            "Choose among these with --block, or pre-train the others."
        )
    return load_run(weights, wanted)


def extract_features(
    source: Corpus | CanonicalResult,
    encoders: Mapping[str, Block],
    weights: str | Path,
    title: str = "Features",
) -> Features:
    """Features of every crystal, in order; ``weights`` says where the encoders come from."""
    from crystalssl.features.extract import extract
    from crystalssl.features.origins import origin_of

    origins = [origin_of(weights, encoders)]
    with progress_bar(title) as advance:
        return extract(source, encoders, origins=origins, progress=advance)


def untrained_features(
    source: Corpus | CanonicalResult,
    blocks: Sequence[str],
    seed: int,
    title: str = "Untrained encoders",
) -> Features:
    """Features of fresh encoders of ``blocks``: what architecture alone is worth."""
    from crystalssl.blocks.registry import build_block
    from crystalssl.features.container import UNTRAINED
    from crystalssl.features.extract import settle_encoders

    fresh = {name: build_block(name, seed=seed) for name in blocks}
    settle_encoders(source, fresh)
    return extract_features(source, fresh, UNTRAINED, title)
