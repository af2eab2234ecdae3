"""Columns of a matrix -> leading principal axes of training rows; any rows -> scores along them.

For heads that read few directions instead of thousands of columns. No label is looked at. After
scaling.py, before gaussian_process.py and linear_boosting.py.
"""

from __future__ import annotations

import numpy as np

from crystalssl.models.arrays import Features, Floats, Index, chunks
from crystalssl.models.scaling import Scaler

AXES_ROWS = 6_000
"""Rows from which principal axes are made at most."""


def fit_axes(
    matrix: Features, rows: Index, scaler: Scaler, most: int, seed: int
) -> tuple[Floats, Floats]:
    """Leading principal axes of the columns of a scaler.

    Args:
        matrix: (n, columns) features.
        rows: (k,) training rows; ``AXES_ROWS`` of them are used at most.
        scaler: standardisation of the p columns.
        most: axes at most.
        seed: seed of the choice of rows.

    Returns:
        (p, d) axes and (d,) variances along them, largest first.
    """
    inputs = scaler.transform(matrix, sample_rows(rows, AXES_ROWS, seed), np.float64)  # (s, p)
    inputs -= inputs.mean(axis=0)
    count, columns = inputs.shape
    small = inputs @ inputs.T if count < columns else inputs.T @ inputs
    values, vectors = np.linalg.eigh(small / count)
    order = np.argsort(-values, kind="stable")[:most]
    order = order[values[order] > 1e-6 * max(float(values[order[0]]), 1e-12)]
    values, vectors = values[order], vectors[:, order]
    if count < columns:
        vectors = inputs.T @ vectors / np.sqrt(values * count)
    sign = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])])
    return vectors * sign, values


def scores_along(matrix: Features, rows: Index, scaler: Scaler, axes: Floats) -> Floats:
    """(m, d) scores of some rows along (p, d) axes of the p columns of a scaler."""
    scores, turned = np.empty((len(rows), axes.shape[1])), axes.astype(np.float32)
    for chunk in chunks(len(rows), len(axes)):
        scores[chunk] = scaler.transform(matrix, rows[chunk], np.float32) @ turned
    return scores


def columns_between(scaler: Scaler, low: int, high: int) -> Scaler:
    """The part of a scaler for columns low to high of the matrix."""
    kept = (scaler.columns >= low) & (scaler.columns < high)
    names = ("centre", "scale", "low", "high", "columns")
    return Scaler(**{name: getattr(scaler, name)[kept] for name in names})


def sample_rows(rows: Index, most: int, seed: int) -> Index:
    """At most so many of the rows, in their order."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(seed).permutation(rows)[:most])
