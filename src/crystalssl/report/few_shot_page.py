"""Few labels -> its section: direct comparison, paired differences, residual protocol."""

from __future__ import annotations

from dataclasses import dataclass

from crystalssl.evaluation.bench import THEN
from crystalssl.evaluation.few_shot import FewShot
from crystalssl.evaluation.intervals import Estimate
from crystalssl.evaluation.scoring import MEAN
from crystalssl.report.intervals import Line, Mark, dots, lines
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
from crystalssl.report.summary_rows import cell_of, estimates_of, mark_of, unique
from crystalssl.report.wording import (
    counted,
    in_sentence,
    label_of,
    model_name,
    number,
    ranged,
    signed,
    with_unit,
    words,
)

BEST = "best head"
"""In the name of the baseline that took the head serving it best on the test part."""
FLOOR = -0.1
"""R2 below this is beyond the frame of the figure."""


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """The summary of one property, with the names that give it its meaning.

    Attributes:
        name: label column.
        entries: its estimates.
        labels: readable name of each feature set.
        ours: feature set of interest.
        mine: all sets that are ours.
        base: first of the baselines.
        unit: unit of the property.
    """

    name: str
    entries: tuple[Estimate, ...]
    labels: dict[str, str]
    ours: str
    mine: tuple[str, ...]
    base: str
    unit: str

    def shares(self) -> list[tuple[float, int]]:
        """Shares of the labels with the number of training rows, rising."""
        return sorted({(e.train_fraction, e.n_train) for e in self.entries})

    def of(self, metric: str, **wanted: object) -> list[Estimate]:
        """Estimates of a metric whose fields have the given values."""
        return [
            e
            for e in self.entries
            if e.metric == metric and all(getattr(e, k) == v for k, v in wanted.items())
        ]

    def best(self, metric: str, share: float, **wanted: object) -> Estimate | None:
        """The highest mean of a metric at a share."""
        found = self.of(metric, train_fraction=share, **wanted)
        return max(found, key=lambda e: e.mean, default=None)


def few_shot_section(found: FewShot) -> Section:
    """The section of few labels."""
    views = views_of(found)
    parts = [part for view in views for part in _parts(view)]
    return Section(
        anchor="few-labels",
        title="Few labels",
        finding=" ".join(filter(None, (_headline(view) for view in views))),
        question="What are the features worth when only a few crystals have been measured?",
        protocol=f"{found.table.record.protocol} Directly: the same head on every feature set. By "
        "residual: a model on raw FTCP is fitted, and the same kind of model on other features "
        "then learns what it left over, out of fold; the contribution is the R² of that residual "
        "on test crystals. Intervals are 95 %: over draws, or over test formulas where all labels "
        "are used.",
        checks=tuple(check for view in views for check in _checks(view, len(views) > 1)),
        parts=tuple(parts),
    )


def views_of(found: FewShot) -> list[View]:
    """One view for each property."""
    settings = found.table.record.config.get("settings", {})
    entries = estimates_of(found.summary)
    mine = tuple(settings.get("ours", ("ssl",)))
    present = {e.feature_set for e in entries}
    ours = next((n for n in ("ssl", *mine) if n in present), "")
    return [
        View(
            name=name,
            entries=tuple(e for e in entries if e.property == name),
            labels=found.table.record.labels,
            ours=ours,
            mine=mine,
            base=str(settings.get("base", "raw_ftcp")),
            unit=next(e.unit for e in entries if e.property == name),
        )
        for name in unique(e.property for e in entries)
    ]


def _headline(view: View) -> str:
    """The smallest share in words: ours with its best head beside the base with its best head."""
    share, count = view.shares()[0]
    ours = view.best("r2", share, feature_set=view.ours, baseline="")
    base = view.best("r2", share, feature_set=view.base, baseline="")
    if ours is None:
        return ""
    text = (
        f"With {counted(count, 'label')} ({100 * share:g} %) of {words(view.name).lower()}, "
        f"{model_name(ours.model)} on {in_sentence(label_of(view.labels, view.ours))} reaches an "
        f"R² of {_with_interval(ours)}"
    )
    if base is None:
        return f"{text}."
    label = label_of(view.labels, view.base)
    return f"{text}; {label} with its best head, {model_name(base.model)}, {_with_interval(base)}."


def _with_interval(entry: Estimate) -> str:
    ends = ranged(entry.low, entry.high)
    return f"{number(entry.mean)} ({ends})" if ends else number(entry.mean)


