"""A property model -> figures and tables of its section, each a passage of its own.

Parity, what intervals hold, what more labels would bring, families and the worst crystals.
``judgement.py`` has what classes share, ``section.py`` puts them together.
"""

from __future__ import annotations

from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from crystalssl.report.charts import Line, Mark, dots, lines
from crystalssl.report.page import (
    Drawing,
    Passage,
    Table,
    TableCell,
    TableRow,
    percent,
    significant,
    with_unit,
    words,
)
from crystalssl.report.parity import Point, hover_parity
from crystalssl.report.sections.property.data import LabelledRun, Names, PropertyRun

LEAST_IN_FAMILY = 5
"""Crystals of a family below which it is not judged."""
MOST_FAMILIES, WORST = 10, 12
"""Rows of the tables of families and of crystals."""
FIFTHS = 5
"""Groups of equal size, by predicted value, that coverage is shown for."""
NORMAL = 1.96
"""Standard deviations of a 95 % interval."""
Mask = npt.NDArray[np.bool_]


def ends(low: float, high: float) -> str:
    """The ends of an interval in parentheses."""
    return f"({significant(low)} to {significant(high)})"


def signed(value: float) -> str:
    """A difference with its sign."""
    return f"+{significant(value)}" if value > 0 else significant(value)


def unit_of(model: LabelledRun) -> str:
    """The unit with a blank before it; empty where there is none."""
    return f" {model.unit}" if model.unit not in ("", "1") else ""


def parity(model: PropertyRun, map_page: str) -> Passage:
    """Every crystal, predicted against measured.

    Args:
        model: the property model.
        map_page: page of the map that points lead to; empty without one.
    """
    unit = unit_of(model)
    points = [
        Point(
            x=x, y=y, filled=inside, link=map_link(map_page, name),
            title=f"{formula}, {name}\nlabel {significant(x)}{unit}, predicted {significant(y)} "
            f"{ends(low, high)}" + ("" if inside else "\noutside of the domain"),
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
        text += " Open red points are outside of the domain: unlike all other labelled crystals, or"
        text += " ones on which candidates disagree."
    svg = hover_parity(points, label, name)
    return Passage(title="Every crystal", words=text, drawings=(Drawing(svg=svg),))


def map_link(map_page: str, name: str) -> str:
    """Where a crystal stands on the map; empty without a map."""
    return f"{map_page}#{quote(name, safe='')}" if map_page else ""


def coverage_of(model: PropertyRun) -> Passage | None:
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
            first, last = model.predicted[rows[0]], model.predicted[rows[-1]]
            groups.append((f"predicted {significant(first)} to {significant(last)}", mask))
    if not model.inside.all():
        groups += [("in the domain", model.inside), ("outside of it", ~model.inside)]
    entries = []
    for name, mask in groups:
        if mask.sum() >= LEAST_IN_FAMILY:
            share, low, high = wilson(model.held[mask])
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
            f"{significant(clusters['rmse'])}{unit_of(model)}: what to expect of crystals unlike "
            "any that was measured."
        )
    text = (
        f"Dashed: the {percent(level)} that intervals promise; lines are 95 % intervals. No "
        "interval was made with the crystal that it is judged on."
    )
    return Passage(
        title="Do intervals hold?", words=text, drawings=(Drawing(svg=svg),), notes=tuple(notes)
    )


def wilson(held: npt.NDArray[np.float64], z: float = NORMAL) -> tuple[float, float, float]:
    """A share with Wilson's interval of z standard deviations; held is (n,) of shares."""
    count, share = len(held), float(held.mean())
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


def learning(model: PropertyRun) -> Passage | None:
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


def outlook(model: PropertyRun) -> str:
    """What the last doubling of labels brought."""
    points = _curve_points(model)
    if len(points) < 2 or points[-1][1] <= 0:
        return ""
    (before, error, _), (after, last, _) = points[-2], points[-1]
    gain = (1 - last / error) / np.log2(after / before) if after > before else 0.0
    if gain > 0.02:
        return f"Errors of ridge still fall by {percent(gain)} with every doubling of the labels."
    return "Errors of ridge have stopped falling with more labels of this kind."


def _family_rows(model: PropertyRun, classes: Names) -> list[tuple[str, Mask]]:
    """Families with enough crystals, the worst first."""
    names = [name for name in np.unique(classes).tolist() if name]
    rows = [(name, classes == name) for name in names]
    rows = [(name, mask) for name, mask in rows if mask.sum() >= LEAST_IN_FAMILY]
    return sorted(rows, key=lambda row: -float(np.abs(model.error[row[1]]).mean()))


def worst_family(model: PropertyRun) -> str:
    """The kinds of compound with the largest and the smallest error, in a sentence."""
    rows = _family_rows(model, model.families["chemistry"])
    if len(rows) < 2:
        return ""
    (worst, mask), (best, other) = rows[0], rows[-1]
    errors = [significant(float(np.abs(model.error[m]).mean())) for m in (mask, other)]
    return (
        f"The mean absolute error is largest for {worst} ({errors[0]}{unit_of(model)}), smallest "
        f"for {best} ({errors[1]})."
    )


def families(model: PropertyRun) -> list[Passage]:
    """Errors by family; a table for each column that makes families."""
    tables = []
    for of, classes in model.families.items():
        rows = _family_rows(model, classes)
        if len(rows) < 2:
            continue
        entries = [
            TableRow(
                label=name,
                cells=tuple(
                    TableCell(text=text)
                    for text in (
                        f"{int(mask.sum()):,}",
                        significant(float(np.abs(model.error[mask]).mean())),
                        signed(float(model.error[mask].mean())),
                        percent(float(model.held[mask].mean())),
                    )
                ),
            )
            for name, mask in rows[:MOST_FAMILIES]
        ]
        heads = (words(of), "crystals", "mean absolute error", "mean error", "inside interval")
        tables.append(Table(heads=heads, rows=tuple(entries)))
    if not tables:
        return []
    text = (
        f"Families of {LEAST_IN_FAMILY} crystals or more, the worst first. A mean error far from "
        "zero says that the whole family is predicted too high or too low."
    )
    return [Passage(title="Where it is wrong", words=text, tables=tuple(tables))]


def worst_crystals(model: PropertyRun, map_page: str) -> Passage:
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
            TableCell(text=signed(model.error[row])),
            TableCell(text="; ".join(near), prose=True),
        )
        label, link = str(model.formulas[row]) or name, map_link(map_page, name)
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
