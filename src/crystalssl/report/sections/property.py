"""A property model of a run -> the section that answers its user: how well is my property known?

Parity of all out-of-fold predictions, what intervals hold, what more labels would bring, which
families and which crystals are predicted worst, and what the encoders had seen of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

import numpy as np

from crystalssl.report import page
from crystalssl.report.charts import Line, Mark, dots, lines
from crystalssl.report.page import (
    Check,
    Drawing,
    Outcome,
    Passage,
    Section,
    Table,
    TableCell,
    TableRow,
    counted,
    joined,
    judged,
    percent,
    significant,
    with_unit,
    words,
)
from crystalssl.report.parity import Point, hover_parity
from crystalssl.report.sections.property_data import PropertyRun

MODEL, MEAN, ELEMENTS = "model", "mean", "element statistics"
"""What metrics are of, as cards name it."""
LEAST_IN_FAMILY = 5
"""Crystals of a family below which it is not judged."""
MOST_FAMILIES, WORST = 10, 12
"""Rows of the tables of families and of crystals."""
FIFTHS = 5
"""Groups of equal size, by predicted value, that coverage is shown for."""
NORMAL = 1.96
"""Standard deviations of a 95 % interval."""


def property_section(model: PropertyRun, map_page: str = "") -> Section:
    """The section of one property.

    Args:
        model: the property model.
        map_page: page of the map that points and names lead to; empty without one.
    """
    rmse = model.metric(MODEL, "rmse")
    passages = [
        _parity(model, map_page), _scores(model), _coverage(model), _curve(model),
        *_families(model), _worst(model, map_page), _overlap(model),
    ]  # fmt: skip
    title = f"My property: {model.title}"
    return Section(
        anchor=f"property-{model.folder.name}",
        title=title,
        question="How well is it predicted for crystals whose formula the model has not seen?",
        finding=_finding(model),
        detail=_detail(model),
        failure="The model would be of no use if it were no better than the mean of the labels or "
        "than statistics of the elements, and its intervals would be wrong if they held another "
        "share of the crystals than they promise.",
        checks=tuple(_checks(model)) if rmse is not None else (),
        protocol=_protocol(model),
        passages=tuple(passage for passage in passages if passage is not None),
    )


def _ends(low: float, high: float) -> str:
    """The ends of an interval in parentheses."""
    return f"({significant(low)} to {significant(high)})"


def _signed(value: float) -> str:
    """A difference with its sign."""
    return f"+{significant(value)}" if value > 0 else significant(value)


def _unit(model: PropertyRun) -> str:
    return f" {model.unit}" if model.unit not in ("", "1") else ""


def _finding(model: PropertyRun) -> str:
    """What came out, in a sentence."""
    rmse, r2 = model.metric(MODEL, "rmse"), model.metric(MODEL, "r2")
    if rmse is None:
        return f"Predictions of {counted(len(model), 'crystal')}."
    others = [
        f"{significant(found['mean'])} for {name}"
        for of, name in ((ELEMENTS, "element statistics"), (MEAN, "the mean of the labels"))
        if (found := model.metric(of, "rmse")) is not None
    ]
    held = model.card.get("coverage", {})
    text = (
        f"Root mean square error {significant(rmse['mean'])}{_unit(model)} "
        f"{_ends(rmse['low'], rmse['high'])}"
        + (f", R² {significant(r2['mean'])}" if r2 else "")
        + f", on {counted(len(model), 'crystal')} that were predicted without their formula"
    )
    text += f"; {page.listed(others)}." if others else "."
    if "nested" in held:
        text += (
            f" Intervals meant to hold {percent(held['level'])} of crystals hold "
            f"{percent(held['nested'], 1)}."
        )
    return text


def _detail(model: PropertyRun) -> str:
    """What to do next, from the learning curve and the worst family."""
    return joined([_outlook(model), _worst_family(model)])


def _checks(model: PropertyRun) -> list[Check]:
    """Claims that could have failed."""
    checks = []
    r2, rmse = model.metric(MODEL, "r2"), model.metric(MODEL, "rmse")
    if r2 is not None:
        checks.append(
            Check(
                claim="it predicts better than the mean of the labels",
                outcome=judged(r2["mean"], r2["low"], r2["high"]),
                evidence=f"R² {significant(r2['mean'])} {_ends(r2['low'], r2['high'])}; the mean "
                "has 0.",
            )
        )
    other = model.metric(ELEMENTS, "rmse")
    if other is not None and rmse is not None:
        outcome: Outcome = "open"
        if rmse["high"] < other["low"]:
            outcome = "held"
        elif rmse["low"] > other["high"] or rmse["mean"] >= other["mean"]:
            outcome = "failed"
        checks.append(
            Check(
                claim="it predicts better than boosting on statistics of the elements",
                outcome=outcome,
                evidence=f"RMSE {significant(rmse['mean'])} {_ends(rmse['low'], rmse['high'])} "
                f"against {significant(other['mean'])} {_ends(other['low'], other['high'])}.",
            )
        )
    coverage = model.card.get("coverage", {})
    if "nested" in coverage:
        level, held = float(coverage["level"]), float(coverage["nested"])
        chance = max(0.02, NORMAL * float(np.sqrt(level * (1 - level) / max(len(model), 1))))
        near = abs(held - level) <= chance
        checks.append(
            Check(
                claim="intervals hold the share of crystals that they promise",
                outcome="held" if near else "failed" if held < level else "open",
                evidence=f"{percent(held, 1)} of {len(model):,} for {percent(level)}; within "
                f"{percent(chance, 1)} is chance.",
            )
        )
    return checks


def _protocol(model: PropertyRun) -> str:
    """How it was measured."""
    plan, counts = model.card.get("plan", {}), model.card.get("counts", {})
    bounds = int(counts.get("bounds", 0))
    parts = [
        f"{plan.get('repeats', 1)} x {plan.get('folds', '?')}-fold cross-validation of all "
        f"{counted(len(model), 'labelled crystal')}; crystals of one formula are in one fold, and "
        "whatever is chosen (candidates, their weights, intervals) is chosen inside the training "
        "folds. A crystal's prediction below is the mean over repeats.",
        f"{counted(bounds, 'label')} that only bound the value (such as <1E-10) are left out."
        if bounds
        else "",
        *map(str, plan.get("notes", [])),
    ]
    return joined(parts)


def _parity(model: PropertyRun, map_page: str) -> Passage:
    """Every crystal, predicted against measured."""
    unit = _unit(model)
    points = [
        Point(
            x=x, y=y, filled=inside, link=_link(map_page, name),
            title=f"{formula}, {name}\nlabel {significant(x)}{unit}, predicted {significant(y)} "
            f"{_ends(low, high)}" + ("" if inside else "\noutside of the domain"),
        )
        for x, y, low, high, inside, name, formula in zip(
            model.true.tolist(), model.predicted.tolist(), model.lower.tolist(),
            model.upper.tolist(), model.inside.tolist(), model.ids.tolist(),
            model.formulas.tolist(), strict=True,
        )
    ]  # fmt: skip
    label = with_unit(model.title, model.unit)
    name = f"Parity of {model.target}: predictions out of fold against labels"
    text = "Point at a crystal to read which it is"
    text += "; click it to see it on the map." if map_page else "."
    if not model.inside.all():
        text += " Open red points are outside of the domain: unlike every other labelled crystal."
    svg = hover_parity(points, label, name)
    return Passage(title="Every crystal", words=text, drawings=(Drawing(svg=svg),))


def _link(map_page: str, name: str) -> str:
    return f"{map_page}#{quote(name, safe='')}" if map_page else ""


def _scores(model: PropertyRun) -> Passage | None:
    """Metrics of model, candidates and baselines."""
    metrics = ("rmse", "mae", "r2")
    rows = []
    for of, label in ((MODEL, "Model"), (ELEMENTS, "Element statistics"), (MEAN, "Mean of labels")):
        entry = model.card.get("metrics", {}).get(of)
        if entry is None:
            continue
        values = [model.metric(of, name) for name in metrics]
        cells = tuple(
            TableCell() if v is None
            else TableCell(text=significant(v["mean"]), aside=_ends(v["low"], v["high"]))
            for v in values
        )  # fmt: skip
        count = TableCell(text=f"{int(entry.get('rows', 0)):,}")
        note = str(entry.get("note") or "")
        rows.append(TableRow(label=label, cells=(*cells, count), proposed=of == MODEL, aside=note))
    candidates = sorted(model.card.get("candidates", []), key=lambda c: -c.get("weight", 0.0))
    shares = [
        TableRow(
            label=words(str(candidate["name"])),
            cells=tuple(
                TableCell(text=text)
                for text in (
                    percent(candidate.get("weight", 0.0)),
                    *(significant(candidate.get("metrics", {}).get(name)) for name in metrics),
                )
            ),
        )
        for candidate in candidates
    ]
    if not rows:
        return None
    unit = _unit(model)
    heads = ("", f"RMSE{unit and f' ({unit.strip()})'}", "MAE", "R²", "crystals")
    tables = [Table(heads=heads, rows=tuple(rows))]
    if shares:
        heads = ("Candidate", "weight", "RMSE", "MAE", "R²")
        tables.append(Table(title="What the model is made of", heads=heads, rows=tuple(shares)))
    text = "Means over repeats with 95 % intervals of a bootstrap over formulas."
    return Passage(title="Beside baselines", words=text, tables=tuple(tables))


def _coverage(model: PropertyRun) -> Passage | None:
    """Share of crystals inside their intervals, in groups."""
    level = model.card.get("coverage", {}).get("level")
    if level is None:
        return None
    groups = [("all crystals", np.ones(len(model), bool))]
    order = np.argsort(model.predicted, kind="stable")
    if len(model) >= FIFTHS * LEAST_IN_FAMILY:
        for rows in np.array_split(order, FIFTHS):
            mask = np.zeros(len(model), bool)
            mask[rows] = True
            ends = model.predicted[rows[0]], model.predicted[rows[-1]]
            groups.append((f"predicted {significant(ends[0])} to {significant(ends[1])}", mask))
    if not model.inside.all():
        groups += [("in the domain", model.inside), ("outside of it", ~model.inside)]
    entries = []
    for name, mask in groups:
        if mask.sum() >= LEAST_IN_FAMILY:
            share, low, high = _share(model.held[mask])
            text = f"{percent(share)} of {int(mask.sum()):,}"
            entries.append(
                (name, [Mark(at=100 * share, low=100 * low, high=100 * high, text=text)])
            )
    description = f"Share of {model.target} inside {percent(level)} intervals, by group"
    svg = dots(
        entries, "crystals inside their interval (%)", description, reference=100 * float(level)
    )
    notes = []
    if clusters := model.card.get("coverage", {}).get("clusters_left_out"):
        notes.append(
            f"Where whole clusters of alike crystals were left out, "
            f"{percent(clusters['coverage'])} are inside, and the RMSE is "
            f"{significant(clusters['rmse'])}{_unit(model)}: what to expect of crystals unlike any "
            "that was measured."
        )
    text = (
        f"Dashed: the {percent(level)} that intervals promise; lines are 95 % intervals. No "
        "interval was made with the crystal that it is judged on."
    )
    return Passage(
        title="Do intervals hold?", words=text, drawings=(Drawing(svg=svg),), notes=tuple(notes)
    )


def _share(held: np.ndarray) -> tuple[float, float, float]:
    """A share with Wilson's 95 % interval."""
    count, share, z = len(held), float(held.mean()), NORMAL
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * np.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return share, float(middle - half), float(middle + half)


