"""The linear probe -> its section: what won against what, figures, every comparison as a table."""

from __future__ import annotations

import pyarrow.compute as pc

from crystalssl.evaluation.compare import Comparison
from crystalssl.evaluation.linear_probe import LinearProbe
from crystalssl.evaluation.margins import count_wins
from crystalssl.evaluation.scenario import ResultTable
from crystalssl.evaluation.scoring import MEAN
from crystalssl.report import figures
from crystalssl.report.page import Check, Drawing, Part, Section
from crystalssl.report.probe_tables import (
    KINDS,
    Setting,
    champion_of,
    comparison_table,
    margins_of,
    names_of,
    ours_of,
    rows_of,
    settings_of,
    win_table,
)
from crystalssl.report.wording import (
    in_sentence,
    label_of,
    listed,
    model_name,
    number,
    percent,
    words,
)

OPEN = 2
"""Comparisons shown open; the others are folded."""
RIVALS = ("raw_ftcp", "raw_ftcp_pca", "magpie", "untrained")
"""Baselines that features worth having beat."""


def probe_section(probe: LinearProbe) -> Section:
    """The section of the linear probe."""
    table = probe.table
    parts = [
        Part(
            title="Comparisons won",
            words="A comparison is one property in one kind and share of split. It is won where "
            "the mean error over its splits is lower; below the count, the smallest and the "
            "largest margin as a share of the baseline's error.",
            tables=tuple(win_table(probe, name) for name in ours_of(table)),
        ),
        *_comparisons(probe),
        Part(
            title="Error against the share trained on",
            words="Ridge, mean over seeds. Ours are in blue; intervals are 95 %, by drawing test "
            "formulas anew.",
            drawings=tuple(_shares(probe)),
        ),
        Part(
            title="Predicted against true values",
            drawings=tuple(_parity(probe)),
            note="Test crystals only, ridge; ours beside its strongest rival.",
        ),
    ]
    return Section(
        anchor="linear-probe",
        title="Linear probe",
        finding=finding(probe),
        question="How well does a plain linear model read a property off the features?",
        protocol=f"{table.record.protocol} Columns are standardised with the training rows; the "
        "strength of ridge is chosen inside the training part, by leaving out one formula at a "
        "time. Least squares has no strength to choose.",
        checks=tuple(checks(probe)),
        parts=tuple(part for part in parts if part.drawings or part.tables),
    )


def finding(probe: LinearProbe) -> str:
    """How many comparisons were won under each model, and against whom some were lost."""
    labels, champion = probe.table.record.labels, champion_of(probe.table)
    told = []
    for model in MODELS:
        margins = margins_of(probe, champion, model)
        lost = dict.fromkeys(e.baseline for e in margins if e.margin <= 0)
        if margins:
            won = sum(e.margin > 0 for e in margins)
            tail = f", not all against {listed(names_of(labels, list(lost)))}" if lost else ""
            told.append(f"{won} of {len(margins)} under {model_name(model)}{tail}")
    label = label_of(labels, champion)
    if not told:
        return f"{label}: no baseline beside them."
    return f"{label} win {'; '.join(told)} (each baseline in each comparison counts once)."


def headline(probe: LinearProbe) -> tuple[str, str]:
    """The first comparison as a sentence, and what won and lost against what."""
    table = probe.table
    setting, champion = settings_of(table)[0], champion_of(table)
    labels, name = table.record.labels, words(setting.property).lower()
    part = rows_of(table, setting)
    tested = sum(
        row.n_test for row in part.where(feature_set=champion, model="ridge", metric="rmse")
    )
    unit = f" {setting.unit}" if setting.unit else ""
    where = "whose formulas no encoder saw" if setting.share is None else "of test parts"
    margins = {m: [e for e in margins_of(probe, champion, m) if setting.is_of(e)] for m in MODELS}
    if not margins["ridge"]:
        label = label_of(labels, champion)
        return f"{label}: {tested:,} test crystals, no baseline beside them.", ""
    first = (
        f"Ridge on {in_sentence(label_of(labels, champion))} predicts {name} with an error of "
        f"{margins['ridge'][0].champion_rmse:.3f}{unit} (RMSE) on {tested:,} crystals {where}"
        f"{_mixture(probe, setting)}."
    )
    ridge = [
        f"{verb} {listed(_named(labels, side))}."
        for sign, verb in ((1, "Better than"), (-1, "Not better than"))
        if (side := [e for e in margins["ridge"] if (e.margin > 0) == (sign > 0)])
    ]
    lost = [e for e in margins["ols"] if e.margin <= 0]
    plain = []
    if lost:
        error = number(lost[0].champion_rmse)
        plain = [f"With least squares ({error}) not better than {listed(_named(labels, lost))}."]
    return first, " ".join([*ridge, *plain])


MODELS = ("ridge", "ols")


