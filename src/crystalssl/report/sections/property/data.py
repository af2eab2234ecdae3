"""Folders of property models in a run -> one record each for the page: card and predictions.

Reads ``card.json`` and ``out_of_fold.parquet``, and what ``run`` stores beside them; nothing is
computed but means over repeats. ``section.py`` and ``classes.py`` make the section.
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
NEEDED = ("immutable_id", "formula", "repeat", "in_domain", "nearest")
"""Columns of the predictions that numbers and classes have."""
PROBABILITY = "probability_"
"""What the column of a class begins with."""
MOST_CLASSES = 25
"""Classes of a text column that families are taken from, at most."""
OTHER_COLUMNS = ("immutable_id", "source", "source_file", "split", "chemical_formula_reduced")
"""Text columns that are no families."""

Floats = npt.NDArray[np.float64]
Names = npt.NDArray[np.str_]


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledRun:
    """What models of numbers and of classes have in common.

    Attributes:
        folder: where it lies.
        card: its card.
        ids: (n,) labelled crystals.
        formulas: (n,) their formulas.
        inside: (n,) whether a crystal is in the domain in most repeats.
        nearest: the nearest labelled crystals of each, in the first repeat.
        families: (n,) class of each crystal, by what the classes are of.
        overlap: counts of crystals that the weights saw, and the weights.
    """

    folder: Path
    card: dict[str, Any]
    ids: Names
    formulas: Names
    inside: npt.NDArray[np.bool_]
    nearest: list[list[str]]
    families: dict[str, Names] = field(default_factory=dict)
    overlap: dict[str, Any] = field(default_factory=dict)

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

    def metric(self, of: str, name: str) -> dict[str, float] | None:
        """A metric of the model or of a baseline, or None where it is not there."""
        found = self.card.get("metrics", {}).get(of, {}).get("metrics", {}).get(name)
        return dict(found) if isinstance(found, dict) else None


@dataclass(frozen=True, kw_only=True, slots=True)
class PropertyRun(LabelledRun):
    """A property model of a run.

    Attributes:
        true: (n,) labels.
        predicted: (n,) out-of-fold predictions, mean over repeats.
        lower: (n,) lower end of their intervals, mean over repeats.
        upper: (n,) upper end.
        held: (n,) share of repeats whose interval holds the label.
        curve: error by number of labels; a row a fit.
    """

    true: Floats
    predicted: Floats
    lower: Floats
    upper: Floats
    held: Floats
    curve: pa.Table | None = None

    @property
    def error(self) -> Floats:
        """(n,) prediction less label."""
        return self.predicted - self.true


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassRun(LabelledRun):
    """A model of classes.

    Attributes:
        classes: (c,) names of the classes.
        true: (n,) position of each crystal's class.
        probabilities: (n, c) out-of-fold probabilities, mean over repeats.
    """

    classes: Names
    true: npt.NDArray[np.int64]
    probabilities: Floats

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """(n,) position of the most probable class."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """(n,) whether that is the crystal's class."""
        return np.asarray(self.predicted == self.true)


def read_properties(
    folder: Path, structures: Path | None
) -> tuple[list[PropertyRun | ClassRun], list[str]]:
    """Property models of a run, and why some are not shown.

    Args:
        folder: folder of the run.
        structures: its structure table, whose text columns are families; or None.
    """
    paths = sorted(folder.glob(f"{MODELS}/*/{CARD}"))
    read = [_readable(path.parent, structures) for path in paths]
    models = [entry for entry in read if isinstance(entry, LabelledRun)]
    return models, [entry for entry in read if isinstance(entry, str)]


def _readable(folder: Path, structures: Path | None) -> PropertyRun | ClassRun | str | None:
    """A model, why it cannot be read, or None for a folder of something else."""
    try:
        if read_json(folder / CARD).get("kind") != KIND:
            return None
        return read_property(folder, structures)
    except (InputError, KeyError, TypeError, ValueError, OSError, pa.ArrowException) as error:
        return f"{folder.name}: {error}"


