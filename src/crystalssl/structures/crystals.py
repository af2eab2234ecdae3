"""Many crystals as flat arrays: the form in which every stage hands structures to the next.

Ragged layout: the sites of crystal ``i`` are rows ``offsets[i]:offsets[i + 1]`` of the site
arrays. Partial occupancy is four or more (atomic number, occupancy) slots per site, as many as the
fullest site of the batch needs, by decreasing occupancy; an empty slot is (0, 0), and one minus the
sum of occupancies is the vacancy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from crystalssl.errors import Note, Skip
from crystalssl.structures.crystal import Crystal

SLOTS = 4
"""Fewest slots of a site; what raw FTCP and the panel can hold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Crystals:
    """A ragged batch of crystals.

    Attributes:
        ids: (n,) identifiers, as given; order is the order of input, always.
        lattice: (n, 3, 3) float64, rows are a, b, c in angstrom.
        offsets: (n + 1,) int64, site offsets.
        frac_coords: (sites, 3) float64 fractional coordinates, not wrapped.
        numbers: (sites, k) int16 atomic numbers, 0 in empty slots; k is at least ``SLOTS``.
        occupancy: (sites, k) float32 occupancies, 0 in empty slots.
        columns: carried columns (labels, splits, file names), n rows, or None.
    """

    ids: npt.NDArray[np.str_]
    lattice: npt.NDArray[np.float64]
    offsets: npt.NDArray[np.int64]
    frac_coords: npt.NDArray[np.float64]
    numbers: npt.NDArray[np.int16]
    occupancy: npt.NDArray[np.float32]
    columns: pa.Table | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        shown = [str(name) for name in self.ids[:3]]
        ids = ", ".join([*map(repr, shown), *(["..."] if len(self) > len(shown) else [])])
        columns = [] if self.columns is None else self.columns.column_names
        return (
            f"Crystals({len(self)} crystals, {len(self.frac_coords)} sites, ids=[{ids}], "
            f"columns={columns})"
        )

    @overload
    def __getitem__(self, index: int) -> Crystal: ...

    @overload
    def __getitem__(self, index: slice | npt.ArrayLike) -> Crystals: ...

    def __getitem__(self, index: Any) -> Crystal | Crystals:
        """One crystal by row, negative ones from the end; crystals by slice, rows or mask.

        Raises:
            IndexError: if there is no such row.
        """
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        if not isinstance(index, int | np.integer):
            return self.take(index)
        row = range(len(self))[int(index)]
        sites = slice(self.offsets[row], self.offsets[row + 1])
        columns = [] if self.columns is None else self.columns.slice(row, 1).to_pylist()
        return Crystal(
            id=str(self.ids[row]),
            lattice=self.lattice[row],
            frac_coords=self.frac_coords[sites],
            numbers=self.numbers[sites],
            occupancy=self.occupancy[sites],
            columns=columns[0] if columns else {},
        )

    def __iter__(self) -> Iterator[Crystal]:
        return (self[row] for row in range(len(self)))

    def to_pymatgen(self) -> list[Any]:
        """All crystals as pymatgen ``Structure`` objects, in order.

        Raises:
            MissingExtraError: if pymatgen is not installed.
        """
        return [crystal.to_pymatgen() for crystal in self]

    def to_ase(self) -> list[Any]:
        """All crystals as ``ase.Atoms``, in order.

        Raises:
            MissingExtraError: if ASE is not installed.
        """
        return [crystal.to_ase() for crystal in self]

    @property
    def site_counts(self) -> npt.NDArray[np.int64]:
        """(n,) sites per crystal."""
        return np.diff(self.offsets)

    @property
    def crystal_of_site(self) -> npt.NDArray[np.int64]:
        """(sites,) index of the crystal that each site belongs to."""
        return np.repeat(np.arange(len(self)), self.site_counts)

    @property
    def cart_coords(self) -> npt.NDArray[np.float64]:
        """(sites, 3) Cartesian coordinates in angstrom."""
        cart: npt.NDArray[np.float64] = np.einsum(
            "si,sij->sj", self.frac_coords, self.lattice[self.crystal_of_site]
        )
        return cart

    @property
    def species_counts(self) -> npt.NDArray[np.int64]:
        """(n,) most species on one site of each crystal."""
        return most_on_a_site(self.numbers, self.crystal_of_site, len(self))

    @property
    def volumes(self) -> npt.NDArray[np.float64]:
        """(n,) cell volumes in cubic angstrom."""
        volumes: npt.NDArray[np.float64] = np.abs(np.linalg.det(self.lattice))
        return volumes

    def take(self, index: npt.ArrayLike) -> Crystals:
        """Select crystals by integer index or boolean mask, carried columns included."""
        rows = np.asarray(index)
        if rows.dtype == bool:
            rows = np.flatnonzero(rows)
        rows = rows.astype(np.int64)
        counts = self.site_counts[rows]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        sites = np.repeat(self.offsets[rows] - offsets[:-1], counts) + np.arange(offsets[-1])
        return Crystals(
            ids=self.ids[rows],
            lattice=self.lattice[rows],
            offsets=offsets,
            frac_coords=self.frac_coords[sites],
            numbers=self.numbers[sites],
            occupancy=self.occupancy[sites],
            columns=None if self.columns is None else self.columns.take(pa.array(rows)),
        )

    def with_width(self, slots: int) -> Crystals:
        """The same crystals with so many slots a site; slots that are cut off must be empty."""
        width = self.numbers.shape[1]
        if width < slots:
            pad = ((0, 0), (0, slots - width))
            return replace(
                self, numbers=np.pad(self.numbers, pad), occupancy=np.pad(self.occupancy, pad)
            )
        return replace(self, numbers=self.numbers[:, :slots], occupancy=self.occupancy[:, :slots])

    def with_columns(self, columns: pa.Table | None) -> Crystals:
        """The same crystals with other carried columns."""
        return replace(self, columns=columns)

    def with_ids(self, ids: npt.NDArray[np.str_]) -> Crystals:
        """The same crystals under other ids."""
        return replace(self, ids=ids)

    def column(self, name: str) -> npt.NDArray[Any]:
        """One carried column as a NumPy array (missing numbers are NaN).

        Raises:
            UnknownNameError: if no such column is carried.
        """
        from crystalssl.errors import unknown_name

        names = [] if self.columns is None else self.columns.column_names
        if self.columns is None or name not in names:
            raise unknown_name("column", name, names, "crystalssl info data")
        values: npt.NDArray[Any] = self.columns[name].to_numpy(zero_copy_only=False)
        return values

    def digest(self) -> str:
        """SHA-256 of the crystals, their ids and labels; file names and times do not matter."""
        state = hashlib.sha256()
        sites = (self.frac_coords, self.numbers, self.occupancy)
        for array in (self.lattice, self.offsets, *sites):
            state.update(array.tobytes())
        state.update("\n".join(self.ids.tolist()).encode())
        table = self.columns
        for name in sorted([] if table is None else table.column_names):
            state.update(f"{name}={table[name].to_pylist()!r}".encode())  # type: ignore[index]
        return state.hexdigest()

    @staticmethod
    def concatenate(parts: Sequence[Crystals]) -> Crystals:
        """Join batches in order; carried columns are united, absent ones become null.

        A column that is of kinds that do not mix (text here, numbers there) becomes text.

        Raises:
            ValueError: if ``parts`` is empty.
        """
        if not parts:
            raise ValueError("expected at least one batch of crystals to join, got none")
        counts = np.concatenate([part.site_counts for part in parts])
        tables = [
            part.columns if part.columns is not None else pa.table({"_": pa.nulls(len(part))})
            for part in parts
        ]
        columns = _unite(tables)
        if "_" in columns.column_names:
            columns = columns.drop_columns(["_"])
        return Crystals(
            ids=np.concatenate([part.ids for part in parts]),
            lattice=np.concatenate([part.lattice for part in parts]),
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            frac_coords=np.concatenate([part.frac_coords for part in parts]),
            numbers=_stack_slots([part.numbers for part in parts]),
            occupancy=_stack_slots([part.occupancy for part in parts]),
            columns=columns if columns.num_columns else None,
        )

    @staticmethod
    def empty() -> Crystals:
        """A batch without crystals."""
        return Crystals(
            ids=np.zeros(0, dtype=np.str_),
            lattice=np.zeros((0, 3, 3)),
            offsets=np.zeros(1, dtype=np.int64),
            frac_coords=np.zeros((0, 3)),
            numbers=np.zeros((0, SLOTS), dtype=np.int16),
            occupancy=np.zeros((0, SLOTS), dtype=np.float32),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadResult:
    """What a reader gives back.

    Attributes:
        crystals: the structures that could be read, in input order.
        skipped: the others, each with a true reason.
        notes: what was chosen or found to differ in structures that were read.
    """

    crystals: Crystals
    skipped: list[Skip]
    notes: list[Note] = field(default_factory=list)


def most_on_a_site(
    numbers: npt.NDArray[np.int16], crystal_of_site: npt.NDArray[np.int64], count: int
) -> npt.NDArray[np.int64]:
    """(count,) most filled slots on a site of each crystal."""
    most = np.zeros(count, dtype=np.int64)
    for slot in range(numbers.shape[1]):  # slots are filled from the first on
        most[crystal_of_site[numbers[:, slot] > 0]] = slot + 1
    return most


def _stack_slots(parts: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Slot arrays one after the other; narrower ones get empty slots at their end."""
    width = max(part.shape[1] for part in parts)
    return np.concatenate(
        [
            part if part.shape[1] == width else np.pad(part, ((0, 0), (0, width - part.shape[1])))
            for part in parts
        ]
    )


def _unite(tables: Sequence[pa.Table]) -> pa.Table:
    """Stack tables; columns whose kinds do not mix become text."""
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException:
        pass
    kinds: dict[str, set[str]] = {}
    for table in tables:
        for entry in table.schema:
            kinds.setdefault(entry.name, set()).add(str(entry.type))
    mixed = {name for name, found in kinds.items() if len(found - {"null"}) > 1}
    as_text = []
    for table in tables:
        for place, name in enumerate(table.column_names):
            if name in mixed:
                texts = [None if v is None else str(v) for v in table[name].to_pylist()]
                table = table.set_column(place, name, pa.array(texts, type=pa.string()))
        as_text.append(table)
    return pa.concat_tables(as_text, promote_options="permissive")
