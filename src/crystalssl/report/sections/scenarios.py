"""The scenarios: what each adds to ``comparison.py``, which makes the section of all of them.

A scenario is a title and the metric of its figures; some have a finding of their own, and figures
of numbers that only they store.
"""

from __future__ import annotations

from dataclasses import replace

from crystalssl.blocks.registry import list_blocks
from crystalssl.evaluation.results import MEAN, THEN, Difference, Summary, select
from crystalssl.report import page
from crystalssl.report.charts import Mark, dots, stacked
from crystalssl.report.page import Drawing, Passage, head_name, words
from crystalssl.report.sections.comparison import Scenario
from crystalssl.report.sections.setting import METRICS, Setting, dots_of, grid, unique
from crystalssl.report.svg import block_colour

SHARES = {
    "shap_share": "share", "enrichment_varying": "enrichment, columns that vary",
    "enrichment_all": "enrichment, all columns",
}  # fmt: skip
"""Metrics of SHAP shares, the fair enrichment first."""
RESIDUAL = ("contribution", "R² of the first step", "R² of both steps")
"""Numbers of the residual protocol."""


def _residual(first: Setting) -> list[Passage]:
    """What a second step explains of the residual of the baseline, by fraction and head."""
    entries = select(first.results.summary, target=first.target)
    known = {(e.feature_set, e.train_fraction, e.head, e.metric): e for e in entries}
    entries = [e for e in entries if e.metric == RESIDUAL[0] and THEN in e.feature_set]
    if not entries:
        return []
    proposed, baseline = first.results.record.proposed, entries[0].feature_set.partition(THEN)[0]
    base = first.label(baseline, inside=True)
    seconds = {pair: pair.partition(THEN)[2] for pair in unique(e.feature_set for e in entries)}
    colours = {p: "accent" if name in proposed else "muted" for p, name in seconds.items()}
    runs = {
        (fraction, head): f"{100 * fraction:.4g} %, {head_name(head)}"
        for fraction, head in sorted(unique((e.train_fraction, e.head) for e in entries))
    }
    marks = {
        text: [(known.get((p, *run, RESIDUAL[0])), c, c == "accent") for p, c in colours.items()]
        for run, text in runs.items()
    }
    rows = []
    for run, text in runs.items():
        for pair, name in seconds.items():
            shown = ((pair, RESIDUAL[0]), (baseline, "r2"), (pair, "r2"))
            numbers = [known.get((source, *run, metric)) for source, metric in shown]
            rows.append((f"{first.label(name)}, {text}", name in proposed, numbers))
    alt = f"Contribution to the residual of {base}, {first.target}"
    key = [(first.label(seconds[p]), c, c == "accent") for p, c in colours.items()]
    texts = ("contribution: R² of the residual", alt)
    svg = dots_of(marks, texts, reference=0.0, key=key, signed=True)
    title = f"{words(first.target)}: residual of {base}"
    heads = ("Second step, train fraction, head", *RESIDUAL)
    table, text = grid(f"{title}, all numbers", heads, rows), page.explained("residual")
    return [Passage(title=title, words=text, drawings=(Drawing(svg=svg),), tables=(table,))]


def _share_finding(setting: Setting) -> str:
    told = []
    for head in unique(e.head for e in setting.summaries(metric="shap_share")):
        share, enriched = (setting.one(setting.proposed, head, m) for m in list(SHARES)[:2])
        if share and enriched:
            told.append(
                f"{page.percent(share.mean)} of the absolute SHAP values with {head_name(head)} "
                f"({enriched.mean:.2f} times their share of the columns that vary)"
            )
    return f"{words(setting.target)}: the features hold {' and '.join(told)}." if told else ""


