"""SHAP shares -> their section: how good the joint model is, how much of it comes from features."""

from __future__ import annotations

from dataclasses import replace

from crystalssl.evaluation.scenario import ResultTable
from crystalssl.report.ablation_view import colour_of_block
from crystalssl.report.intervals import Mark, dots
from crystalssl.report.page import (
    Check,
    Drawing,
    Part,
    Section,
    judged,
)
from crystalssl.report.shap_tables import (
    BOTH,
    ENRICHED,
    OURS,
    RAW,
    View,
    accuracy_table,
    share_table,
)
from crystalssl.report.share_figures import Slice, stacked
from crystalssl.report.summary_rows import unique
from crystalssl.report.wording import label_of, model_name, number, percent, words


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
            tables=(accuracy_table(view),),
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
            tables=(share_table(view),),
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
