"""Results of an experiment -> its section: claims, differences, learning curves, errors, parity.

The same section for every scenario; question, what would count as failure and the verdicts stand in
the record. What a scenario shows beyond that is declared in ``scenarios.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crystalssl.evaluation import results as stored
from crystalssl.evaluation.results import MEAN, Difference, Results, Summary, select
from crystalssl.report import page
from crystalssl.report.charts import Line, lines, parity
from crystalssl.report.page import Drawing, Passage, TableCell, TableRow, head_name, words
from crystalssl.report.sections import setting as numbers
from crystalssl.report.sections.setting import METRICS, Setting, cell_of, mark_of, unique

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
Entry = Summary | Difference


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
    by_target: dict[tuple[int, str], list[Setting]] = {}
    for setting in [s for entry in entries for s in numbers.settings_of(entry, scenario.metrics)]:
        by_target.setdefault((id(setting.results), setting.target), []).append(setting)
    targets, figures = list(by_target.values()), scenario.figures
    firsts = [own[0] for own in targets]
    unfolded = [s for s in firsts[:UNFOLDED] if s.single and figures]
    folded = [s for own in targets for s in own if s not in unfolded]
    by_results = {id(setting.results): setting for setting in reversed(firsts)}
    passages = [p for s in [*by_results.values()][::-1] for p in _tallies(s)] if figures else []
    details = map(_compared, targets if passages else ())
    passages += [p for own in targets for p in _by_fraction(own)] if figures else []
    passages += [_setting(s, figures, folded=False) for s in unfolded]
    passages += [p for s in firsts for p in scenario.passages(s)] if scenario.passages else []
    passages += _parity(firsts) if figures else []
    passages += [_setting(s, figures, folded=True) for s in folded]
    passages += [Passage(notes=(t,)) for t in unique(map(_left_out, records)) if t]
    several = len(firsts) > 1
    return page.Section(
        anchor=records[0].scenario.replace("_", "-"),
        title=scenario.title,
        finding=page.joined(map(scenario.finding or headline, firsts)),
        detail=page.joined(details),
        question=records[0].question,
        failure=page.joined(unique(record.failure for record in records)),
        protocol=page.joined(unique(record.protocol for record in records)),
        checks=tuple(_check(v, several) for record in records for v in record.verdicts),
        passages=tuple(passages),
    )


def headline(setting: Setting) -> str:
    """The metric of the proposed features, on how many crystals, beside that of some baselines."""
    best = _best(setting)
    if best is None:
        return ""
    saw = " whose formulas no encoder saw" if setting.split == "held-out" else ""
    labels = "" if setting.single else f" and {page.counted(best.n_train, 'label')}"
    value = f"{cell_of(best).text} {cell_of(best).aside}".strip()
    text = (
        f"{setting.subject}: {head_name(best.head)} on "
        f"{setting.label(best.feature_set, inside=True)}{labels} has an {METRICS[setting.metric]} "
        f"of {value}{setting.metric_unit} on "
        f"{page.counted(setting.tested(best), 'test crystal')}{saw}"
    )
    others = [name for name in setting.results.record.proposed if name != best.feature_set]
    for name, head in [*((name, best.head) for name in others), (MEAN, MEAN)]:
        if other := setting.one(name, head, best.metric):
            text += f"; {setting.label(name, inside=True)}, {page.number(other.mean)}"
    same = {"feature_set": best.feature_set, "head": best.head}
    for rival in setting.differences(**same, best_head=True)[:1]:
        label, head = setting.label(rival.baseline, inside=True), head_name(rival.baseline_head)
        text += f"; {label} with its best head, {head}, {page.number(rival.baseline_value)}"
    return f"{text}."


def _best(setting: Setting) -> Summary | None:
    """The proposed features with ridge, or with their best head where baselines have theirs."""
    entries = setting.summaries(metric=setting.metric, feature_set=setting.proposed)
    if any(entry.best_head for entry in setting.differences()):
        return min(entries, key=lambda e: numbers.sign_of(e.metric) * e.mean, default=None)
    return min(entries, key=lambda e: setting.heads.index(e.head), default=None)


def _compared(settings: Sequence[Setting]) -> str:
    """How often the features are better for a target, and in the first setting than which."""
    first, best = settings[0], _best(settings[0])
    if best is None:
        return ""
    wanted: dict[str, Any] = {"feature_set": best.feature_set, "head": best.head}
    wanted["best_head"] = any(e.best_head for e in first.differences())
    told = []
    for outcome, verb in COMPARED.items():
        names = [
            f"{first.label(e.baseline, inside=True)} ({page.number(e.baseline_value)})"
            for e in first.differences(**wanted)
            if numbers.outcome_of(e) == outcome
        ]
        told += [f"{verb} {page.listed(names)}"] if names else []
    sentence = f"{first.title}: {'; '.join(told)}." if told else ""
    tally = numbers.tally([e for s in settings for e in s.differences(**wanted)])
    subject = f"{first.subject}: {tally[:1].lower()}{tally[1:]}" if tally else ""
    return page.joined((subject, sentence))


def _check(verdict: stored.Verdict, several: bool) -> page.Check:
    """A verdict of the evaluation; it holds only where no interval behind it includes zero."""
    outcome: page.Outcome = "held" if verdict.significant else "open"
    where = f"{words(verdict.target)}: " if several and verdict.target else ""
    return page.Check(
        claim=f"{where}{verdict.claim}",
        outcome="failed" if verdict.failed else outcome,
        evidence=verdict.evidence,
    )


def _tallies(setting: Setting) -> list[Passage]:
    """How often each proposed set is better than each baseline, by head and kind of split."""
    results = setting.results
    metric = next((entry.metric for entry in setting.differences()), "")
    labels, tables = results.record.labels, []
    for name in unique(e.feature_set for e in results.differences):
        entries = select(results.differences, feature_set=name, metric=metric)
        columns = unique((e.head, e.split) for e in entries)
        rows = []
        for baseline, best_head in unique((e.baseline, e.best_head) for e in entries):
            same = select(entries, baseline=baseline, best_head=best_head)
            cells = (_tally_cell(select(same, head=h, split=s)) for h, s in columns)
            label = _baseline(page.label_of(labels, baseline), best_head)
            rows.append(TableRow(label=label, cells=tuple(cells)))
        heads = (f"{head_name(h)}, {numbers.split_name(s)}" for h, s in columns)
        title = f"{page.label_of(labels, name)} compared with"
        tables.append(page.Table(title=title, heads=("Baseline", *heads), rows=tuple(rows)))
    title, text = f"Differences to baselines, {METRICS.get(metric)}", page.explained("differences")
    return [Passage(title=title, words=text, tables=tuple(tables))] if tables else []


def _baseline(label: str, best_head: bool) -> str:
    return f"{label}, its best head" if best_head else label


def _tally_cell(entries: Sequence[Difference]) -> TableCell:
    if not entries:
        return TableCell()
    outcomes = [numbers.outcome_of(entry) for entry in entries]
    if entries[0].metric in numbers.LOWER:
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
        tables=(numbers.setting_table(setting),),
        notes=(f"{interval}{triangles}Bold: the best of a column.",),
        folded=folded,
    )


def _errors(setting: Setting) -> list[Drawing]:
    """The metric of every feature set and head, with intervals."""
    entries, proposed = setting.summaries(metric=setting.metric), setting.results.record.proposed
    names = unique(e.feature_set for e in entries if e.feature_set != MEAN)
    rows = {setting.label(n): (n in proposed, select(entries, feature_set=n)) for n in names}
    mean = next((e.mean for e in entries if e.feature_set == MEAN), None)
    title = f"{METRICS[setting.metric]} of each feature set"
    axis = setting.metric_label() + ("" if mean is None else "; dashed: mean of training labels")
    svg = _head_dots(setting, rows, (axis, f"{title}, {setting.title}"), mean)
    better = "left" if setting.metric in numbers.LOWER else "right"
    return [Drawing(svg=svg, title=title, caption=f"Further {better} is better.")]


def _differences(settings: Sequence[Setting]) -> list[Drawing]:
    """Differences to baselines in one setting, or in several to the baseline with its best head."""
    first, several = settings[0], len(settings) > 1
    rows: dict[str, tuple[bool, Sequence[Entry]]] = {}
    for setting in settings:
        entries = setting.differences(feature_set=setting.proposed)
        for baseline, best_head in unique((e.baseline, e.best_head) for e in entries):
            same = select(entries, baseline=baseline, best_head=best_head)
            label = _baseline(setting.label(baseline), best_head)
            if several:
                label = f"{setting.fraction}, {page.counted(same[0].n_train, 'label')}"
            if best_head or not several:
                rows[label] = (True, same)
    if not rows:
        return []
    title = f"Difference of {first.label(first.proposed, inside=True)} to baselines"
    axis = first.better_by(next(iter(rows.values()))[1][0].metric)
    where = f"{first.place}, by train fraction" if several else first.title
    svg = _head_dots(first, rows, (axis, f"{title}, {where}"), 0.0)
    caption = "Right of the line they are better, significantly where the interval ends before it."
    return [Drawing(svg=svg, title=title, caption=caption)]


def _head_dots(
    setting: Setting,
    rows: Mapping[str, tuple[bool, Sequence[Entry]]],
    texts: tuple[str, str],
    reference: float | None,
) -> str:
    """Dots of every head for each label; heads have colours where there are more than two.

    Args:
        setting: whose heads to show.
        rows: by label, whether it is of the proposed features, and its numbers.
        texts: label of the axis, and text alternative.
        reference: where a dashed line stands.
    """
    heads, many = setting.heads, len(setting.heads) > 2
    colours = dict(zip(heads, HEAD_COLOURS * len(heads), strict=False)) if many else {}
    key = [(head_name(h), colours.get(h, "ink"), many or h == heads[0]) for h in heads]
    marks = {
        label: [
            (e, colours.get(e.head, "accent" if proposed else "muted"), many or e.head == heads[0])
            for e in sorted(entries, key=lambda e: heads.index(e.head))
        ]
        for label, (proposed, entries) in rows.items()
    }
    return numbers.dots_of(marks, texts, reference=reference, key=key)


def _by_fraction(settings: Sequence[Setting]) -> list[Passage]:
    """Learning curves of a target, and differences to the baseline with its best head."""
    passages = []
    for split in unique(s.split for s in settings if not s.single):
        own = sorted((s for s in settings if s.split == split), key=lambda s: s.train_fraction)
        first = own[0]
        curves = tuple(_curves(own, head) for head in first.heads)
        title = f"{first.place}: {METRICS[first.metric]} against train fraction"
        passages.append(Passage(title=title, words=page.explained("fractions"), drawings=curves))
        differences = tuple(_differences(own))
        title = f"{first.place}: difference to the baseline with its best head"
        if differences:
            text = page.explained("best_head")
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
        proposed, head = setting.results.record.proposed, next(iter(setting.heads), "")
        entries = setting.summaries(metric=setting.metric, head=head)
        means = {e.feature_set: numbers.sign_of(e.metric) * e.mean for e in entries}
        rivals = sorted((n for n in means if n not in proposed), key=lambda n: means[n])
        quantity = page.with_unit(words(setting.target).lower(), setting.unit)
        for name in [n for n in (setting.proposed, *rivals[:1]) if n in means]:
            true, predicted = setting.predictions(name, head)
            if len(np.unique(true)) > 2:  # not two classes
                leading = name == setting.proposed
                svg = parity(true, predicted, setting.label(name), quantity, leading=leading)
                drawn.append(Drawing(svg=svg, caption=f"{setting.title}, {head_name(head)}"))
    note = "Test crystals of the first repeat; the proposed features beside the strongest baseline."
    title = "Predicted against true values"
    return [Passage(title=title, drawings=tuple(drawn), notes=(note,))] if drawn else []


def _left_out(record: stored.Record) -> str:
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
