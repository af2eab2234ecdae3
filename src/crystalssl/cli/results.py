"""Results of any scenario on screen: metrics of every feature set, differences, verdicts.

Everything shown is also stored, as tables by the names of ``evaluation.results``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

from crystalssl.cli.console import grid, mean_and_deviation, say
from crystalssl.evaluation.analysis import count_better
from crystalssl.evaluation.results import MEAN, THEN, Difference, Results, Summary, select

Entry = TypeVar("Entry")

VIEWS = (
    ("accuracy", ("rmse", "mae", "r2", "rocauc", "accuracy")),
    ("residual protocol, R2 of the residual of raw FTCP", ("contribution",)),
    (
        "shares of absolute SHAP values",
        ("shap_share", "enrichment_all", "enrichment_varying"),
    ),
)
"""Tables: what a title says, and metrics in the order of the columns."""
MAIN = {"few_shot": "r2"}
"""Metric shown for several train fractions; ``rmse`` for all other scenarios."""
WORDS = {
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R2",
    "rocauc": "ROC AUC",
    "contribution": "contribution",
    "shap_share": "share",
    "enrichment_all": "x share of all columns",
    "enrichment_varying": "x share of varying columns",
    "ols": "least squares",
    MEAN: "",
}
"""Metrics and heads in words."""


def show(results: Results) -> None:
    """Print the protocol, a table for each target and kind of split, differences, verdicts."""
    record = results.record
    say(record.protocol)
    for target, unit, split in _unique((s.target, s.unit, s.split) for s in results.summary):
        chosen = select(results.summary, target=target, split=split)
        title = f"{record.scenario.replace('_', ' ').capitalize()}, {target}"
        title += f" ({unit})" if unit else ""
        for what, metrics in VIEWS:
            rows = [row for row in chosen if row.metric in metrics]
            if rows:
                _show_summary(f"{title}, {split} splits: {what}", rows, metrics, results)
        if record.scenario != "linear_probe":
            pairs = select(results.differences, target=target, split=split)
            _show_differences(f"{title}, {split} splits", pairs, results)
    if record.scenario == "linear_probe":
        _show_tallies(results)
    for verdict in record.verdicts:
        word = "does not hold" if verdict.failed else "holds"
        say(
            f"{verdict.target}: {verdict.claim}: {word} ({verdict.evidence})",
            warning=verdict.failed,
        )


def _show_summary(
    title: str, rows: Sequence[Summary], metrics: Sequence[str], results: Results
) -> None:
    """A line for each feature set and head; a column for each metric, or each train fraction."""
    fractions = _unique((row.train_fraction, row.n_train) for row in rows)
    several = len({fraction for fraction, _ in fractions}) > 1
    present = [name for name in metrics if any(row.metric == name for row in rows)]
    if several:
        main = MAIN.get(results.record.scenario, present[0])
        present = [main if main in present else present[0]]
    columns = [
        (metric, fraction)
        for metric in present
        for fraction in _unique(row.train_fraction for row in rows)
    ]
    cells = {(r.feature_set, r.head, r.metric, r.train_fraction): r for r in rows}
    lines = [
        [_label(name, results), WORDS.get(head, head), f"{width:,}"]
        + [_value(cells.get((name, head, *column))) for column in columns]
        for name, head, width in _unique((r.feature_set, r.head, r.n_features) for r in rows)
    ]
    heads = [
        f"{WORDS.get(metric, metric)}, {_fraction(fraction)}"
        if several
        else WORDS.get(metric, metric)
        for metric, fraction in columns
    ]
    grid(title, ["features", "head", "columns", *heads], lines)


def _show_differences(title: str, pairs: Sequence[Difference], results: Results) -> None:
    """A line for each comparison; against the baseline's best head where that was looked for."""
    best = [pair for pair in pairs if pair.best_head]
    metric = MAIN.get(results.record.scenario, "rmse")
    chosen = [pair for pair in best or pairs if pair.metric == metric]
    if not chosen:
        return
    keys = _unique((p.feature_set, p.head, p.baseline) for p in chosen)
    cells = {(p.feature_set, p.head, p.baseline, p.train_fraction): p for p in chosen}
    fractions = _unique(pair.train_fraction for pair in chosen)
    lines = [
        [_label(name, results), WORDS.get(head, head), _label(baseline, results)]
        + [_difference(cells.get((name, head, baseline, fraction))) for fraction in fractions]
        for name, head, baseline in keys
    ]
    with_best = " with its best head" if best else ""
    what = f"{WORDS[metric]} less that of the baseline{with_best}, * significant"
    heads = ["features", "head", f"baseline{with_best}", *map(_fraction, fractions)]
    grid(f"{title}: {what}", heads, lines)


def _show_tallies(results: Results) -> None:
    """How often each of the proposed feature sets is better than each baseline, by how much."""
    tallies = count_better(select(results.differences, metric="rmse"))
    for name, head in _unique((t.feature_set, t.head) for t in tallies):
        lines = [
            [
                _label(t.baseline, results),
                t.split,
                f"{t.better} of {t.comparisons}",
                f"{t.significant} of {t.comparisons}",
                f"{100 * t.least:.1f} to {100 * t.most:.1f} %",
            ]
            for t in select(tallies, feature_set=name, head=head)
        ]
        title = f"{_label(name, results)}, {WORDS.get(head, head)}: comparisons of RMSE"
        grid(title, ["baseline", "splits", "better", "significantly", "lower error by"], lines)


def _value(row: Summary | None) -> str:
    """A mean with its interval, or its standard deviation where no interval is known."""
    if row is None:
        return ""
    if math.isfinite(row.low):
        return f"{row.mean:.3f} [{row.low:.3f} {row.high:.3f}]"
    return mean_and_deviation(row.mean, row.standard_deviation, row.repeats)


def _difference(pair: Difference | None) -> str:
    """A difference with its interval, marked where this excludes zero."""
    if pair is None:
        return ""
    mark = " *" if pair.significant else ""
    return f"{pair.difference:+.3f} [{pair.low:+.3f} {pair.high:+.3f}]{mark}"


def _label(name: str, results: Results) -> str:
    """The readable name of a feature set, of both where there are two, of a choice of blocks."""
    labels = results.record.labels
    first, then, second = name.partition(THEN)
    if then:
        return f"{labels.get(first, first)}, then {labels.get(second, second)}"
    return labels.get(name, name)


def _fraction(fraction: float) -> str:
    return f"{100 * fraction:g} %"


def _unique(values: Iterable[Entry]) -> list[Entry]:
    return list(dict.fromkeys(values))
