"""Which rows are trained on and which are tested: the two protocols of a probe.

Labelled rows and their formulas in, splits out. Every split passes :func:`check_split` before a
model sees it: no row on both sides, and where formulas are kept whole, no formula either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from crystalssl.datasets.splits import grouped_folds, grouped_split
from crystalssl.errors import InputError

Index = npt.NDArray[np.int64]

GROUPED = ("grouped", "held-out")
"""Kinds of split in which a formula may stand on one side only."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Rows of one comparison.

    Attributes:
        kind: ``random``, ``grouped`` or ``held-out``.
        train_fraction: share of the rows that were meant to be trained on.
        seed: seed of the split.
        fold: number of the test fold.
        train: training rows.
        test: test rows.
        keep_predictions: whether predictions are stored for the parity plot.
    """

    kind: str
    train_fraction: float
    seed: int
    fold: int
    train: Index
    test: Index
    keep_predictions: bool = True


class SplitProtocol(Protocol):
    """What makes splits."""

    @property
    def seeds(self) -> list[int]:
        """Every seed in use."""

    def splits(self, rows: Index, groups: npt.NDArray[np.str_]) -> list[Split]:
        """Splits of the labelled rows; ``groups`` names the formula of every crystal."""

    def words(self) -> str:
        """The protocol in a sentence or two."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldOutFolds:
    """Tests on crystals that no encoder ever saw.

    The rows held out from pre-training are dealt into folds with formulas kept whole. Each fold
    is the test part once; trained on are all other labelled rows, of any part, whose formula is
    not in the fold.

    Attributes:
        held_out: (n,) True for crystals left out of pre-training, for training and for stopping.
        folds: number of test folds, at least 2.
        seed: seed of the folds.
    """

    held_out: npt.NDArray[np.bool_]
    folds: int = 3
    seed: int = 0

    @property
    def seeds(self) -> list[int]:
        """The one seed."""
        return [self.seed]

    def splits(self, rows: Index, groups: npt.NDArray[np.str_]) -> list[Split]:
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
        found = []
        for number, fold in enumerate(grouped_folds(groups[tested], self.folds, self.seed)):
            test = tested[fold]
            train = rows[~np.isin(groups[rows], groups[test])]
            found.append(
                Split(
                    kind="held-out",
                    train_fraction=len(train) / len(rows),
                    seed=self.seed,
                    fold=number,
                    train=train,
                    test=test,
                )
            )
        return found

    def words(self) -> str:
        """The protocol in words."""
        return (
            f"Test rows are crystals that no encoder saw in pre-training, dealt into {self.folds} "
            "folds with formulas kept whole; each fold is tested once, by models trained on all "
            "other labelled crystals with different formulas."
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class RepeatedSplits:
    """Train/test splits of several shares, repeated over seeds.

    Attributes:
        fractions: shares to train on.
        kinds: ``random`` and/or ``grouped``.
        repeats: seeds 0, 1, ... of each split; intervals (``margins.py``) need no more than one.
    """

    fractions: tuple[float, ...] = (0.9, 0.8, 0.7, 0.6)
    kinds: tuple[str, ...] = ("random", "grouped")
    repeats: int = 3

    @property
    def seeds(self) -> list[int]:
        """Every seed in use."""
        return list(range(self.repeats))

    def splits(self, rows: Index, groups: npt.NDArray[np.str_]) -> list[Split]:
        """One split per kind, share and seed.

        Raises:
            InputError: if a share is not between 0 and 1, or a kind is unknown.
        """
        if any(not 0 < share < 1 for share in self.fractions):
            raise InputError(f"Got shares {self.fractions} to train on; expected 0 < share < 1.")
        if set(self.kinds) - {"random", "grouped"}:
            raise InputError(f"Got split kinds {self.kinds}; expected random and/or grouped.")
        found = []
        for kind in self.kinds:
            names = groups[rows] if kind == "grouped" else np.arange(len(rows)).astype(str)
            for share in self.fractions:
                for seed in self.seeds:
                    train, test = grouped_split(names, (share, 1 - share), seed)
                    found.append(
                        Split(
                            kind=kind,
                            train_fraction=share,
                            seed=seed,
                            fold=0,
                            train=rows[train],
                            test=rows[test],
                            keep_predictions=seed == 0 and share == max(self.fractions),
                        )
                    )
        return found

    def words(self) -> str:
        """The protocol in words."""
        shares = ", ".join(f"{round(100 * f)}/{round(100 * (1 - f))}" for f in self.fractions)
        return (
            f"Splits {shares} (train/test), {' and '.join(self.kinds)}, {self.repeats} "
            f"seed{'s' if self.repeats > 1 else ''} each; grouped splits keep a formula on one "
            "side."
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Together:
    """Several protocols in one comparison.

    Attributes:
        parts: the protocols, in order.
    """

    parts: tuple[SplitProtocol, ...]

    @property
    def seeds(self) -> list[int]:
        """Every seed in use."""
        return sorted({seed for part in self.parts for seed in part.seeds})

    def splits(self, rows: Index, groups: npt.NDArray[np.str_]) -> list[Split]:
        """The splits of all of them.

        Raises:
            InputError: as the protocols.
        """
        return [split for part in self.parts for split in part.splits(rows, groups)]

    def words(self) -> str:
        """The protocols in words."""
        return " ".join(part.words() for part in self.parts)


def check_split(split: Split, groups: npt.NDArray[np.str_]) -> None:
    """Refuse a split through which a label could leak.

    Args:
        split: rows of both sides.
        groups: (n,) formula of every crystal.

    Raises:
        InputError: if a side is empty, a row is on both sides, or a formula is where formulas are
            to be kept whole.
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
    both: Sequence[str] = np.intersect1d(groups[split.train], groups[split.test]).tolist()
    if both:
        raise InputError(
            f"{len(both)} formulas ({both[0]} first) are in both parts of a split of kind "
            f"{split.kind!r}; expected none. Make the split with formulas kept whole."
        )
