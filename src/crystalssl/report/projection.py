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
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from crystalssl.errors import InputError
from crystalssl.evaluation.cache import digest
from crystalssl.evaluation.tables import read_table, write_table

Points = npt.NDArray[np.float64]

NEIGHBOURS, DISTANCE, AXES = 15, 0.15, 50
"""Settings of UMAP: neighbours, least distance on the map, principal components it starts from."""
LEAST = 200
"""Crystals below which a map of neighbours says nothing."""
MAP_FILE = "report_map.parquet"
"""Where the map is kept, in the folder ``cache``."""


def principal_axes(matrix: npt.NDArray[np.floating], count: int) -> tuple[Points, Points]:
    """(m, count) leading principal components of standardised columns, fractions of the variance.

    Fewer where there are fewer columns that vary.
    """
    varying = matrix[:, matrix.std(axis=0) > 1e-9]
    count = min(count, *varying.shape)
    if count < 1:
        return np.zeros((len(matrix), 0)), np.zeros(0)
    model = PCA(count, svd_solver="covariance_eigh")
    points: Points = model.fit_transform(StandardScaler().fit_transform(varying.astype(np.float64)))
    return points, model.explained_variance_ratio_


def principal_plane(matrix: npt.NDArray[np.floating]) -> tuple[Points, tuple[float, float]]:
    """(m, 2) leading principal components, and the fraction of the variance that each carries."""
    points, fractions = principal_axes(matrix, 2)
    if points.shape[1] < 2:
        return np.zeros((len(matrix), 2)), (0.0, 0.0)
    return points, (float(fractions[0]), float(fractions[1]))


def has_umap() -> bool:
    """Whether umap-learn is installed."""
    return importlib.util.find_spec("umap") is not None


def neighbour_map(matrix: npt.NDArray[np.floating], folder: Path) -> Points | None:
    """(m, 2) UMAP of standardised columns; None without umap-learn, or for few crystals.

    Args:
        matrix: (m, p) features.
        folder: folder of the report; the map is kept below it.
    """
    if len(matrix) < LEAST or not has_umap():
        return None
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
    """(m, 2) UMAP of points, by their distances: for some thousand points, no more."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numba, about how umap-learn is written
        from umap import UMAP

        # left to itself it would call Python for each of some million pairs
        reducer = UMAP(
            n_neighbors=NEIGHBOURS,
            min_dist=DISTANCE,
            metric="precomputed",
            random_state=0,
            n_jobs=1,
        )
        return np.asarray(reducer.fit_transform(cdist(axes, axes)), dtype=np.float64)


def _read(path: Path, key: str) -> Points | None:
    """The kept map, if it is of these features."""
    try:
        table = read_table(path)
    except InputError:
        return None
    if (table.schema.metadata or {}).get(b"key") != key.encode():
        return None
    return np.stack([table["x"].to_numpy(), table["y"].to_numpy()], axis=1)
