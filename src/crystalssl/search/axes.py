"""Features -> coordinates in which distance means something: scaled, standardised or whitened.

A distance between coordinates is the root mean square difference over the axes, in standard
deviations of the crystals that the axes were fitted on: 0 for equal features, about 1.4 for two
crystals at random, whatever the number of features. First step of every search. Which way finds
better neighbours was measured: docs/search.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError, unknown_name

Standardise = Literal["auto", "scale", "standardise", "whiten", "none"]
Matrix = npt.NDArray[np.float32]

KINDS = tuple(kind for kind in get_args(Standardise) if kind != "auto")
"""Ways there are; ``auto`` is one of these, chosen by what the features are."""
LIMIT = 8.0
"""Standardised features are clipped to plus and minus this, as before the bottleneck."""
MOST_AXES = 256
"""Principal axes that are kept when features are whitened."""
LEAST_VARIANCE = 1e-6
"""Share of the largest variance that an axis must have; what is below is rounding."""
FIT_ROWS = 32_768
"""Crystals that axes are fitted on at most, evenly spaced."""
ROWS = 4_096
"""Rows that are transformed at a time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Axes:
    """How p features become m coordinates.

    Attributes:
        kind: scale, standardise, whiten or none.
        columns: (c,) features in use: those that vary; all p unless standardised.
        mean: (c,) what is subtracted.
        scale: (c,) what is divided by.
        rotation: (c, m) principal axes, each divided by its standard deviation; None without.
        width: p, features that are expected.
    """

    kind: str
    columns: npt.NDArray[np.int64]
    mean: Matrix
    scale: Matrix
    rotation: Matrix | None
    width: int

    @property
    def count(self) -> int:
        """Number of coordinates."""
        return len(self.columns) if self.rotation is None else self.rotation.shape[1]

    def transform(self, matrix: npt.NDArray[np.floating]) -> Matrix:
        """(n, m) float32 coordinates of (n, p) features; NaN stays NaN.

        Raises:
            InputError: if there are not p features.
        """
        if matrix.ndim != 2 or matrix.shape[1] != self.width:
            raise InputError(
                f"Got features of shape {matrix.shape}, expected (crystals, {self.width}) as those "
                "that are searched. Extract both with the same weights, blocks and output."
            )
        coordinates = np.empty((len(matrix), self.count), np.float32)
        for start in range(0, len(matrix), ROWS):
            chunk = slice(start, start + ROWS)
            scaled = self._standardised(matrix[chunk])  # (rows, c)
            coordinates[chunk] = scaled if self.rotation is None else scaled @ self.rotation
        if self.kind != "none":
            coordinates /= np.float32(np.sqrt(self.count))  # so that distances are mean differences
        return coordinates

    def _standardised(self, matrix: npt.NDArray[np.floating]) -> Matrix:
        if self.kind == "none":
            return matrix.astype(np.float32)
        scaled = matrix[:, self.columns].astype(np.float32)
        scaled -= self.mean
        scaled /= self.scale
        np.clip(scaled, -LIMIT, LIMIT, out=scaled)
        return scaled


def fit_axes(
    matrix: npt.NDArray[np.floating], standardise: str = "standardise", most_axes: int = MOST_AXES
) -> Axes:
    """Axes of the crystals that are searched.

    Args:
        matrix: (n, p) finite features; of more than ``FIT_ROWS`` rows so many are looked at.
        standardise: ``scale`` divides all features by one number and so keeps what sizes they
            have, ``standardise`` brings every feature to one size, ``whiten`` principal axes of
            these too, so that what many features repeat counts once; ``none`` leaves them, with
            plain Euclidean distances.
        most_axes: principal axes kept at most, the leading ones.

    Raises:
        InputError: if there is no row, or no feature varies.
        UnknownNameError: for another name.

    Example:
        >>> fit_axes(np.array([[0.0, 5.0], [2.0, 5.0]]), "standardise").columns.tolist()
        [0]
    """
    if standardise not in KINDS:
        raise unknown_name("way to standardise", standardise, KINDS)
    count, width = matrix.shape
    if not count:
        raise InputError("Got no crystal to search among, expected one at least.")
    if standardise == "none":
        return _plain(width)
    some = matrix[evenly(count, FIT_ROWS)]
    mean = some.mean(axis=0, dtype=np.float64)
    deviation = np.sqrt(np.mean((some - mean) ** 2, axis=0, dtype=np.float64))
    varies = deviation > 4 * np.finfo(np.float32).eps * np.maximum(np.abs(mean), 1e-30)
    if not varies.any():
        raise InputError(
            f"None of the {width} features varies over {count} crystals, so there is no distance "
            "between them. Give more crystals, or standardise='none' (--standardise none)."
        )
    if standardise == "scale":
        varies[:] = True  # a feature that is constant here may vary in a query
        deviation[:] = np.sqrt(np.mean(deviation**2))
    columns = np.flatnonzero(varies).astype(np.int64)
    axes = Axes(
        kind=standardise,
        columns=columns,
        mean=mean[columns].astype(np.float32),
        scale=deviation[columns].astype(np.float32),
        rotation=None,
        width=width,
    )
    return _whitened(axes, some, most_axes) if standardise == "whiten" else axes


def resolve(standardise: str, origins: Sequence[object]) -> str:
    """The way that ``auto`` stands for; any other as it is.

    Features of this package's encoders have sizes that training chose, and neighbours are better
    with these; of other features nothing is known, so that each counts the same.

    Args:
        standardise: one of ``Standardise``.
        origins: weights that the features come from, none if not known.
    """
    if standardise != "auto":
        return standardise
    return "scale" if origins else "standardise"


def evenly(count: int, most: int) -> npt.NDArray[np.int64]:
    """Up to ``most`` of ``count`` rows, evenly spaced, in order."""
    if count <= most:
        return np.arange(count)
    return np.linspace(0, count - 1, most).astype(np.int64)


def _plain(width: int) -> Axes:
    return Axes(
        kind="none",
        columns=np.arange(width, dtype=np.int64),
        mean=np.zeros(width, np.float32),
        scale=np.ones(width, np.float32),
        rotation=None,
        width=width,
    )


def _whitened(axes: Axes, some: npt.NDArray[np.floating], most_axes: int) -> Axes:
    """The same with leading principal axes of standardised, clipped features."""
    gram = np.zeros((len(axes.columns),) * 2)
    for rows in _chunks(len(some)):
        scaled = axes._standardised(some[rows])  # (rows, c)
        gram += scaled.T @ scaled
    variances, vectors = np.linalg.eigh(gram / len(some))
    variances, vectors = variances[::-1], vectors[:, ::-1]  # largest first
    kept = int(np.sum(variances > LEAST_VARIANCE * variances[0]))
    kept = max(1, min(kept, most_axes, len(some) - 1))
    vectors = vectors[:, :kept]
    largest = np.abs(vectors).argmax(axis=0)
    vectors = vectors * np.sign(vectors[largest, np.arange(kept)])  # LAPACK leaves signs open
    return Axes(
        kind=axes.kind,
        columns=axes.columns,
        mean=axes.mean,
        scale=axes.scale,
        rotation=(vectors / np.sqrt(variances[:kept])).astype(np.float32),
        width=axes.width,
    )


def _chunks(count: int) -> Iterator[slice]:
    return (slice(start, start + ROWS) for start in range(0, count, ROWS))
