"""A model of classes -> its section: how often is it right, and does it know when?

Metrics beside baselines, the table of true and predicted classes, probabilities against
frequencies, families, and the crystals that it is surest of and wrong about.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crystalssl.report.charts import Line, Mark, lines
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
    listed,
    percent,
    plain_row,
    significant,
    words,
)
from crystalssl.report.sections.property.data import ClassRun
from crystalssl.report.sections.property.judgement import (
    ELEMENTS,
    MEAN,
    MODEL,
    finetuned,
    overlap,
    scores,
)
from crystalssl.report.sections.property.passages import (
    LEAST_IN_FAMILY,
    MOST_FAMILIES,
    WORST,
    ends,
    map_link,
    wilson,
)
from crystalssl.report.sections.property.section import protocol

METRICS = ("balanced_accuracy", "accuracy", "auc", "log_loss")
FREQUENCIES = "Frequencies of classes"
"""Name of the baseline that looks at no crystal."""
MOST_CLASSES = 12
"""Classes of which the table of true and predicted ones has a column."""
BINS, LEAST_IN_BIN = 5, 10
"""Groups of crystals by the probability of their predicted class, and crystals in each at least."""
SURE = 2.58
"""Standard deviations of a 99 % interval; five of them hold in nineteen cases of twenty."""


def class_section(model: ClassRun, map_page: str = "") -> Section:
    """The section of a property with classes.

    Args:
        model: the model.
        map_page: page of the map that names lead to; empty without one.
    """
    passages = [
        _confusion(model), scores(model, METRICS, FREQUENCIES), finetuned(model),
        _calibration(model), _families(model), _worst(model, map_page), overlap(model),
    ]  # fmt: skip
    return Section(
        anchor=f"property-{model.folder.name}",
        title=f"My property: {model.title}",
        question="How often is the class right for crystals whose formula the model has not seen?",
        finding=_finding(model),
        detail=_detail(model),
        failure="The model would be of no use if it were no better than naming classes by their "
        "frequency or than statistics of the elements, and its probabilities would be wrong if "
        "they differed from how often it is right.",
        checks=tuple(_checks(model)),
        protocol=protocol(model),
        passages=tuple(passage for passage in passages if passage is not None),
    )


def _finding(model: ClassRun) -> str:
    """What came out, in a sentence."""
    value, auc = model.metric(MODEL, METRICS[0]), model.metric(MODEL, "auc")
    if value is None:
        return f"Classes of {counted(len(model), 'crystal')}."
    others = [
        f"{significant(other['mean'])} for {name}"
        for of, name in ((ELEMENTS, "element statistics"), (MEAN, FREQUENCIES.lower()))
        if (other := model.metric(of, METRICS[0])) is not None
    ]
    text = f"Balanced accuracy {significant(value['mean'])} {ends(value['low'], value['high'])}"
    text += f", AUC {significant(auc['mean'])}" if auc else ""
    text += f", on {counted(len(model), 'crystal')} that were predicted without their formula"
    return f"{text}; {listed(others)}." if others else f"{text}."


def _detail(model: ClassRun) -> str:
    """The class that is missed most often."""
    recall = [
        (float(model.right[rows].mean()), name)
        for at, name in enumerate(model.classes.tolist())
        if (rows := model.true == at).sum() >= LEAST_IN_FAMILY
    ]
    if len(recall) < 2:
        return ""
    (least, worst), (most, best) = min(recall), max(recall)
    return f"Class {worst} is found in {percent(least)} of its crystals, {best} in {percent(most)}."


def _checks(model: ClassRun) -> list[Check]:
    """Claims that could have failed."""
    claims = (
        (MEAN, "it predicts better than the frequencies of the classes"),
        (ELEMENTS, "it predicts better than boosting on statistics of the elements"),
    )
    value, checks = model.metric(MODEL, METRICS[0]), []
    for of, claim in claims:
        other = model.metric(of, METRICS[0])
        if value is None or other is None:
            continue
        outcome: Outcome = "open"
        if value["low"] > other["high"]:
            outcome = "held"
        elif value["mean"] <= other["mean"]:
            outcome = "failed"
        evidence = (
            f"Balanced accuracy {significant(value['mean'])} {ends(value['low'], value['high'])} "
            f"against {significant(other['mean'])} {ends(other['low'], other['high'])}."
        )
        checks.append(Check(claim=claim, outcome=outcome, evidence=evidence))
    if calibrated := _calibration_check(model):
        checks.append(calibrated)
    return checks


def _fifths(model: ClassRun) -> list[tuple[float, npt.NDArray[np.float64]]]:
    """Mean probability of the predicted class, and which are right (m,), of fifths by it."""
    sure = model.probabilities.max(axis=1)
    groups = np.array_split(np.argsort(sure, kind="stable"), BINS)
    if len(groups[-1]) < LEAST_IN_BIN:
        return []
    return [(float(sure[rows].mean()), model.right[rows].astype(np.float64)) for rows in groups]


def _calibration_check(model: ClassRun) -> Check | None:
    """Whether the predicted class is right as often as its probability says, but for chance."""
    fifths = _fifths(model)
    if not fifths:
        return None
    intervals = [(sure, wilson(right, SURE)) for sure, right in fifths]
    inside = sum(low <= sure <= high for sure, (_, low, high) in intervals)
    error = model.card.get("coverage", {}).get("calibration_error")
    evidence = f"Of {BINS} fifths by probability {inside} are right as often as they say, but for "
    evidence += "chance (99 %)"
    evidence += "." if error is None else f"; on average they are off by {percent(error, 1)}."
    return Check(
        claim="probabilities are how often it is right",
        outcome="held" if inside == BINS else "failed",
        evidence=evidence,
    )


def _confusion(model: ClassRun) -> Passage:
    """True against predicted classes; of very many classes the most frequent."""
    counts = np.bincount(model.true, minlength=len(model.classes))
    shown = np.sort(np.argsort(-counts, kind="stable")[:MOST_CLASSES])
    names = model.classes[shown].tolist()
    rows = []
    for at, name in zip(shown.tolist(), names, strict=True):
        predicted = model.predicted[model.true == at]
        cells = [f"{int((predicted == other).sum()):,}" for other in shown.tolist()]
        recall = percent(float((predicted == at).mean())) if len(predicted) else ""
        rows.append(plain_row(str(name), *cells, recall))
    text = (
        "A row is a class as labelled, a column as predicted; the last column says how many of the "
        "class are found."
    )
    if len(shown) < len(model.classes):
        text += f" The {MOST_CLASSES} most frequent of {len(model.classes)} classes are shown."
    table = Table(heads=("labelled", *map(str, names), "found"), rows=tuple(rows))
    return Passage(title="Every class", words=text, tables=(table,))


def _calibration(model: ClassRun) -> Passage | None:
    """How often the predicted class is right, by its probability."""
    fifths = _fifths(model)
    if not fifths:
        return None
    at = tuple(round(100 * sure, 1) for sure, _ in fifths)
    shares = [wilson(right) for _, right in fifths]
    marks = tuple(Mark(at=100 * s, low=100 * low, high=100 * high) for s, low, high in shares)
    ideal = tuple(Mark(at=value) for value in at)
    entries = [
        Line(label="as promised", at=at, marks=ideal, dashed=True),
        Line(label="model", at=at, marks=marks, leading=True),
    ]
    svg = lines(
        entries, "probability of the predicted class (%)", "right (%)",
        f"How often the predicted class of {model.target} is right, by its probability",
    )  # fmt: skip
    notes = []
    if clusters := model.card.get("coverage", {}).get("clusters_left_out"):
        notes.append(
            f"Where whole clusters of alike crystals were left out, balanced accuracy is "
            f"{significant(clusters['balanced_accuracy'])}: what to expect of crystals unlike any "
            "that was labelled."
        )
    text = "Fifths of the crystals by how sure the model is; lines are 95 % intervals."
    return Passage(
        title="Do probabilities hold?", words=text, drawings=(Drawing(svg=svg),),
        notes=tuple(notes),
    )  # fmt: skip


def _families(model: ClassRun) -> Passage | None:
    """Share of right classes by family."""
    tables = []
    for of, classes in model.families.items():
        if of == model.card.get("column"):
            continue  # the classes themselves
        members = [(name, classes == name) for name in np.unique(classes).tolist() if name]
        members = [(name, rows) for name, rows in members if rows.sum() >= LEAST_IN_FAMILY]
        members.sort(key=lambda entry: float(model.right[entry[1]].mean()))
        if len(members) < 2:
            continue
        rows = [
            plain_row(name, f"{int(of_it.sum()):,}", percent(float(model.right[of_it].mean())))
            for name, of_it in members[:MOST_FAMILIES]
        ]
        tables.append(Table(heads=(words(of), "crystals", "right"), rows=tuple(rows)))
    if not tables:
        return None
    text = f"Families of {LEAST_IN_FAMILY} crystals or more, the worst first."
    return Passage(title="Where it is wrong", words=text, tables=tuple(tables))


def _worst(model: ClassRun, map_page: str) -> Passage | None:
    """Crystals whose class it gives the least probability, beside their nearest neighbours."""
    given = model.probabilities[np.arange(len(model)), model.true]
    class_of = dict(zip(model.ids.tolist(), model.classes[model.true].tolist(), strict=True))
    formula_of = dict(zip(model.ids.tolist(), model.formulas.tolist(), strict=True))
    wrong = [row for row in np.argsort(given, kind="stable").tolist() if not model.right[row]]
    rows = []
    for row in wrong[:WORST]:
        near = [
            f"{formula_of[name]} ({name}) {class_of[name]}"
            for name in model.nearest[row]
            if name in class_of
        ]
        name, best = str(model.ids[row]), int(model.predicted[row])
        cells = (
            TableCell(text=str(model.classes[model.true[row]]), aside=percent(float(given[row]))),
            TableCell(
                text=str(model.classes[best]),
                aside=percent(float(model.probabilities[row, best])),
            ),
            TableCell(text="; ".join(near), prose=True),
        )
        label, link = str(model.formulas[row]) or name, map_link(map_page, name)
        rows.append(TableRow(label=label, cells=cells, aside=name, link=link))
    if not rows:
        return None
    heads = ("Crystal", "class", "predicted", "Nearest labelled crystals and their classes")
    text = (
        "Look at these first: a label may be wrong, a structure idealised, or the class may hang "
        "on what is in no structure."
    )
    table = Table(heads=heads, rows=tuple(rows))
    return Passage(title="Surest and wrong", words=text, tables=(table,))
