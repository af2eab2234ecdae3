"""Stored features -> a map of the crystals in two dimensions, with what colours it.

A look at what the encoders arrange, made by ``projection.py``; labels and crystal systems come
from the structures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from crystalssl.datasets.bundled import UNITS
from crystalssl.errors import InputError
from crystalssl.features.container import Features
from crystalssl.report.projection import neighbour_map, principal_plane

LARGEST = 4000
"""Crystals on the map at most, evenly spaced through the table."""
MOST_LABELS = 3
"""Labels that colour the map at most."""

SYSTEMS = (
    "triclinic",
    "monoclinic",
    "orthorhombic",
    "tetragonal",
    "trigonal",
    "hexagonal",
    "cubic",
)
"""Crystal systems by code (``blocks/contract.py``)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingMap:
    """Crystals on a plane.

    Attributes:
        points: (m, 2) leading principal components.
        explained: share of the variance that each of the two carries.
        neighbours: (m, 2) UMAP, or None where it was not made.
        total: crystals with features, of which m are shown.
        width: number of features.
        properties: (m,) values of each label, NaN where unknown.
        units: unit of each label.
        crystal_system: (m,) codes, negative where unknown, or None if all are.
    """

    points: npt.NDArray[np.float64]
    explained: tuple[float, float]
    total: int
    width: int
    neighbours: npt.NDArray[np.float64] | None = None
    properties: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    crystal_system: npt.NDArray[np.int64] | None = None


def read_embedding(
    folder: Path,
    features: Features,
    structures: Path | None,
    targets: Sequence[str],
    *,
    umap: bool = True,
) -> EmbeddingMap | None:
    """The map of some features, or None if there are too few.

    Args:
        folder: folder of the report; a corpus there tells crystal systems, and the map is kept.
        features: features of all crystals.
        structures: table of the structures, or None.
        targets: label columns that may colour the map; those known to the package if none.
        umap: whether to add UMAP to the principal components.

    Raises:
        InputError: if the structures are no structure table.
    """
    if len(features) < 3:
        return None
    shown = np.unique(np.linspace(0, len(features) - 1, LARGEST).astype(int))
    matrix = features.take(shown).matrix
    points, explained = principal_plane(matrix)
    ids = features.ids[shown]
    labels = {} if structures is None else _labels(structures, ids, targets)
    systems = _stored_systems(folder / "corpus.safetensors", len(features), shown)
    if systems is None and structures is not None:
        systems = _found_systems(structures, ids)
    return EmbeddingMap(
        points=points,
        explained=explained,
        neighbours=neighbour_map(matrix, folder) if umap else None,
        total=len(features),
        width=matrix.shape[1],
        properties=labels,
        units={name: UNITS.get(name, "") for name in labels},
        crystal_system=systems,
    )


def _labels(
    path: Path, ids: npt.NDArray[np.str_], targets: Sequence[str]
) -> dict[str, npt.NDArray[np.float64]]:
    """Label values in the order of the ids."""
    try:
        schema = pq.read_schema(path).names
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(
            f"{path} is no structure table ({error}). Make one with `crystalssl convert`."
        ) from error
    known = [name for name in targets if name in schema] or [n for n in UNITS if n in schema]
    wanted = known[:MOST_LABELS]
    if not wanted or "immutable_id" not in schema:
        return {}
    table = pq.read_table(path, columns=["immutable_id", *wanted])
    rows = _rows(table["immutable_id"].to_pylist(), ids)
    found = {}
    for name in wanted:
        values = table[name].to_numpy(zero_copy_only=False).astype(np.float64)
        own = np.where(rows >= 0, values[rows], np.nan)
        if np.isfinite(own).any():
            found[name] = own
    return found


def _rows(keys: Sequence[str], ids: npt.NDArray[np.str_]) -> npt.NDArray[np.int64]:
    """Row of every id among the keys, negative where it is not there."""
    row_of = {key: row for row, key in enumerate(keys)}
    return np.array([row_of.get(str(key), -1) for key in ids], dtype=np.int64)


def _stored_systems(
    path: Path, count: int, shown: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64] | None:
    """Crystal systems from the stored corpus, if it holds the same crystals."""
    if not path.is_file():
        return None
    from safetensors import safe_open

    with safe_open(path, framework="np") as handle:
        if "crystal_system" not in handle.keys():  # noqa: SIM118  # not a dictionary
            return None
        codes: npt.NDArray[np.int64] = handle.get_tensor("crystal_system").astype(np.int64)
    return codes[shown] if len(codes) == count else None


def _found_systems(path: Path, ids: npt.NDArray[np.str_]) -> npt.NDArray[np.int64] | None:
    """Crystal systems of the shown crystals, from a symmetry search of their structures."""
    from crystalssl.structures.canonical import canonicalize
    from crystalssl.structures.table import read_table

    if "lattice_vectors" not in pq.read_schema(path).names:
        return None
    crystals = read_table(path).crystals
    rows = _rows(crystals.ids.tolist(), ids)
    if not (rows >= 0).any():
        return None
    result = canonicalize(crystals.take(np.unique(rows[rows >= 0])))
    place = _rows(result.crystals.ids.tolist(), ids)
    codes = result.symmetry.crystal_system.astype(np.int64)
    found: npt.NDArray[np.int64] = np.where(place >= 0, codes[place], -1)
    return found
