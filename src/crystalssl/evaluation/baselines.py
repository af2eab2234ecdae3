"""Crystals and features -> a dataset of features beside baselines: raw FTCP, PCA, Magpie, hybrid.

All sets are aligned with the same crystals. After data.py and magpie.py, before experiment.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from crystalssl.errors import InputError, MissingExtraError, unknown_name
from crystalssl.evaluation.cache import Cache
from crystalssl.evaluation.data import (
    HYBRID,
    MAGPIE,
    PCA,
    RAW,
    SSL,
    Dataset,
    FeatureSet,
    Index,
    Matrix,
    Section,
    aligned,
    targets_of,
)
from crystalssl.evaluation.magpie import magpie_statistics
from crystalssl.features.features import Features
from crystalssl.processes import usable_cores
from crystalssl.representation import layout
from crystalssl.representation.ftcp import encode
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.formulas import reduced_formulas

CHUNK = 512
"""Crystals whose raw FTCP is held in full width at a time."""


def build_dataset(
    crystals: Crystals,
    targets: Sequence[str],
    features: Mapping[str, Features],
    *,
    baselines: Sequence[str] = (RAW, PCA, MAGPIE),
    cache: Cache | None = None,
) -> Dataset:
    """Features beside baselines, on the same crystals.

    A baseline whose package is not installed is left out; ``missing`` says so.

    Args:
        crystals: n crystals, cells as given, with labels.
        targets: label columns, or ``log10(COLUMN)``.
        features: features by name, in order; matched by id.
        baselines: any of raw FTCP, its principal axes, Magpie statistics and ``hybrid``, which is
            raw FTCP beside the features called ``ssl``.
        cache: keeps Magpie statistics.

    Raises:
        InputError: if labels or features do not fit the crystals.
        UnknownNameError: if there is no such column or baseline.
    """
    for name in baselines:
        if name not in (RAW, PCA, MAGPIE, HYBRID):
            raise unknown_name("baseline", name, (RAW, PCA, MAGPIE, HYBRID))
    learned = [aligned(name, each, crystals) for name, each in features.items()]
    sets, missing = [], []
    if {RAW, PCA, HYBRID} & set(baselines):
        sets.append(raw_ftcp(crystals))
    if HYBRID in baselines:
        ssl = list(features).index(SSL)
        both, (sets[0], learned[ssl]) = side_by_side(HYBRID, [sets[0], learned[ssl]])
        learned.append(both)
    if PCA in baselines:
        sets.append(principal_axes(sets[0]))
    if MAGPIE in baselines:
        try:
            sets.append(magpie(crystals, cache))
        except MissingExtraError as error:
            missing.append(str(error))
    return Dataset(
        ids=crystals.ids,
        groups=reduced_formulas(crystals),
        targets=tuple(targets_of(crystals, targets)),
        sets=(*sets, *learned),
        missing=tuple(missing),
    )


def raw_ftcp(crystals: Crystals) -> FeatureSet:
    """Raw FTCP, 25,200 numbers a crystal, on the cells as given.

    Columns that are the same for every crystal are never stored: they cannot carry weight. Of
    25,200 columns some 6,000 to 7,000 remain. Crystals with more than four elements or a hundred
    sites do not fit and are marked.

    Args:
        crystals: n crystals.
    """
    width = layout.RAW_SHAPE[0] * layout.RAW_SHAPE[1]
    valid, varies = np.zeros(len(crystals), bool), np.zeros(width, bool)
    first: Matrix | None = None
    for start in range(0, len(crystals), CHUNK):
        kept, array = _encoded(crystals, start)
        if len(kept):
            first = array[0].copy() if first is None else first
            varies |= (array != first).any(axis=0)
            valid[kept] = True
    columns = np.flatnonzero(varies)
    matrix = np.zeros((len(crystals), len(columns)), np.float32)
    for start in range(0, len(crystals), CHUNK):
        kept, array = _encoded(crystals, start)
        matrix[kept] = array[:, columns]
    section = Section(name=RAW, columns=len(columns), width=width, learned=False)
    return FeatureSet(
        name=RAW, label="Raw FTCP", matrix=matrix, valid=valid, width=width, sections=(section,)
    )


def _encoded(crystals: Crystals, start: int) -> tuple[Index, Matrix]:
    """Rows that fit, and their (m, 25200) arrays, of one chunk."""
    chunk = crystals.take(np.arange(start, min(start + CHUNK, len(crystals))))
    result = encode(chunk)
    return result.kept + start, result.array.reshape(len(result.kept), -1)


def magpie(crystals: Crystals, cache: Cache | None = None) -> FeatureSet:
    """Magpie statistics of the elements of every crystal (``magpie.py``).

    Args:
        crystals: n crystals; partial occupancies count as fractions.
        cache: keeps the result; a second call with the same formulas reads it.

    Raises:
        MissingExtraError: if matminer is not installed.
    """
    statistics = magpie_statistics(crystals, cache or Cache(), processes=usable_cores())
    valid = np.asarray(np.isfinite(statistics).all(axis=1))
    return FeatureSet(
        name=MAGPIE,
        label="Magpie statistics",
        matrix=np.where(valid[:, None], statistics, np.float32(0.0)),
        valid=valid,
        width=statistics.shape[1],
    )


def principal_axes(base: FeatureSet, rank: int = 2048) -> FeatureSet:
    """The leading principal axes of another set, fitted on the training rows of each split.

    With fewer training rows or columns than ``rank``, all axes that carry variance are used.

    Args:
        base: set to reduce; columns are standardised first.
        rank: number of axes.
    """
    return replace(
        base,
        name=f"{base.name}_pca",
        label=f"{base.label}, PCA {rank:,}",
        rank=rank,
        width=min(rank, base.width),
        sections=(),
    )


def side_by_side(
    name: str, sets: Sequence[FeatureSet]
) -> tuple[FeatureSet, tuple[FeatureSet, ...]]:
    """Several sets in one matrix, and the sets again as views of its columns.

    Use the views instead of the sets given: raw FTCP of 33,000 crystals is a gigabyte.

    Returns:
        The joint set, which holds the crystals that all of them hold, and the sets in order.

    Raises:
        InputError: if there are no sets, their crystals differ, or one uses but some columns.
    """
    if not sets or len({len(each.matrix) for each in sets}) != 1:
        raise InputError("Expected one or more feature sets of the same crystals to put together.")
    if any(each.rank is not None or each.columns is not None for each in sets):
        raise InputError("Cannot put principal axes or a choice of columns side by side.")
    both = FeatureSet(
        name=name,
        label=" + ".join(each.label for each in sets),
        matrix=np.concatenate([each.matrix for each in sets], axis=1),
        valid=np.logical_and.reduce([each.valid for each in sets]),
        width=sum(each.width for each in sets),
        sections=tuple(section for each in sets for section in each.sections),
    )
    edges = np.cumsum([0, *(each.matrix.shape[1] for each in sets)])
    views = tuple(
        replace(each, matrix=both.matrix[:, low:high])
        for each, low, high in zip(sets, edges[:-1], edges[1:], strict=True)
    )
    return both, views
