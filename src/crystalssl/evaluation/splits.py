"""Which rows are trained on and which are tested: protocols of splits, and their repeats.

Labelled rows and their formulas in, splits out. Every split passes :func:`check_split` before a
head sees it: no row on both sides, and in grouped splits no formula either. Before experiment.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from crystalssl.datasets.splits import grouped_folds, grouped_split
from crystalssl.errors import InputError

Index = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Texts = npt.NDArray[np.str_]

GROUPED = ("grouped", "held-out")
"""Kinds of split in which a formula may stand on one side only."""
LEAST_ROWS = 10
"""Training rows below which a train fraction is refused."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Rows of both sides of one split.

    Attributes:
        kind: ``random``, ``grouped`` or ``held-out``.
        train_fraction: nominal fraction that is trained on, the same for all folds and repeats.
        repeat: number of the repeat, which is also the seed of the split and of heads.
        fold: number of the test fold.
        train: training rows.
        test: test rows.
    """

    kind: str
    train_fraction: float
    repeat: int
    fold: int
    train: Index
    test: Index


class SplitProtocol(Protocol):
    """What makes splits; its fields, arrays apart, are its settings."""

    @property
    def seeds(self) -> list[int]:
        """Every seed in use."""

    def splits(self, rows: Index, groups: Texts) -> list[Split]:
        """Splits of the labelled rows; ``groups`` (n,) holds the formula of every crystal."""

    def words(self) -> str:
        """The protocol in a sentence or two."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldOutFolds:
    """Cross-validation (GroupKFold) over crystals that no encoder ever saw.

    The rows held out from pre-training are dealt into folds, grouped by formula. Each fold is
    tested once; trained on are all other labelled rows, of any part, whose formula is not in it.

    Attributes:
        held_out: (n,) True for crystals left out of pre-training, for training and for stopping.
        folds: number of test folds, at least 2.
        seed: seed of the folds.
    """

    held_out: Mask
    folds: int = 3
    seed: int = 0

    @property
    def seeds(self) -> list[int]:
        """The one seed."""
        return [self.seed]

    def splits(self, rows: Index, groups: Texts) -> list[Split]:
        """One split per fold.

        Raises:
            InputError: if too few labelled formulas were held out.
        """
        if len(self.held_out) != len(groups):
            raise InputError(
                f"Got {len(self.held_out)} marks of held-out crystals for {len(groups)} crystals; "
                "expected one each."
            )
        tested = rows[self.held_out[rows]]
        if len(np.unique(groups[tested])) < max(2, self.folds):
            raise InputError(
                f"Got {len(np.unique(groups[tested]))} labelled formulas held out from "
                f"pre-training; expected at least {max(2, self.folds)}. Hold out more crystals, "
                "or use fewer folds."
            )
        tests = [tested[fold] for fold in grouped_folds(groups[tested], self.folds, self.seed)]
        trains = [rows[~np.isin(groups[rows], groups[test])] for test in tests]
        fraction = round(float(np.mean([len(train) for train in trains])) / len(rows), 3)
        return [
            Split(
                kind="held-out",
                train_fraction=fraction,
                repeat=self.seed,
                fold=fold,
                train=train,
                test=test,
            )
            for fold, (train, test) in enumerate(zip(trains, tests, strict=True))
        ]

    def words(self) -> str:
        """The protocol in words."""
        return (
            f"Test rows are crystals that no encoder saw in pre-training, in {self.folds} folds "
            "grouped by formula (GroupKFold); each fold is tested once, by models trained on all "
            "other labelled crystals with different formulas."
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class RepeatedSplits:
    """Train/test splits with several train fractions, repeated over seeds.

    Attributes:
        fractions: fractions to train on.
        kinds: ``random`` and/or ``grouped``.
        repeats: seeds 0, 1, ... of each split; bootstrap intervals need no more than one.
    """

    fractions: tuple[float, ...] = (0.9, 0.8, 0.7, 0.6)
    kinds: tuple[str, ...] = ("random", "grouped")
    repeats: int = 3

    @property
    def seeds(self) -> list[int]:
        """Every seed in use."""
        return list(range(self.repeats))

    def splits(self, rows: Index, groups: Texts) -> list[Split]:
        """One split per kind, train fraction and seed.

        Raises:
            InputError: if a fraction is not between 0 and 1, or a kind is unknown.
        """
        if any(not 0 < fraction < 1 for fraction in self.fractions):
            raise InputError(
                f"Got train fractions {self.fractions}; expected 0 < fraction < 1 for each."
            )
        if set(self.kinds) - {"random", "grouped"}:
            raise InputError(f"Got split kinds {self.kinds}; expected random and/or grouped.")
        singles = np.arange(len(rows)).astype(str)
        made = []
        for kind in self.kinds:
            names = groups[rows] if kind == "grouped" else singles
            for fraction in self.fractions:
                for seed in self.seeds:
                    train, test = grouped_split(names, (fraction, 1 - fraction), seed)
                    made.append(
                        Split(
                            kind=kind,
                            train_fraction=fraction,
                            repeat=seed,
                            fold=0,
                            train=rows[train],
                            test=rows[test],
                        )
                    )
        return made

    def words(self) -> str:
        """The protocol in words."""
        fractions = ", ".join(f"{round(100 * f)}/{round(100 * (1 - f))}" for f in self.fractions)
        return (
            f"Splits {fractions} (train/test), {' and '.join(self.kinds)}, {self.repeats} "
            f"seed{'s' if self.repeats > 1 else ''} each; grouped splits keep a formula on one "
            "side."
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Combined:
    """Several protocols in one comparison.

    Attributes:
        protocols: the protocols, in order.
    """

    protocols: tuple[SplitProtocol, ...]

    @property
    def seeds(self) -> list[int]:
        """Every seed in use."""
        return sorted({seed for each in self.protocols for seed in each.seeds})

    def splits(self, rows: Index, groups: Texts) -> list[Split]:
        """The splits of all of them; raises as they do."""
        return [split for each in self.protocols for split in each.splits(rows, groups)]

    def words(self) -> str:
        """The protocols in words."""
        return " ".join(each.words() for each in self.protocols)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainFractions:
    """Few-shot splits: fractions of the training labels, drawn several times; one test part.

    A smaller fraction lies inside a larger one of the same repeat, and every feature set and head
    gets the same rows.

    Attributes:
        pool: (n,) True for crystals that may be trained on.
        test: (n,) True for crystals that are tested.
        kind: ``held-out`` where no encoder saw the test crystals, else ``grouped``.
        fractions: fractions of the labels of the pool.
        repeats: repeats of each fraction; a repeat has its number as seed, for the heads too.
        full_repeats: the same where all labels are used: rows are then the same in each, and only
            the seed of the head differs.
    """

    pool: Mask
    test: Mask
    kind: str
    fractions: tuple[float, ...] = (0.01, 0.05, 0.1, 1.0)
    repeats: int = 5
    full_repeats: int = 1

    @property
    def seeds(self) -> list[int]:
        """Every seed in use."""
        return list(range(max(self.repeats, self.full_repeats)))

    def splits(self, rows: Index, groups: Texts) -> list[Split]:
        """One split per fraction and repeat; pool rows of a tested formula are not drawn.

        Raises:
            InputError: if a fraction is not above 0 and at most 1, or gives too few rows.
        """
        in_range = all(0 < fraction <= 1 for fraction in self.fractions)
        if not in_range or min(self.repeats, self.full_repeats) < 1:
            raise InputError(
                f"Got train fractions {self.fractions} with {self.repeats} repeats; expected "
                "0 < fraction <= 1 and at least one repeat."
            )
        tested = rows[self.test[rows]]
        pool = rows[self.pool[rows] & ~np.isin(groups[rows], groups[tested])]
        made = []
        for fraction in self.fractions:
            count = round(fraction * len(pool))
            if count < LEAST_ROWS:
                raise InputError(
                    f"A fraction of {fraction:g} of {len(pool)} training labels is {count} rows; "
                    f"expected at least {LEAST_ROWS}. Use larger fractions or more labelled "
                    "crystals."
                )
            for repeat in range(self.full_repeats if count == len(pool) else self.repeats):
                order = np.random.default_rng(repeat).permutation(len(pool))
                made.append(
                    Split(
                        kind=self.kind,
                        train_fraction=fraction,
                        repeat=repeat,
                        fold=0,
                        train=np.sort(pool[order[:count]]),
                        test=tested,
                    )
                )
        return made

    def words(self) -> str:
        """The protocol in words."""
        where = (
            "Test rows are the test part, which no encoder saw in pre-training; labels are drawn "
            "from the train part alone, and the val part is not used"
            if self.kind == "held-out"
            else "Test rows are a fifth of the crystals, grouped by formula; labels are drawn from "
            "the rest"
        )
        if self.fractions == (1.0,) and self.full_repeats == 1:
            return f"{where}; all of them are used."
        fractions = ", ".join(f"{100 * fraction:g} %" for fraction in self.fractions)
        return (
            f"{where}. {fractions} of the training labels, {self.repeats} repeats each "
            f"({self.full_repeats} where all are used, with the seed of the head), the same rows "
            "for every feature set and head."
        )


def check_split(split: Split, groups: Texts) -> None:
    """Refuse a split through which a label could leak.

    Args:
        split: rows of both sides.
        groups: (n,) formula of every crystal.

    Raises:
        InputError: if a side is empty, a row is on both sides, or a formula is on both sides of a
            grouped split.
    """
    if len(split.train) < 2 or len(split.test) < 2:
        raise InputError(
            f"Got {len(split.train)} training and {len(split.test)} test rows; expected at least 2 "
            "of each. Use more labelled crystals."
        )
    shared = np.intersect1d(split.train, split.test)
    if len(shared):
        raise InputError(
            f"{len(shared)} crystals (row {shared[0]} first) are in both the training and the test "
            "part; expected none. Make the split again."
        )
    if split.kind not in GROUPED:
        return
    both = np.intersect1d(groups[split.train], groups[split.test]).tolist()
    if both:
        raise InputError(
            f"{len(both)} formulas ({both[0]} first) are in both parts of a split of kind "
            f"{split.kind!r}; expected none. Group the split by formula."
        )


def inner_folds(split: Split, groups: Texts, folds: int) -> list[Split]:
    """Folds of the training rows of a split, grouped by formula, for out-of-fold predictions."""
    return [
        replace(split, fold=fold, train=np.delete(split.train, held), test=split.train[held])
        for fold, held in enumerate(grouped_folds(groups[split.train], folds, split.repeat))
    ]