def _curve_points(model: PropertyRun) -> list[tuple[int, float, float]]:
    """(labels, mean RMSE, standard error) by number of labels, rising."""
    if model.curve is None or not model.curve.num_rows:
        return []
    sizes, rmse = model.curve["n_train"].to_numpy(), model.curve["rmse"].to_numpy()
    repeats = model.curve["repeat"].to_numpy()
    steps = np.array(
        [int(np.sum(sizes[repeats == r] < s)) for r, s in zip(repeats, sizes, strict=True)]
    )
    points = []
    for step in np.unique(steps):
        rows = steps == step
        error = float(rmse[rows].std(ddof=1) / np.sqrt(rows.sum())) if rows.sum() > 1 else np.nan
        points.append((round(float(sizes[rows].mean())), float(rmse[rows].mean()), error))
    return points


def _curve(model: PropertyRun) -> Passage | None:
    """Error by number of labels."""
    points = _curve_points(model)
    if len(points) < 2:
        return None
    marks = tuple(
        Mark(at=mean, low=mean - NORMAL * error, high=mean + NORMAL * error)
        for _, mean, error in points
    )
    line = Line(
        label="ridge on features", at=tuple(float(size) for size, _, _ in points), marks=marks,
        leading=True,
    )  # fmt: skip
    name = f"Learning curve of {model.target}"
    svg = lines([line], "labelled crystals", with_unit("RMSE", model.unit), name)
    text = (
        "Ridge on the features, fitted to fewer of the labels and tested on the same held-out "
        "formulas; lines are 95 % intervals over repeats."
    )
    return Passage(title="Would more labels help?", words=text, drawings=(Drawing(svg=svg),))


