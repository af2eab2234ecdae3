"""The records a page is built of: what a section module hands to the template.

Plain texts, drawings and tables; no numbers are computed here. Every scenario has one module
(``*_page.py``) that turns stored rows into a :class:`Section`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

Outcome = Literal["held", "open", "failed"]
"""Of what would have counted as failure: it did not happen; it cannot be told apart from chance;
it happened."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing that would have counted as failure, and whether it happened.

    Attributes:
        failure: what would have counted as failure.
        outcome: whether it happened.
        detail: the numbers behind the outcome.
    """

    failure: str
    outcome: Outcome
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """A figure with its words.

    Attributes:
        svg: inline SVG.
        title: what is shown, above it; may be empty.
        caption: how to read it, below it; may be empty.
    """

    svg: str
    title: str = ""
    caption: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: the number, as a person would write it.
        aside: its spread or interval, smaller.
        best: whether it is the best of its column.
        won: whether ours is better here; None where that is not asked.
    """

    text: str = ""
    aside: str = ""
    best: bool = False
    won: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row of a table.

    Attributes:
        label: what the row is about.
        cells: its cells.
        ours: whether it is about the features of interest.
    """

    label: str
    cells: tuple[Cell, ...]
    ours: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table with one or two rows of headings.

    Attributes:
        heads: heading of every column, that of the row labels first.
        rows: the rows.
        groups: headings above some columns with the number of columns they span, from the left;
            empty texts leave a gap.
        title: what it shows; may be empty.
    """

    heads: tuple[str, ...]
    rows: tuple[Row, ...]
    groups: tuple[tuple[str, int], ...] = ()
    title: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A stretch of a section.

    Attributes:
        title: heading; may be empty.
        words: what is shown; may be empty.
        drawings: figures; one stands alone, several stand side by side.
        tables: tables, below the figures.
        note: remark at the end; may be empty.
        folded: whether it is closed until the reader opens it.
    """

    title: str = ""
    words: str = ""
    drawings: tuple[Drawing, ...] = ()
    tables: tuple[Table, ...] = ()
    note: str = ""
    folded: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """One scenario on the page.

    Attributes:
        anchor: id of the section.
        title: heading.
        finding: what was found, a sentence or two; also stands in the summary.
        question: what is asked.
        protocol: what was compared, as the evaluation recorded it.
        checks: what would have counted as failure, and whether it happened.
        parts: figures and tables.
    """

    anchor: str
    title: str
    finding: str
    question: str
    protocol: str
    checks: tuple[Check, ...] = ()
    parts: tuple[Part, ...] = ()

    def tally(self) -> str:
        """How many of the failures looked for happened, in words."""
        count = len(self.checks)
        if count > 1 and all(check.outcome == "open" for check in self.checks):
            return f"Uncertain whether any of {count} failures looked for happened"
        happened, unsure = (sum(c.outcome == o for c in self.checks) for o in ("failed", "open"))
        text = f"{happened or 'None'} of {count} failures looked for happened"
        if count == 1:
            text = "The failure looked for happened" if happened else "No failure"
        return f"{text}; {unsure} uncertain" if unsure else text

    def outcome(self) -> Outcome:
        """The worst outcome of the checks."""
        found = [check.outcome for check in self.checks]
        return "failed" if "failed" in found else "open" if "open" in found else "held"


WORDS: dict[str, str] = {
    "held": "did not happen",
    "open": "uncertain",
    "failed": "happened",
}
"""Outcomes as words."""


def judged(mean: float, low: float | None, high: float | None) -> Outcome:
    """Outcome of a margin that should be positive, from its mean and interval."""
    if mean <= 0:
        return "open" if high is not None and high > 0 else "failed"
    return "open" if low is None or low <= 0 else "held"


def mark_best(rows: Sequence[Row], column: int, values: Sequence[float | None]) -> list[Row]:
    """The same rows with the smallest value of a column marked.

    Args:
        rows: rows of a table.
        column: cell to mark.
        values: number of each row, None where there is none; negate where higher is better.
    """
    known = [value for value in values if value is not None]
    if not known:
        return list(rows)
    marked = []
    for row, value in zip(rows, values, strict=True):
        cells = list(row.cells)
        if value is not None and value <= min(known):
            cells[column] = replace(cells[column], best=True)
        marked.append(replace(row, cells=tuple(cells)))
    return marked
