"""Features, their structures and some columns -> what a map shows, as arrays in one order.

Between ``pipeline/map.py``, which reads files, and ``page.py``, which writes the page. Planes are
those of ``report/projection.py``; neighbours are nearest in the features, not on the plane.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from crystalssl.datasets.bundled import UNITS
from crystalssl.errors import unknown_name
from crystalssl.maps.columns import Column, category_column, column_of
from crystalssl.maps.nearest import Nearest
from crystalssl.report.page import percent
from crystalssl.report.projection import Points, neighbour_map, principal_plane
from crystalssl.structures.canonical import CRYSTAL_SYSTEMS, Symmetry
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.elements import symbol_to_number
from crystalssl.structures.formulas import reduced_formulas

WHOLE = 5e-4
"""Relative difference from a whole amount that rounding leaves."""
MOST_COLUMNS = 12
"""Columns of the table on a map beside those named, at most."""
SYSTEM, GROUP = "crystal_system", "space_group"
"""Columns of the symmetry search; a column of the table by that name takes their place."""
NOT_SHOWN = (
    "immutable_id", "source", "source_file", "split", "chemical_formula_reduced", "nsites",
)  # fmt: skip
"""Columns that are not shown unless they are named."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plane:
    """Points on a plane.

    Attributes:
        title: name of the projection.
        points: (n, 2) places.
        note: what the axes are.
    """

    title: str
    points: Points
    note: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CrystalMap:
    """What a map shows of n crystals.

    Attributes:
        title: heading of the page.
        ids: (n,) identifiers.
        formulas: (n,) reduced formulas, empty where the structure is not known.
        planes: at least one.
        columns: what colours points, the first one first.
        nearest: neighbours by features, or None.
        crystals: structures that can be looked at, cells as given, or None.
        stored: rows (m,) of the map that ``crystals`` belongs to.
    """

    title: str
    ids: npt.NDArray[np.str_]
    formulas: npt.NDArray[np.str_]
    planes: tuple[Plane, ...]
    columns: tuple[Column, ...]
    nearest: Nearest | None = None
    crystals: Crystals | None = None
    stored: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.ids)


def planes_of(
    matrix: npt.NDArray[np.floating], cache: Path | None, umap: bool
) -> tuple[Plane, ...]:
    """UMAP where it can be made, and the leading principal components.

    Args:
        matrix: (n, p) features.
        cache: folder in which a UMAP is kept for next time, or None.
        umap: whether to make it, where umap-learn is installed.
    """
    points, (first, second) = principal_plane(matrix)
    text = f"Principal components of the features: across {percent(first)} of their variance, "
    plane = Plane(title="principal components", points=points, note=f"{text}up {percent(second)}.")
    neighbours = neighbour_map(matrix, cache) if umap else None
    if neighbours is None:
        return (plane,)
    note = "UMAP of the features: near is alike, far distances and axes have no meaning."
    return (Plane(title="UMAP", points=neighbours, note=note), plane)


def formulas_of(crystals: Crystals, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.str_]:
    """(n,) formulas of crystals by row, empty where the row is negative.

    Of a disordered crystal, amounts are in units of the elements of whole amount, as chemists
    write it: ``Li0.41Al0.08Ge0.59PO4``, not the smallest whole numbers that come near.
    """
    formulas = reduced_formulas(crystals).astype(object)
    mixed = (crystals.numbers[:, 1] > 0) | (crystals.occupancy[:, 0] < 1.0 - WHOLE)
    for row in np.unique(crystals.crystal_of_site[mixed]).tolist():
        sites = slice(int(crystals.offsets[row]), int(crystals.offsets[row + 1]))
        numbers, shares = crystals.numbers[sites].ravel(), crystals.occupancy[sites].ravel()
        amounts = np.bincount(numbers, weights=shares).astype(
            np.float64
        )  # (Z,) atoms of each element in the cell
        formulas[row] = _in_whole_units(re.findall("[A-Z][a-z]?", formulas[row]), amounts)
    chosen: npt.NDArray[np.str_] = np.append(formulas, "")[rows].astype(np.str_)
    return chosen


