"""SHAP shares of one property, and their tables: accuracies first, then shares."""

from __future__ import annotations

from dataclasses import dataclass

from crystalssl.evaluation.scenario import ScenarioResult
from crystalssl.evaluation.scoring import MEAN
from crystalssl.report.intervals import Mark
from crystalssl.report.page import (
    Cell,
    Row,
    Table,
    mark_best,
)
from crystalssl.report.summary_rows import unique
from crystalssl.report.wording import label_of, model_name, number, percent, with_unit, words

RAW, OURS, BOTH = "raw_ftcp", "ssl", "hybrid"
"""Names of the columns: raw FTCP, features, both."""
ENRICHED = {"enrichment_varying": "columns that vary", "enrichment_all": "all columns"}
"""Enrichments, the fair one first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """The shares of one property.

    Attributes:
        name: label column.
        unit: its unit.
        rows: its rows.
        labels: readable names of feature sets and sections.
        sections: columns of the joint model in order: name, and whether they are learned.
    """

    name: str
    unit: str
    rows: tuple[ScenarioResult, ...]
    labels: dict[str, str]
    sections: tuple[tuple[str, bool], ...]

    def get(self, part: str, model: str, metric: str) -> float | None:
        """One number."""
        key = (part, model, metric)
        found = (r.value for r in self.rows if (r.feature_set, r.model, r.metric) == key)
        return next(found, None)

    def models(self) -> list[str]:
        """Models that were explained."""
        return unique(r.model for r in self.rows if r.metric == "shap_share")

    def mark(self, part: str, model: str, metric: str) -> Mark | None:
        """A number with its interval."""
        at, low, high = (self.get(part, model, metric + end) for end in ("", "_low", "_high"))
        return None if at is None else Mark(at=at, low=low, high=high, text=f"{at:.2f}")


def accuracy_table(view: View) -> Table:
    """R2 and RMSE of raw FTCP alone, features alone and both, for each head."""
    heads = unique(r.model for r in view.rows if r.metric == "r2" and r.model != MEAN)
    names = [n for n in (RAW, OURS, BOTH) if any(r.feature_set == n for r in view.rows)]
    columns = [(head, metric) for head in heads for metric in ("r2", "rmse")]
    rows, values = [], []
    for name in names:
        own = [view.get(name, head, metric) for head, metric in columns]
        cells = tuple(Cell(text=number(value)) for value in own)
        rows.append(Row(label=label_of(view.labels, name), cells=cells, ours=name == OURS))
        values.append(own)
    for column, (_, metric) in enumerate(columns):
        sign = -1.0 if metric == "r2" else 1.0
        rows = mark_best(
            rows, column, [None if v[column] is None else sign * (v[column] or 0) for v in values]
        )
    return Table(
        title=f"{view.rows[0].n_test:,} test crystals, {view.rows[0].n_train:,} trained on",
        heads=(
            "Columns",
            *("R²" if m == "r2" else with_unit("RMSE", view.unit) for _, m in columns),
        ),
        groups=(("", 1), *((words(model_name(head)), 2) for head in heads)),
        rows=tuple(rows),
    )


def share_table(view: View) -> Table:
    """Shares and enrichments with their intervals."""
    metrics = ("shap_share", *ENRICHED)
    rows = []
    for part in (OURS, *(name for name, _ in view.sections)):
        cells = []
        for model in view.models():
            for metric in metrics:
                mark = view.mark(part, model, metric)
                cells.append(Cell() if mark is None else _share_cell(mark, metric))
        label = label_of(view.labels, part)
        rows.append(Row(label=label, cells=tuple(cells), ours=part == OURS))
    heads = ("share", *(f"enrichment, {words(text).lower()}" for text in ENRICHED.values()))
    return Table(
        heads=("Columns", *(head for _ in view.models() for head in heads)),
        groups=(("", 1), *((words(model_name(m)), len(heads)) for m in view.models())),
        rows=tuple(rows),
    )


def _share_cell(mark: Mark, metric: str) -> Cell:
    low, high = mark.ends
    if metric == "shap_share":
        return Cell(text=percent(mark.at, 1), aside=f"({100 * low:.1f} to {100 * high:.1f})")
    return Cell(text=f"{mark.at:.2f}", aside=f"({low:.2f} to {high:.2f})")
