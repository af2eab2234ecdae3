"""Stored features -> a map of the crystals in two dimensions, with what colours it.

Principal components of the standardised features: a look at what the encoders arrange, computed
anew for each report from ``features.parquet``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from scipy.sparse.linalg import eigsh

from crystalssl.datasets.bundled import UNITS
from crystalssl.features.store import load_features

LARGEST = 4000
"""Crystals on the map at most, evenly spaced through the table."""

SYSTEMS = (
    "triclinic",
    "monoclinic",
    "orthorhombic",
    "tetragonal",
    "trigonal",
    "hexagonal",
    "cubic",
)
"""Crystal systems by code (``blocks/_contract.py``)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingMap:
    """Crystals on a plane.

    Attributes:
        points: (m, 2) leading principal components.
        explained: share of the variance that each of the two carries.
        total: crystals with features, of which m are shown.
        width: number of features.
        properties: (m,) values of each label, NaN where unknown.
        units: unit of each label.
        crystal_system: (m,) codes, or None if unknown.
    """

    points: npt.NDArray[np.float64]
    explained: tuple[float, float]
    total: int
    width: int
    properties: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    crystal_system: npt.NDArray[np.int64] | None = None


def read_embedding(folder: Path, targets: list[str]) -> EmbeddingMap | None:
    """The map of a run folder, or None if it holds no features.

    Args:
        folder: run folder.
        targets: label columns that may colour the map.
    """
    path = folder / "features.parquet"
    if not path.is_file():
        return None
    features = load_features(path)
    if len(features) < 3:
        return None
    shown = np.unique(np.linspace(0, len(features) - 1, LARGEST).astype(int))
    matrix = features.matrix[shown]
    points, explained = principal_plane(matrix)
    ids = features.ids[shown]
    return EmbeddingMap(
        points=points,
        explained=explained,
        total=len(features),
        width=matrix.shape[1],
        properties=_labels(folder / "structures.parquet", ids, targets),
        units={name: UNITS.get(name, "") for name in targets},
        crystal_system=_systems(folder / "corpus.safetensors", len(features), shown),
    )


def principal_plane(
    matrix: npt.NDArray[np.floating],
) -> tuple[npt.NDArray[np.float64], tuple[float, float]]:
    """(m, 2) leading principal components of standardised columns, and their shares of variance."""
    scaled = matrix - matrix.mean(axis=0)
    spread = scaled.std(axis=0)
    scaled = scaled[:, spread > 1e-9] / spread[spread > 1e-9]
    if scaled.shape[1] < 2:
        return np.zeros((len(matrix), 2)), (0.0, 0.0)
    gram = (scaled.T @ scaled).astype(np.float64)
    if len(gram) > 2:
        values, axes = eigsh(gram, k=2, v0=np.ones(len(gram)))
    else:
        values, axes = np.linalg.eigh(gram)
    first, second = (float(v) for v in values[[1, 0]] / max(float(np.trace(gram)), 1e-12))
    points: npt.NDArray[np.float64] = scaled @ axes[:, [1, 0]]
    # the sign of an axis is free: make the longer tail point right and up
    points *= np.where(np.abs(points.max(axis=0)) < np.abs(points.min(axis=0)), -1.0, 1.0)
    return points, (first, second)


def _labels(
    path: Path, ids: npt.NDArray[np.str_], targets: list[str]
) -> dict[str, npt.NDArray[np.float64]]:
    """Label values in the order of the ids."""
    if not path.is_file():
        return {}
    schema = pq.read_schema(path).names
    wanted = [name for name in targets if name in schema]
    if not wanted or "immutable_id" not in schema:
        return {}
    table = pq.read_table(path, columns=["immutable_id", *wanted])
    row_of = {key: row for row, key in enumerate(table["immutable_id"].to_pylist())}
    rows = np.array([row_of.get(str(key), -1) for key in ids])
    found = {}
    for name in wanted:
        values = table[name].to_numpy(zero_copy_only=False).astype(np.float64)
        found[name] = np.where(rows >= 0, values[rows], np.nan)
    return found


def _systems(path: Path, count: int, shown: npt.NDArray[np.int64]) -> npt.NDArray[np.int64] | None:
    """Crystal systems from the stored corpus, if it holds the same crystals."""
    if not path.is_file():
        return None
    from safetensors import safe_open

    with safe_open(path, framework="np") as handle:
        if "crystal_system" not in handle.keys():  # noqa: SIM118  # not a dictionary
            return None
        codes: npt.NDArray[np.int64] = handle.get_tensor("crystal_system").astype(np.int64)
    return codes[shown] if len(codes) == count else None
