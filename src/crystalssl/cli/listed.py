"""Lists of crystals on screen: neighbours, near-duplicates, what is novel, what to label first.

The first rows of what ``pipeline.search`` and ``pipeline.selection`` return; all of it goes to the
table that ``--out`` names.
"""

from __future__ import annotations

from typing import Any

from crystalssl.cli.console import grid, say
from crystalssl.pipeline.listing import Listed

ROWS = 50
"""Rows that are shown."""


def show(listed: Listed) -> None:
    """Print the title and the first rows."""
    names = [name.removeprefix("similarity_") for name in listed.table.column_names]
    rows = [
        [_cell(value) for value in row.values()] for row in listed.table.slice(0, ROWS).to_pylist()
    ]
    if rows:
        grid(listed.title, names, rows)
    else:
        say(f"{listed.title}: none")
    if len(listed.table) > ROWS:
        say(f"{len(listed.table) - ROWS:,} more; --out FILE writes all")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
