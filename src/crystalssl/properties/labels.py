"""Crystals and, if they lie elsewhere, a table of labels -> one number for each labelled crystal.

Labels are matched to ids and file stems. What matches neither side, what is no number, and bounds
such as ``<1E-10`` are counted and listed: a bound is no measured value. First step of ``fit``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crystalssl.datasets.bundled import UNITS
from crystalssl.errors import InputError
from crystalssl.properties.classes import AUTO, are_classes, note_of, read_classes
from crystalssl.properties.matching import id_column_of, match_ids
from crystalssl.properties.numbers import BOUND, MISSING, parse_number, unit_of
from crystalssl.properties.tables import Table, column, of_arrow, read_cells
from crystalssl.structures.crystals import Crystals

LOG10 = re.compile(r"log10\((.+)\)")
"""A target that is the decimal logarithm of a column."""
DECADES = 3.0
"""Range of a positive label, in decades, above which its logarithm is offered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unmatched:
    """A label without a structure, a structure without a label, or a label that is no number.

    Attributes:
        id: id in the table of labels, or of the structure.
        side: ``label`` or ``structure``.
        reason: why it is not used.
        text: the label as it was written.
    """

    id: str
    side: str
    reason: str
    text: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bound:
    """A label that says only that the value is below or above a number.

    Attributes:
        row: row of the crystal.
        text: as it was written.
        below: whether the value is below.
        value: the number, in the target's scale.
    """

    row: int
    text: str
    below: bool
    value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Labels:
    """What is known of one property.

    Attributes:
        target: column, or ``log10(COLUMN)``.
        column: the column.
        unit: unit of the target.
        values: (n,) labels in the target's scale, or numbers of classes; NaN where unknown.
        texts: (n,) labels as they were written.
        groups: (n,) group of each crystal, empty where the user gave none.
        bounds: bounds, which are not among ``values``.
        unmatched: what could not be used.
        notes: what the user should know.
        classes: names of the classes; none for numbers.
    """

    target: str
    column: str
    unit: str
    values: npt.NDArray[np.float64]
    texts: list[str]
    groups: npt.NDArray[np.str_]
    bounds: list[Bound] = field(default_factory=list)
    unmatched: list[Unmatched] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    classes: tuple[str, ...] = ()

    @property
    def nonnegative(self) -> bool:
        """Whether no label is below zero, as of lengths and gaps; a logarithm may always be."""
        known = self.values[np.isfinite(self.values)]
        return not self.classes and not LOG10.fullmatch(self.target) and bool((known >= 0).all())


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelSource:
    """Where labels are.

    Attributes:
        target: column, or ``log10(COLUMN)``.
        file: table of labels; None where structures carry them.
        id_column: its column of ids or file names; None for one called like an id.
        unit: unit of the column; None to read it from the column's name.
        group: column of groups that no split may divide; None for formulas.
        task: ``auto``, ``regression`` or ``classification``.
    """

    target: str
    file: Path | None = None
    id_column: str | None = None
    unit: str | None = None
    group: str | None = None
    task: str = AUTO


def read_labels(crystals: Crystals, source: LabelSource) -> Labels:
    """Labels of crystals.

    Args:
        crystals: n crystals; they carry the labels where there is no file.
        source: where labels are.

    Raises:
        InputError: if there is no such file, or nothing in it fits the crystals.
        UnknownNameError: if there is no such column.
    """
    logarithm = LOG10.fullmatch(source.target)
    name = logarithm[1].strip() if logarithm else source.target
    table, rows, unmatched, notes = _table_of(crystals, source)
    cells = column(table, name, "target column")
    groups = column(table, source.group, "group column") if source.group else []
    gathered = _gather(cells, rows, len(crystals))
    group_of = _groups_of(groups, rows, len(crystals))
    texts = [text for row in gathered.values() for text in row]
    if logarithm is None and are_classes(texts, source.task):
        return _class_labels(crystals, source, gathered, group_of, unmatched, notes)
    reading = _Reading(crystals.ids, bool(logarithm))
    for row, texts in gathered.items():
        reading.add(row, texts)
    unit = UNITS.get(name, "") or unit_of(name) if source.unit is None else source.unit
    if not reading.known:
        notes.append(f"No label of {name!r} is a number.")
    labels = Labels(
        target=source.target,
        column=name,
        unit=f"log10 {unit}".strip() if logarithm and unit else unit,
        values=reading.values,
        texts=reading.texts,
        groups=group_of,
        bounds=reading.bounds,
        unmatched=[*unmatched, *reading.unmatched],
        notes=notes,
    )
    labels.notes.extend(_advice(labels, len(gathered), bool(logarithm)))
    return labels


def _class_labels(
    crystals: Crystals,
    source: LabelSource,
    gathered: Mapping[int, Sequence[str]],
    groups: npt.NDArray[np.str_],
    unmatched: Sequence[Unmatched],
    notes: Sequence[str],
) -> Labels:
    """Labels of a column that names classes."""
    read = read_classes(gathered, len(crystals))
    refused = [
        Unmatched(
            id=str(crystals.ids[row]), side="label" if text else "structure", reason=why, text=text
        )
        for row, why, text in read.refused
    ]
    return Labels(
        target=source.target,
        column=source.target,
        unit="",
        values=read.codes,
        texts=["; ".join(gathered.get(row, ())) for row in range(len(crystals))],
        groups=groups,
        unmatched=[*unmatched, *refused],
        notes=[*notes, note_of(source.target, read, source.task)],
        classes=read.names,
    )


