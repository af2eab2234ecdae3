"""Few labels -> figures: learning curves, paired differences, what the residual protocol found."""

from __future__ import annotations

from crystalssl.evaluation.bench import THEN
from crystalssl.evaluation.scoring import MEAN
from crystalssl.report.few_shot_view import BEST, FLOOR, View
from crystalssl.report.intervals import Line, Mark, dots, lines
from crystalssl.report.page import (
    Drawing,
)
from crystalssl.report.summary_rows import mark_of, unique
from crystalssl.report.wording import (
    counted,
    label_of,
    model_name,
)


def learning_curves(view: View) -> list[Drawing]:
    """R2 against the share of the labels, one drawing for each head."""
    alone = [
        e for e in view.of("r2", baseline="") if e.feature_set != MEAN and THEN not in e.feature_set
    ]
    drawn = []
    for head in unique(e.model for e in alone):
        entries = []
        for name in unique(e.feature_set for e in alone if e.model == head):
            own = sorted(
                (e for e in alone if (e.model, e.feature_set) == (head, name)),
                key=lambda e: e.train_fraction,
            )
            entries.append(
                Line(
                    label=label_of(view.labels, name),
                    shares=tuple(100 * e.train_fraction for e in own),
                    marks=tuple(Mark(at=e.mean, low=e.low, high=e.high) for e in own),
                    leading=name in view.mine,
                    dashed=name in view.mine and name != view.ours,
                )
            )
        description = f"R2 against the share of labels, {view.name}, {head}"
        svg = lines(entries, "labels used (%)", "R²", description, logarithmic=True, floor=FLOOR)
        drawn.append(Drawing(svg=svg, title=f"Head: {model_name(head)}"))
    return drawn


def difference_dots(view: View) -> list[Drawing]:
    """Difference of R2 to the base at its best, a row for each share and head of ours."""
    rows: list[tuple[str, list[Mark]]] = []
    for share, count in view.shares():
        marks = []
        for e in view.of("r2_difference", train_fraction=share, feature_set=view.ours):
            if BEST in e.baseline:
                mark = mark_of(e, HEAD_COLOURS.get(e.model, "accent"), sign=True)
                marks.append(mark)
        if marks:
            rows.append((f"{100 * share:g} %, {counted(count, 'label')}", marks))
    if not rows:
        return []
    heads = unique(
        e.model for e in view.of("r2_difference", feature_set=view.ours) if BEST in e.baseline
    )
    svg = dots(
        rows,
        "difference in R²; right of the line ours is better",
        f"Difference in R2 to raw FTCP at its best, {view.name}",
        reference=0.0,
        key=[(model_name(h), HEAD_COLOURS.get(h, "accent"), True) for h in heads],
    )
    return [Drawing(svg=svg)]


HEAD_COLOURS = {
    "ridge": "accent",
    "lightgbm": "block-1",
    "mlp": "block-4",
    "random_forest": "block-2",
}
"""Colours of heads where several stand together."""


def residual_dots(view: View) -> list[Drawing]:
    """Contribution for each share and head, ours filled, other explainers open."""
    entries = view.of("contribution", baseline="")
    pairs = unique(e.feature_set for e in entries)
    second = [pair.partition(THEN)[2] for pair in pairs]
    colours = {
        pair: "accent" if name == view.ours else "muted" if name == "untrained" else "block-2"
        for pair, name in zip(pairs, second, strict=True)
    }
    rows = [
        (
            f"{100 * share:g} %, {model_name(head)}",
            [
                mark_of(e, colours[e.feature_set], filled=e.feature_set != pairs[-1], sign=True)
                for e in entries
                if (e.train_fraction, e.model) == (share, head)
            ],
        )
        for share in sorted({e.train_fraction for e in entries})
        for head in unique(e.model for e in entries)
    ]
    if not rows:
        return []
    key = [
        (label_of(view.labels, name), colours[pair], pair != pairs[-1])
        for pair, name in zip(pairs, second, strict=True)
    ]
    svg = dots(
        rows,
        "contribution: R² of the residual",
        f"Contribution to what raw FTCP leaves over, {view.name}",
        reference=0.0,
        key=key,
    )
    return [Drawing(svg=svg)]
