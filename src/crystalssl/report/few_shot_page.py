"""Few labels -> its section: direct comparison, paired differences, residual protocol."""

from __future__ import annotations

from crystalssl.evaluation.bench import THEN
from crystalssl.evaluation.few_shot import FewShot
from crystalssl.evaluation.intervals import Estimate
from crystalssl.report.few_shot_figures import difference_dots, learning_curves, residual_dots
from crystalssl.report.few_shot_view import BEST, View, views_of
from crystalssl.report.page import (
    Cell,
    Check,
    Part,
    Row,
    Section,
    Table,
    judged,
    mark_best,
)
from crystalssl.report.summary_rows import cell_of
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
    label = in_sentence(label_of(view.labels, view.base))
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
            words="A panel for each head; every line is one feature set. Ours are in blue; dashed "
            "are raw FTCP beside them, and further sets of ours.",
            drawings=tuple(learning_curves(view)),
        ),
        Part(
            title=f"{title}: ours less raw FTCP at its best",
            words="Paired, draw by draw: both saw the same labels and are tested on the same "
            "crystals. Raw FTCP takes the head that serves it best on the test part, a choice that "
            "favours it.",
            drawings=tuple(difference_dots(view)),
        ),
        Part(
            title=f"{title}: what raw FTCP leaves over",
            words="Contribution: the R² with which a second model explains the test residual of "
            "the first. Zero means nothing was added; below zero, noise was.",
            drawings=tuple(residual_dots(view)),
        ),
        Part(title=f"{title}, all numbers", tables=tuple(_tables(view)), folded=True),
    ]
    return [part for part in parts if part.drawings or part.tables]


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
