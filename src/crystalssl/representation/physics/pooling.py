"""Ragged numbers of species, sites, bonds or angles -> four statistics a crystal.

Mean and standard deviation are weighted; minimum and maximum are over whatever has a weight at all.
A value that is not a number does not count: of a crystal that has no other, the statistics are NaN.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crystalssl.representation._compiled import compiled

Array = npt.NDArray[np.float64]

STATISTICS = ("mean", "std", "min", "max")
"""What :func:`pool` takes of each quantity, in this order."""


@compiled
def _pool(offsets: npt.NDArray[np.int64], weights: Array, values: Array, out: Array) -> None:
    """Fill ``out`` (n, q, 4) from ``values`` (items, q), items of crystal n in its offsets.

    Quantities are the inner loop, without branches, so that it vectorises.
    """
    count = values.shape[1]
    total, mean, square = np.empty(count), np.empty(count), np.empty(count)
    low, high = np.empty(count), np.empty(count)
    for n in range(len(offsets) - 1):
        for q in range(count):
            total[q], mean[q], square[q], low[q], high[q] = 0.0, 0.0, 0.0, np.inf, -np.inf
        for item in range(offsets[n], offsets[n + 1]):
            weight = weights[item]
            if weight > 0.0:
                for q in range(count):
                    value = values[item, q]
                    known = value == value  # not NaN
                    total[q] += weight if known else 0.0
                    mean[q] += weight * value if known else 0.0
                    low[q] = value if value < low[q] else low[q]
                    high[q] = value if value > high[q] else high[q]
        for q in range(count):
            mean[q] /= total[q]
        for item in range(offsets[n], offsets[n + 1]):
            weight = weights[item]
            if weight > 0.0:
                for q in range(count):
                    off = values[item, q] - mean[q]
                    square[q] += weight * off * off if off == off else 0.0
        for q in range(count):
            # rounding must not make a mean lie outside of its range, nor equal values differ
            out[n, q, 0] = min(max(mean[q], low[q]), high[q])
            out[n, q, 1] = 0.0 if low[q] == high[q] else np.sqrt(square[q] / total[q])
            out[n, q, 2], out[n, q, 3] = low[q], high[q]
            if total[q] <= 0.0:
                out[n, q, 0] = out[n, q, 1] = out[n, q, 2] = out[n, q, 3] = np.nan


def pool(offsets: npt.NDArray[np.int64], weights: Array, values: Array) -> Array:
    """Weighted statistics of each crystal.

    Args:
        offsets: (n + 1,) first item of each crystal.
        weights: (items,) at least 0; items without weight are passed over.
        values: (items, q); NaN where there is none.

    Returns:
        (n, q * 4), the ``STATISTICS`` of the first quantity first; NaN where nothing counts.
    """
    out = np.empty((len(offsets) - 1, values.shape[1], len(STATISTICS)))
    _pool(offsets, weights, np.ascontiguousarray(values, np.float64), out)
    return out.reshape(len(out), -1)


def pool_mean(offsets: npt.NDArray[np.int64], weights: Array, values: Array) -> Array:
    """(n, q) weighted means alone; otherwise as :func:`pool`."""
    return pool(offsets, weights, values)[:, ::4]


def pool_min(offsets: npt.NDArray[np.int64], weights: Array, values: Array) -> Array:
    """(n, q) minima alone; otherwise as :func:`pool`."""
    return pool(offsets, weights, values)[:, 2::4]


def pool_max(offsets: npt.NDArray[np.int64], weights: Array, values: Array) -> Array:
    """(n, q) maxima alone; otherwise as :func:`pool`."""
    return pool(offsets, weights, values)[:, 3::4]
