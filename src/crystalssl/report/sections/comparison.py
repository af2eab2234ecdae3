"""Results of an experiment -> its section: claims, differences, learning curves, errors, parity.

The same section for every scenario; question, what would count as failure and the verdicts stand in
the record. What a scenario shows beyond that is declared in ``scenarios.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from crystalssl.evaluation.results import (
    MEAN,
    Difference,
    Record,
    Results,
    Summary,
    Verdict,
    select,
)
from crystalssl.report import page
from crystalssl.report.charts import Line, Mark, dots, lines, parity
from crystalssl.report.page import Drawing, Passage, TableCell, TableRow, head_name, words
from crystalssl.report.sections.setting import (
    LOWER,
    METRICS,
    SPLITS,
    Setting,
    cell_of,
    mark_of,
    outcome_of,
    settings_of,
    sign_of,
    tally,
    unique,
)

UNFOLDED = 2
"""Settings shown unfolded, each the first of a target."""
HEAD_COLOURS = ("accent", "block-1", "block-4", "block-2", "block-3", "block-6")
"""Colours of heads where more than two stand together."""
COMPARED = {
    "held": "significantly better than",
    "open": "not significantly different from",
    "failed": "significantly worse than",
}
"""Outcomes of differences in a sentence."""
Rows = list[tuple[str, list[Mark]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """What a scenario adds to the section that all of them have.

    Attributes:
        title: heading.
        metrics: the metric that figures show: the first of these that was stored.
        finding: what came out, from the first setting of a target; the general one if None.
        passages: further figures and tables, from the first setting of a target.
        figures: whether errors and differences of all feature sets are drawn.
    """

    title: str
    metrics: tuple[str, ...] = ("rmse",)
    finding: Callable[[Setting], str] | None = None
    passages: Callable[[Setting], list[Passage]] | None = None
    figures: bool = True


def comparison_section(scenario: Scenario, entries: Sequence[Results]) -> page.Section:
    """The section of a scenario.

    Args:
        scenario: what it adds.
        entries: its results: one, or one for each task of a benchmark.
    """
    records = [entry.record for entry in entries]
    settings = [s for entry in entries for s in settings_of(entry, scenario.metrics)]
    by_target: dict[tuple[int, str], list[Setting]] = {}
    for setting in settings:
        by_target.setdefault((id(setting.results), setting.target), []).append(setting)
    firsts = [own[0] for own in by_target.values()]
    unfolded = [s for s in firsts[:UNFOLDED] if s.single and scenario.figures]
    shown = [(s in unfolded, _setting(s, scenario.figures, s not in unfolded)) for s in settings]
    tallies = [p for entry in entries if scenario.figures for p in _tallies(entry)]
    extra = [p for s in firsts if scenario.passages for p in scenario.passages(s)]
    remarks = [text for text in unique(_left_out(record) for record in records) if text]
    return page.Section(
        anchor=records[0].scenario.replace("_", "-"),
        title=scenario.title,
        finding=" ".join(filter(None, map(scenario.finding or headline, firsts))),
        detail=" ".join(filter(None, map(_compared, by_target.values() if tallies else ()))),
        question=records[0].question,
        failure=" ".join(unique(record.failure for record in records)),
        protocol=" ".join(unique(record.protocol for record in records)),
        checks=tuple(
            _check(verdict, entry, len(firsts) > 1)
            for entry in entries
            for verdict in entry.record.verdicts
        ),
        passages=(
            *tallies,
            *(p for own in by_target.values() for p in _by_fraction(own) if scenario.figures),
            *(passage for is_open, passage in shown if is_open),
            *extra,
            *_parity(firsts if scenario.figures else ()),
            *(passage for is_open, passage in shown if not is_open),
            *(Passage(notes=(text,)) for text in remarks),
        ),
    )


def headline(setting: Setting) -> str:
    """The metric of the proposed features, on how many crystals, beside the baseline at its best."""
    best = _best(setting)
    if best is None:
        return ""
    saw = " whose formulas no encoder saw" if setting.split == "held-out" else ""
    labels = "" if setting.single else f" and {page.counted(best.n_train, 'label')}"
    text = (
        f"{words(setting.target)}: {head_name(best.head)} on "
        f"{setting.label(best.feature_set, inside=True)}{labels} has an {METRICS[setting.metric]} "
        f"of {cell_text(best)}{setting.metric_unit} on "
        f"{page.counted(setting.tested(best), 'test crystal')}{saw}"
    )
    others = {name: "on " for name in setting.results.record.proposed if name != best.feature_set}
    for name, preposition in (others | {MEAN: ""}).items():
        head = MEAN if name == MEAN else best.head
        if other := setting.one(name, head, best.metric):
            label = setting.label(name, inside=True)
            text += f"; {preposition}{label}, {page.number(other.mean)}"
    rivals = setting.differences(feature_set=best.feature_set, head=best.head, best_head=True)
    for rival in rivals[:1]:
        label, head = setting.label(rival.baseline, inside=True), head_name(rival.baseline_head)
        text += f"; {label} with its best head, {head}, {page.number(rival.baseline_value)}"
    return f"{text}."


def cell_text(entry: Summary) -> str:
    """A mean with its interval, for a sentence."""
    cell = cell_of(entry)
    return f"{cell.text} {cell.aside}".strip()


def _best(setting: Setting) -> Summary | None:
    """The proposed features with ridge, or with their best head where baselines have theirs."""
    entries = setting.summaries(metric=setting.metric, feature_set=setting.proposed)
    if any(entry.best_head for entry in setting.differences()):
        return min(entries, key=lambda e: sign_of(setting.metric) * e.mean, default=None)
    return min(entries, key=lambda e: setting.heads.index(e.head), default=None)


def _compared(settings: Sequence[Setting]) -> str:
    """How often the features are better for a target, and in the first setting than which."""
    first, best = settings[0], _best(settings[0])
    if best is None:
        return ""
    same = {"feature_set": best.feature_set, "head": best.head}
    at_best = any(e.best_head for e in first.differences(**same))
    entries = [e for s in settings for e in s.differences(**same, best_head=at_best)]
    told = [
        f"{verb} " + page.listed([_with_value(first, e) for e in own])
        for outcome, verb in COMPARED.items()
        if (own := [e for e in first.differences(**same, best_head=at_best)
                    if outcome_of(e) == outcome])
    ]  # fmt: skip
    sentence = "; ".join(told)
    where = f"{first.title}: " if told else ""
    return f"{tally(entries)} {where}{sentence}{'.' if told else ''}".strip()


def _with_value(setting: Setting, entry: Difference) -> str:
    return f"{setting.label(entry.baseline, inside=True)} ({page.number(entry.baseline_value)})"


def _check(verdict: Verdict, results: Results, several: bool) -> page.Check:
    """A verdict of the evaluation; it holds only where no interval behind it includes zero.

    Claims name the feature sets and the head of the differences behind them by their labels.
    """
    labels = results.record.labels
    same = [
        e
        for e in select(results.differences, target=verdict.target)
        if page.label_of(labels, e.feature_set) in verdict.claim and e.head in verdict.claim
    ]
    behind = [e for e in same if page.label_of(labels, e.baseline) in verdict.claim] or same
    outcome: page.Outcome = "failed" if verdict.failed else "unknown"
    if behind and not verdict.failed:
        outcome = "held" if all(e.significant for e in behind) else "open"
    where = f"{words(verdict.target)}: " if several and verdict.target else ""
    return page.Check(claim=f"{where}{verdict.claim}", outcome=outcome, evidence=verdict.evidence)


def _tallies(results: Results) -> list[Passage]:
    """How often each proposed set is better than each baseline, by head and kind of split."""
    metric = next((entry.metric for entry in results.differences), "")
    labels, tables = results.record.labels, []
    for name in unique(e.feature_set for e in results.differences):
        entries = select(results.differences, feature_set=name, metric=metric)
        columns = unique((e.head, e.split) for e in entries)
        rows = [
            TableRow(
                label=_baseline(page.label_of(labels, baseline), best_head),
                cells=tuple(
                    _tally_cell(select(own, head=head, split=split)) for head, split in columns
                ),
            )
            for baseline, best_head in unique((e.baseline, e.best_head) for e in entries)
            if (own := select(entries, baseline=baseline, best_head=best_head))
        ]
        heads = tuple(f"{head_name(head)}, {SPLITS.get(split, split)}" for head, split in columns)
        title = f"{page.label_of(labels, name)} compared with"
        tables.append(page.Table(title=title, heads=("Baseline", *heads), rows=tuple(rows)))
    better = "a lower error (RMSE)" if metric in LOWER else "a higher R²"
    text = (
        f"In how many comparisons the features have {better} than the baseline; a comparison is "
        "one target at one train fraction. Significant: the 95 % confidence interval of the "
        "difference excludes zero. Last, the smallest and the largest difference."
    )
    title = "Differences to baselines"
    return [Passage(title=title, words=text, tables=tuple(tables))] if tables else []


def _baseline(label: str, best_head: bool) -> str:
    return f"{label}, its best head" if best_head else label


def _tally_cell(entries: Sequence[Difference]) -> TableCell:
    if not entries:
        return TableCell()
    outcomes = [outcome_of(entry) for entry in entries]
    if entries[0].metric in LOWER:
        gains = [entry.gain / entry.baseline_value for entry in entries]
        ends = [f"{page.percent(abs(g))} {'lower' if g >= 0 else 'higher'}" for g in gains]
    else:
        gains = [entry.gain for entry in entries]
        ends = [page.signed(gain) for gain in gains]
    least, most = ends[int(np.argmin(gains))], ends[int(np.argmax(gains))]
    return TableCell(
        text=f"{sum(gain > 0 for gain in gains)} of {len(gains)}",
        aside=f"significant in {outcomes.count('held')}; {' to '.join(unique((least, most)))}",
        outcome=page.worst(outcomes),
    )


def _setting(setting: Setting, figures: bool, folded: bool) -> Passage:
    """Figures and the table of a setting."""
    kinds = unique(e.interval for e in setting.summaries(metric=setting.metric) if e.interval)
    interval = f"Lines and parentheses: 95 % interval ({page.listed(kinds)}). " if kinds else ""
    triangles = "Triangles: beyond the frame. " if figures else ""
    return Passage(
        title=setting.title if figures else f"{setting.title}, all numbers",
        drawings=(*_errors(setting), *_differences([setting])) if figures else (),
        tables=(setting_table(setting),),
        notes=(f"{interval}{triangles}Bold: the best of a column.",),
        folded=folded,
    )


def _errors(setting: Setting) -> list[Drawing]:
    """The metric of every feature set and head, with intervals."""
    entries, heads = setting.summaries(metric=setting.metric), setting.heads
    proposed = setting.results.record.proposed
    rows = [
        (
            setting.label(name),
            [
                mark_of(e, _colour(h, heads, name in proposed), filled=_filled(h, heads))
                for h in heads
                for e in select(entries, feature_set=name, head=h)
            ],
        )
        for name in unique(e.feature_set for e in entries if e.feature_set != MEAN)
    ]
    mean = next((e.mean for e in entries if e.feature_set == MEAN), None)
    svg = dots(
        rows,
        setting.metric_label() + ("" if mean is None else "; dashed: mean of training labels"),
        f"{METRICS[setting.metric]} of each feature set, {setting.title}",
        reference=mean,
        key=_key(heads),
    )
    better = "left" if setting.metric in LOWER else "right"
    title = f"{METRICS[setting.metric]} of each feature set"
    return [Drawing(svg=svg, title=title, caption=f"Further {better} is better.")]


def _differences(settings: Sequence[Setting]) -> list[Drawing]:
    """By how much the features are better than baselines in one setting, or, where these have
    their best heads, in several.
    """
    rows: Rows = []
    first, several = settings[0], len(settings) > 1
    heads = first.heads
    for setting in settings:
        entries = setting.differences(feature_set=setting.proposed)
        for baseline, best_head in unique((e.baseline, e.best_head) for e in entries):
            own = select(entries, baseline=baseline, best_head=best_head)
            text = _baseline(setting.label(baseline), best_head)
            if several:
                text = f"{setting.fraction}, {page.counted(own[0].n_train, 'label')}"
            if best_head or not several:
                marks = [
                    mark_of(e, _colour(e.head, heads, True), filled=_filled(e.head, heads))
                    for e in own
                ]
                rows.append((text, marks))
    if not rows:
        return []
    metric = first.differences()[0].metric
    label = first.label(first.proposed, inside=True)
    where = f"{first.place}, by train fraction" if several else first.title
    svg = dots(
        rows,
        first.metric_label("{} " + ("lower by" if metric in LOWER else "higher by"), metric),
        f"Difference of {label} to each baseline, {where}",
        reference=0.0,
        key=_key(heads),
    )
    caption = "Right of the line they are better, significantly where the interval ends before it."
    return [Drawing(svg=svg, title=f"Difference of {label} to baselines", caption=caption)]


def setting_table(setting: Setting) -> page.Table:
    """Every feature set of a setting, all heads and metrics, and the differences; the mean last."""
    heads, entries = setting.heads, setting.summaries()
    stored = [m for m in METRICS if any(e.metric == m for e in entries)]
    columns = [(h, m) for h in heads for m in (stored if h == heads[0] else stored[:3])]
    known = {(e.feature_set, e.head, e.metric): e for e in entries}
    known |= {(MEAN, heads[0], m): e for (_, h, m), e in known.items() if h == MEAN}
    widths = {e.feature_set: e.n_features for e in entries}
    differences = setting.differences(feature_set=setting.proposed, best_head=False)
    gains = {(e.baseline, e.head): e for e in differences}
    compared = [head for head in heads if any(e.head == head for e in differences)]
    names = sorted(widths, key=lambda name: name == MEAN)
    rows = [
        TableRow(
            label=setting.label(name),
            cells=(
                TableCell(text=f"{widths[name]:,}" if widths[name] else ""),
                *(cell_of(known.get((name, *column))) for column in columns),
                *(cell_of(gains.get((name, head))) for head in compared),
            ),
            proposed=name in setting.results.record.proposed,
        )
        for name in names
    ]
    for index, (head, metric) in enumerate(columns):
        cells = [known.get((name, head, metric)) for name in names]
        values = [np.nan if e is None else sign_of(metric) * e.mean for e in cells]
        rows = page.mark_best(rows, index + 1, values)
    groups = [(words(head_name(h)), sum(c[0] == h for c in columns)) for h in heads]
    if differences:
        metric = differences[0].metric
        better = f"{METRICS[metric]} {'lower' if metric in LOWER else 'higher'} by"
        groups.append((f"{setting.label(setting.proposed)}: {better}", len(compared)))
    return page.Table(
        title=page.with_unit(f"{setting.title}, all numbers", setting.unit),
        heads=("Features", "Columns", *(METRICS[m] for _, m in columns), *map(head_name, compared)),
        groups=(("", 2), *groups),
        rows=tuple(rows),
    )


def _by_fraction(settings: Sequence[Setting]) -> list[Passage]:
    """Learning curves of a target, and differences to the baseline with its best head."""
    passages = []
    for split in unique(s.split for s in settings if not s.single):
        own = sorted((s for s in settings if s.split == split), key=lambda s: s.train_fraction)
        first = own[0]
        curves = tuple(_curves(own, head) for head in first.heads)
        title = f"{first.place}: {METRICS[first.metric]} against train fraction"
        text = (
            "A panel for each head, a line for each feature set; the proposed ones in blue. "
            "Upright lines are 95 % intervals."
        )
        passages.append(Passage(title=title, words=text, drawings=curves))
        differences = tuple(_differences(own))
        title = f"{first.place}: difference to the baseline with its best head"
        text = (
            "Paired: both saw the same labels and are tested on the same crystals. The baseline "
            "has the head that serves it best on the test crystals, a choice that favours it."
        )
        if differences:
            passages.append(Passage(title=title, words=text, drawings=differences))
    return passages


def _curves(settings: Sequence[Setting], head: str) -> Drawing:
    """The metric against the train fraction with one head, a line for each feature set."""
    first, proposed = settings[0], settings[0].results.record.proposed
    entries = [e for s in settings for e in s.summaries(metric=s.metric, head=head)]
    series = [
        Line(
            label=first.label(name),
            at=tuple(100 * e.train_fraction for e in own),
            marks=tuple(mark_of(e, "accent") for e in own),
            leading=name in proposed,
            dashed=name in proposed[1:],
        )
        for name in unique(e.feature_set for e in entries)
        if (own := select(entries, feature_set=name))
    ]
    text = f"{METRICS[first.metric]} against train fraction, {first.place}, {head_name(head)}"
    svg = lines(series, "train fraction (%)", first.metric_label(), text)
    return Drawing(svg=svg, title=f"Head: {head_name(head)}")


def _parity(firsts: Sequence[Setting]) -> list[Passage]:
    """The proposed features beside their strongest baseline, for each target."""
    drawn = []
    for setting in firsts:
        sign, proposed = sign_of(setting.metric), setting.results.record.proposed
        head = next(iter(setting.heads), "")
        means = {
            e.feature_set: sign * e.mean
            for e in setting.summaries(metric=setting.metric, head=head)
        }
        rivals = sorted((n for n in means if n not in proposed), key=lambda n: means[n])
        for name in [n for n in (setting.proposed, *rivals[:1]) if n in means]:
            true, predicted = _predictions(setting, name, head)
            if len(np.unique(true)) > 2:  # not two classes
                quantity = page.with_unit(words(setting.target).lower(), setting.unit)
                leading = name == setting.proposed
                svg = parity(true, predicted, setting.label(name), quantity, leading=leading)
                drawn.append(Drawing(svg=svg, caption=f"{setting.title}, {head_name(head)}"))
    note = "Test crystals of the first repeat; the proposed features beside the strongest baseline."
    title = "Predicted against true values"
    return [Passage(title=title, drawings=tuple(drawn), notes=(note,))] if drawn else []


def _predictions(setting: Setting, feature_set: str, head: str) -> tuple[np.ndarray, np.ndarray]:
    """True and predicted values of the test rows of the first repeat."""
    kept = setting.results.predictions.filter(
        (pc.field("target") == setting.target)
        & (pc.field("split") == setting.split)
        & (pc.field("train_fraction") == setting.train_fraction)
        & (pc.field("feature_set") == feature_set)
        & (pc.field("head") == head)
    )
    repeats = kept["repeat"].to_numpy()
    first = repeats == min(repeats, default=0)
    return kept["true"].to_numpy()[first], kept["predicted"].to_numpy()[first]


def _left_out(record: Record) -> str:
    """How many crystals took part, and why the others did not."""
    total, compared = record.counts.get("crystals", 0), record.counts.get("compared", 0)
    if not total:
        return ""
    start = "not held by "
    verb = "is" if compared == 1 else "are"
    texts = [f"{compared:,} of {page.counted(total, 'crystal')} {verb} in every feature set"]
    texts += [
        f"{count:,} {'does' if count == 1 else 'do'} not fit into "
        f"{page.in_sentence(page.label_of(record.labels, name.removeprefix(start)))}"
        for name, count in record.counts.items()
        if name.startswith(start)
    ]
    return "; ".join(texts) + "."


def _filled(head: str, heads: Sequence[str]) -> bool:
    return len(heads) > 2 or head == heads[0]


def _colour(head: str, heads: Sequence[str], proposed: bool) -> str:
    """Proposed features stand out; where there are many heads, these have colours instead."""
    if len(heads) > 2:
        return HEAD_COLOURS[list(heads).index(head) % len(HEAD_COLOURS)]
    return "accent" if proposed else "muted"


def _key(heads: Sequence[str]) -> list[tuple[str, str, bool]]:
    """What the dots of each head look like."""
    return [
        (head_name(h), _colour(h, heads, True) if len(heads) > 2 else "ink", _filled(h, heads))
        for h in heads
    ]
