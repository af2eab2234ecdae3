"""Crystals and given features -> the feature sets that are compared, row by row.

All sets are aligned with the same crystals; a crystal that a set cannot hold is marked, and the
comparison uses the crystals that every set holds. After features/, before linear_probe.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError
from crystalssl.representation import layout
from crystalssl.representation.ftcp import encode
from crystalssl.structures.crystals import Crystals

CHUNK = 512
"""Crystals whose raw FTCP is held in full width at a time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureSet:
    """One set of features, a row per crystal.

    Attributes:
        name: short name, unique in a comparison.
        label: name for people.
        matrix: (n, p) float32; rows of crystals it cannot hold are zero.
        valid: (n,) whether it holds the crystal.
        width: columns before those that are constant everywhere were left out.
        rank: None, or the number of principal axes of the training rows to use instead of the
            columns.
    """

    name: str
    label: str
    matrix: npt.NDArray[np.float32]
    valid: npt.NDArray[np.bool_]
    width: int
    rank: int | None = None


def given(
    name: str,
    label: str,
    ids: Sequence[str] | npt.NDArray[np.str_],
    matrix: npt.NDArray[np.float32],
    crystals: Crystals,
) -> FeatureSet:
    """Features from outside, brought into the order of the crystals by id.

    Args:
        name: short name.
        label: name for people.
        ids: (m,) ids of the features; crystals that are not among them are marked.
        matrix: (m, p) features.
        crystals: n crystals of the comparison.

    Raises:
        InputError: if ids and rows differ in number, ids repeat, values are not finite, or no
            crystal is among them.
    """
    if matrix.ndim != 2 or len(matrix) != len(ids):
        raise InputError(
            f"Feature set {name!r} has shape {matrix.shape} for {len(ids)} ids; expected one row "
            "for each id. Extract the features again."
        )
    position = {str(key): row for row, key in enumerate(ids)}
    if len(position) < len(ids):
        raise InputError(
            f"Feature set {name!r} has {len(ids) - len(position)} repeated ids; expected each once."
        )
    found = np.array([position.get(str(key), -1) for key in crystals.ids], dtype=np.int64)
    valid = found >= 0
    if not valid.any():
        raise InputError(
            f"None of the {len(crystals)} structures is among the {len(ids)} ids of feature set "
            f"{name!r}. Give the structures that the features were extracted from."
        )
    if np.array_equal(found, np.arange(len(matrix))):
        aligned = np.ascontiguousarray(matrix, dtype=np.float32)
    else:
        aligned = np.zeros((len(crystals), matrix.shape[1]), np.float32)
        aligned[valid] = matrix[found[valid]]
    if not np.isfinite(aligned).all():
        raise InputError(
            f"Feature set {name!r} holds values that are not finite; expected numbers only. "
            "Extract the features again."
        )
    return FeatureSet(name=name, label=label, matrix=aligned, valid=valid, width=matrix.shape[1])


def raw_ftcp(crystals: Crystals) -> FeatureSet:
    """Raw FTCP, 25,200 numbers a crystal, on the cells as given.

    Columns that are the same for every crystal are never stored: they cannot carry weight. Of
    25,200 columns some 6,000 to 7,000 remain. Crystals with more than four elements or a hundred
    sites do not fit and are marked.

    Args:
        crystals: n crystals.
    """
    width = layout.RAW_SHAPE[0] * layout.RAW_SHAPE[1]
    valid = np.zeros(len(crystals), bool)
    varies = np.zeros(width, bool)
    first: npt.NDArray[np.float32] | None = None
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
    return FeatureSet(name="raw_ftcp", label="Raw FTCP", matrix=matrix, valid=valid, width=width)


def _encoded(
    crystals: Crystals, start: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Rows that fit and their flat arrays, of one chunk."""
    part = crystals.take(np.arange(start, min(start + CHUNK, len(crystals))))
    result = encode(part)
    return result.kept + start, result.array.reshape(len(result.kept), -1)


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
    )


def side_by_side(
    name: str, label: str, sets: Sequence[FeatureSet]
) -> tuple[FeatureSet, list[FeatureSet]]:
    """Several sets in one matrix, and the sets again as views of its columns.

    Use the views instead of the sets given: raw FTCP of 33,000 crystals is a gigabyte.

    Returns:
        The joint set, as of :func:`concatenate`, and the sets in order.

    Raises:
        InputError: as :func:`concatenate`.
    """
    both = concatenate(name, label, sets)
    ends = np.cumsum([0, *(part.matrix.shape[1] for part in sets)])
    views = [
        replace(part, matrix=both.matrix[:, low:high])
        for part, low, high in zip(sets, ends[:-1], ends[1:], strict=True)
    ]
    return both, views


def concatenate(name: str, label: str, sets: Sequence[FeatureSet]) -> FeatureSet:
    """Several sets side by side; it holds the crystals that all of them hold.

    Raises:
        InputError: if there are no sets, their crystals differ, or one is a reduction.
    """
    if not sets or len({len(part.matrix) for part in sets}) != 1:
        raise InputError("Expected one or more feature sets of the same crystals to put together.")
    if any(part.rank is not None for part in sets):
        raise InputError("Cannot put principal axes beside columns; give the columns themselves.")
    return FeatureSet(
        name=name,
        label=label,
        matrix=np.concatenate([part.matrix for part in sets], axis=1),
        valid=np.logical_and.reduce([part.valid for part in sets]),
        width=sum(part.width for part in sets),
    )
