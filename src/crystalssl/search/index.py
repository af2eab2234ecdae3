"""Crystals of a table by their features: the nearest of any query, in Python or from a file.

:class:`CrystalIndex` is built from features, or from their file a few thousand rows at a time, and
asked by id or by features of other crystals. It holds coordinates (``axes.py``), not features.
``stored.py`` writes and reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError, Skip, UnknownNameError
from crystalssl.features.features import Features, Origin
from crystalssl.features.store import UNNAMED
from crystalssl.search.axes import MOST_AXES, Axes
from crystalssl.search.graph import Graph
from crystalssl.search.nearest import MARGIN, Matrix, Rows, nearest, ranked, squared_norms
from crystalssl.search.points import Points, read_points
from crystalssl.search.stored import ENDING, load_points, save_points

Ids = npt.NDArray[np.str_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Neighbours:
    """The nearest crystals of q queries, nearest first.

    Attributes:
        ids: (q, k) ids; empty where there are fewer than k crystals to choose from.
        distances: (q, k) in the units of the index; infinite where there is no crystal.
        rows: (q, k) rows of the index; -1 where there is no crystal.
        queries: (q,) ids of the queries; empty texts for those without.
    """

    ids: Ids
    distances: npt.NDArray[np.float64]
    rows: Rows
    queries: Ids

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class CrystalIndex:
    """Crystals to search among.

    Attributes:
        ids: (n,) ids.
        coordinates: (n, m) float32 on the axes.
        axes: how features become coordinates.
        skipped: crystals left out because their features are not finite.
        widths: number of features of each block, where known.
        origins: weights that the features come from, where known.
        norms: (n,) squared lengths of the coordinates.
        graph: proposes neighbours where there is one; without it every row is compared.

    Example:
        >>> index = CrystalIndex.build(np.eye(3), ["a", "b", "c"], standardise="none")
        >>> index.query([0.9, 0.1, 0.0], k=1).ids.tolist()
        [['a']]
    """

    ids: Ids
    coordinates: Matrix
    axes: Axes
    skipped: Sequence[Skip] = ()
    widths: Mapping[str, int] = field(default_factory=dict)
    origins: tuple[Origin, ...] = ()
    norms: Matrix = field(default_factory=lambda: np.zeros(0, np.float32))
    graph: Graph | None = None

    def __post_init__(self) -> None:
        """Take squared lengths, once for all queries."""
        object.__setattr__(self, "norms", squared_norms(self.coordinates))

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return (
            f"CrystalIndex({len(self):,} crystals, {self.axes.count} axes, {self.axes.kind}, of "
            f"{self.axes.width:,} features)"
        )

    @staticmethod
    def build(
        features: Features | npt.ArrayLike,
        ids: Sequence[str] | npt.NDArray[Any] | None = None,
        *,
        standardise: str = "auto",
        most_axes: int = MOST_AXES,
    ) -> CrystalIndex:
        """An index of crystals in memory.

        Args:
            features: ``Features``, or (n, p) numbers.
            ids: (n,) ids; those of ``Features``, or row numbers, if None.
            standardise: scale, standardise, whiten or none (``axes.fit_axes``); ``auto`` is
                scale for features of this package and standardise for others.
            most_axes: principal axes that whitening keeps.

        Raises:
            InputError: if ids and rows differ in number, or no row is finite.
            UnknownNameError: for an unknown ``standardise``.
        """
        if not isinstance(features, Features):
            matrix = _matrix(features)
            names = _ids(ids, len(matrix))
            features = Features(ids=names, blocks={UNNAMED: matrix.astype(np.float32, copy=False)})
        elif ids is not None:
            features = replace(features, ids=_ids(ids, len(features)))
        return CrystalIndex.of(read_points(features, standardise, most_axes))

    @staticmethod
    def load(path: str | Path, *, standardise: str = "auto") -> CrystalIndex:
        """An index from its file (``.safetensors``), or made from a file of features.

        Raises:
            InputError: if the file is missing, damaged or of no such kind.
            UnknownNameError: for an unknown ``standardise``.
        """
        path = Path(path)
        stored = path.suffix == ENDING
        return CrystalIndex.of(load_points(path) if stored else read_points(path, standardise))

    @staticmethod
    def of(points: Points) -> CrystalIndex:
        """An index of points that are there already."""
        return CrystalIndex(
            ids=points.ids,
            coordinates=points.coordinates,
            axes=points.axes,
            skipped=points.skipped,
            widths=points.widths,
            origins=points.origins,
        )

    def with_graph(self, threads: int = 1) -> CrystalIndex:
        """The same index with a graph of neighbours, for millions of crystals.

        A query then takes milliseconds and may miss a neighbour; distances stay exact. It takes
        about a minute for 200,000 crystals of 512 columns on one core and is not saved; a query
        with ``among`` compares all rows as before.

        Args:
            threads: threads that make it; with one the same crystals give the same graph.

        Raises:
            MissingExtraError: if usearch is not installed.
        """
        return replace(self, graph=Graph.of(self.coordinates, threads))

    def save(self, path: str | Path) -> Path:
        """Write the index as ``.safetensors`` with a checksum.

        Raises:
            InputError: for another ending, or if the file cannot be written.
        """
        points = Points(
            ids=self.ids, coordinates=self.coordinates, axes=self.axes, skipped=self.skipped,
            widths=self.widths, origins=self.origins,
        )  # fmt: skip
        return save_points(points, path)

    def query(
        self,
        queries: str | Sequence[str] | Features | npt.ArrayLike,
        k: int = 10,
        *,
        among: npt.NDArray[np.bool_] | None = None,
    ) -> Neighbours:
        """The k nearest crystals of every query.

        Args:
            queries: ids of the index, whose own rows are then left out; or ``Features``, or
                features (q, p) or (p,) of other crystals.
            k: neighbours of each.
            among: (n,) rows of the index that may be neighbours; all if None.

        Raises:
            InputError: if k is not positive, queries are not finite or of another width, or
                ``among`` is of another length.
            UnknownNameError: if there is no such id.
        """
        if k < 1:
            raise InputError(f"Got k={k}, expected 1 neighbour at least.")
        if among is not None and among.shape != (len(self),):
            raise InputError(
                f"Got a choice of {among.shape} rows for {len(self):,} crystals, expected one "
                "truth value for each."
            )
        named = _named(queries)
        if named is not None:
            itself = self.rows_of(named)
            return self._nearest(self.coordinates[itself], k, among, itself, np.array(named))
        matrix = _matrix(queries)
        if not np.isfinite(matrix).all():
            row = int(np.flatnonzero(~np.isfinite(matrix).all(axis=1))[0])
            raise InputError(f"Query {row} has features that are not finite. Leave it out.")
        names = getattr(queries, "ids", np.full(len(matrix), "", dtype=np.str_))
        return self._nearest(self.axes.transform(matrix), k, among, None, names)

    def rows_of(self, ids: Sequence[str]) -> Rows:
        """Rows of some ids, the first where an id comes twice.

        Raises:
            UnknownNameError: if there is no such id.
        """
        if len(ids) <= 4:  # a comparison with all ids takes less than a table of them
            hits = [np.flatnonzero(self.ids == name)[:1] for name in ids]
            rows = [int(hit[0]) if len(hit) else -1 for hit in hits]
        else:
            table = {name: row for row, name in reversed(list(enumerate(self.ids.tolist())))}
            rows = [table.get(name, -1) for name in ids]
        if -1 in rows:
            raise self._unknown(ids[rows.index(-1)])
        return np.array(rows, dtype=np.int64)

    def _nearest(
        self,
        queries: Matrix,
        k: int,
        among: npt.NDArray[np.bool_] | None,
        itself: Rows | None,
        names: Ids,
    ) -> Neighbours:
        wanted = k if itself is None else k + 1
        rows, distances = self._compared(queries, wanted, among)
        if itself is not None:  # a query is not its own neighbour
            distances = np.where(rows == itself[:, None], np.inf, distances)
            order = np.argsort(distances, axis=1, kind="stable")[:, :k]
            rows = np.take_along_axis(rows, order, axis=1)
            distances = np.take_along_axis(distances, order, axis=1)
        short = k - rows.shape[1]
        rows = np.pad(rows, ((0, 0), (0, short)), constant_values=-1)
        distances = np.pad(distances, ((0, 0), (0, short)), constant_values=np.inf)
        rows[~np.isfinite(distances)] = -1
        ids = np.where(rows >= 0, self.ids[rows], "")
        return Neighbours(ids=ids, distances=distances, rows=rows, queries=names)

    def _compared(
        self, queries: Matrix, wanted: int, among: npt.NDArray[np.bool_] | None
    ) -> tuple[Rows, npt.NDArray[np.float64]]:
        """As ``nearest``: from the graph where there is one and no row is left out."""
        if self.graph is not None and among is None:
            rows = self.graph.candidates(queries, min(wanted + MARGIN, len(self)))
            if rows is not None:
                return ranked(self.coordinates, queries, rows, wanted)
        return nearest(self.coordinates, self.norms, queries, wanted, among)

    def _unknown(self, name: str) -> UnknownNameError:
        import difflib

        close = difflib.get_close_matches(name, self.ids[:20_000].tolist(), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        left_out = any(skip.id == name for skip in self.skipped)
        why = " Its features are not finite." if left_out else ""
        return UnknownNameError(
            f"No crystal {name!r} among the {len(self):,} that are searched.{hint}{why} Give one "
            f"of their ids, such as {str(self.ids[0])!r}, or a file with a structure."
        )


def _matrix(features: Any) -> npt.NDArray[np.floating]:
    """(n, p) numbers of features of any kind."""
    values = getattr(features, "matrix", features)
    try:
        matrix = np.asarray(values)
        if matrix.dtype.kind not in "fiu":
            raise ValueError(f"{matrix.dtype} values")
    except ValueError as error:
        raise InputError(f"Got {error}, expected features: one row of numbers each.") from error
    if matrix.ndim == 1 and matrix.size:
        matrix = matrix[None]
    if matrix.ndim != 2:
        raise InputError(f"Got shape {matrix.shape}, expected (crystals, features).")
    return matrix if matrix.dtype.kind == "f" else matrix.astype(np.float32)


def _ids(ids: Any, count: int) -> Ids:
    """(n,) ids of the rows; their numbers if there are none."""
    names = np.asarray(np.arange(count) if ids is None else ids).astype(np.str_)
    if names.shape != (count,):
        raise InputError(f"Got {names.size:,} ids for {count:,} rows, expected one for each.")
    return names


def _named(queries: Any) -> list[str] | None:
    """The ids that queries are, or None if they are features."""
    if isinstance(queries, str):
        return [queries]
    if isinstance(queries, np.ndarray):
        return queries.astype(str).ravel().tolist() if queries.dtype.kind in "UO" else None
    if isinstance(queries, Sequence) and len(queries) and all(isinstance(q, str) for q in queries):
        return list(queries)
    return None
