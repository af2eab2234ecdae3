"""The table of named physics, from the columns themselves into docs/physics.md.

    python scripts/render_physics.py

Fills what stands between ``<!-- table -->`` and ``<!-- end -->``; a test compares page and code.
"""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

from crystalssl.representation.physics.columns import ALWAYS, Column
from crystalssl.representation.physics.electron_numbers import electron_columns
from crystalssl.representation.physics.named_numbers import GROUPS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "physics.md"
SLOT = re.compile(r"<!-- table -->\n.*?<!-- end -->", re.DOTALL)
STATISTIC = re.compile(r"_(mean|std|min|max)(?=_|$)")
WORDS = re.compile(r"^(mean|standard deviation|minimum|maximum) of (the )?")


def table() -> str:
    """All groups, one row a quantity; statistics of one quantity share a row."""
    groups = [(group.title, group.columns) for group in GROUPS]
    groups.append(('Electrons, tight binding (`electronic="exact"`)', electron_columns("exact")))
    count = sum(len(columns) for _, columns in groups[:-1])
    lines = [
        f"{count} numbers, and {len(groups[-1][1])} of the electrons where they are asked for."
    ]
    for title, columns in groups:
        lines += ["", f"### {title}", "", "| name | unit | what it is | NaN |", "|---|---|---|---|"]
        lines += [row(list(entries)) for _, entries in groupby(columns, key=quantity)]
    return "\n".join(lines)


def quantity(column: Column) -> tuple[str, str]:
    """What statistics of one quantity have in common."""
    return STATISTIC.sub("_*", column.name, count=1), WORDS.sub("", column.meaning)


def row(entries: list[Column]) -> str:
    """One line of the table."""
    first, words = entries[0], [STATISTIC.search(entry.name) for entry in entries]
    name, meaning = first.name, first.meaning
    if len(entries) > 1:
        listed = ",".join(match[1] for match in words if match)
        name = STATISTIC.sub(f"_{{{listed}}}", first.name, count=1)
        meaning = WORDS.sub("", first.meaning)
    missing = "" if first.missing == ALWAYS else first.missing
    unit = "" if first.unit == "1" else first.unit
    return f"| `{name}` | {unit} | {meaning} | {missing} |"


def rendered(page: str) -> str:
    """The page with its table."""
    return SLOT.sub(lambda _: f"<!-- table -->\n{table()}\n<!-- end -->", page)


if __name__ == "__main__":
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
