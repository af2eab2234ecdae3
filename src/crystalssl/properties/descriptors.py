"""The user's own columns (temperature, pressure, how a sample was made) -> numbers beside features.

Columns of numbers stay as they are, a missing one becomes the median; columns of words become one
column a word. What is learned from the labelled crystals (medians, words) goes to the card, so that
crystals to predict are described the same way. After tables.py and labels.py, before inputs.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crystalssl.errors import InputError
from crystalssl.properties.inputs import Descriptors
from crystalssl.properties.matching import id_column_of, match_ids
from crystalssl.properties.numbers import MISSING, parse_number
from crystalssl.properties.tables import ENDINGS, Table, column, of_arrow, read_cells
from crystalssl.structures.crystals import Crystals

WORDS = 24
"""Words of a column at most, the most frequent ones; others count as none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnPlan:
    """How one column becomes numbers.

    Attributes:
        name: its name.
        median: what a missing number becomes; None for a column of words.
        words: words that get a column each; empty for numbers.
    """

    name: str
    median: float | None
    words: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class DescriptorPlan:
    """How all columns become numbers; without columns there are none.

    Attributes:
        columns: in order.
        id_column: column of ids in a table of descriptors; None for one called like an id.
    """

    columns: tuple[ColumnPlan, ...] = ()
    id_column: str | None = None

    def as_json(self) -> dict[str, Any]:
        """For the card."""
        return asdict(self)

    @staticmethod
    def of_json(value: Mapping[str, Any]) -> DescriptorPlan:
        """What :meth:`as_json` made.

        Raises:
            InputError: if it is something else.
        """
        try:
            columns = tuple(
                ColumnPlan(
                    name=str(entry["name"]),
                    median=None if entry["median"] is None else float(entry["median"]),
                    words=tuple(str(word) for word in entry["words"]),
                )
                for entry in value["columns"]
            )
            return DescriptorPlan(columns=columns, id_column=value["id_column"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"The card's descriptors cannot be read ({error}).") from error


def gather_columns(
    crystals: Crystals, sources: Sequence[str], id_column: str | None, label: str = ""
) -> dict[str, list[str]]:
    """Cells of every descriptor for each crystal.

    Args:
        crystals: n crystals.
        sources: files, or names of columns that the structures carry, joined by commas.
        id_column: column of ids in files.
        label: label column, which is never a descriptor, not even where a file holds both.

    Raises:
        InputError: if a file has no row for any of the crystals, or the label is asked for.
        UnknownNameError: if there is no such column.
    """
    cells: dict[str, list[str]] = {}
    for source in sources:
        if Path(source).suffix.lower() in ENDINGS and Path(source).is_file():
            table = read_cells(source)
            key = id_column if id_column in table else id_column_of(table, Path(source))
            cells |= _matched(crystals, table, str(key))
            continue
        carried = {} if crystals.columns is None else of_arrow(crystals.columns)
        for name in (word.strip() for word in source.split(",")):
            if name == label:
                raise InputError(f"{name!r} is the label; it cannot be a descriptor too.")
            if name:
                cells[name] = column(carried, name, "column of the structures")
    cells.pop(label, None)
    return cells


def _matched(crystals: Crystals, table: Table, key: str) -> dict[str, list[str]]:
    """Cells of all columns but the ids, for each crystal."""
    rows = match_ids(table[key], crystals)
    if (rows < 0).all():
        raise InputError(
            f"None of the ids in column {key!r} is that of a structure. Choose the column of ids "
            "with --id."
        )
    cells = {name: [""] * len(crystals) for name in table if name != key}
    for at, row in reversed(list(enumerate(rows.tolist()))):
        if row >= 0:
            for name in cells:
                cells[name][row] = table[name][at]
    return cells


def plan_columns(cells: Mapping[str, Sequence[str]], id_column: str | None) -> DescriptorPlan:
    """How columns become numbers, learned from the crystals that a model is fitted to.

    Raises:
        InputError: if a column holds nothing.
    """
    plans = []
    for name, texts in cells.items():
        known = [text for text in texts if text.strip().lower() not in MISSING]
        if not known:
            raise InputError(f"Column {name!r} of --also is empty; leave it out.")
        numbers = [parse_number(text) for text in known]
        values = [value for value in numbers if value is not None]
        if len(values) > 0.9 * len(known):
            plans.append(ColumnPlan(name=name, median=float(np.median(values))))
        else:
            words = [
                word for word, _ in sorted(Counter(known).items(), key=lambda e: (-e[1], e[0]))
            ]
            plans.append(ColumnPlan(name=name, median=None, words=tuple(words[:WORDS])))
    return DescriptorPlan(columns=tuple(plans), id_column=id_column)


def describe_crystals(plan: DescriptorPlan, crystals: Crystals, also: Table | None) -> Descriptors:
    """Numbers of crystals.

    Args:
        plan: how columns become numbers.
        crystals: n crystals; they carry the columns that ``also`` lacks.
        also: table with a column of ids, or None.

    Raises:
        InputError: if a column is nowhere.
    """
    if not plan.columns:
        return Descriptors.none(len(crystals))
    cells: dict[str, list[str]] = {}
    if crystals.columns is not None:
        wanted = [c.name for c in plan.columns if c.name in crystals.columns.column_names]
        cells |= of_arrow(crystals.columns.select(wanted))
    if also is not None:
        key = plan.id_column if plan.id_column in also else id_column_of(also, Path("--also"))
        cells |= _matched(crystals, also, str(key)) if len(crystals) else {}
    return describe_cells(plan, cells, len(crystals))


def describe_cells(
    plan: DescriptorPlan, cells: Mapping[str, Sequence[str]], count: int
) -> Descriptors:
    """Numbers of crystals from the cells of their columns.

    Args:
        plan: how columns become numbers.
        cells: (count,) cells of each column.
        count: number of crystals.

    Raises:
        InputError: if a column is nowhere.
    """
    names: list[str] = []
    values: list[list[float]] = []
    for entry in plan.columns:
        if entry.name not in cells and count:
            raise InputError(
                f"The model reads {entry.name!r}, which neither the structures nor a table carry. "
                "Give it with --also FILE."
            )
        texts = cells.get(entry.name, [])
        if entry.median is not None:
            names.append(entry.name)
            numbers = [parse_number(text) for text in texts]
            values.append([entry.median if value is None else value for value in numbers])
        for word in entry.words:
            names.append(f"{entry.name}={word}")
            values.append([float(text == word) for text in texts])
    matrix = np.array(values, dtype=np.float32).T.reshape(count, len(names))
    return Descriptors(names=tuple(names), values=matrix)