def read_property(folder: Path, structures: Path | None = None) -> PropertyRun | ClassRun:
    """One property model.

    Args:
        folder: its folder.
        structures: structure table whose text columns are families; or None.

    Raises:
        InputError: if its card cannot be read.
    """
    card = read_json(folder / CARD)
    classes = card.get("task") == "classification"
    return (_read_classes if classes else _read)(folder, card, structures)


def _read(folder: Path, card: dict[str, Any], structures: Path | None) -> PropertyRun:
    numbers = ("true", "predicted", "lower", "upper")
    table = pq.read_table(folder / OUT_OF_FOLD, columns=[*NEEDED, *numbers])
    crystals = _Crystals.of(table)
    true, predicted, lower, upper = (crystals.mean(table[name].to_numpy()) for name in numbers)
    every = {name: table[name].to_numpy() for name in numbers}
    holds = (every["true"] >= every["lower"]) & (every["true"] <= every["upper"])
    curve = folder / CURVE
    return PropertyRun(
        **crystals.described(folder, card, structures),
        true=true,
        predicted=predicted,
        lower=lower,
        upper=upper,
        held=crystals.mean(holds),
        curve=pq.read_table(curve) if curve.is_file() else None,
    )


def _read_classes(folder: Path, card: dict[str, Any], structures: Path | None) -> ClassRun:
    classes = [str(name) for name in card["classes"]]
    shares = [f"{PROBABILITY}{name}" for name in classes]
    table = pq.read_table(folder / OUT_OF_FOLD, columns=[*NEEDED, "true", *shares])
    crystals = _Crystals.of(table)
    position = {name: at for at, name in enumerate(classes)}
    true = np.array([position[name] for name in table["true"].to_pylist()], dtype=np.int64)
    return ClassRun(
        **crystals.described(folder, card, structures),
        classes=np.array(classes, dtype=np.str_),
        true=true[crystals.first],
        probabilities=np.stack([crystals.mean(table[s].to_numpy()) for s in shares], axis=1),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Crystals:
    """Rows of a table of predictions by crystal.

    Attributes:
        table: every crystal in every repeat, r rows.
        ids: (n,) crystals.
        row: (r,) crystal of each row.
        counts: (n,) rows of each crystal.
        first: (n,) row of each crystal in the first repeat.
    """

    table: pa.Table
    ids: Names
    row: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]

    @staticmethod
    def of(table: pa.Table) -> _Crystals:
        """Crystals of a table."""
        ids, row, counts = np.unique(
            np.array(table["immutable_id"].to_pylist(), dtype=np.str_),
            return_inverse=True, return_counts=True,
        )  # fmt: skip
        row, repeats = row.reshape(-1), table["repeat"].to_numpy()
        first = np.full(len(ids), -1)
        at = np.flatnonzero(repeats == repeats.min(initial=0))
        first[row[at]] = at
        return _Crystals(table=table, ids=ids, row=row, counts=counts, first=first)

    def mean(self, values: npt.NDArray[Any]) -> Floats:
        """(n,) mean over repeats of a column (r,)."""
        return np.bincount(self.row, values, len(self.ids)) / self.counts

    def described(
        self, folder: Path, card: dict[str, Any], structures: Path | None
    ) -> dict[str, Any]:
        """Fields of :class:`LabelledRun`."""
        formulas, nearest = self.table["formula"].to_pylist(), self.table["nearest"].to_pylist()
        inside = self.table["in_domain"].to_numpy(zero_copy_only=False).astype(np.float64)
        first = self.first.tolist()
        names = np.array([formulas[i] or "" for i in first], dtype=np.str_)
        return {
            "folder": folder,
            "card": card,
            "ids": self.ids,
            "formulas": names,
            "inside": self.mean(inside) >= 0.5,
            "nearest": [list(nearest[i] or []) for i in first],
            "families": {"chemistry": chemistry_of(names)} | _text_columns(structures, self.ids),
            "overlap": read_json(folder / OVERLAP) if (folder / OVERLAP).is_file() else {},
        }


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