def _in_whole_units(symbols: Sequence[str], amounts: npt.NDArray[np.float64]) -> str:
    """A formula of which the elements of whole amount have the smallest whole numbers."""
    of = {symbol: float(amounts[symbol_to_number(symbol)]) for symbol in symbols}
    whole = [round(x) for x in of.values() if round(x) and abs(x - round(x)) < WHOLE * x]
    unit = math.gcd(*whole) if whole else max(of.values())
    texts = {symbol: f"{x / unit:.3g}" for symbol, x in of.items()}
    return "".join(s if text == "1" else f"{s}{text}" for s, text in texts.items())


def columns_of(
    crystals: Crystals,
    symmetry: Symmetry | None,
    rows: npt.NDArray[np.int64],
    named: Sequence[str],
    units: Mapping[str, str] | None = None,
) -> tuple[Column, ...]:
    """Columns that colour a map: those named, then known labels, then symmetry.

    Args:
        crystals: m crystals with their carried columns.
        symmetry: their symmetry, or None.
        rows: (n,) crystal of each point, negative where there is none.
        named: columns that come first; without any, those that look useful.
        units: units of columns beside those of the bundled labels.

    Raises:
        UnknownNameError: if there is no such column.
        InputError: if a named column cannot colour anything.
    """
    carried = pa.table({}) if crystals.columns is None else crystals.columns
    unit_of = UNITS | dict(units or {})
    computed = {} if symmetry is None else _symmetry_columns(symmetry, rows)
    index = pa.array(rows, mask=rows < 0)
    columns: dict[str, Column] = {}
    for name in named:
        if name in carried.column_names:
            columns[name] = column_of(name, carried[name].take(index), unit_of.get(name, ""))
        elif name not in computed:
            choices = [*carried.column_names, *computed]
            raise unknown_name("column", name, choices)
        else:
            columns[name] = computed[name]
    shown = [name for name in UNITS if name in carried.column_names]
    shown += [name for name in carried.column_names if name not in (*NOT_SHOWN, *shown)]
    for name in shown[:MOST_COLUMNS]:
        values = carried[name].take(index)
        if name not in columns and _is_telling(values):
            columns[name] = column_of(name, values, unit_of.get(name, ""))
    return tuple((columns | {n: c for n, c in computed.items() if n not in columns}).values())


def _is_telling(values: pa.ChunkedArray) -> bool:
    """Whether values are plain, differ, and do not name every crystal."""
    if pa.types.is_nested(values.type) or pa.types.is_null(values.type):
        return False
    distinct = len(values.drop_null().unique())
    is_text = pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
    return distinct > 1 and not (is_text and distinct > max(20, len(values) // 4))


def _symmetry_columns(symmetry: Symmetry, rows: npt.NDArray[np.int64]) -> dict[str, Column]:
    """Crystal system and space group of every point."""
    import gemmi

    known = rows >= 0
    numbers = np.where(known, symmetry.space_group[rows], 0)
    present = set(numbers.tolist()) - {0}
    symbols = {n: gemmi.find_spacegroup_by_number(n).short_name() for n in present}
    # gemmi writes H for the hexagonal setting of rhombohedral groups
    names = {n: f"{re.sub('^H', 'R', symbol)} ({n})" for n, symbol in symbols.items()}
    groups = [names.get(number) for number in numbers.tolist()]
    codes = np.where(known, symmetry.crystal_system[rows], -1).tolist()
    systems = [CRYSTAL_SYSTEMS[code] if code >= 0 else None for code in codes]
    return {
        SYSTEM: category_column(SYSTEM, systems, CRYSTAL_SYSTEMS),
        GROUP: category_column(GROUP, groups),
    }
