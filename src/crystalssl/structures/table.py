"""Structure table (Parquet) to crystals and back; what ``convert`` writes and all else reads.

Column names are those of OPTIMADE and LeMat-Bulk: ``immutable_id``, ``lattice_vectors``,
``cartesian_site_positions`` (angstrom), ``species_at_sites`` and, for partial occupancy,
``species``. Every other column is carried along. Work goes through Arrow's flat buffers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crystalssl.errors import InputError, Skip
from crystalssl.files import atomic, check_version
from crystalssl.structures.assembly import LONGEST_VECTOR
from crystalssl.structures.crystals import Crystals, ReadResult
from crystalssl.structures.ids import storable, unique_ids
from crystalssl.structures.parquet_footer import check_size
from crystalssl.structures.species import decode_species, encode_species
from crystalssl.structures.table_columns import (
    ID,
    LATTICE,
    POSITIONS,
    REQUIRED,
    SPECIES,
    SPECIES_AT_SITES,
    check_columns,
    nested,
    numbers,
    texts,
    triples,
)
from crystalssl.structures.validity import MIN_VOLUME

__all__ = [
    "ID",
    "LATTICE",
    "POSITIONS",
    "REQUIRED",
    "SPECIES",
    "SPECIES_AT_SITES",
    "from_arrow",
    "iter_tables",
    "read_table",
    "to_arrow",
    "write_table",
]

TABLE_VERSION = 1
"""Version of the format that is written; tables without one are read as any."""
VERSION = "crystalssl_structure_table"
"""Key of the version in the metadata of a table."""
_FARTHEST = 1e6


def read_table(path: str | Path) -> ReadResult:
    """Read a structure table.

    Args:
        path: a Parquet file; see the top of this file for its columns.

    Returns:
        Crystals in row order with all other columns carried, and one skip per unusable row.
        Repeated ids get ``#2``, ``#3`` and so on at the end.

    Raises:
        InputError: if the file is missing, is no Parquet, or lacks a required column.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            check_size(file, str(path))
        table = pq.read_table(path)
    except FileNotFoundError:
        raise InputError(f"No file {path}. Give the path of a structure table.") from None
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise InputError(
            f"{path} cannot be read as Parquet ({error}). Make a structure table with: "
            "crystalssl convert SOURCES -o structures.parquet"
        ) from error
    return from_arrow(table, str(path))


