"""Folders of property models in a run -> one record each for the page: card and predictions.

Reads ``card.json`` and ``out_of_fold.parquet``, and what ``run`` stores beside them; nothing is
computed but means over repeats. ``property.py`` makes the section.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from crystalssl.errors import InputError
from crystalssl.files import read_json
from crystalssl.report.page import without_unit, words

MODELS, CARD, OUT_OF_FOLD = "models", "card.json", "out_of_fold.parquet"
CURVE, OVERLAP = "learning_curve.parquet", "overlap.json"
KIND = "property model"
"""Names on disk, and what the card of such a folder calls itself."""
NEEDED = (
    "immutable_id", "formula", "repeat", "true", "predicted", "lower", "upper", "in_domain",
    "nearest",
)  # fmt: skip
"""Columns of the predictions."""
MOST_CLASSES = 25
"""Classes of a text column that families are taken from, at most."""
OTHER_COLUMNS = ("immutable_id", "source", "source_file", "split", "chemical_formula_reduced")
"""Text columns that are no families."""

Floats = npt.NDArray[np.float64]
Names = npt.NDArray[np.str_]


@dataclass(frozen=True, kw_only=True, slots=True)
class PropertyRun:
    """A property model of a run.

    Attributes:
        folder: where it lies.
        card: its card.
        ids: (n,) labelled crystals.
        formulas: (n,) their formulas.
        true: (n,) labels.
        predicted: (n,) out-of-fold predictions, mean over repeats.
        lower: (n,) lower end of their intervals, mean over repeats.
        upper: (n,) upper end.
        inside: (n,) whether a crystal is in the domain in most repeats.
        held: (n,) share of repeats whose interval holds the label.
        nearest: the nearest labelled crystals of each, in the first repeat.
        curve: error by number of labels; a row a fit.
        overlap: counts of crystals that the weights saw, and the weights.
        families: (n,) class of each crystal, by what the classes are of.
    """

    folder: Path
    card: dict[str, Any]
    ids: Names
    formulas: Names
    true: Floats
    predicted: Floats
    lower: Floats
    upper: Floats
    inside: npt.NDArray[np.bool_]
    held: Floats
    nearest: list[list[str]]
    curve: pa.Table | None = None
    overlap: dict[str, Any] = field(default_factory=dict)
    families: dict[str, Names] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def target(self) -> str:
        """What is predicted."""
        return str(self.card["target"])

    @property
    def title(self) -> str:
        """The target as words, without its unit."""
        return words(without_unit(self.target))

    @property
    def unit(self) -> str:
        """Its unit; may be empty."""
        return str(self.card.get("unit") or "")

    @property
    def error(self) -> Floats:
        """(n,) prediction less label."""
        return self.predicted - self.true

    def metric(self, of: str, name: str) -> dict[str, float] | None:
        """A metric of the model or of a baseline, or None where it is not there."""
        found = self.card.get("metrics", {}).get(of, {}).get("metrics", {}).get(name)
        return dict(found) if isinstance(found, dict) else None


def read_properties(folder: Path, structures: Path | None) -> tuple[list[PropertyRun], list[str]]:
    """Property models of a run, and why some are not shown.

    Args:
        folder: folder of the run.
        structures: its structure table, whose text columns are families; or None.
    """
    paths = sorted(folder.glob(f"{MODELS}/*/{CARD}"))
    read = [_readable(path.parent, structures) for path in paths]
    models = [entry for entry in read if isinstance(entry, PropertyRun)]
    return models, [entry for entry in read if isinstance(entry, str)]


def _readable(folder: Path, structures: Path | None) -> PropertyRun | str | None:
    """A model, why it cannot be read, or None for a folder of something else."""
    try:
        card = read_json(folder / CARD)
        if card.get("kind") == KIND and card.get("task") == "classification":
            return f"{folder.name}: a model of classes; {CARD} and {OUT_OF_FOLD} hold its figures"
        return _read(folder, card, structures) if card.get("kind") == KIND else None
    except (InputError, KeyError, TypeError, ValueError, OSError, pa.ArrowException) as error:
        return f"{folder.name}: {error}"


def _read(folder: Path, card: dict[str, Any], structures: Path | None) -> PropertyRun:
    table = pq.read_table(folder / OUT_OF_FOLD, columns=list(NEEDED))
    repeats = table["repeat"].to_numpy()
    ids, row, counts = np.unique(
        np.array(table["immutable_id"].to_pylist(), dtype=np.str_),
        return_inverse=True, return_counts=True,
    )  # fmt: skip
    row = row.reshape(-1)
    true, predicted, lower, upper = (
        np.bincount(row, table[name].to_numpy(), len(ids)) / counts
        for name in ("true", "predicted", "lower", "upper")
    )
    every = {name: table[name].to_numpy() for name in ("true", "lower", "upper")}
    holds = (every["true"] >= every["lower"]) & (every["true"] <= every["upper"])
    inside = np.asarray(table["in_domain"].to_numpy(zero_copy_only=False), dtype=np.float64)
    first = np.full(len(ids), -1)
    at = np.flatnonzero(repeats == repeats.min(initial=0))
    first[row[at]] = at
    formulas, nearest = table["formula"].to_pylist(), table["nearest"].to_pylist()
    names = np.array([formulas[i] or "" for i in first.tolist()], dtype=np.str_)
    curve = folder / CURVE
    return PropertyRun(
        folder=folder,
        card=card,
        ids=ids,
        formulas=names,
        true=true,
        predicted=predicted,
        lower=lower,
        upper=upper,
        inside=np.bincount(row, inside, len(ids)) / counts >= 0.5,
        held=np.bincount(row, holds, len(ids)) / counts,
        nearest=[list(nearest[i] or []) for i in first.tolist()],
        curve=pq.read_table(curve) if curve.is_file() else None,
        overlap=read_json(folder / OVERLAP) if (folder / OVERLAP).is_file() else {},
        families={"chemistry": chemistry_of(names)} | _text_columns(structures, ids),
    )


def chemistry_of(formulas: Sequence[str] | Names) -> Names:
    """Kind of compound by its most electronegative elements: oxides, halides, alloys and so on."""
    return np.array([_chemistry(set(re.findall("[A-Z][a-z]?", text))) for text in formulas])


def _chemistry(elements: set[str]) -> str:
    kinds = {
        "oxides": {"O"}, "halides": {"F", "Cl", "Br", "I"}, "chalcogenides": {"S", "Se", "Te"},
        "pnictides": {"N", "P", "As", "Sb"}, "hydrides": {"H"},
        "borides, carbides, silicides": {"B", "C", "Si", "Ge"},
    }  # fmt: skip
    if elements & kinds["oxides"] and elements & kinds["halides"]:
        return "oxides with halogens"
    return next((name for name, of in kinds.items() if elements & of), "metals and alloys")


def _text_columns(structures: Path | None, ids: Names) -> dict[str, Names]:
    """Text columns of the structure table with few classes."""
    if structures is None:
        return {}
    schema = pq.read_schema(structures)
    texts = [
        entry.name
        for entry in schema
        if pa.types.is_string(entry.type) and entry.name not in OTHER_COLUMNS
    ]
    if not texts or "immutable_id" not in schema.names:
        return {}
    table = pq.read_table(structures, columns=["immutable_id", *texts])
    row_of = {name: row for row, name in enumerate(table["immutable_id"].to_pylist())}
    rows = [row_of.get(name) for name in ids.tolist()]
    columns = {}
    for name in texts:
        cells = table[name].to_pylist()
        classes = [str(cells[row] or "") if row is not None else "" for row in rows]
        if 1 < len(set(classes) - {""}) <= MOST_CLASSES:
            columns[name] = np.array(classes, dtype=np.str_)
    return columns
