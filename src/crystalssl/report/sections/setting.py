"""One target, kind of split and train fraction of an experiment, and the words for its numbers.

``comparison.py`` and ``scenarios.py`` ask it for summaries and differences; it turns them into dots
of figures and cells of tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow.compute as pc

from crystalssl.evaluation.results import MEAN, THEN, Difference, Floats, Results, Summary, select
from crystalssl.report import page
from crystalssl.report.charts import Mark, dots
from crystalssl.report.page import Outcome, Table, TableCell, TableRow, counted, number, words

METRICS = {
    "rmse": "RMSE", "mae": "MAE", "r2": "R²", "rocauc_probability": "ROC AUC of probabilities",
    "rocauc": "ROC AUC", "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy",
    "f1": "F1", "mape": "MAPE", "max_error": "largest error",
}  # fmt: skip
"""Metrics that tables show, and how the field writes them."""
ERRORS = ("rmse", "mae", "max_error")
"""Metrics in the unit of the target."""
LOWER = (*ERRORS, "mape")
"""Metrics of which less is better."""
Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One target in one kind of split at one train fraction.

    Attributes:
        results: what the experiment gave.
        target: label column.
        split: kind of split.
        train_fraction: fraction of the rows trained on.
        metric: the metric that figures show.
        single: whether it is the only train fraction of its target and split.
    """

    results: Results
    target: str
    split: str
    train_fraction: float
    metric: str
    single: bool

    @property
    def _key(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("target", "split", "train_fraction")}

    def summaries(self, **wanted: Any) -> list[Summary]:
        """Summaries of this setting without those of the residual protocol."""
        entries = select(self.results.summary, **self._key, **wanted)
        return [entry for entry in entries if THEN not in entry.feature_set]

    def differences(self, **wanted: Any) -> list[Difference]:
        """Differences of this setting, of the metric that is shown or else the first."""
        entries = select(self.results.differences, **self._key, **wanted)
        names = unique(entry.metric for entry in entries)
        metric = self.metric if self.metric in names else next(iter(names), "")
        return [entry for entry in entries if entry.metric == metric]

    def one(self, feature_set: str, head: str, metric: str) -> Summary | None:
        """One summary, or None."""
        entries = self.summaries(feature_set=feature_set, head=head, metric=metric)
        return next(iter(entries), None)

    def tested(self, entry: Summary) -> int:
        """Test crystals of all folds of one repeat."""
        same = {"feature_set": entry.feature_set, "head": entry.head, "metric": entry.metric}
        rows = select(self.results.rows, **self._key, **same)
        return sum(row.n_test for row in rows if row.repeat == rows[0].repeat) or entry.n_test

    def predictions(self, feature_set: str, head: str) -> tuple[Floats, Floats]:
        """True and predicted values of the test rows of the first repeat."""
        wanted = self._key | {"feature_set": feature_set, "head": head}
        kept = self.results.predictions
        for name, value in wanted.items():
            kept = kept.filter(pc.field(name) == value)
        repeats = kept["repeat"].to_numpy()
        first = repeats == min(repeats, default=0)
        return kept["true"].to_numpy()[first], kept["predicted"].to_numpy()[first]

    @property
    def proposed(self) -> str:
        """The feature set that is compared with all others."""
        present = {entry.feature_set for entry in self.summaries()}
        return next((n for n in self.results.record.proposed if n in present), "")

    @property
    def unit(self) -> str:
        """Unit of the target."""
        return next((entry.unit for entry in self.summaries()), "")

    @property
    def heads(self) -> list[str]:
        """Heads, ridge first where it is there."""
        names = unique(entry.head for entry in self.summaries() if entry.feature_set != MEAN)
        return sorted(names, key=lambda name: name != "ridge")

    @property
    def subject(self) -> str:
        """Target, and task of a benchmark, for a sentence."""
        task = self.results.record.config.get("task", "")
        return ", ".join(filter(None, (task, words(self.target))))

    @property
    def place(self) -> str:
        """Target and split, for a heading."""
        return f"{self.subject}, {split_name(self.split)}"

    @property
    def title(self) -> str:
        """Target, split and train fraction, for a heading."""
        return self.place if self.single else f"{self.place}, train fraction {self.fraction}"

    @property
    def fraction(self) -> str:
        """The train fraction in percent, with as many digits as it has."""
        return f"{100 * self.train_fraction:.4g} %"

    @property
    def metric_unit(self) -> str:
        """Unit of the metric that is shown, with a space before it; empty where it has none."""
        return f" {self.unit}" if self.metric in ERRORS and self.unit not in ("", "1") else ""

    def metric_label(self, before: str = "") -> str:
        """The metric that is shown with its unit, for an axis."""
        unit = self.unit if self.metric in ERRORS else ""
        return page.with_unit(f"{before}{METRICS[self.metric]}", unit)

    def better_by(self, metric: str) -> str:
        """What a difference says, with its unit, for an axis."""
        text = f"{METRICS[metric]} {'lower' if metric in LOWER else 'higher'} by"
        return page.with_unit(text, self.unit if metric in ERRORS else "")

    def label(self, name: str, *, inside: bool = False) -> str:
        """The readable name of a feature set, alone or inside a sentence."""
        label = page.label_of(self.results.record.labels, name)
        return page.in_sentence(label) if inside else label


