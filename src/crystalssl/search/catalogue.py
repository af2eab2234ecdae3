"""Structures beside features: which crystals a search may give, and what a person asks of these.

A structure table is read a row group at a time; formulas and space groups are worked out for the
few crystals that are shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.dataset as ds

from crystalssl.errors import InputError
from crystalssl.search.conditions import parse_condition
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.elements import symbol_to_number
from crystalssl.structures.table import iter_tables

Mask = npt.NDArray[np.bool_]
TABLES = (".parquet", ".pq")
"""Endings of structure tables, which are streamed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """What a person asks of a crystal.

    Attributes:
        formula: reduced formula.
        space_group: international short symbol with its number; empty where it is not known.
        values: columns asked for, by name.
    """

    formula: str
    space_group: str
    values: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Filter:
    """Which crystals may be neighbours.

    Attributes:
        elements: symbols that a crystal must hold.
        without: symbols that it must not hold.
        where: condition on columns; empty for none.
    """

    elements: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    where: str = ""

    @staticmethod
    def of(elements: str = "", where: str = "") -> Filter:
        """From texts: ``Li,O,-F`` holds lithium and oxygen and no fluorine.

        Raises:
            InputError: if a symbol is no element's.
        """
        words = [word.strip() for word in elements.split(",") if word.strip()]
        for word in words:
            symbol_to_number(word.lstrip("-"))
        return Filter(
            elements=tuple(word for word in words if not word.startswith("-")),
            without=tuple(word[1:] for word in words if word.startswith("-")),
            where=where.strip(),
        )

    @property
    def empty(self) -> bool:
        """Whether every crystal passes."""
        return not (self.elements or self.without or self.where)

    def passes(self, crystals: Crystals) -> Mask:
        """(n,) which crystals pass; where a value of a condition is missing, none does.

        Raises:
            InputError: if the condition cannot be read or compares things that do not compare.
            UnknownNameError: if it names an unknown column.
        """
        good = np.ones(len(crystals), bool)
        for symbol in self.elements:
            good &= _holds(crystals, symbol)
        for symbol in self.without:
            good &= ~_holds(crystals, symbol)
        return good & self._condition(crystals) if self.where else good

    def _condition(self, crystals: Crystals) -> Mask:
        table = pa.table({}) if crystals.columns is None else crystals.columns
        condition, names = parse_condition(self.where, table.column_names)
        rows = pa.array(np.arange(len(crystals)))
        try:
            numbered = table.select(names).append_column("__row__", rows)
            passed = ds.dataset(numbered).to_table(columns=["__row__"], filter=condition)
        except (pa.ArrowException, TypeError) as error:
            raise InputError(
                f"The condition {self.where!r} does not fit the columns ({error}). Compare numbers "
                "with numbers and texts with quoted texts."
            ) from error
        mask = np.zeros(len(crystals), bool)
        mask[passed["__row__"].to_numpy()] = True
        return mask


def iter_crystals(structures: Any) -> Iterator[Crystals]:
    """Structures of any kind; a structure table goes by one row group at a time.

    Raises:
        InputError: if they cannot be read.
    """
    from crystalssl.datasets.load import read_any

    paths = [structures] if isinstance(structures, str | Path) else structures
    one = isinstance(paths, list | tuple) and len(paths) == 1
    if one and isinstance(paths[0], str | Path) and Path(paths[0]).suffix.lower() in TABLES:
        for result in iter_tables(paths[0]):
            yield result.crystals
    else:
        yield read_any(structures).crystals


def passing(structures: Any, chosen: Filter, ids: npt.NDArray[np.str_]) -> Mask:
    """(n,) which of the searched ids pass a filter; ids without a structure do not.

    Raises:
        InputError: as ``Filter.passes``, or if none of the ids has a structure.
        UnknownNameError: as ``Filter.passes``.
    """
    good: set[str] = set()
    seen: set[str] = set()
    for crystals in iter_crystals(structures):
        seen.update(crystals.ids.tolist())
        good.update(crystals.ids[chosen.passes(crystals)].tolist())
    listed = ids.tolist()
    if listed and seen.isdisjoint(listed):
        raise InputError(
            f"None of the {len(listed):,} crystals that are searched is among the structures. "
            "Give the table that the features were extracted from."
        )
    return np.array([name in good for name in listed], dtype=bool)


def describe(
    structures: Any, ids: Sequence[str], columns: Sequence[str] = (), symprec: float = 0.01
) -> dict[str, Description]:
    """Formula, space group and columns of some crystals, by id; ids without a structure lack.

    Raises:
        InputError: if structures cannot be read.
    """
    from crystalssl.structures.canonical import canonicalize
    from crystalssl.structures.formulas import reduced_formulas

    wanted = set(ids)
    described: dict[str, Description] = {}
    for crystals in iter_crystals(structures):
        rows = [row for row, name in enumerate(crystals.ids.tolist()) if name in wanted]
        if not rows:
            continue
        some = crystals.take(rows)
        canonical = canonicalize(some, symprec=symprec)
        numbers = canonical.symmetry.space_group.tolist()
        groups = dict(zip(canonical.kept.tolist(), map(_space_group, numbers), strict=True))
        formulas = reduced_formulas(some).tolist()
        for row, name in enumerate(some.ids.tolist()):
            held = {} if some.columns is None else some.columns.slice(row, 1).to_pylist()[0]
            described[name] = Description(
                formula=formulas[row],
                space_group=groups.get(row, ""),
                values={column: held.get(column) for column in columns},
            )
    return described


def _space_group(number: int) -> str:
    """International short symbol and number."""
    import gemmi

    return f"{gemmi.find_spacegroup_by_number(number).short_name()} ({number})"


def _holds(crystals: Crystals, symbol: str) -> Mask:
    """(n,) whether any site holds an element."""
    number = symbol_to_number(symbol)
    sites = ((crystals.numbers == number) & (crystals.occupancy > 0)).any(axis=1)
    mask = np.zeros(len(crystals), bool)
    mask[crystals.crystal_of_site[sites]] = True
    return mask
