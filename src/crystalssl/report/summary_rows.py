"""A stored summary with intervals -> typed rows, and the questions that sections ask of it.

Few labels and ablation store the same kind of summary (``evaluation/intervals.py``).
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from crystalssl.evaluation.intervals import Estimate
from crystalssl.report.intervals import Mark
from crystalssl.report.page import Cell
from crystalssl.report.wording import number, ranged, signed


def estimates_of(summary: pa.Table) -> list[Estimate]:
    """Rows of a summary, in the order stored."""
    names = Estimate.__slots__
    return [Estimate(**{n: row[n] for n in names}) for row in summary.to_pylist()]


def mark_of(entry: Estimate, colour: str, *, filled: bool = True, sign: bool = False) -> Mark:
    """The dot of an estimate; ``sign`` writes its number as a difference."""
    text = signed(entry.mean) if sign else number(entry.mean)
    return Mark(
        at=entry.mean, low=entry.low, high=entry.high, colour=colour, filled=filled, text=text
    )


def cell_of(entry: Estimate | None, *, sign: bool = False) -> Cell:
    """The table cell of an estimate, its interval beside it."""
    if entry is None:
        return Cell()
    aside = ranged(entry.low, entry.high)
    text = signed(entry.mean) if sign else number(entry.mean)
    return Cell(text=text, aside=f"({aside})" if aside else "")


def unique(values: Iterable[str]) -> list[str]:
    """Values without repeats, in order."""
    return list(dict.fromkeys(values))
