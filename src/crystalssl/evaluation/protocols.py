"""Crystals, their labels and split column -> the protocol of splits that suits them.

What is asked for, or what the data allow; checked before hours of work. After splits.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crystalssl.datasets.splits import grouped_split
from crystalssl.errors import InputError, unknown_name
from crystalssl.evaluation.data import Target
from crystalssl.evaluation.splits import (
    Combined,
    HeldOutFolds,
    RepeatedSplits,
    SplitProtocol,
    Texts,
    TrainFractions,
)
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.formulas import reduced_formulas

PARTS = {"train", "val", "test"}
"""Words of a split column."""
PROTOCOLS = ("held-out", "repeated", "both")
"""Choices of a protocol of the linear probe."""


def train_fractions(
    crystals: Crystals,
    *,
    fractions: tuple[float, ...],
    repeats: int,
    full_repeats: int = 1,
    seed: int = 0,
) -> TrainFractions:
    """Few-shot splits after the split column of the crystals, else grouped by formula.

    Args:
        crystals: n crystals; a column ``split`` of train, val and test is followed.
        fractions: fractions of the training labels.
        repeats: repeats of each fraction.
        full_repeats: repeats where all labels are used.
        seed: seed of the test part where there is no split column.
    """
    names = _split_column(crystals)
    if names is not None and {"train", "test"} <= set(names.tolist()):
        pool, test, kind = names == "train", names == "test", "held-out"
    else:
        _, tested = grouped_split(reduced_formulas(crystals), (0.8, 0.2), seed)
        test, kind = np.isin(np.arange(len(crystals)), tested), "grouped"
        pool = ~test
    return TrainFractions(
        pool=np.asarray(pool, bool),
        test=np.asarray(test, bool),
        kind=kind,
        fractions=fractions,
        repeats=repeats,
        full_repeats=full_repeats,
    )


def choose_protocol(
    crystals: Crystals,
    targets: Sequence[Target],
    choice: str | None = None,
    *,
    seed: int = 0,
    repeats: int = 1,
) -> tuple[SplitProtocol, str]:
    """The protocol of the linear probe that was asked for, or all that the crystals allow.

    Args:
        crystals: n crystals; a column ``split`` of train, val and test says what was held out.
        targets: labels to predict.
        choice: one of ``PROTOCOLS``; None for both where possible, else repeated splits.
        seed: seed of held-out folds.
        repeats: seeds of repeated splits.

    Returns:
        The protocol, and why there are no held-out folds, empty where there are or none were asked
        for.

    Raises:
        InputError: if the labels do not suffice, or held-out folds are asked for without a split
            column.
        UnknownNameError: if there is no such choice.
    """
    if choice is not None and choice not in PROTOCOLS:
        raise unknown_name("protocol", choice, PROTOCOLS)
    names, groups = _split_column(crystals), reduced_formulas(crystals)
    repeated = RepeatedSplits(repeats=repeats)
    if names is None and choice in ("held-out", "both"):
        raise InputError(
            "Held-out folds need a column 'split' with train, val and test; the structures carry "
            "none. Use --protocol repeated, or structures of a run (structures.parquet)."
        )
    if names is None or choice == "repeated":
        check_protocol(repeated, targets, groups)
        return repeated, ""
    folds = HeldOutFolds(held_out=names == "test", seed=seed)
    chosen = folds if choice == "held-out" else Combined(protocols=(folds, repeated))
    try:
        check_protocol(chosen, targets, groups)
    except InputError as error:
        if choice is not None:
            raise
        check_protocol(repeated, targets, groups)
        return repeated, str(error)
    return chosen, ""


def run_protocol(crystals: Crystals, seed: int = 0) -> SplitProtocol:
    """Held-out folds if a split column says what was held out, else grouped repeated splits."""
    names = _split_column(crystals)
    if names is None:
        return RepeatedSplits(kinds=("grouped",))
    return HeldOutFolds(held_out=names == "test", seed=seed)


def check_protocol(protocol: SplitProtocol, targets: Sequence[Target], groups: Texts) -> None:
    """Find out before hours of work whether the labels suffice.

    Raises:
        InputError: if they do not.
    """
    for target in targets:
        protocol.splits(np.flatnonzero(np.isfinite(target.values)), groups)


def _split_column(crystals: Crystals) -> Texts | None:
    """(n,) part of every crystal, or None where no split column says."""
    columns = [] if crystals.columns is None else crystals.columns.column_names
    names = crystals.column("split") if "split" in columns else None
    return names if names is not None and set(names.tolist()) <= PARTS else None