def iter_tables(path: str | Path) -> Iterator[ReadResult]:
    """Read a structure table one row group at a time, for tables larger than memory.

    Ids are unique within a row group only.

    Raises:
        InputError: as :func:`read_table`.
    """
    try:
        with Path(path).open("rb") as content:
            check_size(content, str(path))
        file = pq.ParquetFile(path)
    except (FileNotFoundError, pa.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read as Parquet ({error}).") from error
    first = 0
    with file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            yield from_arrow(table, str(path), first)
            first += table.num_rows


def from_arrow(table: pa.Table, source: str, first_row: int = 0) -> ReadResult:
    """Turn an Arrow table with the structure columns into crystals.

    Args:
        table: as described at the top of this file.
        source: name used in messages and skips.
        first_row: number of its first row, where the table is a part of a larger one.

    Raises:
        InputError: if a required column is missing or of another kind, or the table is of a newer
            version.
    """
    version = (table.schema.metadata or {}).get(VERSION.encode(), b"0")
    check_version(int(version) if version.isdigit() else str(version), TABLE_VERSION, source)
    try:
        return _from_arrow(table, source, first_row)
    except (
        pa.ArrowException,
        ValueError,
        TypeError,
        OverflowError,
        np.linalg.LinAlgError,
    ) as error:
        raise InputError(
            f"{source} has columns of kinds that cannot be read ({error}). Write the table with "
            "crystalssl convert, or as OPTIMADE describes it."
        ) from error


def _from_arrow(table: pa.Table, source: str, first_row: int) -> ReadResult:
    check_columns(table, source)
    rows = _Rows(nested(table), source, first_row)
    rows.drop(_null(table[ID]), "its immutable_id is empty", "give every row an id")
    for name, kind in ((LATTICE, "lattice"), (POSITIONS, "site list"), (SPECIES_AT_SITES, "list")):
        lengths = pc.fill_null(pc.list_value_length(rows.table[name]), 0).to_numpy()
        bad = lengths != 3 if name == LATTICE else lengths == 0
        rows.drop(bad, f"{name} holds no complete {kind}", f"fill {name} in this row")
    _drop_uneven(rows)
    for name in (LATTICE, POSITIONS):
        _drop_not_finite(rows, name)
    lattice = numbers(rows.table[LATTICE]).reshape(-1, 3, 3)
    volume = np.abs(np.linalg.det(lattice))
    rows.drop(
        volume < MIN_VOLUME,
        "its cell has no volume: the lattice vectors lie in one plane",
        "check lattice_vectors (three rows a, b, c in angstrom)",
    )
    lattice = lattice[volume >= MIN_VOLUME]
    for bad, reason in _unbounded(rows, lattice):
        rows.drop(bad, reason, "check the lattice vectors and positions")
        lattice = lattice[~bad]
    return ReadResult(crystals=_assemble(rows, lattice), skipped=rows.in_order())


def write_table(crystals: Crystals, path: str | Path) -> Path:
    """Write crystals as a structure table, atomically.

    The ``species`` column appears when some site is disordered. A carried ``nsites`` is brought
    up to date; every other carried column is written as it is.

    Returns:
        The path written.
    """
    path = Path(path)
    table = to_arrow(crystals)
    with atomic(path) as aside:
        pq.write_table(table, aside, compression="zstd")
    return path


def to_arrow(crystals: Crystals) -> pa.Table:
    """The structure table of some crystals, in memory."""
    offsets = pa.array(crystals.offsets, type=pa.int32())
    names, species = encode_species(crystals)
    lattice = triples(crystals.lattice.reshape(-1, 3))
    columns = {
        ID: pa.array(crystals.ids.tolist(), type=pa.string()),
        LATTICE: pa.ListArray.from_arrays(
            pa.array(np.arange(0, 3 * len(crystals) + 1, 3), type=pa.int32()), lattice
        ),
        POSITIONS: pa.ListArray.from_arrays(offsets, triples(crystals.cart_coords)),
        SPECIES_AT_SITES: pa.ListArray.from_arrays(offsets, names),
    }
    if species is not None:
        columns[SPECIES] = species
    carried = pa.table({}) if crystals.columns is None else crystals.columns
    for name in carried.column_names:
        if name not in columns and name != SPECIES:
            columns[name] = carried[name]
    if "nsites" in columns:
        columns["nsites"] = pa.array(crystals.site_counts, type=pa.int32())
    return pa.table(columns, metadata={VERSION: str(TABLE_VERSION)})


class _Rows:
    """The rows of a table that are still usable, and why the others are not."""

    def __init__(self, table: pa.Table, source: str, first_row: int) -> None:
        self.table = table
        self.number = np.arange(table.num_rows) + first_row
        self.source = source
        self._skipped: dict[int, Skip] = {}

    def drop(self, bad: npt.ArrayLike, reason: str | list[str], remedy: str) -> None:
        """Drop the marked rows with one reason for all, or a list of one reason per row."""
        marked = np.asarray(bad, dtype=bool)
        if not marked.any():
            return
        for row in np.flatnonzero(marked).tolist():
            number = int(self.number[row])
            name = texts(self.table[ID].slice(row, 1))[0]
            self._skipped[number] = Skip(
                id=storable(name) if self.table[ID][row].is_valid else f"row {number}",
                file=self.source,
                reason=f"row {number}: " + (reason if isinstance(reason, str) else reason[row]),
                remedy=remedy,
            )
        self.table = self.table.filter(pa.array(~marked))
        self.number = self.number[~marked]

    def in_order(self) -> list[Skip]:
        """The skips by row number."""
        return [self._skipped[number] for number in sorted(self._skipped)]


def _unbounded(
    rows: _Rows, lattice: npt.NDArray[np.float64]
) -> Iterator[tuple[npt.NDArray[np.bool_], str]]:
    """Rows whose cell or positions are beyond reason, one kind after the other."""
    long = np.abs(lattice).max(axis=(1, 2), initial=0) > LONGEST_VECTOR
    yield long, f"a lattice vector is longer than {LONGEST_VECTOR:g} angstrom"
    far = np.abs(numbers(rows.table[POSITIONS])).max(axis=1, initial=0) > _FARTHEST
    outside = _any_in_row(far, _parents(rows.table[POSITIONS]), rows.table.num_rows)
    yield outside, f"a position is more than {_FARTHEST:g} angstrom away from the origin"


def _null(column: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    mask: npt.NDArray[np.bool_] = pc.is_null(column).to_numpy()
    return mask


def _parents(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Row that each list element belongs to; no row of the column may be null."""
    lengths = pc.list_value_length(column).to_numpy()
    return np.repeat(np.arange(len(lengths)), lengths)


def _any_in_row(
    bad: npt.NDArray[np.bool_], row: npt.NDArray[np.int64], count: int
) -> npt.NDArray[np.bool_]:
    return np.bincount(row[bad], minlength=count) > 0


def _drop_uneven(rows: _Rows) -> None:
    for name in (LATTICE, POSITIONS):
        column = rows.table[name]
        inner = pc.fill_null(pc.list_value_length(pc.list_flatten(column)), -1).to_numpy()
        bad = _any_in_row(inner != 3, _parents(column), rows.table.num_rows)
        rows.drop(bad, f"{name} holds a vector without three numbers", f"correct {name}")
    sites = pc.list_value_length(rows.table[POSITIONS]).to_numpy()
    named = pc.list_value_length(rows.table[SPECIES_AT_SITES]).to_numpy()
    reasons = [f"{s} positions but {n} species_at_sites" for s, n in zip(sites, named, strict=True)]
    rows.drop(sites != named, reasons, "list one species name per position")


def _drop_not_finite(rows: _Rows, name: str) -> None:
    bad = np.asarray(~np.isfinite(numbers(rows.table[name])).all(axis=1))
    marked = _any_in_row(bad, _parents(rows.table[name]), rows.table.num_rows)
    rows.drop(
        marked,
        f"{name} holds a number that is missing, NaN or infinite",
        f"correct {name} in this row, or leave the row out",
    )


def _assemble(rows: _Rows, lattice: npt.NDArray[np.float64]) -> Crystals:
    decoded = decode_species(rows.table[SPECIES_AT_SITES], _species_column(rows.table))
    good = np.array([not reason for reason in decoded.reasons], dtype=bool)
    keep_site = good[_parents(rows.table[POSITIONS])] & (decoded.numbers[:, 0] > 0)
    counts = pc.list_value_length(rows.table[POSITIONS]).to_numpy()
    owner = np.repeat(np.arange(len(counts)), counts)
    cart = numbers(rows.table[POSITIONS])
    frac = np.einsum("si,sij->sj", cart, np.linalg.inv(lattice)[owner])
    rows.drop(~good, list(decoded.reasons), "use element symbols, or describe names in species")
    left = np.bincount(owner[keep_site], minlength=len(counts))[good]
    others = [name for name in rows.table.column_names if name not in (*REQUIRED, SPECIES)]
    return Crystals(
        ids=unique_ids(np.array([storable(name) for name in texts(rows.table[ID])], dtype=np.str_)),
        lattice=lattice[good],
        offsets=np.concatenate([[0], np.cumsum(left)]).astype(np.int64),
        frac_coords=frac[keep_site],
        numbers=decoded.numbers[keep_site],
        occupancy=decoded.occupancy[keep_site],
        columns=rows.table.select(others).replace_schema_metadata(None) if others else None,
    )


def _species_column(table: pa.Table) -> pa.ChunkedArray | None:
    return table[SPECIES] if SPECIES in table.column_names else None
