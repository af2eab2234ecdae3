"""Rows of the linear probe -> its tables: one for each comparison, and who wins how often.

A number is bold where it is the best of its column, whoever's it is; rows of ours are tinted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crystalssl.evaluation.compare import Comparison, compare
from crystalssl.evaluation.linear_probe import LinearProbe
from crystalssl.evaluation.margins import Wins, count_wins
from crystalssl.evaluation.scenario import ResultTable
from crystalssl.evaluation.scoring import MEAN
from crystalssl.report.page import Cell, Row, Table, mark_best
from crystalssl.report.wording import in_sentence, label_of, number, percent, ranged, words

CHAMPION = "ssl"
"""Feature set of interest, where it is in the table; else the last one."""
MIXED = "bottleneck"
"""Another set of ours: the same features mixed; never a baseline."""
COLUMNS = (("rmse", "ridge"), ("mae", "ridge"), ("r2", "ridge"), ("rmse", "ols"))
"""Metric and model of each column of the comparison."""
KINDS = {
    "held-out": "held-out formulas",
    "random": "random splits",
    "grouped": "formulas kept whole",
}
"""Kinds of split in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One comparison of the linear probe.

    Attributes:
        property: label column.
        unit: its unit.
        split_kind: kind of split.
        share: share trained on, or None for held-out folds.
    """

    property: str
    unit: str
    split_kind: str
    share: float | None

    def title(self) -> str:
        """Property and split, for a heading."""
        if self.share is None:
            return f"{words(self.property)}, held-out formulas"
        shares = f"{100 * self.share:.0f}/{100 - 100 * self.share:.0f}"
        return f"{words(self.property)}, {self.split_kind} {shares}"

    def is_of(self, entry: Comparison) -> bool:
        """Whether a comparison is of this setting."""
        same = (entry.property, entry.split_kind) == (self.property, self.split_kind)
        return same and (self.share is None or abs(entry.train_fraction - self.share) < 0.06)


def champion_of(table: ResultTable) -> str:
    """The feature set of interest."""
    names = [row.feature_set for row in table.rows if row.feature_set != MEAN]
    return CHAMPION if CHAMPION in names or not names else names[-1]


def ours_of(table: ResultTable) -> tuple[str, ...]:
    """All sets that are ours: the one of interest, and its mixture where it is there."""
    names = {row.feature_set for row in table.rows}
    champion = champion_of(table)
    return (champion, MIXED) if MIXED in names and champion != MIXED else (champion,)


def margins_of(probe: LinearProbe, champion: str, model: str) -> list[Comparison]:
    """Margins of a set over every baseline: as stored, or without intervals from the rows."""
    stored = [e for e in probe.margins if (e.champion, e.model) == (champion, model)]
    found = stored or compare(probe.table, champion, model)
    return [entry for entry in found if entry.baseline not in ours_of(probe.table)]


def settings_of(table: ResultTable) -> list[Setting]:
    """Every comparison in the table, in order of appearance."""
    found = {}
    for row in table.rows:
        share = None if row.split_kind == "held-out" else row.train_fraction
        key = (row.property, row.split_kind, share)
        found[key] = Setting(
            property=row.property, unit=row.unit, split_kind=row.split_kind, share=share
        )
    return list(found.values())


def rows_of(table: ResultTable, setting: Setting) -> ResultTable:
    """The rows of one comparison."""
    own = table.where(property=setting.property, split_kind=setting.split_kind)
    kept = tuple(r for r in own if setting.share is None or r.train_fraction == setting.share)
    return ResultTable(rows=kept, record=table.record)


def comparison_table(probe: LinearProbe, setting: Setting) -> Table:
    """The feature sets of one comparison, in the order they were given; the mean last."""
    part = rows_of(probe.table, setting)
    champion, ours = champion_of(part), ours_of(part)
    margins = {
        model: {e.baseline: e for e in margins_of(probe, champion, model) if setting.is_of(e)}
        for model in ("ridge", "ols")
    }
    found = {
        (metric, *s.key): s
        for metric, _ in COLUMNS
        for s in part.summarize(["feature_set", "model"], metric=metric)
    }
    widths = {row.feature_set: row.n_features for row in part.rows}
    names = sorted(widths, key=lambda name: name == MEAN)
    rows, values = [], []
    for name in names:
        entries = [
            found.get((metric, name, MEAN if name == MEAN else model)) if
            not (name == MEAN and model == "ols") else None
            for metric, model in COLUMNS
        ]  # fmt: skip
        cells = [Cell(text=f"{widths[name]:,}" if widths[name] else "")]
        cells += [
            Cell() if e is None
            else Cell(text=number(e.mean), aside=f"± {number(e.spread)}" if e.count > 1 else "")
            for e in entries
        ]  # fmt: skip
        cells += [_margin(margins[model].get(name)) for model in ("ridge", "ols")]
        label = label_of(part.record.labels, name)
        rows.append(Row(label=label, cells=tuple(cells), ours=name in ours))
        values.append([None if entry is None else entry.mean for entry in entries])
    for column, (metric, _) in enumerate(COLUMNS):
        sign = -1.0 if metric == "r2" else 1.0
        own = [None if row[column] is None else sign * (row[column] or 0.0) for row in values]
        rows = mark_best(rows, column + 1, own)
    return Table(
        heads=("Features", "Columns", "RMSE", "MAE", "R²", "RMSE", "ridge", "least squares"),
        groups=(("", 2), ("Ridge", 3), ("Least squares", 1), ("Ours lower by (RMSE)", 2)),
        rows=tuple(rows),
    )


def _margin(entry: Comparison | None) -> Cell:
    """By how much our error is lower than that of a baseline."""
    if entry is None:
        return Cell()
    aside = ranged(entry.margin_low, entry.margin_high)
    text = number(entry.margin)
    return Cell(text=text, aside=f"({aside})" if aside else "", won=entry.margin > 0)


def win_table(probe: LinearProbe, champion: str) -> Table:
    """How often a set of ours beats each baseline, for both models and each kind of split."""
    labels = probe.table.record.labels
    models = [m for m in ("ridge", "ols") if margins_of(probe, champion, m)]
    found: dict[tuple[str, str, str], Wins] = {
        (w.baseline, w.model, w.split_kind): w
        for model in models
        for w in count_wins(margins_of(probe, champion, model))
    }
    kinds = list(dict.fromkeys(key[2] for key in found))
    rows = [
        Row(
            label=label_of(labels, baseline),
            cells=tuple(_wins(found.get((baseline, m, k))) for m in models for k in kinds),
        )
        for baseline in dict.fromkeys(key[0] for key in found)
    ]
    titles = {"ridge": "Ridge", "ols": "Least squares"}
    return Table(
        title=f"Comparisons won by {in_sentence(label_of(labels, champion))}",
        heads=("Against", *(KINDS.get(kind, kind) for _ in models for kind in kinds)),
        groups=(("", 1), *((titles[model], len(kinds)) for model in models)),
        rows=tuple(rows),
    )


def _wins(entry: Wins | None) -> Cell:
    if entry is None:
        return Cell()
    return Cell(text=f"{entry.won} of {entry.of}", won=entry.won == entry.of, aside=span_of(entry))


def span_of(entry: Wins) -> str:
    """The range of margins, as shares of the baseline's error."""
    least, most = percent(entry.least), percent(entry.most)
    return f"by {most}" if least == most else f"by {least} to {most}"


def names_of(labels: dict[str, str], names: Sequence[str]) -> list[str]:
    """Labels of feature sets, for a sentence."""
    return [in_sentence(label_of(labels, name)) for name in names]
