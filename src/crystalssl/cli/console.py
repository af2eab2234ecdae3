"""The screen: where results and errors go, lines, tables, and numbers in them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console

from crystalssl.pipeline.progress import Screen

WIDTH = None if sys.stdout.isatty() else 120
"""Columns of the screen; in a file or a pipe there is no screen to ask."""
console = Console(highlight=False, width=WIDTH)
"""Where results go."""
error_console = Console(stderr=True, highlight=False)
"""Where errors go."""
screen = Screen(console)
"""Progress of every command."""
say = screen.note
"""Print a line as it is."""


def grid(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; columns that hold numbers are right-aligned."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title=escape(title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD
    )
    for index, name in enumerate(columns):
        numeric = bool(rows) and all(_is_number(row[index]) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)


def _is_number(text: str) -> bool:
    """Whether a cell begins like a number, or is empty or a dash."""
    return text.strip()[:1] in "-+.0123456789" if text.strip() else True


def mean_and_deviation(mean: float, deviation: float, count: int) -> str:
    """A mean with its standard deviation where there is one; three decimals unless large."""
    form = ".3f" if abs(mean) < 1000 else ".3g"
    return f"{mean:{form}} ± {deviation:{form}}" if count > 1 else f"{mean:{form}}"