def _mixture(probe: LinearProbe, setting: Setting) -> str:
    """What ridge makes of our other set, the mixture, as the end of a sentence."""
    told = ""
    for name in ours_of(probe.table)[1:]:
        errors = [e.champion_rmse for e in margins_of(probe, name, "ridge") if setting.is_of(e)]
        label = in_sentence(label_of(probe.table.record.labels, name))
        told += f"; on the {label}, {number(errors[0])}" if errors else ""
    return told


def _named(labels: dict[str, str], entries: list[Comparison]) -> list[str]:
    """Baselines with their errors, for a sentence."""
    names = names_of(labels, [entry.baseline for entry in entries])
    return [
        f"{name} ({number(entry.baseline_rmse)})"
        for name, entry in zip(names, entries, strict=True)
    ]


def checks(probe: LinearProbe) -> list[Check]:
    """What would have counted as failure under ridge, baseline by baseline."""
    labels = probe.table.record.labels
    champion = champion_of(probe.table)
    margins = margins_of(probe, champion, "ridge")
    present = {entry.baseline for entry in margins}
    found = []
    for baseline in [name for name in RIVALS if name in present]:
        own = [entry for entry in margins if entry.baseline == baseline]
        won, surely = sum(e.margin > 0 for e in own), sum((e.margin_low or 0) > 0 for e in own)
        spans = [(w.least, w.most) for w in count_wins(own)]
        least, most = min(low for low, _ in spans), max(high for _, high in spans)
        told = any(entry.margin_low is not None for entry in own)
        outcome = "failed" if won < len(own) else "held" if surely == won or not told else "open"
        label = in_sentence(label_of(labels, baseline))
        sure = f", {surely} of them with the whole interval above zero" if told else ""
        found.append(
            Check(
                failure=f"Under ridge, ours lose a comparison to {label}",
                outcome=outcome,  # type: ignore[arg-type]  # one of three words
                detail=f"Won {won} of {len(own)}{sure}; error {_span(least, most)}.",
            )
        )
    return found


def _span(least: float, most: float) -> str:
    """A range of margins, as shares of the baseline's error, in words."""
    ends = [
        f"{percent(abs(share))} {'lower' if share >= 0 else 'higher'}" for share in (least, most)
    ]
    return ends[0] if ends[0] == ends[1] else f"between {ends[0]} and {ends[1]}"


def _comparisons(probe: LinearProbe) -> list[Part]:
    """A figure and a table for each comparison, the first of every property open."""
    settings = settings_of(probe.table)
    seen: set[str] = set()
    parts = []
    for setting in settings:
        first = setting.property not in seen
        seen.add(setting.property)
        svg = figures.comparison_bars(probe, setting)
        caption = (
            "Error on test crystals; lines show its 95 % interval over test formulas where it was "
            "stored, else the standard deviation between splits. Bold: the lowest of each model. "
            "Triangles: beyond the frame."
        )
        parts.append(
            Part(
                title=setting.title(),
                drawings=(Drawing(svg=svg, caption=caption),),
                tables=(comparison_table(probe, setting),),
                folded=not first or len(seen) > OPEN,
            )
        )
    return sorted(parts, key=lambda part: part.folded)


def _shares(probe: LinearProbe) -> list[Drawing]:
    """Error against share trained on, where several shares were tried."""
    shares: dict[tuple[str, str], set[float]] = {}
    for setting in settings_of(probe.table):
        if setting.share is not None:
            shares.setdefault((setting.property, setting.split_kind), set()).add(setting.share)
    return [
        Drawing(
            svg=figures.share_lines(probe, name, kind),
            title=f"{words(name)}, {KINDS.get(kind, kind)}",
        )
        for (name, kind), found in shares.items()
        if len(found) > 1
    ]


def _parity(probe: LinearProbe) -> list[Drawing]:
    """The feature set of interest beside its strongest rival, ridge, for each property."""
    table, champion = probe.table, champion_of(probe.table)
    drawn = []
    for setting in _first_settings(table):
        part = rows_of(table, setting)
        errors = {
            s.key[0]: s.mean
            for s in part.summarize(["feature_set"], metric="rmse", model="ridge")
            if s.key[0] != MEAN
        }
        rivals = sorted((n for n in errors if n not in ours_of(table)), key=lambda n: errors[n])
        for shown in [n for n in (champion, *rivals[:1]) if n in errors]:
            kept = probe.predictions.filter(
                (pc.field("property") == setting.property)
                & (pc.field("split_kind") == setting.split_kind)
                & (pc.field("feature_set") == shown)
                & (pc.field("model") == "ridge")
            )
            if kept.num_rows:
                svg = figures.parity(
                    kept["y_true"].to_numpy(),
                    kept["y_pred"].to_numpy(),
                    label_of(table.record.labels, shown),
                    setting.property,
                    setting.unit,
                    leading=shown == champion,
                )
                drawn.append(Drawing(svg=svg))
    return drawn


def _first_settings(table: ResultTable) -> list[Setting]:
    """The first comparison of each property."""
    found: dict[str, Setting] = {}
    for setting in settings_of(table):
        found.setdefault(setting.property, setting)
    return list(found.values())