def _outlook(model: PropertyRun) -> str:
    """What the last doubling of labels brought."""
    points = _curve_points(model)
    if len(points) < 2 or points[-1][1] <= 0:
        return ""
    (before, error, _), (after, last, _) = points[-2], points[-1]
    gain = (1 - last / error) / np.log2(after / before) if after > before else 0.0
    if gain > 0.02:
        return f"Errors of ridge still fall by {percent(gain)} with every doubling of the labels."
    return "Errors of ridge have stopped falling with more labels of this kind."


def _family_rows(model: PropertyRun, classes: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Families with enough crystals, the worst first."""
    names = [name for name in np.unique(classes).tolist() if name]
    rows = [(name, classes == name) for name in names]
    rows = [(name, mask) for name, mask in rows if mask.sum() >= LEAST_IN_FAMILY]
    return sorted(rows, key=lambda row: -float(np.abs(model.error[row[1]]).mean()))


def _worst_family(model: PropertyRun) -> str:
    rows = _family_rows(model, model.families["chemistry"])
    if len(rows) < 2:
        return ""
    (worst, mask), (best, other) = rows[0], rows[-1]
    errors = [significant(float(np.abs(model.error[m]).mean())) for m in (mask, other)]
    return (
        f"The mean absolute error is largest for {worst} ({errors[0]}{_unit(model)}), smallest for "
        f"{best} ({errors[1]})."
    )


def _families(model: PropertyRun) -> list[Passage]:
    """Errors by family; a table for each column that makes families."""
    tables = []
    for of, classes in model.families.items():
        rows = _family_rows(model, classes)
        if len(rows) < 2:
            continue
        lines_ = [
            TableRow(
                label=name,
                cells=tuple(
                    TableCell(text=text)
                    for text in (
                        f"{int(mask.sum()):,}",
                        significant(float(np.abs(model.error[mask]).mean())),
                        _signed(float(model.error[mask].mean())),
                        percent(float(model.held[mask].mean())),
                    )
                ),
            )
            for name, mask in rows[:MOST_FAMILIES]
        ]
        heads = (words(of), "crystals", "mean absolute error", "mean error", "inside interval")
        tables.append(Table(heads=heads, rows=tuple(lines_)))
    if not tables:
        return []
    text = (
        f"Families of {LEAST_IN_FAMILY} crystals or more, the worst first. A mean error far from "
        "zero says that the whole family is predicted too high or too low."
    )
    return [Passage(title="Where it is wrong", words=text, tables=tuple(tables))]


def _worst(model: PropertyRun, map_page: str) -> Passage:
    """The crystals of largest error beside their nearest labelled neighbours."""
    label_of = dict(zip(model.ids.tolist(), model.true.tolist(), strict=True))
    formula_of = dict(zip(model.ids.tolist(), model.formulas.tolist(), strict=True))
    rows = []
    for row in np.argsort(-np.abs(model.error), kind="stable")[:WORST].tolist():
        near = [
            f"{formula_of[name]} ({name}) {significant(label_of[name])}"
            for name in model.nearest[row]
            if name in label_of
        ]
        name = str(model.ids[row])
        interval = f"({significant(model.lower[row])} to {significant(model.upper[row])})"
        cells = (
            TableCell(text=significant(model.true[row])),
            TableCell(text=significant(model.predicted[row]), aside=interval),
            TableCell(text=_signed(model.error[row])),
            TableCell(text="; ".join(near), prose=True),
        )
        label, link = str(model.formulas[row]) or name, _link(map_page, name)
        rows.append(TableRow(label=label, cells=cells, aside=name, link=link))
    heads = (
        "Crystal", with_unit("label", model.unit), "predicted", "error",
        "Nearest labelled crystals and their labels",
    )  # fmt: skip
    text = (
        "Look at these first: a label may be wrong, a structure idealised, or the property may "
        "hang on what is in no structure. Where near crystals have very different labels, the "
        "features cannot tell them apart."
    )
    table = Table(heads=heads, rows=tuple(rows))
    return Passage(title="The worst crystals and their neighbours", words=text, tables=(table,))


def _overlap(model: PropertyRun) -> Passage | None:
    """What pre-training saw of the labelled crystals."""
    if not model.overlap:
        return None
    counts, unknown = model.overlap.get("counts", {}), str(model.overlap.get("unknown") or "")
    title = "What the encoders had seen"
    if unknown:
        return Passage(title=title, words=f"Unknown: {unknown}.")
    whole = int(counts.get("tested", len(model)))
    facts: Sequence[tuple[str, str]] = [
        ("Labelled crystals", f"{whole:,}"),
        ("of a formula seen in pre-training", _of(counts, "tested with a seen formula", whole)),
        ("seen in pre-training themselves", _of(counts, "tested structures seen", whole)),
    ]
    text = (
        f"The weights {model.overlap.get('weights', '')} saw structures without any label, so no "
        "label can have leaked; a crystal that was among them may still be described a little "
        "better than a new one."
    )
    return Passage(title=title, words=text, facts=(("", tuple(facts)),))


def _of(counts: dict[str, int], name: str, whole: int) -> str:
    count = int(counts.get(name, 0))
    return f"{count:,} ({percent(count / max(whole, 1))})"
