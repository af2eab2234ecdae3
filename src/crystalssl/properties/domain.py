"""Features of labelled crystals -> how far any crystal is from them, and which are nearest.

Distances are Euclidean on leading principal axes of standardised, clipped features, each axis
divided by its standard deviation. A crystal is in the domain when it lies no farther than most
labelled ones lie from those of other groups, and holds no element that no labelled one holds. A
model adds what its candidates make of it: where they disagree more than on most labelled crystals,
the crystal is outside too (``intervals.py``; disagreement as distance to a model: Tetko et al., J.
Chem. Inf. Model. 48, 1733, 2008).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crystalssl.models.arrays import Floats, Index, chunks
from crystalssl.models.scaling import Scaler, fit_scaler
from crystalssl.structures.elements import SYMBOLS

AXES = 32
"""Principal axes that distances are taken on at most."""
NEAREST = 3
"""Labelled crystals that are named with a prediction, and whose mean distance counts."""
PERCENTILE = 95.0
"""Percentile of the labelled crystals' own distances that ends the domain."""
SAMPLE = 6_000
"""Rows from which axes are made at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Domain:
    """The region that labelled crystals cover.

    Attributes:
        scaler: standardisation of the feature columns.
        axes: (p, d) whitened principal axes.
        points: (n, d) labelled crystals.
        ids: (n,) their ids.
        elements: (119,) which elements they hold.
        own: (n,) sorted mean distances of each to its nearest of other groups.
    """

    scaler: Scaler
    axes: Floats
    points: Floats
    ids: npt.NDArray[np.str_]
    elements: npt.NDArray[np.bool_]
    own: Floats

    @property
    def limit(self) -> float:
        """Distance at which the domain ends."""
        return float(np.percentile(self.own, PERCENTILE))

    def place(self, matrix: npt.NDArray[np.float32], elements: npt.NDArray[np.bool_]) -> Placement:
        """Where crystals lie.

        Args:
            matrix: (m, columns) features.
            elements: (m, 119) elements of each.
        """
        scores = project(matrix, np.arange(len(matrix)), self.scaler, self.axes)
        index, distances = nearest(scores, self.points, NEAREST)
        distance = distances.mean(axis=1) if index.shape[1] else np.zeros(len(matrix))
        unseen = elements & ~self.elements
        return Placement(
            distance=distance,
            percentile=100.0 * np.searchsorted(self.own, distance) / max(len(self.own), 1),
            nearest=self.ids[index],
            unseen=[[SYMBOLS[z] for z in np.flatnonzero(row)] for row in unseen],
            inside=np.asarray((distance <= self.limit) & ~unseen.any(axis=1)),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Where crystals lie beside labelled ones.

    Attributes:
        distance: (m,) mean distance to the nearest labelled crystals.
        percentile: (m,) share of labelled crystals that lie nearer to others, in percent.
        nearest: (m, k) ids of the nearest labelled crystals, nearest first.
        unseen: elements of each that no labelled crystal holds.
        inside: (m,) whether each is in the domain.
    """

    distance: Floats
    percentile: Floats
    nearest: npt.NDArray[np.str_]
    unseen: list[list[str]]
    inside: npt.NDArray[np.bool_]


def fit_domain(
    matrix: npt.NDArray[np.float32],
    ids: npt.NDArray[np.str_],
    groups: npt.NDArray[np.str_],
    elements: npt.NDArray[np.bool_],
) -> Domain:
    """The domain of labelled crystals.

    Args:
        matrix: (n, columns) features.
        ids: (n,) ids.
        groups: (n,) groups; distances of labelled crystals are to those of other groups.
        elements: (n, 119) elements of each.
    """
    rows = np.arange(len(matrix))
    scaler = fit_scaler(matrix, rows).clipped(5.0)
    axes = whitened_axes(scaler.transform(matrix, rows[:: max(1, len(rows) // SAMPLE)], np.float64))
    points = project(matrix, rows, scaler, axes)
    _, distances = nearest_of_others(points, groups, NEAREST)
    return Domain(
        scaler=scaler,
        axes=axes,
        points=points,
        ids=ids,
        elements=np.asarray(elements.any(axis=0)),
        own=np.sort(distances.mean(axis=1)) if distances.shape[1] else np.zeros(len(rows)),
    )


def whitened_axes(inputs: Floats, most: int = AXES) -> Floats:
    """(p, d) principal axes of standardised rows, divided by the standard deviation along each."""
    centred = inputs - inputs.mean(axis=0)
    rows, columns = centred.shape
    small = centred @ centred.T if rows < columns else centred.T @ centred
    values, vectors = np.linalg.eigh(small / rows)
    order = np.argsort(-values, kind="stable")[: min(most, max(2, rows // 4))]
    order = order[values[order] > 1e-6 * max(float(values[order[0]]), 1e-12)]
    values, vectors = values[order], vectors[:, order]
    if rows < columns:
        vectors = centred.T @ vectors / np.sqrt(values * rows)
    return np.asarray(vectors / np.sqrt(values))


def project(matrix: npt.NDArray[np.float32], rows: Index, scaler: Scaler, axes: Floats) -> Floats:
    """(m, d) whitened scores of some rows."""
    scores = np.empty((len(rows), axes.shape[1]))
    for chunk in chunks(len(rows), len(axes)):
        scores[chunk] = scaler.transform(matrix, rows[chunk], np.float64) @ axes
    return scores


def nearest(queries: Floats, points: Floats, count: int) -> tuple[Index, Floats]:
    """(m, k) indices of the nearest points and their distances, nearest first."""
    count = min(count, len(points))
    index = np.zeros((len(queries), count), dtype=np.int64)
    distances = np.zeros((len(queries), count))
    for chunk in chunks(len(queries), len(points)):
        squares = _squares(queries[chunk], points)
        index[chunk], distances[chunk] = _smallest(squares, count)
    return index, distances


def nearest_of_others(
    points: Floats, groups: npt.NDArray[np.str_], count: int
) -> tuple[Index, Floats]:
    """As :func:`nearest` among the points themselves, those of another group only."""
    label = np.unique(groups, return_inverse=True)[1].reshape(-1)
    largest = int(np.bincount(label).max()) if len(label) else 0
    count = min(count, len(points) - largest)
    index = np.zeros((len(points), max(count, 0)), dtype=np.int64)
    distances = np.zeros(index.shape)
    if count < 1:
        return index, distances
    for chunk in chunks(len(points), len(points)):
        squares = _squares(points[chunk], points)
        squares[label[chunk][:, None] == label] = np.inf
        index[chunk], distances[chunk] = _smallest(squares, count)
    return index, distances


def _squares(left: Floats, right: Floats) -> Floats:
    """(m, n) squared distances."""
    squares = left @ right.T
    squares *= -2.0
    squares += np.square(left).sum(axis=1)[:, None]
    squares += np.square(right).sum(axis=1)
    return np.maximum(squares, 0.0, out=squares)


def _smallest(squares: Floats, count: int) -> tuple[Index, Floats]:
    """Columns of the smallest entries of each row, smallest first; ties by column."""
    some = np.argpartition(squares, count - 1, axis=1)[:, :count]
    values = np.take_along_axis(squares, some, axis=1)
    order = np.lexsort((some, values), axis=1)
    index = np.take_along_axis(some, order, axis=1)
    return index, np.sqrt(np.take_along_axis(values, order, axis=1))
