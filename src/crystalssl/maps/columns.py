"""A carried column -> what colours points: numbers with a range, or classes by their size.

Used by ``crystal_map.py``. Missing values stay missing: NaN among numbers, -1 among classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from crystalssl.errors import InputError
from crystalssl.report.page import words

EDGES = (2.0, 98.0)
"""Percentiles at which colours end, so that one outlier does not take them all."""
DECADES = 3.0
"""Powers of ten between the percentiles from which colours follow the logarithm."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One value a crystal, for colours and for reading.

    Attributes:
        name: name in the structure table, or of what was computed.
        kind: number, or category.
        values: (n,) float32, NaN where missing; or int32 rows of ``labels``, -1 where missing.
        unit: unit of numbers; may be empty.
        labels: classes, the most frequent first unless they have an order of their own.
        low: value of the first colour.
        high: value of the last colour.
        below: whether there are values below ``low``.
        above: whether there are values above ``high``.
        log: whether colours follow the logarithm.
    """

    name: str
    kind: Literal["number", "category"]
    values: npt.NDArray[Any]
    unit: str = ""
    labels: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 1.0
    below: bool = False
    above: bool = False
    log: bool = False

    @property
    def title(self) -> str:
        """The name as words."""
        return words(self.name)


def column_of(name: str, values: pa.ChunkedArray | pa.Array, unit: str = "") -> Column:
    """Numbers become a range of colours, everything else classes.

    Args:
        name: name of the column.
        values: n values; null, NaN and infinity are missing.
        unit: their unit.

    Raises:
        InputError: if the column holds lists or records, or no value at all.
    """
    kind = values.type
    if pa.types.is_nested(kind):
        raise InputError(
            f"Column {name!r} holds {kind}, expected numbers or text. Choose another with --color."
        )
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if is_number:
        numbers = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
        column = number_column(name, numbers, unit)
    else:
        column = category_column(name, values.cast(pa.string()).to_pylist())
    known = np.isfinite(column.values) if is_number else column.values >= 0
    if not known.any():
        raise InputError(f"Column {name!r} has no value for any crystal of the map.")
    return column


def number_column(name: str, values: npt.NDArray[np.floating], unit: str = "") -> Column:
    """A column of numbers, with the range of its colours."""
    known = np.asarray(values[np.isfinite(values)], dtype=np.float64)
    if not len(known):
        return Column(name=name, kind="number", values=values.astype(np.float32), unit=unit)
    positive = known[known > 0]
    low, high = _edges(positive) if len(positive) else (0.0, 0.0)
    is_log = len(positive) == len(known) and high > low * 10.0**DECADES
    if not is_log:
        low, high = _edges(known)
    finite = np.where(np.isfinite(values), values, np.nan).astype(np.float32)
    return Column(
        name=name, kind="number", values=finite, unit=unit, low=low, high=high, log=is_log,
        below=bool(known.min() < low), above=bool(known.max() > high),
    )  # fmt: skip


def _edges(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """First and last value with a colour; the whole range where percentiles coincide."""
    low, high = np.percentile(values, EDGES).tolist()
    return (low, high) if high > low else (float(values.min()), float(values.max()))


def category_column(
    name: str, values: Sequence[str | None], order: Sequence[str] | None = None
) -> Column:
    """A column of classes.

    Args:
        name: name of the column.
        values: n texts, None or empty where missing.
        order: classes in the order of their colours; the most frequent first by default.
    """
    texts = np.array([value or "" for value in values], dtype=np.str_)
    present, index, counts = np.unique(texts, return_inverse=True, return_counts=True)
    ranks = {text: rank for rank, text in enumerate(order or ())}
    rows = [row for row in range(len(present)) if present[row]]
    rows.sort(key=lambda row: (ranks.get(str(present[row]), len(ranks)), -counts[row]))
    code = np.full(len(present), -1, dtype=np.int32)
    code[rows] = np.arange(len(rows))
    labels = tuple(str(present[row]) for row in rows)
    return Column(name=name, kind="category", values=code[index.reshape(-1)], labels=labels)
