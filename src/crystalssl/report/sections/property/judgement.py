"""A property model, of numbers or classes -> passages that both have.

Metrics beside baselines and of candidates, encoders that were trained on with labels, and what
pre-training had seen. Used by ``section.py`` and ``classes.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

from crystalssl.properties.overlap import MOSTLY
from crystalssl.report.page import (
    Passage,
    Table,
    TableCell,
    TableRow,
    counted,
    joined,
    percent,
    plain_row,
    significant,
    words,
)
from crystalssl.report.sections.property.data import LabelledRun
from crystalssl.report.sections.property.passages import ends, unit_of

MODEL, MEAN, ELEMENTS = "model", "mean", "element statistics"
"""What metrics are of, as cards name it."""
TITLES = {
    "rmse": "RMSE", "mae": "MAE", "r2": "R²", "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy", "auc": "AUC", "log_loss": "log loss",
}  # fmt: skip
"""Metrics as people write them."""
NUMBERS = ("rmse", "mae", "r2")
"""Metrics of models of numbers, in the order of the columns."""


def scores(
    model: LabelledRun, metrics: Sequence[str] = NUMBERS, mean: str = "Mean of labels"
) -> Passage | None:
    """Metrics of model, candidates and baselines.

    Args:
        model: the property model.
        metrics: keys of ``TITLES``.
        mean: name of the baseline that looks at no crystal.
    """
    rows = []
    for of, label in ((MODEL, "Model"), (ELEMENTS, "Element statistics"), (MEAN, mean)):
        entry = model.card.get("metrics", {}).get(of)
        if entry is None:
            continue
        values = [model.metric(of, name) for name in metrics]
        cells = tuple(
            TableCell() if v is None
            else TableCell(text=significant(v["mean"]), aside=ends(v["low"], v["high"]))
            for v in values
        )  # fmt: skip
        count = TableCell(text=f"{int(entry.get('rows', 0)):,}")
        note = str(entry.get("note") or "")
        rows.append(TableRow(label=label, cells=(*cells, count), proposed=of == MODEL, aside=note))
    if not rows:
        return None
    titles = [TITLES[name] for name in metrics]
    candidates = sorted(model.card.get("candidates", []), key=lambda c: -c.get("weight", 0.0))
    shares = [
        plain_row(
            words(str(candidate["name"])),
            percent(candidate.get("weight", 0.0)),
            *(_figure(candidate.get("metrics", {}), name) for name in metrics),
        )
        for candidate in candidates
    ]
    unit = unit_of(model).strip()
    first = f"{titles[0]} ({unit})" if unit else titles[0]
    tables = [Table(heads=("", first, *titles[1:], "crystals"), rows=tuple(rows))]
    if shares:
        heads = ("Candidate", "weight", *titles)
        tables.append(Table(title="What the model is made of", heads=heads, rows=tuple(shares)))
    text = "Means over repeats with 95 % intervals of a bootstrap over formulas."
    return Passage(title="Beside baselines", words=text, tables=tuple(tables))


def _figure(metrics: dict[str, float], name: str) -> str:
    value = metrics.get(name)
    return "" if value is None else significant(float(value))


def finetuned(model: LabelledRun) -> Passage | None:
    """Encoders that were trained on with the labels of this property, where the model has such."""
    card = model.card.get("finetuned") or {}
    if not card:
        return None
    metrics, without = card.get("metrics", {}), card.get("metrics without", {})
    alone = card.get("metrics alone", {})
    blocks = ", ".join(words(str(name)).lower() for name in card.get("blocks", []))
    text = joined(
        [
            f"Encoders ({blocks}) were trained on with labels of {card.get('labels', model.target)}"
            f": they carry {percent(float(card.get('weight', 0.0)))} of the prediction, and are not"
            " label-free.",
            f"Their gain was measured on {counted(int(card.get('held out', 0)), 'crystal')} that "
            "neither they nor the stack was fitted to.",
        ]
    )
    rows = [
        plain_row(label, *(_figure(of, name) for name in metrics))
        for label, of in (
            ("Model with them", metrics), ("The same without them", without), ("Alone", alone)
        )
        if of
    ]  # fmt: skip
    heads = ("", *(TITLES.get(name, name) for name in metrics))
    table = Table(heads=heads, rows=tuple(rows))
    return Passage(title="Encoders trained on with labels", words=text, tables=(table,))


def overlap(model: LabelledRun) -> Passage | None:
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
    if int(counts.get("tested structures seen", 0)) >= MOSTLY * whole:
        text += " Most were: expect larger errors, and intervals to hold fewer, for new crystals."
    return Passage(title=title, words=text, facts=(("", tuple(facts)),))


def _of(counts: dict[str, int], name: str, whole: int) -> str:
    count = int(counts.get(name, 0))
    return f"{count:,} ({percent(count / max(whole, 1))})"