def settings_of(results: Results, metrics: Sequence[str]) -> list[Setting]:
    """Every setting of some results, in order of appearance.

    Args:
        results: what the experiment gave.
        metrics: the metric that figures show: the first of these that was stored.
    """
    stored = {entry.metric for entry in results.summary}
    metric = next((name for name in metrics if name in stored), metrics[0])
    keys = unique((e.target, e.split, e.train_fraction) for e in results.summary)
    splits = [key[:2] for key in keys]
    return [
        Setting(
            results=results, target=target, split=split, train_fraction=fraction, metric=metric,
            single=splits.count((target, split)) == 1,
        )
        for target, split, fraction in keys
    ]  # fmt: skip


def mark_of(
    entry: Summary | Difference, colour: str, *, filled: bool = True, signed: bool = False
) -> Mark:
    """The dot of a summary, or of a difference: right of zero where the features are better.

    Args:
        entry: the numbers.
        colour: name in ``svg.COLOURS`` or a colour.
        filled: whether the dot is filled.
        signed: whether the number beside a summary has a sign, and a difference stays as it is.
    """
    low, high = entry.low, entry.high
    if isinstance(entry, Summary):
        at = entry.mean
    elif signed or entry.gain == entry.difference:
        at = entry.difference
    else:
        at, low, high = entry.gain, -high, -low
    text = number(at) if isinstance(entry, Summary) and not signed else page.signed(at)
    return Mark(at=at, low=low, high=high, colour=colour, filled=filled, text=text)


def dots_of(
    rows: Mapping[str, Sequence[tuple[Summary | Difference | None, str, bool]]],
    texts: tuple[str, str],
    *,
    reference: float | None = None,
    key: Sequence[tuple[str, str, bool]] = (),
    signed: bool = False,
) -> str:
    """A row of dots for each label.

    Args:
        rows: numbers with the colours of their dots and whether these are filled; None is skipped.
        texts: label of the axis, and text alternative.
        reference: where a dashed line stands.
        key: what the colours mean: text, colour, filled.
        signed: as in :func:`mark_of`.
    """
    marks = [
        (label, [mark_of(e, c, filled=full, signed=signed) for e, c, full in entries if e])
        for label, entries in rows.items()
    ]
    return dots(marks, *texts, reference=reference, key=key)


def cell_of(entry: Summary | Difference | None) -> TableCell:
    """The cell of a summary or difference with its interval, else with standard deviation."""
    if entry is None:
        return TableCell()
    mark = mark_of(entry, "ink")
    beside = page.aside(mark.low, mark.high)
    if not beside and entry.repeats > 1:
        beside = f"± {number(entry.standard_deviation)}"
    outcome = outcome_of(entry) if isinstance(entry, Difference) else None
    return TableCell(text=mark.text, aside=beside, outcome=outcome)


