"""docs/experiments.csv, one row an experiment, into the page docs/experiments.md.

    python scripts/render_experiments.py

Add a row at the top of the CSV, run this, commit both; a test compares page and data.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"
DATA, PAGE = DOCS / "experiments.csv", DOCS / "experiments.md"
COLUMNS = (
    "date", "topic", "question", "change", "measured on", "before", "after", "kept", "why",
)  # fmt: skip
KEPT = {"yes": "kept", "no": "not kept", "open": "open"}
HEAD = """# Experiments

What was tried, what it changed, and what was kept. A change that did not help stays in the list.
Choices are made on the `val` part, figures quoted from `test`. Differences of 0.01 eV/atom in runs
of a few thousand crystals are within what another seed does. The data are
[experiments.csv](experiments.csv); this page is made from them by `scripts/render_experiments.py`.
"""


def read(path: Path = DATA) -> list[dict[str, str]]:
    """Rows of the data, newest first.

    Raises:
        ValueError: if columns differ, a cell is missing, or a date or verdict is none.
    """
    with path.open(newline="", encoding="utf-8") as handle:
        reader = csv.DictReader(handle)
        rows = list(reader)
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise ValueError(f"{path} has columns {reader.fieldnames}, expected {COLUMNS}")
    for number, row in enumerate(rows, start=2):
        if row["kept"] not in KEPT:
            raise ValueError(f"{path}, line {number}: kept is {row['kept']!r}, expected {[*KEPT]}")
        empty = [name for name in COLUMNS[:-1] if not row[name]]
        if empty or None in row:
            raise ValueError(f"{path}, line {number}: {empty or 'more cells than columns'}")
    if [row["date"] for row in rows] != sorted((row["date"] for row in rows), reverse=True):
        raise ValueError(f"{path}: rows must stand newest first")
    return rows


def rendered(rows: Sequence[dict[str, str]]) -> str:
    """The page: a summary, then every topic with its experiments."""
    topics = sorted({row["topic"] for row in rows})
    lines = [HEAD, "| topic | experiments | kept | open |", "|---|---|---|---|"]
    for topic in topics:
        kept = [row["kept"] for row in rows if row["topic"] == topic]
        anchor = topic.lower().replace(" ", "-")
        lines.append(
            f"| [{topic}](#{anchor}) | {len(kept)} | {kept.count('yes')} | {kept.count('open')} |"
        )
    for topic in topics:
        lines += ["", f"## {topic}"]
        for row in rows:
            if row["topic"] == topic:
                lines += ["", *_experiment(row)]
    return "\n".join(lines) + "\n"


def _experiment(row: dict[str, str]) -> list[str]:
    question = row["question"][0].upper() + row["question"][1:]
    verdict = f"{KEPT[row['kept']]}: {row['why']}" if row["why"] else KEPT[row["kept"]]
    return [
        f"### {question}",
        "",
        f"{row['date']}, {verdict}",
        "",
        f"- **Change**: {row['change']}",
        f"- **Measured on**: {row['measured on']}",
        f"- **Before**: {row['before']}",
        f"- **After**: {row['after']}",
    ]


if __name__ == "__main__":
    PAGE.write_text(rendered(read()), encoding="utf-8")
