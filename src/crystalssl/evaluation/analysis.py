"""Cells of predictions -> rows of metrics, summaries with intervals, paired differences, tallies.

What is compared lies within one target, kind of split and train fraction. Over repeats the interval
is Student's t: it contains how much depends on which labels were drawn; otherwise the bootstrap's.
After experiment.py and statistics.py, before scenarios/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crystalssl.evaluation.results import (
    MEAN,
    THEN,
    Cell,
    Difference,
    Floats,
    Record,
    ResultRow,
    Results,
    Summary,
    prediction_table,
)
from crystalssl.evaluation.statistics import (
    BOOTSTRAP,
    COMPARED,
    T_INTERVAL,
    Bootstrap,
    Metric,
    percentile_interval,
    scores,
    t_interval,
)

Scores = Callable[[Floats, Floats], dict[str, float]]
Setting = tuple[str, str, float]
"""Target, kind of split, train fraction: what is compared lies within one."""
Model = tuple[str, str]
"""Feature set and head."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IntervalRule:
    """How intervals are made.

    Attributes:
        over_repeats: whether several repeats give Student's t; otherwise, and for a single one,
            intervals are a bootstrap of the mean over repeats and folds.
        resamples: resamples of the bootstrap.
        seed: its seed.
    """

    over_repeats: bool = True
    resamples: int = 2000
    seed: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Proposed features and head, the baseline they are compared with, and how it was chosen.

    Attributes:
        proposed: feature set and head.
        baseline: feature set and head.
        best_head: whether the baseline's head is the one that serves it best.
    """

    proposed: Model
    baseline: Model
    best_head: bool = False


def rows_of(cells: Sequence[Cell], scores: Scores = scores) -> list[ResultRow]:
    """Tidy rows: the scores of every cell, and its further figures."""
    return [
        result_row(cell, metric, value)
        for cell in cells
        for metric, value in (scores(cell.true, cell.predicted) | cell.figures).items()
    ]


def result_row(cell: Cell, metric: str, value: float) -> ResultRow:
    """One number of a cell."""
    key = cell.key() | {name: getattr(cell, name) for name in ("n_features", "repeat", "fold")}
    return ResultRow(**key, metric=metric, value=value)


Pairs = Callable[[Sequence[Model], Mapping[Model, float]], list[Pair]]
"""Models of a setting and the mean R2 of each -> what is compared."""


def no_pairs(models: Sequence[Model], r2: Mapping[Model, float]) -> list[Pair]:
    """Nothing is compared."""
    return []


def against_all(proposed: Sequence[str], best_of: str = "") -> Pairs:
    """Proposed feature sets against every other one under the same head.

    Args:
        proposed: feature sets of interest.
        best_of: a baseline that they are compared with under the head that serves it best, too.
    """

    def pairs(models: Sequence[Model], r2: Mapping[Model, float]) -> list[Pair]:
        mine = [model for model in models if model[0] in proposed]
        made = [
            Pair(proposed=model, baseline=other)
            for model in mine
            for other in models
            if other[1] == model[1] and other[0] not in (model[0], MEAN) and THEN not in other[0]
        ]
        baselines = [model for model in models if model[0] == best_of]
        if baselines:
            best = max(baselines, key=lambda model: r2[model])
            made += [Pair(proposed=model, baseline=best, best_head=True) for model in mine]
        return made

    return pairs


def analyse(
    cells: Sequence[Cell],
    rows: Sequence[ResultRow],
    rule: IntervalRule,
    pairs: Pairs = no_pairs,
    metrics: Mapping[str, Metric] | None = None,
) -> tuple[list[Summary], list[Difference]]:
    """Every metric with its interval, and paired differences.

    Args:
        cells: predictions.
        rows: their numbers (:func:`rows_of`).
        rule: how intervals are made.
        pairs: what is compared.
        metrics: names of metrics in ``rows`` that the bootstrap knows; None: ``COMPARED``.
    """
    known: Mapping[str, Metric] = metrics or {name: name for name in COMPARED}
    settings: dict[Setting, _Compared] = {}
    for cell in cells:
        settings.setdefault(_setting(cell), _Compared()).add(cell)
    for row in rows:
        settings[_setting(row)].add_value(row)
    summary: list[Summary] = []
    differences: list[Difference] = []
    bootstrap: tuple[tuple[int, ...], Bootstrap] | None = None
    # targets of one split follow one another and share its resamples; one is in memory at a time
    splits_in_order = list(dict.fromkeys(setting[1:] for setting in settings))
    for setting in sorted(settings, key=lambda setting: splits_in_order.index(setting[1:])):
        compared = settings[setting]
        splits = next(iter(compared.cells.values()))
        if not rule.over_repeats or len(splits) == 1:
            same = tuple(id(cell.groups) for cell in splits)
            if bootstrap is None or bootstrap[0] != same:
                bootstrap = None
                groups = [cell.groups for cell in splits]
                bootstrap = same, Bootstrap(groups, rule.resamples, rule.seed)
            compared.resample(bootstrap[1])
        summary += compared.summary(known, over_repeats=rule.over_repeats)
        differences += compared.differences(pairs)
    targets = {name: number for number, (name, *_) in reversed(list(enumerate(settings)))}
    summary.sort(key=lambda entry: targets[entry.target])
    differences.sort(key=lambda entry: targets[entry.target])
    return summary, differences


def results_of(
    record: Record,
    cells: Sequence[Cell],
    rows: Sequence[ResultRow],
    summary: Sequence[Summary],
    differences: Sequence[Difference] = (),
) -> Results:
    """Everything that an experiment gives: its record, its cells, and what follows from them."""
    return Results(
        record=record, rows=tuple(rows), summary=tuple(summary), differences=tuple(differences),
        predictions=prediction_table(cells),
    )  # fmt: skip


def _setting(entry: Cell | ResultRow) -> Setting:
    return entry.target, entry.split, entry.train_fraction


@dataclass(kw_only=True, slots=True)
class _Compared:
    """Everything in one setting.

    Attributes:
        cells: cells of each model, over repeats and folds.
        values: their numbers by metric.
        resampled: (resamples,) of the mean over repeats and folds, by metric; empty where the
            interval is over repeats.
    """

    cells: dict[Model, list[Cell]] = field(default_factory=dict)
    values: dict[Model, dict[str, list[float]]] = field(default_factory=dict)
    resampled: dict[Model, dict[Metric, Floats]] = field(default_factory=dict)

    def add(self, cell: Cell) -> None:
        """Add a cell."""
        self.cells.setdefault((cell.feature_set, cell.head), []).append(cell)

    def add_value(self, row: ResultRow) -> None:
        """Add a number; rows come in the order of their cells."""
        numbers = self.values.setdefault((row.feature_set, row.head), {})
        numbers.setdefault(row.metric, []).append(row.value)

    def resample(self, bootstrap: Bootstrap) -> None:
        """Fill ``resampled``."""
        metrics = bootstrap.metrics(list(self.cells.values()))
        for number, model in enumerate(self.cells):
            self.resampled[model] = {name: values[number] for name, values in metrics.items()}

    def summary(self, known: Mapping[str, Metric], *, over_repeats: bool) -> Iterator[Summary]:
        """Every metric of every model with its interval."""
        for model, cells in self.cells.items():
            for metric, values in self.values.get(model, {}).items():
                resampled = self.resampled.get(model, {}).get(known.get(metric, "r2"))
                if metric not in known:
                    resampled = None
                low, high, kind = _interval(values if over_repeats else (), resampled)
                yield Summary(
                    **_key(cells),
                    n_features=cells[0].n_features,
                    metric=metric,
                    mean=float(np.mean(values)),
                    standard_deviation=_deviation(values),
                    low=low,
                    high=high,
                    interval=kind,
                    repeats=len(values),
                )

    def differences(self, pairs: Pairs) -> Iterator[Difference]:
        """Proposed less baseline, for every pair and metric."""
        r2 = {m: float(np.mean(numbers.get("r2", 0.0))) for m, numbers in self.values.items()}
        for pair in pairs(list(self.cells), r2):
            for metric in COMPARED:
                yield self._difference(pair, metric)

    def _difference(self, pair: Pair, metric: Metric) -> Difference:
        proposed, baseline = (
            np.array(self.values[model][metric]) for model in (pair.proposed, pair.baseline)
        )
        away, resampled = proposed - baseline, None
        if self.resampled:
            mine, other = (self.resampled[m][metric] for m in (pair.proposed, pair.baseline))
            resampled = mine - other
        low, high, kind = _interval(away.tolist(), resampled)
        return Difference(
            **_key(self.cells[pair.proposed]),
            baseline=pair.baseline[0],
            baseline_head=pair.baseline[1],
            best_head=pair.best_head,
            metric=metric,
            value=float(proposed.mean()),
            baseline_value=float(baseline.mean()),
            difference=float(away.mean()),
            standard_deviation=_deviation(away.tolist()),
            low=low,
            high=high,
            interval=kind,
            better=int((away > 0).sum() if metric == "r2" else (away < 0).sum()),
            repeats=len(away),
        )


def _interval(values: Sequence[float], resampled: Floats | None) -> tuple[float, float, str]:
    """Ends and kind: of the bootstrap where there are resamples, else of Student's t."""
    if resampled is not None:
        return *percentile_interval(resampled), BOOTSTRAP
    if len(values) < 2:
        return np.nan, np.nan, ""
    return *t_interval(values), T_INTERVAL


