"""Row numbers of training, validation and test parts in which no group is divided.

For crystals a group is a reduced formula: two polymorphs, or the same crystal from two sources,
never stand on both sides of a split. Used by pre-training and by every probe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from crystalssl.errors import InputError
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.formulas import reduced_formulas

PARTS = ("train", "val", "test")
"""Values of a split column."""
FRACTIONS = (0.7, 0.1, 0.2)
"""Fractions of the crystals in each when there is no split column."""


def grouped_split(
    groups: Sequence[str] | npt.NDArray[np.str_], fractions: Sequence[float], seed: int = 0
) -> tuple[npt.NDArray[np.int64], ...]:
    """Split rows into parts of about the given shares, groups kept whole.

    Groups are shuffled and dealt in turn; a part is full when it holds its share of the rows, so
    each share is met to within the size of one group.

    Args:
        groups: (n,) group of each row, e.g. ``structures.formulas.reduced_formulas(crystals)``.
        fractions: shares that add up to 1, e.g. ``(0.8, 0.1, 0.1)``.
        seed: seed of the shuffle.

    Returns:
        One sorted int64 array of row numbers for each share; together all rows.

    Raises:
        InputError: if the shares do not add up to 1, or a part would be empty.

    Example:
        >>> train, test = grouped_split(["NaCl", "NaCl", "MgO", "Si"], (0.5, 0.5), seed=1)
        >>> sorted([*train.tolist(), *test.tolist()])
        [0, 1, 2, 3]
    """
    shares = np.asarray(fractions, dtype=np.float64)
    if shares.ndim != 1 or (shares <= 0).any() or not np.isclose(shares.sum(), 1.0):
        raise InputError(f"Got shares {list(fractions)}, expected positive ones that add up to 1.")
    label, sizes = _shuffled(groups, seed)
    if len(sizes) < len(shares):
        raise InputError(
            f"Got {len(sizes)} groups for {len(shares)} parts, expected at least one group each. "
            "Use more crystals or fewer parts."
        )
    middle = np.cumsum(sizes) - sizes / 2
    part = np.searchsorted(np.cumsum(shares)[:-1] * sizes.sum(), middle, side="right")
    for number in range(len(shares)):  # a share below one group's size still gets a group
        if not (part == number).any():
            part[_spare_group(part, len(shares))] = number
    return tuple(np.flatnonzero(part[label] == number) for number in range(len(shares)))


def grouped_folds(
    groups: Sequence[str] | npt.NDArray[np.str_], k: int, seed: int = 0
) -> tuple[npt.NDArray[np.int64], ...]:
    """Deal rows into ``k`` folds of about equal size, groups kept whole.

    Args:
        groups: (n,) group of each row.
        k: number of folds, at least 2.
        seed: seed of the shuffle.

    Returns:
        ``k`` sorted int64 arrays of row numbers; together all rows.

    Raises:
        InputError: if there are fewer than two folds, or fewer groups than folds.
    """
    if k < 2:
        raise InputError(f"Got {k} folds, expected at least 2.")
    return grouped_split(groups, [1 / k] * k, seed)


def _shuffled(
    groups: Sequence[str] | npt.NDArray[np.str_], seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Shuffled group number of each row, and rows of each group."""
    names, label = np.unique(np.asarray(groups), return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(names))
    label = order[label.reshape(-1)].astype(np.int64)
    return label, np.bincount(label, minlength=len(names)).astype(np.int64)


def _spare_group(part: npt.NDArray[np.int64], parts: int) -> int:
    """Last group of the part that has most groups."""
    richest = int(np.argmax(np.bincount(part, minlength=parts)))
    return int(np.flatnonzero(part == richest)[-1])


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


def has_split(crystals: Crystals) -> bool:
    """Whether crystals carry a column that says what to train on."""
    return crystals.columns is not None and "split" in crystals.columns.column_names


def find_split(crystals: Crystals, seed: int) -> Split:
    """The split column if there is one, else a split with formulas kept together.

    Raises:
        InputError: if the split column holds other words than train, val and test, or if nothing
            would be left to train on or to validate with.
    """
    if has_split(crystals):
        names = crystals.column("split")
        unknown = sorted({str(name) for name in names} - set(PARTS))
        if unknown:
            raise InputError(
                f"Column 'split' holds {', '.join(unknown)}; expected only {', '.join(PARTS)}."
            )
        rows = [np.flatnonzero(names == name) for name in PARTS]
    else:
        formulas = reduced_formulas(crystals)
        rows = [np.arange(len(crystals))] + [np.zeros(0, np.int64)] * 2
        if len(np.unique(formulas)) >= len(PARTS):
            rows = list(grouped_split(formulas, FRACTIONS, seed))
    split = Split(train=rows[0], val=rows[1], test=rows[2])
    if not len(split.train) or not len(split.val):
        raise InputError(
            f"Pre-training needs crystals to train on and to validate with; got {len(split.train)} "
            f"and {len(split.val)} from {len(crystals)} structures. Give more "
            "structures of different formulas."
        )
    return split


def with_split(crystals: Crystals, seed: int) -> Crystals:
    """The same crystals with a split column; one that is there is kept.

    Raises:
        InputError: as ``find_split``.
    """
    split = find_split(crystals, seed)
    names = pa.array(split.names().tolist())
    if crystals.columns is None:
        return crystals.with_columns(pa.table({"split": names}))
    if has_split(crystals):
        return crystals
    return crystals.with_columns(crystals.columns.append_column("split", names))
