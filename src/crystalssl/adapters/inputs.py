"""Whatever a user holds structures in, to canonical crystals that remember their input row.

Lists, arrays, Series or one-column frames of pymatgen Structures, ASE Atoms, structure
dictionaries, ``Crystal`` or paths, and ``Crystals``. What cannot be used becomes a skip with its
row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crystalssl.errors import CrystalSSLError, InputError, Skip
from crystalssl.structures.canonical import CanonicalResult, canonicalize
from crystalssl.structures.crystal import Crystal
from crystalssl.structures.crystals import Crystals, ReadResult
from crystalssl.structures.objects import from_objects
from crystalssl.structures.reading import read_structures


@dataclass(frozen=True, kw_only=True, slots=True)
class Gathered:
    """Canonical crystals of an input.

    Attributes:
        canonical: crystals that can be used, in input order.
        rows: (m,) input row of each of them.
        total: number of input rows.
        skipped: the other rows, with reasons, in row order.
    """

    canonical: CanonicalResult
    rows: npt.NDArray[np.int64]
    total: int
    skipped: list[Skip]


def gather(structures: Any, symprec: float) -> Gathered:
    """Canonical crystals of an input, and the rows they came from.

    Args:
        structures: see above; one structure for each row.
        symprec: tolerance of the symmetry search in angstrom.

    Raises:
        InputError: if the input is a single structure or no list at all.
    """
    if isinstance(structures, Crystals):
        crystals, rows, skipped = structures, np.arange(len(structures)), []
        total = len(structures)
    else:
        items = as_list(structures)
        result = _read(items)
        crystals, skipped, total = result.crystals, result.skipped, len(items)
        rows = crystals.ids.astype(np.int64)
    canonical = canonicalize(crystals, symprec)
    return Gathered(
        canonical=canonical,
        rows=rows[canonical.kept].astype(np.int64),
        total=total,
        skipped=_by_row([*skipped, *canonical.skipped], crystals, structures is not crystals),
    )


def _by_row(skipped: Sequence[Skip], crystals: Crystals, by_number: bool) -> list[Skip]:
    """Skips in the order of the input; ids of crystals that were read are looked up first."""
    rows = {str(name): row for row, name in enumerate(crystals.ids)}

    def row_of(skip: Skip) -> int:
        number = int(skip.id) if skip.id.isdecimal() else len(rows)
        return number if by_number else rows.get(skip.id, len(rows))

    return sorted(skipped, key=row_of)


def as_list(structures: Any) -> list[Any]:
    """The rows of a list, array, Series or one-column frame.

    Raises:
        InputError: if the input is a single structure or no list at all.
    """
    shape = getattr(structures, "shape", None)
    if shape is not None and len(shape) == 2:
        if shape[1] != 1:
            raise InputError(
                f"Got a table of {shape[1]} columns, expected one column of structures. "
                "Give that column alone."
            )
        values = structures.to_numpy() if hasattr(structures, "to_numpy") else structures
        return list(np.asarray(values, dtype=object)[:, 0])
    single = isinstance(structures, str | Path | dict) or hasattr(structures, "species_and_occu")
    if single or hasattr(structures, "get_scaled_positions"):
        raise InputError("Got a single structure, expected a list. Put it in brackets: [structure]")
    try:
        return list(structures)
    except TypeError as error:
        raise InputError(
            f"Got {type(structures).__name__}, expected a list of structures or paths."
        ) from error


def _read(items: Sequence[Any]) -> ReadResult:
    """Crystals whose ids are row numbers, in order."""
    paths = [row for row, item in enumerate(items) if isinstance(item, str | Path)]
    records = [row for row, item in enumerate(items) if isinstance(item, Crystal)]
    others = sorted({*range(len(items))} - {*paths, *records})
    results = [from_objects([items[row] for row in others], [str(row) for row in others])]
    results += [_read_path(items[row], str(row)) for row in paths]
    batches = [result.crystals.with_columns(None) for result in results]
    batches += [_of_one(items[row], str(row)) for row in records]
    skipped = [skip for result in results for skip in result.skipped]
    crystals = Crystals.concatenate(batches)
    order = np.argsort(crystals.ids.astype(np.int64), kind="stable")
    return ReadResult(crystals=crystals.take(order), skipped=skipped)


def _of_one(crystal: Crystal, row: str) -> Crystals:
    """A crystal of a batch as a batch of its own, under its row number."""
    return Crystals(
        ids=np.array([row]),
        lattice=crystal.lattice[None],
        offsets=np.array([0, len(crystal)], dtype=np.int64),
        frac_coords=crystal.frac_coords,
        numbers=crystal.numbers,
        occupancy=crystal.occupancy,
    )


def _read_path(path: str | Path, row: str) -> ReadResult:
    """The one structure of a file, or a skip."""
    try:
        result = read_structures([path])
    except CrystalSSLError as error:
        skip = Skip(id=row, file=str(path), reason=str(error), remedy="give a readable file")
        return ReadResult(crystals=Crystals.empty(), skipped=[skip])
    count = len(result.crystals)
    if count == 1:
        named = replace(result.crystals, ids=np.array([row]))
        return ReadResult(crystals=named, skipped=[])
    reason = result.skipped[0].reason if result.skipped else f"{count} structures in the file"
    remedy = "give a file with one structure for each row, or read_structures(files) as the input"
    skip = Skip(id=row, file=str(path), reason=reason, remedy=remedy)
    return ReadResult(crystals=Crystals.empty(), skipped=[skip])