def _deviation(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def _key(cells: Sequence[Cell]) -> dict[str, Any]:
    """What cells of one model have in common; numbers of rows are means over repeats and folds."""
    sizes = {
        n: round(float(np.mean([getattr(c, n) for c in cells]))) for n in ("n_train", "n_test")
    }
    return cells[0].key() | sizes


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """How often a feature set is better than a baseline, over targets and train fractions.

    Attributes:
        feature_set: proposed features.
        baseline: feature set they are compared with.
        head: head of both.
        split: kind of split.
        better: comparisons in which the proposed features are better.
        significant: of these, with an interval that excludes zero.
        comparisons: comparisons in all.
        least: smallest gain relative to the baseline's error.
        most: largest.
    """

    feature_set: str
    baseline: str
    head: str
    split: str
    better: int
    significant: int
    comparisons: int
    least: float
    most: float


def count_better(differences: Sequence[Difference], metric: Metric = "rmse") -> list[Tally]:
    """A tally for each pair of feature sets, head and kind of split; the same head on both."""
    groups: dict[tuple[str, str, str, str], list[Difference]] = {}
    for entry in differences:
        if entry.metric == metric and not entry.best_head:
            key = (entry.feature_set, entry.baseline, entry.head, entry.split)
            groups.setdefault(key, []).append(entry)
    tallies = []
    for (feature_set, baseline, head, split), entries in groups.items():
        relative = [e.gain / abs(e.baseline_value) for e in entries if e.baseline_value]
        tallies.append(
            Tally(
                feature_set=feature_set,
                baseline=baseline,
                head=head,
                split=split,
                better=sum(e.gain > 0 for e in entries),
                significant=sum(e.gain > 0 and e.significant for e in entries),
                comparisons=len(entries),
                least=min(relative, default=0.0),
                most=max(relative, default=0.0),
            )
        )
    return tallies
