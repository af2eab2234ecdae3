"""Records of evaluations -> what the weights had seen of the test crystals, and seeds and data."""

from __future__ import annotations

from collections.abc import Sequence

from crystalssl.evaluation.scenario import ResultTable, RunRecord
from crystalssl.report.page import Cell, Row, Table
from crystalssl.report.summary_rows import unique
from crystalssl.report.wording import words

TESTED, FORMULAS = "tested", "tested formulas"
SEEN = ("tested formulas seen", "tested with a seen formula", "tested structures seen")
"""Counts of the overlap guard (``evaluation/overlap.py``)."""
DROPPED = {
    "none": "none",
    "formulas": "those of a seen formula",
    "structures": "those seen themselves",
}
"""Test crystals that were left out, in words."""


def overlap_table(tables: Sequence[ResultTable]) -> Table | None:
    """How many test crystals were not new to the weights, by evaluation; None if none says."""
    rows = [
        Row(label=name_of(table.record), cells=_cells(table.record))
        for table in tables
        if "overlap" in table.record.config
    ]
    if not rows:
        return None
    return Table(
        heads=(
            "Evaluation",
            "crystals",
            "formulas",
            "formulas seen",
            "crystals of a seen formula",
            "crystals seen",
            "Left out",
        ),
        groups=(("", 1), ("Tested", 2), ("Of these, in pre-training", 3), ("", 1)),
        rows=tuple(rows),
    )


def _cells(record: RunRecord) -> tuple[Cell, ...]:
    counts, settings = record.counts, record.config["overlap"]
    tested, formulas = counts.get(TESTED, 0), counts.get(FORMULAS, 0)
    cells = [Cell(text=f"{tested:,}"), Cell(text=f"{formulas:,}")]
    for name, whole in zip(SEEN, (formulas, tested, tested), strict=True):
        if name not in counts:
            cells.append(Cell(text="unknown"))
            continue
        share = f"({100 * counts[name] / max(whole, 1):.0f} %)"
        cells.append(Cell(text=f"{counts[name]:,}", aside=share))
    dropped = str(settings.get("drop_seen", "none"))
    return (*cells, Cell(text=DROPPED.get(dropped, dropped)))


def overlap_reasons(tables: Sequence[ResultTable]) -> list[str]:
    """Why it cannot be told what the weights had seen, where it cannot."""
    found = [(table.record.config.get("overlap") or {}).get("seen_unknown") for table in tables]
    return unique(str(reason) for reason in found if reason)


def name_of(record: RunRecord) -> str:
    """An evaluation by name, with its task where it has one."""
    task = record.config.get("task")
    return f"{words(record.scenario)}, {task}" if task else words(record.scenario)


def record_table(tables: Sequence[ResultTable]) -> Table | None:
    """Rows, seeds and data of every evaluation; None without any."""
    rows = [
        Row(
            label=name_of(table.record),
            cells=(
                Cell(text=f"{len(table.rows):,}"),
                Cell(text=_seeds(table.record.seeds)),
                Cell(text=table.record.data_hash[:12]),
                Cell(text=table.record.versions.get("crystalssl", "")),
            ),
        )
        for table in tables
    ]
    if not rows:
        return None
    heads = ("Evaluation", "stored rows", "seeds", "digest of the data", "crystalssl")
    return Table(heads=heads, rows=tuple(rows))


def _seeds(seeds: Sequence[int]) -> str:
    shown = ", ".join(str(seed) for seed in seeds[:6])
    return f"{shown} and {len(seeds) - 6} more" if len(seeds) > 6 else shown


def left_out(record: RunRecord) -> str:
    """How many crystals took part, and why the others did not."""
    counts = dict(record.counts)
    total, compared = counts.get("crystals", 0), counts.get("compared", 0)
    if not total:
        return ""
    parts = [f"{compared:,} of {total:,} crystals are held by every feature set"]
    start = "not held by "
    parts += [
        f"{count:,} do not fit into {record.labels.get(name.removeprefix(start), name)}"
        for name, count in counts.items()
        if name.startswith(start)
    ]
    return "; ".join(parts) + "."