def _shares(setting: Setting) -> list[Passage]:
    """Shares of absolute SHAP values, enrichment, and what speaks for the explanations."""
    place, (share, *enrichments) = words(setting.target), SHARES
    heads = unique(e.head for e in setting.summaries(metric=share))
    sections = setting.results.record.config.get("sections", [])
    colours = {s["name"]: _block_colour(s["name"]) if s["learned"] else "quiet" for s in sections}
    bars = []
    for head in heads:
        entries = {name: setting.one(name, head, share) for name in colours}
        sizes = [(setting.label(n), e.mean, colours[n]) for n, e in entries.items() if e]
        bars.append((head_name(head), sizes))
    text = f"Shares of absolute SHAP values, {setting.target}"
    caption = "Share of all absolute SHAP values, in percent. Grey: raw FTCP; coloured: features."
    colours = {setting.proposed: "accent"} | colours
    columns = [(head, metric) for head in heads for metric in SHARES]
    numbers = {name: [setting.one(name, *column) for column in columns] for name in colours}
    rows = [(setting.label(n), n == setting.proposed, own) for n, own in numbers.items()]
    names = (f"{head_name(head)}: {SHARES[metric]}" for head, metric in columns)
    table = grid(f"{text}, all numbers", ("Columns", *names), rows)
    key = [("columns that vary", "ink", True), ("all columns", "ink", False)]
    drawings = []
    for head in heads:
        marks = {
            setting.label(n): [
                (setting.one(n, head, m), c, m == enrichments[0]) for m in enrichments
            ]
            for n, c in colours.items()
        }
        texts = ("share over share of columns", f"Enrichment, {setting.target}, {head_name(head)}")
        svg = dots_of(marks, texts, reference=1.0, key=key)
        drawings.append(Drawing(svg=svg, title=f"Head: {head_name(head)}"))
    return [
        Passage(
            title=f"{place}: shares",
            words=page.explained("shares"),
            drawings=(Drawing(svg=stacked(bars, text), caption=caption),),
        ),
        Passage(
            title=f"{place}: enrichment",
            words=page.explained("enrichment"),
            drawings=tuple(drawings),
            notes=tuple(filter(None, (_additivity(setting, head) for head in heads))),
        ),
        Passage(title=f"{place}, all shares", tables=(table,), folded=True),
    ]


def _additivity(setting: Setting, head: str) -> str:
    """What speaks for the explanations: additivity, and how many crystals were explained."""
    values = {e.metric: e.mean for e in setting.summaries(head=head)}
    names = ("additivity_mean", "additivity_max", "rows_explained")
    if not set(names) <= set(values):
        return ""
    mean, largest, count = (values[name] for name in names)
    return (
        f"{words(head_name(head))}: {page.counted(round(count), 'crystal')} explained; base value "
        f"and SHAP values together miss the prediction by {page.number(mean)} of its standard "
        f"deviation on average, by at most {page.number(largest)}."
    )


def _blocks(setting: Setting) -> tuple[dict[str, list[str]], dict[str, Difference]]:
    """Blocks of each source, the proposed one first; what leaving one out changes."""
    config, order = setting.results.record.config["blocks"], [b.name for b in list_blocks()]
    source = setting.proposed.partition(": ")[0]
    blocks = {
        name: sorted(own, key=lambda b: order.index(b) if b in order else len(order))
        for name, own in sorted(config.items(), key=lambda entry: entry[0] != source)
    }
    losses = {
        e.feature_set.partition(": without ")[2]: e
        for e in setting.differences(baseline=f"{source}: all", head=setting.heads[0])
    }
    return blocks, losses


def _selection(setting: Setting, source: str, selection: str) -> Summary | None:
    return setting.one(f"{source}: {selection}", setting.heads[0], setting.metric)


def _ablation_finding(setting: Setting) -> str:
    blocks, losses = _blocks(setting)
    source, names = next(iter(blocks.items()))
    alone = {b: e.mean for b in names if (e := _selection(setting, source, f"only {b}"))}
    whole = _selection(setting, source, "all")
    if not alone or not losses or whole is None:
        return ""
    best = min(alone, key=lambda b: alone[b])
    most = max(losses, key=lambda b: losses[b].difference)
    return (
        f"{words(setting.target)}: all blocks together have an {METRICS[setting.metric]} of "
        f"{page.number(whole.mean)}{setting.metric_unit}; the best alone is {words(best).lower()} "
        f"({page.number(alone[best])}), and the one missed most is {words(most).lower()} "
        f"({page.signed(losses[most].difference)} without it)."
    )