def _checks(view: View, several: bool) -> list[Check]:
    """Losing to the base at its best; explaining nothing of its residual."""
    where = f"{words(view.name)}: " if several else ""
    label, base = (in_sentence(label_of(view.labels, n)) for n in (view.ours, view.base))
    found = []
    for share, _ in view.shares():
        rivals = [
            e
            for e in view.of("r2_difference", train_fraction=share, feature_set=view.ours)
            if BEST in e.baseline
        ]
        entry = max(rivals, key=lambda e: e.mean, default=None)
        if entry is not None:
            rival = model_name(entry.baseline.partition("(")[2].rstrip(")"))
            found.append(
                Check(
                    failure=f"{where}with {100 * share:g} % of the labels, {base} with its best "
                    f"head ({rival}) has the higher R²",
                    outcome=judged(entry.mean, entry.low, entry.high),
                    detail=f"Difference of {label} with {model_name(entry.model)}: "
                    f"{_difference(entry)}.",
                )
            )
    return [*found, *_residual_checks(view, where)]


def _residual_checks(view: View, where: str) -> list[Check]:
    """What the features explain of the residual of the base, for each head at the least share."""
    pair, blank = f"{view.base}{THEN}{view.ours}", f"{view.base}{THEN}untrained"
    found = []
    for entry in view.of("contribution", feature_set=pair):
        others = view.of(
            "contribution",
            feature_set=blank,
            model=entry.model,
            train_fraction=entry.train_fraction,
        )
        share = f"{100 * entry.train_fraction:g} % of the labels, {model_name(entry.model)}"
        untrained = f"; untrained encoders {_difference(others[0])}" if others else ""
        outcome = judged(entry.mean, entry.low, entry.high)
        if others and entry.mean <= others[0].mean:
            outcome = "failed"
        found.append(
            Check(
                failure=f"{where}nothing of what raw FTCP leaves over is explained, or no more "
                f"than untrained encoders explain ({share})",
                outcome=outcome,
                detail=f"Contribution {_difference(entry)}{untrained}.",
            )
        )
    return found


def _difference(entry: Estimate) -> str:
    ends = ranged(entry.low, entry.high)
    return f"{signed(entry.mean)} ({ends})" if ends else signed(entry.mean)


def _parts(view: View) -> list[Part]:
    """Figures and tables of one property."""
    title = words(view.name)
    parts = [
        Part(
            title=f"{title}: R² against the number of labels",
            words="A panel for each head; every line is one feature set. Ours are in blue, dashed "
            "where they stand beside raw FTCP or are mixed.",
            drawings=tuple(_learning_curves(view)),
        ),
        Part(
            title=f"{title}: ours less raw FTCP at its best",
            words="Paired, draw by draw: both saw the same labels and are tested on the same "
            "crystals. Raw FTCP takes the head that serves it best on the test part, a choice that "
            "favours it.",
            drawings=tuple(_differences(view)),
        ),
        Part(
            title=f"{title}: what raw FTCP leaves over",
            words="Contribution: the R² with which a second model explains the test residual of "
            "the first. Zero means nothing was added; below zero, noise was.",
            drawings=tuple(_residuals(view)),
        ),
        Part(title=f"{title}, all numbers", tables=tuple(_tables(view)), folded=True),
    ]
    return [part for part in parts if part.drawings or part.tables]


def _learning_curves(view: View) -> list[Drawing]:
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


def _differences(view: View) -> list[Drawing]:
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


def _residuals(view: View) -> list[Drawing]:
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


def _tables(view: View) -> list[Table]:
    """R2, RMSE and contributions: a row for each feature set and head, a column for each share."""
    unit = with_unit("RMSE", view.unit)
    titles = {
        "r2": "R²",
        "rmse": unit,
        "contribution": "Contribution",
        "r2_after": "R² of both steps",
    }
    shares = view.shares()
    heads = ("Features", "Head", *(f"{100 * s:g} %, {n:,}" for s, n in shares))
    tables = []
    for metric, title in titles.items():
        entries = view.of(metric, baseline="")
        found = {(e.feature_set, e.model, e.train_fraction): e for e in entries}
        names = list(dict.fromkeys((e.feature_set, e.model) for e in entries))
        rows = [
            Row(
                label=label_of(view.labels, name),
                cells=(
                    Cell(text=model_name(head)),
                    *(cell_of(found.get((name, head, s))) for s, _ in shares),
                ),
                ours=name in view.mine,
            )
            for name, head in names
        ]
        sign = 1.0 if metric == "rmse" else -1.0
        for column, (share, _) in enumerate(shares):
            own = [found.get((*key, share)) for key in names]
            rows = mark_best(rows, column + 1, [None if e is None else sign * e.mean for e in own])
        if rows:
            tables.append(Table(title=title, heads=heads, rows=tuple(rows)))
    return tables
