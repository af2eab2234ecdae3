"""Stored numbers -> the sentences and table rows of the report.

Plain records for the template. What lost is said as plainly as what won.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crystalssl.evaluation.compare import Comparison, compare
from crystalssl.evaluation.scenario import ResultTable
from crystalssl.evaluation.scoring import MEAN
from crystalssl.hub.card import TaskFigure
from crystalssl.report.run_folder import BlockRun, RunData

CHAMPION = "ssl"
"""Feature set of interest, where it is in the table; else the last one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One comparison of the linear probe.

    Attributes:
        property: label column.
        unit: its unit.
        split_kind: kind of split.
        share: share trained on, or None for held-out folds.
    """

    property: str
    unit: str
    split_kind: str
    share: float | None

    def title(self) -> str:
        """Property and split, for a heading."""
        if self.share is None:
            return f"{words(self.property)}, held-out formulas"
        shares = f"{100 * self.share:.0f}/{100 - 100 * self.share:.0f}"
        return f"{words(self.property)}, {self.split_kind} {shares}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeRow:
    """One feature set in one comparison; texts, empty where there is no number.

    Attributes:
        label: name of the feature set.
        columns: number of its columns.
        cells: RMSE, MAE and R2 under ridge, RMSE under least squares, each (mean, spread).
        margin: how much lower the champion's error is, with its spread.
        wins: splits in which the champion is better, of how many.
        won: whether the champion is better on average; None for the champion itself.
        champion: whether this is the feature set of interest.
    """

    label: str
    columns: str
    cells: tuple[tuple[str, str], ...]
    margin: tuple[str, str]
    wins: str
    won: bool | None
    champion: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskRow:
    """One pretext task.

    Attributes:
        block: block it belongs to.
        number: number of the pretext task, empty for a further objective.
        name: task name.
        teaches: what it teaches.
        figure: name and unit of its figure, with the direction.
        model: figure of the block.
        baselines: every baseline with its figure; the trivial one first.
        beats: whether the block is better than the trivial baseline.
    """

    block: BlockRun
    number: str
    name: str
    teaches: str
    figure: str
    model: str
    baselines: tuple[tuple[str, str], ...]
    beats: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Tile:
    """One number at the top of the page.

    Attributes:
        value: the number, with its unit.
        label: what it counts.
    """

    value: str
    label: str


COLUMNS = (("rmse", "ridge"), ("mae", "ridge"), ("r2", "ridge"), ("rmse", "ols"))
"""Metric and model of each column of the comparison."""


def champion_of(table: ResultTable) -> str:
    """The feature set of interest."""
    names = [row.feature_set for row in table.rows if row.feature_set != MEAN]
    return CHAMPION if CHAMPION in names or not names else names[-1]


def settings_of(table: ResultTable) -> list[Setting]:
    """Every comparison in the table, in order of appearance."""
    found = {}
    for row in table.rows:
        share = None if row.split_kind == "held-out" else row.train_fraction
        key = (row.property, row.split_kind, share)
        found[key] = Setting(
            property=row.property, unit=row.unit, split_kind=row.split_kind, share=share
        )
    return list(found.values())


def probe_rows(table: ResultTable, setting: Setting) -> list[ProbeRow]:
    """The feature sets of one comparison, in the order they were given; the mean last."""
    wanted = {"property": setting.property, "split_kind": setting.split_kind}
    own = [
        row
        for row in table.where(**wanted)
        if setting.share is None or row.train_fraction == setting.share
    ]
    part = ResultTable(rows=tuple(own), record=table.record)
    found = {
        metric: {s.key: s for s in part.summarize(["feature_set", "model"], metric=metric)}
        for metric, _ in COLUMNS
    }
    champion = champion_of(table)
    margins = {c.baseline: c for c in compare(part, champion)}
    rows = []
    widths = {row.feature_set: row.n_features for row in own}
    for name in sorted(widths, key=lambda name: name == MEAN):
        cells = []
        for metric, model in COLUMNS:
            entry = found[metric].get((name, MEAN if name == MEAN else model))
            shown = entry is not None and not (name == MEAN and model == "ols")
            cells.append(
                (number(entry.mean), number(entry.spread) if entry.count > 1 else "")
                if shown and entry
                else ("", "")
            )
        rows.append(_probe_row(table, name, widths[name], cells, margins.get(name), champion))
    return rows


def _probe_row(
    table: ResultTable,
    name: str,
    width: int,
    cells: list[tuple[str, str]],
    margin: Comparison | None,
    champion: str,
) -> ProbeRow:
    lower = "" if margin is None else number(margin.margin)
    lone = margin is not None and margin.splits == 1  # one split has no spread
    return ProbeRow(
        label=table.record.labels.get(name, name),
        columns=f"{width:,}" if width else "",
        cells=tuple(cells),
        margin=(lower, "" if margin is None or lone else number(margin.margin_spread)),
        wins="" if margin is None else f"{margin.wins} of {margin.splits}",
        won=None if margin is None else margin.margin > 0,
        champion=name == champion,
    )


def headline(table: ResultTable) -> tuple[str, str]:
    """The first comparison as a sentence, and what won and lost against what."""
    setting = settings_of(table)[0]
    champion = champion_of(table)
    margins = [
        c
        for c in compare(table, champion)
        if (c.property, c.split_kind) == (setting.property, setting.split_kind)
        and (setting.share is None or abs(c.train_fraction - setting.share) < 0.06)
    ]
    rows = table.where(
        property=setting.property, split_kind=setting.split_kind, feature_set=champion,
        model="ridge", metric="rmse",
    )  # fmt: skip
    tested = sum(row.n_test for row in rows if setting.share in (None, row.train_fraction))
    unit = f" {setting.unit}" if setting.unit else ""
    label = table.record.labels.get(champion, champion)
    where = "whose formulas no encoder saw" if setting.share is None else "of test parts"
    if not margins:
        return f"{label}: {tested:,} test crystals, no baseline beside them.", ""
    first = (
        f"Ridge on {_label(table, champion)} predicts {words(setting.property).lower()} with an "
        f"error of {margins[0].champion_rmse:.3f}{unit} (RMSE) on {tested:,} crystals {where}."
    )
    parts = []
    for sign, verb in ((1, "Better than"), (-1, "Not better than")):
        side = [c for c in margins if (c.margin > 0) == (sign > 0)]
        if side:
            names = [f"{_label(table, c.baseline)} ({c.baseline_rmse:.3f})" for c in side]
            parts.append(f"{verb} {listed(names)}.")
    return first, " ".join(parts)


def _label(table: ResultTable, name: str) -> str:
    """A label inside a sentence: first word in lower case, unless it is a name."""
    label = table.record.labels.get(name, name)
    return label if name == "magpie" else label[0].lower() + label[1:]


def counted(table: ResultTable) -> str:
    """How many crystals took part, and why the others did not."""
    counts = dict(table.record.counts)
    total, compared = counts.pop("crystals", 0), counts.pop("compared", 0)
    if not total:
        return ""
    parts = [f"{compared:,} of {total:,} crystals are held by every feature set"]
    rest = {name: count for name, count in counts.items() if name.startswith("not held by ")}
    for name, count in rest.items():
        key = name.removeprefix("not held by ")
        parts.append(f"{count:,} do not fit into {_label(table, key)}")
    for name, count in counts.items():
        if name.startswith("with "):
            parts.append(f"{count:,} are compared on {words(name.removeprefix('with ')).lower()}")
    return "; ".join([*parts, *_seen(counts)]) + "."


def _seen(counts: dict[str, int]) -> list[str]:
    """How far the weights knew the test crystals, where that was asked."""
    if "tested" not in counts:
        return []
    tested = f"of {counts['tested']:,} tested"
    if "tested structures seen" not in counts:
        return [f"{tested} it is unknown how many were in the pre-training of the weights"]
    return [
        f"{tested}, {counts['tested structures seen']:,} were in the pre-training of the weights, "
        f"without labels, and {counts['tested with a seen formula']:,} have a formula that was"
    ]


def task_rows(blocks: Sequence[BlockRun]) -> list[TaskRow]:
    """Every task of every block, numbered ones before further objectives."""
    return [
        task_row(block, task)
        for block in blocks
        for task in sorted(block.figures, key=lambda f: (f.number is None, f.number or 0))
    ]


def task_row(block: BlockRun, task: TaskFigure) -> TaskRow:
    """One task of one block."""
    order = sorted(task.baselines, key=lambda name: name != task.trivial)
    direction = "higher is better" if task.higher_is_better else "lower is better"
    return TaskRow(
        block=block,
        number="" if task.number is None else str(task.number),
        name=words(task.task),
        teaches=block.teaches.get(task.task, ""),
        figure=f"{task.figure}, {direction}",
        model=number(task.model),
        baselines=tuple((name, number(task.baselines[name])) for name in order),
        beats=task.beats_trivial,
    )


def tiles(run: RunData) -> list[Tile]:
    """Numbers for the top of the page; only those that are known."""
    found = []
    if run.data.crystals:
        found.append(Tile(value=f"{run.data.crystals:,}", label="crystals"))
    if run.embedding is not None:
        found.append(Tile(value=f"{run.embedding.width:,}", label="features per crystal"))
    tasks = [task for block in run.blocks for task in block.figures if task.number is not None]
    if tasks:
        beaten = sum(task.beats_trivial for task in tasks)
        label = "figures of pretext tasks beat the trivial baseline"
        found.append(Tile(value=f"{beaten} of {len(tasks)}", label=label))
    if run.probe is not None:
        margins = compare(run.probe.table, champion_of(run.probe.table))
        if margins:
            won = sum(c.margin > 0 for c in margins)
            label = "comparisons won under ridge"
            found.append(Tile(value=f"{won} of {len(margins)}", label=label))
    return found


def number(value: float | None) -> str:
    """A number as a person would write it."""
    if value is None or value != value:
        return ""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}".replace("-", "\N{MINUS SIGN}")


def words(name: str) -> str:
    """A column or task name as words."""
    text = name.replace("_", " ")
    return text[:1].upper() + text[1:]


def listed(names: Sequence[str]) -> str:
    """Names with commas and an 'and'."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