def _ablation(setting: Setting) -> list[Passage]:
    """Each block alone, trained and untrained, and each left out."""
    blocks, losses = _blocks(setting)
    names = next(iter(blocks.values()))
    selections = {"all": "ink"} | {f"only {b}": _block_colour(b) for b in names}
    alone = {
        words(selection.removeprefix("only ")): [
            (_selection(setting, source, selection), colour, not index)
            for index, source in enumerate(blocks)
        ]
        for selection, colour in selections.items()
    }
    labels = [setting.label(f"{source}: all").removesuffix(", all") for source in blocks]
    key = [(label, "ink", not index) for index, label in enumerate(labels)]
    text = f"{METRICS[setting.metric]} of each block alone, {setting.target}"
    svg = dots_of(alone, (setting.metric_label(), text), key=key)
    drawings = [Drawing(svg=svg, title="Each block alone", caption="Further left is better.")]
    if losses:
        marks = {words(b): [(e, _block_colour(b), True)] for b, e in losses.items()}
        text = f"Change of error when a block is left out, {setting.target}"
        texts = (setting.metric_label("change of "), text)
        svg = dots_of(marks, texts, reference=0.0, signed=True)
        caption = "Further right, the block is missed more."
        drawings.append(Drawing(svg=svg, title="Each block left out", caption=caption))
    compared: dict[str, dict[str, Difference]] = {}
    for entry in setting.differences():
        text = f"{setting.label(entry.feature_set)}, less {setting.label(entry.baseline)}"
        compared.setdefault(text, {})[entry.head] = entry
    rows = [(t, False, [own.get(h) for h in setting.heads]) for t, own in compared.items()]
    heads = ("Difference", *map(head_name, setting.heads))
    table = grid(setting.better_by(setting.metric), heads, rows)
    note, title = f"{words(head_name(setting.heads[0]))}; lines are 95 % intervals.", setting.place
    return [
        Passage(title=title, drawings=tuple(drawings), notes=(note,)),
        Passage(title=f"{title}, all differences", tables=(table,), folded=True),
    ]


def _block_colour(name: str) -> str:
    """Colour of a block by its name; that after the last for one that is not installed."""
    names = [block.name for block in list_blocks()]
    return block_colour(names.index(name) if name in names else len(names))


def _folds(setting: Setting) -> list[Passage]:
    """The score of each fold of a task, beside the mean of the labels."""
    rows = select(setting.results.rows, target=setting.target, metric=setting.metric)
    heads = unique(r.head for r in rows)
    colours = {head: "muted" if head == MEAN else "accent" for head in heads}
    folds: dict[str, list[Mark]] = {}
    for r in sorted(rows, key=lambda r: (r.fold, heads.index(r.head))):
        mark = Mark(at=r.value, text=page.number(r.value), colour=colours[r.head])
        folds.setdefault(f"fold {r.fold + 1}", []).append(replace(mark, filled=r.head != MEAN))
    record = setting.results.record
    official = "official folds" if record.config.get("official") else "not an official task"
    text = f"{METRICS[setting.metric]} of each fold, {setting.place}"
    key = [(head_name(name), colour, name != MEAN) for name, colour in colours.items()]
    svg = dots([*folds.items()], setting.metric_label(), text, key=key)
    total, left = (record.counts.get(n, 0) for n in ("rows", "predicted by the training mean"))
    note = f"{page.counted(total, 'row')} in all; {page.counted(left, 'row')} without features, "
    note += "predicted by the mean of the training labels."
    drawing, title = Drawing(svg=svg), f"{setting.place}, {official}"
    return [Passage(title=title, drawings=(drawing,), notes=(note,))]


ALL = {
    "linear_probe": Scenario(title="Linear probe"),
    "shap_share": Scenario(
        title="SHAP shares", metrics=("r2",), finding=_share_finding, passages=_shares
    ),
    "few_shot": Scenario(title="Few-shot", metrics=("r2",), passages=_residual),
    "ablation": Scenario(
        title="Ablation", finding=_ablation_finding, passages=_ablation, figures=False
    ),
    "matbench": Scenario(
        title="Matbench", metrics=("mae", "rocauc_probability", "rocauc"), passages=_folds
    ),
}
"""Scenarios in the order of the page."""
