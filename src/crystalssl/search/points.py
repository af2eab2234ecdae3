"""Features in memory or in a file -> points: coordinates of the crystals with finite features.

A file is read a few thousand rows at a time, so that memory holds coordinates, and features only
while there are few of them. ``index.py`` and ``duplicates.py`` search among points.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crystalssl.errors import Skip
from crystalssl.features.features import Features
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
    """

    ids: npt.NDArray[np.str_]
    coordinates: Matrix
    axes: Axes
    skipped: Sequence[Skip] = ()


def not_finite(name: str) -> Skip:
    """Why a crystal is left out."""
    return Skip(
        id=name,
        file="",
        reason="its features are not finite",
        remedy="extract its features again; if its structure is right, report it",
    )


def read_points(path: Path, standardise: str = "auto", most_axes: int = MOST_AXES) -> Points:
    """Points of a features file, on axes fitted on them.

    Args:
        path: features, .parquet or .npy.
        standardise: as for ``axes.fit_axes``, or ``auto`` (``axes.resolve``).
        most_axes: likewise.

    Raises:
        InputError: if the file cannot be read, or as ``fit_axes``.
        UnknownNameError: as ``fit_axes``.
    """
    count, width = count_features(path)
    if count * width > HELD:
        kind = resolve(standardise, next(iter_features(path, 1)).origins)
        axes = fit_axes(_sample(path, count), kind, most_axes)
        return project(iter_features(path), axes)
    features = load_features(path)
    kind = resolve(standardise, features.origins)
    axes = fit_axes(finite_rows(features)[0], kind, most_axes)
    return project(batches(features), axes)


def project(features: Iterator[Features], axes: Axes) -> Points:
    """Points of batches of features on axes that are there already.

    Raises:
        InputError: if the features are of another width than the axes expect.
    """
    ids: list[str] = []
    skipped: list[Skip] = []
    coordinates = [np.zeros((0, axes.count), np.float32)]
    for batch in features:
        matrix, finite = finite_rows(batch)
        ids += batch.ids[finite].tolist()
        skipped += [not_finite(str(name)) for name in batch.ids[~finite]]
        coordinates.append(axes.transform(matrix))
    return Points(
        ids=np.array(ids, dtype=np.str_),
        coordinates=np.concatenate(coordinates),
        axes=axes,
        skipped=skipped,
    )


def batches(features: Features, rows: int = 8192) -> Iterator[Features]:
    """Features in memory, a few rows at a time."""
    return (features.between(i, i + rows) for i in range(0, len(features), rows))


def finite_rows(features: Features) -> tuple[Matrix, npt.NDArray[np.bool_]]:
    """(m, p) rows that are finite, and (n,) which they are."""
    matrix = features.matrix
    finite = np.asarray(np.isfinite(matrix).all(axis=1))
    return (matrix if finite.all() else matrix[finite]), finite


def _sample(path: Path, count: int) -> Matrix:
    """Up to ``FIT_ROWS`` of the rows of a features file, evenly spaced; the finite ones."""
    chosen = evenly(count, FIT_ROWS)
    start, rows = 0, []
    for batch in iter_features(path):
        here = chosen[(chosen >= start) & (chosen < start + len(batch))] - start
        rows.append(finite_rows(batch.take(here))[0])
        start += len(batch)
    return np.concatenate(rows)