def grid(
    title: str,
    heads: tuple[str, ...],
    rows: Iterable[tuple[str, bool, Sequence[Summary | Difference | None]]],
) -> Table:
    """A table of summaries: a row for each label, whether it is proposed, and its numbers."""
    filled = (
        TableRow(label=label, proposed=proposed, cells=tuple(map(cell_of, entries)))
        for label, proposed, entries in rows
    )
    return Table(title=title, heads=heads, rows=tuple(filled))


def setting_table(setting: Setting) -> Table:
    """Every feature set of a setting, all heads and metrics, and the differences; the mean last."""
    heads, entries = setting.heads, [e for e in setting.summaries() if e.metric in METRICS]
    present = [m for m in METRICS if any(e.metric == m for e in entries)]
    fewer = [m for m in present if m in ("rmse", setting.metric)]
    columns = [(h, m) for h in heads for m in (present if h == heads[0] else fewer)]
    known = {(e.feature_set, e.head, e.metric): e for e in entries}
    known |= {(MEAN, heads[0], m): e for (_, h, m), e in known.items() if h == MEAN}
    widths = {e.feature_set: e.n_features for e in entries}
    differences = setting.differences(feature_set=setting.proposed, best_head=False)
    gains = {(e.baseline, e.head): e for e in differences}
    compared = [head for head in heads if any(e.head == head for e in differences)]
    names = sorted(widths, key=lambda name: name == MEAN)
    rows = []
    for name in names:
        cells = [TableCell(text=f"{widths[name]:,}" if name != MEAN else "")]
        cells += [cell_of(known.get((name, *column))) for column in columns]
        cells += [cell_of(gains.get((name, head))) for head in compared]
        proposed = name in setting.results.record.proposed
        rows.append(TableRow(label=setting.label(name), cells=tuple(cells), proposed=proposed))
    for index, (head, metric) in enumerate(columns):
        means = [e.mean if (e := known.get((n, head, metric))) else np.nan for n in names]
        rows = page.mark_best(rows, index + 1, [sign_of(metric) * mean for mean in means])
    groups = [(words(page.head_name(h)), sum(c[0] == h for c in columns)) for h in heads]
    groups += [(setting.better_by(differences[0].metric), len(compared))] if compared else []
    return Table(
        title=page.with_unit(f"{setting.title}, all numbers", setting.unit),
        heads=(
            "Features",
            "Columns",
            *(METRICS[m] for _, m in columns),
            *map(page.head_name, compared),
        ),
        groups=(("", 2), *groups),
        rows=tuple(rows),
    )


def outcome_of(entry: Difference) -> Outcome:
    """Whether the proposed features are significantly better, or worse, or neither."""
    mark = mark_of(entry, "ink")
    return page.judged(mark.at, mark.low, mark.high)


def tally(entries: Sequence[Difference]) -> str:
    """In how many comparisons the proposed features are better, and in how many significantly."""
    outcomes = [outcome_of(entry) for entry in entries]
    if not outcomes:
        return ""
    lower = entries[0].metric in LOWER
    better = sum(entry.gain > 0 for entry in entries)
    worse = outcomes.count("failed")
    return (
        f"{'Lower error' if lower else f'Higher {METRICS[entries[0].metric]}'} in {better} of "
        f"{counted(len(entries), 'comparison')}, significant in {outcomes.count('held')}"
        + (f"; significantly {'higher' if lower else 'lower'} in {worse}." if worse else ".")
    )


def split_name(split: str) -> str:
    """A kind of split in words."""
    return "held-out formulas" if split == "held-out" else f"{split} splits"


def sign_of(metric: str) -> float:
    """Sign with which less of a metric is better."""
    return 1.0 if metric in LOWER else -1.0


def unique(values: Iterable[Item]) -> list[Item]:
    """Values without repeats, in order."""
    return list(dict.fromkeys(values))
