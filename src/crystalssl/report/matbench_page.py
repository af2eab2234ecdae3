"""Matbench tasks -> their section: scores of the official folds beside the mean of the labels."""

from __future__ import annotations

from collections.abc import Sequence

from crystalssl.evaluation.scenario import ResultTable
from crystalssl.evaluation.scoring import MEAN
from crystalssl.report.intervals import Mark, dots
from crystalssl.report.page import Cell, Check, Drawing, Part, Row, Section, Table
from crystalssl.report.summary_rows import unique
from crystalssl.report.wording import model_name, number, with_unit, words

FIRST = ("mae", "rocauc_probability", "rocauc")
"""Score that stands for a task: the first of these that it has."""
HIGHER = ("rocauc_probability", "rocauc", "accuracy", "balanced_accuracy", "f1", "r2")
"""Scores of which more is better."""
NAMES = {"mae": "MAE", "rmse": "RMSE", "mape": "MAPE", "max_error": "largest error", "f1": "F1"}
"""Scores as a person would write them."""


def matbench_section(tables: Sequence[ResultTable]) -> Section:
    """The section of Matbench, one part for each task and head."""
    return Section(
        anchor="matbench",
        title="Matbench",
        finding=" ".join(_headline(table) for table in tables),
        question="How do frozen features with a simple head do on a public benchmark?",
        protocol=" ".join(unique(table.record.protocol for table in tables)),
        checks=tuple(_check(table) for table in tables),
        parts=tuple(_part(table) for table in tables),
    )


def _head(table: ResultTable) -> str:
    return next(row.model for row in table.rows if row.model != MEAN)


def _score(table: ResultTable) -> str:
    metrics = {row.metric for row in table.rows}
    return next((m for m in FIRST if m in metrics), next(iter(sorted(metrics))))


def _folds(table: ResultTable, model: str, metric: str) -> list[float]:
    return [row.value for row in table.where(model=model, metric=metric)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(len(values), 1)


def _unit(table: ResultTable, metric: str) -> str:
    return table.rows[0].unit if metric in ("mae", "rmse", "max_error") else ""


def _headline(table: ResultTable) -> str:
    metric, head = _score(table), _head(table)
    own, mean = (_mean(_folds(table, m, metric)) for m in (head, MEAN))
    unit = _unit(table, metric)
    return (
        f"{table.record.config['task']}: {model_name(head)} on frozen features has a "
        f"{_name(metric)} of {number(own)}{f' {unit}' if unit else ''} over "
        f"{len(_folds(table, head, metric))} folds; the mean of the labels, {number(mean)}."
    )


def _name(metric: str) -> str:
    return NAMES.get(metric, metric.replace("_", " "))


def _check(table: ResultTable) -> Check:
    metric, head = _score(table), _head(table)
    sign = -1.0 if metric in HIGHER else 1.0
    pairs = zip(_folds(table, MEAN, metric), _folds(table, head, metric), strict=True)
    margins = [sign * (theirs - ours) for theirs, ours in pairs]
    won = sum(margin > 0 for margin in margins)
    return Check(
        failure=f"{table.record.config['task']}: the mean of the training labels does as well",
        outcome="held" if won == len(margins) else "open" if _mean(margins) > 0 else "failed",
        detail=f"Better than the mean of the labels in {won} of {len(margins)} folds.",
    )


def _part(table: ResultTable) -> Part:
    record, head, metric = table.record, _head(table), _score(table)
    official = "official folds" if record.config.get("official") else "not an official task"
    rows = [
        (
            f"fold {fold + 1}",
            [
                Mark(at=ours, text=number(ours)),
                Mark(at=theirs, colour="muted", filled=False, text=number(theirs)),
            ],
        )
        for fold, (ours, theirs) in enumerate(
            zip(_folds(table, head, metric), _folds(table, MEAN, metric), strict=True)
        )
    ]
    scores = [m for m in unique(r.metric for r in table.rows) if m != "fit_seconds"]
    lines = [
        Row(
            label=words(_name(score)),
            cells=tuple(
                Cell(text=number(s.mean), aside=f"± {number(s.spread)}") if s else Cell()
                for model in (head, MEAN)
                for s in [next(iter(table.summarize(["model"], metric=score, model=model)), None)]
            ),
        )
        for score in scores
    ]
    left = record.counts.get("predicted by the training mean", 0)
    svg = dots(
        rows,
        with_unit(_name(metric), _unit(table, metric)),
        f"Score of each fold, {record.config['task']}, {head}",
        key=((model_name(head), "accent", True), ("mean of labels", "muted", False)),
    )
    return Part(
        title=f"{record.config['task']}, {model_name(head)} ({official})",
        drawings=(Drawing(svg=svg),),
        tables=(
            Table(
                title="Mean and standard deviation over folds",
                heads=("Score", words(model_name(head)), "Mean of labels"),
                rows=tuple(lines),
            ),
        ),
        note=f"{record.counts.get('rows', 0):,} rows, of which {left:,} have no features and are "
        "predicted by the mean of the training labels.",
    )
