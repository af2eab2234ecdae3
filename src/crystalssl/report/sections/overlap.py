"""What went in, what was left out, and what the weights had seen -> the section on data.

Counts of the pre-training overlap stand in the record of every evaluation
(``evaluation/overlap.py``); the other counts are those of the structure table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from crystalssl.evaluation.results import Record, Results
from crystalssl.hub.seen import FALSE_POSITIVE_RATE
from crystalssl.report import page
from crystalssl.report.charts import fraction_bars
from crystalssl.report.page import Drawing, Passage, Section, Table, TableCell, TableRow, words
from crystalssl.report.svg import block_colour
from crystalssl.representation.panel import GroupSparsity

TESTED, FORMULAS = "tested", "tested formulas"
SEEN = ("tested formulas seen", "tested with a seen formula", "tested structures seen")
"""Counts of the pre-training overlap."""
DROPPED = {
    "none": "none",
    "formulas": "those of a seen formula",
    "structures": "those seen themselves",
}
"""Test crystals that were left out, in words."""
OVERLAP_HEADS = (
    "Evaluation", "crystals", "formulas", "formulas seen", "crystals of a seen formula",
    "crystals seen", "Left out",
)  # fmt: skip
MOST_REASONS = 12
"""Reasons for skipped structures that are shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataCounts:
    """What went in.

    Attributes:
        crystals: crystals in use, or None if unknown.
        splits: crystals of training, validation and test.
        labels: crystals with each label column that is predicted.
        skipped: structures left out by conversion and by the run: reason, remedy and count, most
            frequent first.
        lists: names of the lists that these come from.
    """

    crystals: int | None = None
    splits: dict[str, int] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    skipped: tuple[tuple[str, str, int], ...] = ()
    lists: tuple[str, ...] = ()


def data_section(
    data: DataCounts, panel: Sequence[GroupSparsity], results: Sequence[Results]
) -> Section:
    """Counts, pre-training overlap, skipped structures, and how full the panel is."""
    facts = {"Crystals in use": data.crystals} if data.crystals else {}
    facts |= {f"In {name}": count for name, count in data.splits.items()}
    facts |= {f"With {words(name).lower()}": count for name, count in data.labels.items()}
    facts |= {"Left out": sum(count for _, _, count in data.skipped)}
    shown = tuple((name, f"{count:,}") for name, count in facts.items())
    passages = [Passage(facts=(("", shown),)), *_overlap([entry.record for entry in results])]
    passages += [_skipped(data)] if data.skipped else []
    if panel:
        bars = [
            (group.name, block_colour(index), group.filled, f"of {group.numbers:,}")
            for index, group in enumerate(panel)
        ]
        text = "Fraction of filled numbers in each panel group"
        svg = fraction_bars(bars, "fraction of numbers that are not zero", text)
        title, told = "How full the panel is", page.explained("panel")
        passages.append(Passage(title=title, words=told, drawings=(Drawing(svg=svg),)))
    return Section(anchor="data", title="Data", passages=tuple(passages))


def _skipped(data: DataCounts) -> Passage:
    rows = [
        TableRow(label=reason, cells=(TableCell(text=remedy, prose=True), TableCell(text=f"{n:,}")))
        for reason, remedy, n in data.skipped[:MOST_REASONS]
    ]
    more = len(data.skipped) - MOST_REASONS
    rest = f" And {page.counted(more, 'further reason')} there." if more > 0 else ""
    table = Table(heads=("Reason", "What to do", "Structures"), rows=tuple(rows))
    note = f"From {page.listed(data.lists)}.{rest}"
    return Passage(title="Why structures were left out", tables=(table,), notes=(note,))


def _overlap(records: Sequence[Record]) -> list[Passage]:
    """How many test crystals were not new to the weights, by evaluation."""
    asked = [record for record in records if "overlap" in record.config]
    if not asked:
        return []
    settings = [record.config["overlap"] for record in asked]
    reasons = dict.fromkeys(str(s["seen_unknown"]) for s in settings if s.get("seen_unknown"))
    table = Table(
        title="Pre-training overlap",
        heads=OVERLAP_HEADS,
        groups=(("", 1), ("Tested", 2), ("Of these, in pre-training", 3), ("", 1)),
        rows=tuple(TableRow(label=name_of(r), cells=_overlap_cells(r)) for r in asked),
    )
    looked_up = page.explained("hashes").format(rate=FALSE_POSITIVE_RATE)
    return [
        Passage(
            title="What the weights had seen of the test crystals",
            words=page.explained("overlap"),
            tables=(table,),
            notes=(looked_up, *(f"Unknown, because {reason}." for reason in reasons)),
        )
    ]


def _overlap_cells(record: Record) -> tuple[TableCell, ...]:
    counts = record.counts
    tested, formulas = counts.get(TESTED, 0), counts.get(FORMULAS, 0)
    cells = [TableCell(text=f"{tested:,}"), TableCell(text=f"{formulas:,}")]
    for name, whole in zip(SEEN, (formulas, tested, tested), strict=True):
        seen = counts.get(name)
        chance = f", {FALSE_POSITIVE_RATE * whole:.2g} by chance" if seen else ""
        share = "" if seen is None else f"({100 * seen / max(whole, 1):.0f} %{chance})"
        cells.append(TableCell(text="unknown" if seen is None else f"{seen:,}", aside=share))
    dropped = str(record.config["overlap"].get("drop_seen", "none"))
    return (*cells, TableCell(text=DROPPED.get(dropped, dropped)))


def name_of(record: Record) -> str:
    """An evaluation by name, with its task where it has one."""
    task = record.config.get("task")
    return f"{words(record.scenario)}, {task}" if task else words(record.scenario)
