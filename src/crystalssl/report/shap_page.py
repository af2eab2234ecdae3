"""SHAP shares -> their section: how good the joint model is, how much of it comes from features."""

from __future__ import annotations

from dataclasses import dataclass, replace

from crystalssl.evaluation.scenario import ResultTable, ScenarioResult
from crystalssl.evaluation.scoring import MEAN
from crystalssl.report.ablation_page import colour_of_block
from crystalssl.report.intervals import Mark, dots
from crystalssl.report.page import (
    Cell,
    Check,
    Drawing,
    Part,
    Row,
    Section,
    Table,
    judged,
    mark_best,
)
from crystalssl.report.share_figures import Slice, stacked
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


def shap_section(table: ResultTable) -> Section:
    """The section of SHAP shares."""
    views = [
        View(
            name=name,
            unit=table.where(property=name)[0].unit,
            rows=table.where(property=name),
            labels=table.record.labels,
            sections=tuple((s["name"], s["learned"]) for s in table.record.config["sections"]),
        )
        for name in unique(row.property for row in table.rows)
    ]
    return Section(
        anchor="shap-share",
        title="SHAP shares",
        finding=" ".join(filter(None, map(_headline, views))),
        question="Of what a model on raw FTCP and features together says, how much comes from the "
        "features?",
        protocol=f"{table.record.protocol} Enrichment is the share over the share of columns: of "
        "those that vary over training rows, and of all. Most of raw FTCP never varies and cannot "
        "be given credit, so the figure for all columns flatters the features. Intervals are 95 %, "
        "by drawing the explained crystals anew.",
        checks=tuple(check for view in views for check in _checks(view, len(views) > 1)),
        parts=tuple(part for view in views for part in _parts(view)),
    )


def _headline(view: View) -> str:
    told = []
    for model in view.models():
        share = view.get(OURS, model, "shap_share")
        enriched = view.get(OURS, model, "enrichment_varying")
        if share is not None and enriched is not None:
            told.append(
                f"{percent(share)} of the absolute SHAP values of {_a(model)} ({enriched:.2f} "
                "times their share of the varying columns)"
            )
    return f"{words(view.name)}: the features hold {' and '.join(told)}." if told else ""


def _a(model: str) -> str:
    name = model_name(model)
    return f"an {name}" if name.startswith("M") else name


def _checks(view: View, several: bool) -> list[Check]:
    """No enrichment among varying columns; a joint model no better than raw FTCP alone."""
    where = f"{words(view.name)}: " if several else ""
    found = []
    for model in view.models():
        mark = view.mark(OURS, model, "enrichment_varying")
        if mark is not None:
            low, high = mark.ends
            found.append(
                Check(
                    failure=f"{where}in {_a(model)} the features hold no more than their share of "
                    "the varying columns",
                    outcome=judged(mark.at - 1, low - 1, high - 1),
                    detail=f"Enrichment {mark.at:.2f} ({low:.2f} to {high:.2f}).",
                )
            )
    for model in unique(r.model for r in view.rows if r.feature_set == BOTH and r.metric == "r2"):
        both, raw = view.get(BOTH, model, "r2"), view.get(RAW, model, "r2")
        if both is not None and raw is not None:
            found.append(
                Check(
                    failure=f"{where}{model_name(model)} on both is no better than on raw FTCP "
                    "alone",
                    outcome="held" if both > raw else "failed",
                    detail=f"R² {number(both)} on both, {number(raw)} on raw FTCP alone.",
                )
            )
    return found


def _parts(view: View) -> list[Part]:
    title = words(view.name)
    bars = [
        (
            model_name(model),
            [
                Slice(
                    name=label_of(view.labels, section),
                    share=view.get(section, model, "shap_share") or 0.0,
                    colour=_colour(section, learned),
                )
                for section, learned in view.sections
            ],
        )
        for model in view.models()
    ]
    return [
        Part(
            title=title,
            words="A share is worth reading only where the joint model is good: the table comes "
            "first.",
            tables=(_accuracy(view),),
        ),
        Part(
            title=f"{title}: shares",
            drawings=(
                Drawing(
                    svg=stacked(bars, f"Shares of absolute SHAP values, {view.name}"),
                    caption="Share of all absolute SHAP values, in percent. Grey: raw FTCP; "
                    "coloured: the blocks of the features.",
                ),
            ),
        ),
        Part(
            title=f"{title}: enrichment",
            words="Right of the line, columns hold more than their share of all columns. Filled: "
            "among the columns that vary, which is the fair count; open: among all.",
            drawings=tuple(
                Drawing(svg=_enrichment(view, model), title=words(model_name(model)))
                for model in view.models()
            ),
        ),
        Part(
            title=f"{title}, all shares",
            tables=(_share_table(view),),
            note=_vouched(view),
            folded=True,
        ),
    ]


def _colour(section: str, learned: bool) -> str:
    return colour_of_block(section) if learned else "quiet"


def _enrichment(view: View, model: str) -> str:
    """Enrichment of all features, each block and raw FTCP."""
    parts = [(OURS, "accent"), *((name, _colour(name, own)) for name, own in view.sections)]
    rows: list[tuple[str, list[Mark]]] = []
    for part, colour in parts:
        marks = [
            replace(mark, colour=colour, filled=metric == "enrichment_varying")
            for metric in ENRICHED
            if (mark := view.mark(part, model, metric)) is not None
        ]
        rows.append((label_of(view.labels, part), marks))
    return dots(
        rows,
        "enrichment: share over share of columns",
        f"Enrichment, {view.name}, {model}",
        reference=1.0,
        width=4.6,
    )


def _accuracy(view: View) -> Table:
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


def _share_table(view: View) -> Table:
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


def _vouched(view: View) -> str:
    """What speaks for the explanations: additivity, and how many crystals were explained."""
    told = []
    for model in view.models():
        gap, largest = (view.get(BOTH, model, f"additivity_{end}") for end in ("mean", "max"))
        count = view.get(BOTH, model, "rows_explained")
        if gap is not None and largest is not None and count is not None:
            told.append(
                f"{words(model_name(model))}: {count:,.0f} crystals explained; base value and SHAP "
                f"values together miss the prediction by {number(gap)} of its spread on average, "
                f"at most {number(largest)}."
            )
    return " ".join(told)
