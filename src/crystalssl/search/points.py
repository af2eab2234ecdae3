"""Features in memory or in a file -> points: coordinates of the crystals with finite features.

A file is read a few thousand rows at a time, so that memory holds coordinates, and features only
while there are few of them. ``index.py`` and ``duplicates.py`` search among points.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crystalssl.errors import Skip
from crystalssl.features.features import Features, Origin
from crystalssl.features.store import count_features, iter_features, load_features
from crystalssl.search.axes import FIT_ROWS, MOST_AXES, Axes, Matrix, evenly, fit_axes, resolve

HELD = 2**27
"""Numbers of a features file that is read once, as a whole (0.5 GiB)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Points:
    """Crystals on axes.

    Attributes:
        ids: (n,) ids.
        coordinates: (n, m) float32.
        axes: how features became coordinates.
        skipped: crystals left out because their features are not finite.
        widths: number of features of each block, where known.
        origins: weights that the features come from, where known.
    """

    ids: npt.NDArray[np.str_]
    coordinates: Matrix
    axes: Axes
    skipped: Sequence[Skip] = ()
    widths: Mapping[str, int] = field(default_factory=dict)
    origins: tuple[Origin, ...] = ()


def not_finite(name: str) -> Skip:
    """Why a crystal is left out."""
    return Skip(
        id=name,
        file="",
        reason="its features are not finite",
        remedy="extract its features again; if its structure is right, report it",
    )


Source = Features | Path
"""Features in memory, or their file (.parquet, .npy)."""


def read_points(source: Source, standardise: str = "auto", most_axes: int = MOST_AXES) -> Points:
    """Points of features, on axes fitted on them.

    Args:
        source: features, or their file.
        standardise: as for ``axes.fit_axes``, or ``auto`` (``axes.resolve``).
        most_axes: likewise.

    Raises:
        InputError: if a file cannot be read, or as ``fit_axes``.
        UnknownNameError: as ``fit_axes``.
    """
    if isinstance(source, Path):
        count, width = count_features(source)
        if count * width <= HELD:
            source = load_features(source)
    return project(batches(source), fit_axes_of(source, standardise, most_axes))


def fit_axes_of(source: Source, standardise: str = "auto", most_axes: int = MOST_AXES) -> Axes:
    """Axes fitted on features; of a file, on rows taken evenly from it.

    Raises:
        InputError: as :func:`read_points`.
        UnknownNameError: as :func:`read_points`.
    """
    kind = resolve(standardise, next(batches(source, 1)).origins)
    return fit_axes(_sample(source), kind, most_axes)


def project(features: Iterable[Features], axes: Axes) -> Points:
    """Points of batches of features on axes that are there already.

    Raises:
        InputError: if the features are of another width than the axes expect.
    """
    ids: list[str] = []
    skipped: list[Skip] = []
    coordinates = [np.zeros((0, axes.count), np.float32)]
    widths: Mapping[str, int] = {}
    origins: tuple[Origin, ...] = ()
    for batch in features:
        matrix, finite = finite_rows(batch)
        ids += batch.ids[finite].tolist()
        skipped += [not_finite(str(name)) for name in batch.ids[~finite]]
        coordinates.append(axes.transform(matrix))
        widths, origins = batch.widths, batch.origins
    return Points(
        ids=np.array(ids, dtype=np.str_),
        coordinates=np.concatenate(coordinates),
        axes=axes,
        skipped=skipped,
        widths=widths,
        origins=origins,
    )


def batches(source: Source, rows: int = 8192) -> Iterator[Features]:
    """Features, a few rows at a time; one empty batch where there are none."""
    if isinstance(source, Path):
        return iter_features(source, rows)
    starts = range(0, max(len(source), 1), rows)
    return (source.between(start, start + rows) for start in starts)


def row_count(source: Source) -> int:
    """Rows of features, those that are not finite too."""
    return count_features(source)[0] if isinstance(source, Path) else len(source)


def finite_rows(features: Features) -> tuple[Matrix, npt.NDArray[np.bool_]]:
    """(m, p) rows that are finite, and (n,) which they are."""
    matrix = features.matrix
    finite = np.asarray(np.isfinite(matrix).all(axis=1))
    return (matrix if finite.all() else matrix[finite]), finite


def _sample(source: Source) -> Matrix:
    """Up to ``FIT_ROWS`` of the rows, evenly spaced; the finite ones."""
    chosen = evenly(row_count(source), FIT_ROWS)
    start, rows = 0, []
    for batch in batches(source):
        here = chosen[(chosen >= start) & (chosen < start + len(batch))] - start
        rows.append(finite_rows(batch.take(here))[0])
        start += len(batch)
    return np.concatenate(rows)