def _table_of(
    crystals: Crystals, source: LabelSource
) -> tuple[Table, npt.NDArray[np.int64], list[Unmatched], list[str]]:
    """The table, the crystal of each of its rows (-1: none), and what has no counterpart."""
    if source.file is None:
        if crystals.columns is None:
            raise InputError(
                f"The structures carry no columns, so none called {source.target!r}. Give a table "
                "of labels with --labels FILE --id COLUMN."
            )
        return of_arrow(crystals.columns), np.arange(len(crystals)), [], []
    table = read_cells(source.file)
    ids = column(table, source.id_column or id_column_of(table, source.file), "id column")
    rows = match_ids(ids, crystals)
    matched = set(rows[rows >= 0].tolist())
    if not matched:
        raise InputError(
            f"None of the {len(ids)} ids in {source.file} (first: {ids[0]!r}) is an id or file "
            f"name among the {len(crystals)} structures (first: {str(crystals.ids[0])!r}). Choose "
            "the column of ids with --id."
        )
    cells = table.get(_plain_target(source.target), [""] * len(ids))
    unmatched = [
        Unmatched(id=ids[at], side="label", reason="no structure of this id", text=cells[at])
        for at in np.flatnonzero(rows < 0).tolist()
    ] + [
        Unmatched(id=str(crystals.ids[row]), side="structure", reason="no row in the labels")
        for row in range(len(crystals))
        if row not in matched
    ]
    notes = [f"Labels: {len(matched):,} of {len(ids):,} rows belong to a structure"]
    return table, rows, unmatched, notes


def _plain_target(target: str) -> str:
    logarithm = LOG10.fullmatch(target)
    return logarithm[1].strip() if logarithm else target


def _gather(
    cells: Sequence[str], rows: npt.NDArray[np.int64], count: int
) -> Mapping[int, list[str]]:
    """Cells of each crystal, in the order of crystals."""
    gathered: dict[int, list[str]] = defaultdict(list)
    for at, row in enumerate(rows.tolist()):
        if 0 <= row < count:
            gathered[row].append(cells[at])
    return dict(sorted(gathered.items()))


def _groups_of(
    cells: Sequence[str], rows: npt.NDArray[np.int64], count: int
) -> npt.NDArray[np.str_]:
    """(n,) the first group named for each crystal; one of its own where there is none."""
    if not cells:
        return np.zeros(0, np.str_)
    groups = [f"\x1f{row}" for row in range(count)]
    for at, row in reversed(list(enumerate(rows.tolist()))):
        if 0 <= row < count and cells[at].strip():
            groups[row] = cells[at].strip()
    return np.array(groups, dtype=np.str_)


class _Reading:
    """Texts of cells become values, bounds, and a list of what is neither."""

    def __init__(self, ids: npt.NDArray[np.str_], logarithm: bool) -> None:
        self.ids, self.logarithm = ids, logarithm
        self.values = np.full(len(ids), np.nan)
        self.texts = [""] * len(ids)
        self.bounds: list[Bound] = []
        self.unmatched: list[Unmatched] = []
        self.known = 0

    def add(self, row: int, texts: Sequence[str]) -> None:
        """Take all labels of one crystal; several values become their mean."""
        self.texts[row] = "; ".join(text for text in texts if text)
        values = []
        for text in texts:
            if text.strip().lower() in MISSING:
                continue
            bound = BOUND.fullmatch(text)
            value = parse_number(bound[2] if bound else text)
            if value is None or (self.logarithm and value <= 0):
                reason = "not a number" if value is None else "no logarithm: not above zero"
                self._refuse(row, reason, text)
                continue
            value = float(np.log10(value)) if self.logarithm else value
            if bound:
                below = bound[1] in ("<", "<=", "≤")
                self.bounds.append(Bound(row=row, text=text, below=below, value=value))
            else:
                values.append(value)
        if values:
            self.values[row] = np.mean(values)
            self.known += 1
        elif all(text.strip().lower() in MISSING for text in texts):
            self._refuse(row, "no label", "")

    def _refuse(self, row: int, reason: str, text: str) -> None:
        side = "label" if text else "structure"
        self.unmatched.append(Unmatched(id=str(self.ids[row]), side=side, reason=reason, text=text))


def _advice(labels: Labels, rows: int, logarithm: bool) -> list[str]:
    """What to say about labels: bounds, repeated ones, a range of decades."""
    notes = []
    known = labels.values[np.isfinite(labels.values)]
    if labels.bounds:
        notes.append(
            f"{len(labels.bounds)} labels are bounds (first: {labels.bounds[0].text}); they are no "
            "measured values and are kept out of fitting and of every metric"
        )
    if not logarithm and len(known) and known.min() > 0:
        decades = float(np.log10(known.max() / known.min()))
        if decades > DECADES:
            notes.append(
                f"{labels.target} spans {decades:.1f} decades; errors on that scale are those of "
                f"the largest values. Consider --target 'log10({labels.target})'"
            )
    return notes
