"""Features -> two numbers a crystal: principal components, and UMAP where umap-learn is installed.

For pictures only. What takes long is kept beside the report and used again for the same features.
Source of UMAP: McInnes, Healy, Melville, arXiv:1802.03426.
"""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.linalg import eigh
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from crystalssl.errors import InputError
from crystalssl.evaluation.cache import digest
from crystalssl.evaluation.tables import read_table, write_table

Points = npt.NDArray[np.float64]

NEIGHBOURS, DISTANCE, AXES = 15, 0.15, 50
"""Settings of UMAP: neighbours, least distance on the map, principal components it starts from."""
ROWS = 4096
"""Rows of a matrix that are standardised at a time."""
DENSE = 5000
"""Crystals up to which UMAP is given all distances; beyond, those to the nearest alone."""
LEAST = 200
"""Crystals below which a map of neighbours says nothing."""
MAP_FILE = "report_map.parquet"
"""Where the map is kept, in the folder ``cache``."""


def principal_axes(matrix: npt.NDArray[np.floating], count: int) -> tuple[Points, Points]:
    """(m, count) leading principal components of standardised columns, fractions of the variance.

    Fewer where there are fewer columns that vary. Rows are taken in blocks: memory is that of the
    matrix and of one square matrix, of its columns or, if there are fewer, of its rows.
    """
    mean = matrix.mean(axis=0, dtype=np.float64)
    deviation = matrix.std(axis=0, dtype=np.float64)
    varying = deviation > 1e-9
    count = min(count, len(matrix), int(varying.sum()))
    if count < 1:
        return np.zeros((len(matrix), 0)), np.zeros(0)
    mean, deviation = mean[varying], deviation[varying]

    def standardised(start: int) -> Points:
        rows: Points = (matrix[start : start + ROWS, varying] - mean) / deviation
        return rows

    starts = range(0, len(matrix), ROWS)
    total = float(len(matrix) * len(mean))  # variance of all standardised columns
    if len(matrix) <= min(len(mean), ROWS):
        rows = standardised(0)
        values, vectors = eigh(rows @ rows.T)  # (m, m)
        points = vectors[:, : -count - 1 : -1] * np.sqrt(np.maximum(values[: -count - 1 : -1], 0))
    else:
        gram = np.zeros((len(mean), len(mean)))  # (p, p)
        for start in starts:
            rows = standardised(start)
            gram += rows.T @ rows
        values, vectors = eigh(gram)
        leading = vectors[:, : -count - 1 : -1]  # (p, count), the largest first
        points = np.concatenate([standardised(start) @ leading for start in starts])
    signs = np.sign(points[np.abs(points).argmax(axis=0), np.arange(count)])
    return points * np.where(signs == 0, 1.0, signs), values[: -count - 1 : -1] / total


def principal_plane(matrix: npt.NDArray[np.floating]) -> tuple[Points, tuple[float, float]]:
    """(m, 2) leading principal components, and the fraction of the variance that each carries."""
    points, fractions = principal_axes(matrix, 2)
    if points.shape[1] < 2:
        return np.zeros((len(matrix), 2)), (0.0, 0.0)
    return points, (float(fractions[0]), float(fractions[1]))


def has_umap() -> bool:
    """Whether umap-learn is installed."""
    return importlib.util.find_spec("umap") is not None


def neighbour_map(matrix: npt.NDArray[np.floating], folder: Path | None) -> Points | None:
    """(m, 2) UMAP of standardised columns; None without umap-learn, or for few crystals.

    Args:
        matrix: (m, p) features.
        folder: folder of the report, below which the map is kept; None: it is not kept.
    """
    if len(matrix) < LEAST or not has_umap():
        return None
    if folder is None:
        return _umap(principal_axes(matrix, AXES)[0])
    key = digest([matrix, f"{NEIGHBOURS} {DISTANCE} {AXES}"])
    path = folder / "cache" / MAP_FILE
    kept = _read(path, key)
    if kept is not None:
        return kept
    points = _umap(principal_axes(matrix, AXES)[0])
    table = pa.table({"x": points[:, 0], "y": points[:, 1]})
    write_table(table.replace_schema_metadata({"key": key}), path)
    return points


def _umap(axes: Points) -> Points:
    """(m, 2) UMAP of points, by their distances."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numba, about how umap-learn is written
        from umap import UMAP

        few = len(axes) <= DENSE
        start = axes[:, :2] / np.abs(axes[:, :2]).max() * 10.0  # what UMAP makes of its own
        # left to itself it would call Python for each of some million pairs
        reducer = UMAP(
            n_neighbors=NEIGHBOURS,
            min_dist=DISTANCE,
            metric="precomputed" if few else "euclidean",
            precomputed_knn=(None, None, None) if few else _nearest(axes),
            init="spectral" if few else start.astype(np.float32),
            random_state=0,
            n_jobs=1,
        )
        points = cdist(axes, axes) if few else axes.astype(np.float32)
        return np.asarray(reducer.fit_transform(points), dtype=np.float64)


def _nearest(axes: Points) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], None]:
    """(m, k) rows and distances of the nearest points, itself among them as UMAP counts."""
    search = NearestNeighbors(n_neighbors=NEIGHBOURS, algorithm="brute")
    distances, rows = search.fit(axes.astype(np.float32)).kneighbors(axes.astype(np.float32))
    return rows.astype(np.int64), distances.astype(np.float32), None


def _read(path: Path, key: str) -> Points | None:
    """The kept map, if it is of these features."""
    try:
        table = read_table(path)
    except InputError:
        return None
    if (table.schema.metadata or {}).get(b"key") != key.encode():
        return None
    return np.stack([table["x"].to_numpy(), table["y"].to_numpy()], axis=1)
