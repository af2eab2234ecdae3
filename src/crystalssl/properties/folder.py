"""A fit -> the files of a model folder, put in place together with the card last.

Card, arrays, trees, out-of-fold predictions, and the list of labels and structures that have no
counterpart. After report.py; property_model.py reads the folder.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from crystalssl import __version__
from crystalssl.errors import cell_text
from crystalssl.files import atomic_set, describe, json_text, remove
from crystalssl.properties.blending import Tuned
from crystalssl.properties.card import CARD_FILE, PropertyCard, ScoreCard, SectionCard
from crystalssl.properties.cross_validation import Experiment
from crystalssl.properties.fitting import Fit
from crystalssl.properties.labels import LOG10, Labels, Unmatched
from crystalssl.properties.model import ARRAYS_FILE, StackedModel
from crystalssl.properties.report import (
    candidate_cards,
    class_coverage_card,
    coverage_card,
    out_of_fold_table,
)
from crystalssl.properties.tuned_encoders import FINETUNED

OUT_OF_FOLD, UNMATCHED = "out_of_fold.parquet", "unmatched.csv"
"""Files of a model beside its card."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Described:
    """What a card says that a fit does not know.

    Attributes:
        labels: what labels there were.
        structures: number of structures.
        key: digest of everything that the model depends on.
        weights: encoders.
        descriptors: how the user's own columns become numbers.
        scores: metrics of model and baselines.
        notes: what the user was told.
        tuned: encoders trained on with labels, and what they bring; None if that was not tried.
    """

    labels: Labels
    structures: int
    key: str
    weights: Mapping[str, Any]
    descriptors: Mapping[str, Any]
    scores: Mapping[str, ScoreCard]
    notes: Sequence[str] = ()
    tuned: Tuned | None = None


def write_model(
    folder: Path, fit: Fit, experiment: Experiment, described: Described
) -> PropertyCard:
    """Write the folder of a model.

    Args:
        folder: where; other files in it stay.
        fit: what was fitted.
        experiment: to what.
        described: what else the card says.

    Returns:
        The card.
    """
    encoders = None if described.tuned is None else described.tuned.encoders
    model = StackedModel.of(fit, experiment.inputs, encoders)
    content, texts, kinds = model.pack()
    card = _card(fit, experiment, described, kinds)
    judged = out_of_fold_table(fit, experiment, described.labels.classes)
    remove(folder / FINETUNED)
    stored: list[str] = []
    if encoders is not None:
        target = described.labels.target
        made = encoders.save(folder / FINETUNED, target, len(experiment.labels))
        stored = [f"{FINETUNED}/{name}" for name in made]
    names = [*sorted(texts), ARRAYS_FILE, OUT_OF_FOLD, UNMATCHED]
    with atomic_set(*(folder / name for name in (*names, CARD_FILE))) as asides:
        paths = dict(zip((*names, CARD_FILE), asides, strict=True))
        for name, text in texts.items():
            paths[name].write_text(text, encoding="utf-8", newline="\n")
        paths[ARRAYS_FILE].write_bytes(content)
        pq.write_table(judged, paths[OUT_OF_FOLD], compression="zstd")
        paths[UNMATCHED].write_text(
            unmatched_text(described.labels.unmatched), encoding="utf-8", newline=""
        )
        paths_of = {name: paths[name] for name in names}
        paths_of |= {name: folder / name for name in stored}
        card = replace(card, files=describe(paths_of))
        paths[CARD_FILE].write_text(json_text(card.as_json()), encoding="utf-8", newline="\n")
    return card


def _card(
    fit: Fit, experiment: Experiment, described: Described, kinds: Sequence[str]
) -> PropertyCard:
    labels, inputs = described.labels, experiment.inputs
    unmatched = labels.unmatched
    return PropertyCard(
        target=labels.target,
        column=labels.column,
        unit=labels.unit,
        transform="log10" if LOG10.fullmatch(labels.target) else "none",
        task=experiment.kind,
        classes=list(labels.classes),
        package_version=__version__,
        key=described.key,
        seed=experiment.seed,
        counts={
            "structures": described.structures,
            "labelled": len(inputs),
            "formulas": len(np.unique(inputs.formulas)),
            "bounds": len(labels.bounds),
            "labels without a structure": sum(u.side == "label" for u in unmatched),
            "structures without a label": sum(u.side == "structure" for u in unmatched),
        },
        weights=dict(described.weights),
        sections=[
            SectionCard(name=s.name, kind=s.kind, columns=list(s.columns)) for s in inputs.sections
        ],
        descriptors=dict(described.descriptors),
        candidates=candidate_cards(fit, experiment, kinds),
        plan={
            "folds": fit.plan.folds,
            "repeats": fit.plan.repeats,
            "clusters": len(fit.clusters),
            "notes": list(fit.plan.notes),
        },
        metrics=dict(described.scores),
        coverage=(class_coverage_card if labels.classes else coverage_card)(fit, experiment.labels),
        domain={"limit": fit.domain.limit, "axes": int(fit.domain.axes.shape[1])},
        stack={
            "centre": fit.stack.centre.tolist(),
            "low": None if np.isinf(fit.stack.low) else fit.stack.low,
            "high": None if np.isinf(fit.stack.high) else fit.stack.high,
        },
        intervals={
            "expected residual": dict(
                zip(
                    ("constant", "disagreement", "distance"),
                    fit.intervals.scale.tolist(),
                    strict=True,
                )
            ),
            "residuals": fit.intervals.count,
        },
        notes=list(described.notes),
        finetuned=_finetuned(described),
    )


def _finetuned(described: Described) -> dict[str, Any]:
    """What the card says of encoders that are in the stack."""
    tuned = described.tuned
    if tuned is None or tuned.encoders is None:
        return {}
    return {
        "labels": described.labels.target,
        "blocks": list(tuned.encoders.network.encoders()),
        "weight": tuned.weight,
        "held out": tuned.rows,
        "metrics": tuned.metrics,
        "metrics without": tuned.without,
        "metrics alone": tuned.alone,
        "coverage": tuned.coverage,
    }


def unmatched_text(unmatched: Sequence[Unmatched]) -> str:
    """What could not be used, as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "side", "reason", "label"])
    writer.writerows(
        map(cell_text, (entry.id, entry.side, entry.reason, entry.text)) for entry in unmatched
    )
    return text.getvalue()
