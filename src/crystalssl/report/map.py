"""Stored features -> a map of the crystals in two dimensions, coloured by labels and system.

A look at what the encoders arrange, on the planes of ``projection.py``. Points are an image inside
the drawing, which keeps the page small; all words stay text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import MaxNLocator

from crystalssl.datasets.bundled import UNITS
from crystalssl.errors import InputError
from crystalssl.features.features import Features
from crystalssl.report.page import Drawing, Passage, counted, explained, percent, with_unit, words
from crystalssl.report.projection import Points, neighbour_map, principal_plane
from crystalssl.report.svg import COLOURS, block_colour, drawing, to_svg
from crystalssl.structures.canonical import CRYSTAL_SYSTEMS

LARGEST = 4000
"""Crystals on the map at most, evenly spaced through the table."""
MOST_LABELS = 3
"""Labels that colour the map at most."""
HEAT = LinearSegmentedColormap.from_list("heat", ["#40519f", "#3282a6", "#57ab84", "#e3b13f"])
"""Colours of a continuous property, from dark to bright; readable on light and dark pages."""
UMAP = "UMAP"

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingMap:
    """Crystals on a plane.

    Attributes:
        points: (m, 2) leading principal components.
        explained: fraction of the variance that each of the two carries.
        neighbours: (m, 2) UMAP, or None where it was not made.
        total: crystals with features, of which m are shown.
        width: number of features.
        properties: (m,) values of each label, NaN where unknown.
        crystal_system: (m,) codes, negative where unknown, or None if all are.
    """

    points: Points
    explained: tuple[float, float]
    total: int
    width: int
    neighbours: Points | None = None
    properties: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    crystal_system: Codes | None = None


def read_map(
    folder: Path,
    features: Features,
    structures: Path | None,
    targets: Sequence[str],
    *,
    umap: bool = True,
) -> EmbeddingMap | None:
    """The map of some features, or None if there are too few.

    Args:
        folder: folder of the report; a corpus there has crystal systems, and the map is kept.
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
    matrix, ids = features.take(shown).matrix, features.ids[shown]
    points, explained = principal_plane(matrix)
    systems = _stored_systems(folder / "corpus.safetensors", len(features), shown)
    if systems is None and structures is not None:
        systems = _searched_systems(structures, ids)
    return EmbeddingMap(
        points=points,
        explained=explained,
        neighbours=neighbour_map(matrix, folder) if umap else None,
        total=len(features),
        width=matrix.shape[1],
        properties={} if structures is None else _labels(structures, ids, targets),
        crystal_system=systems,
    )


def map_passage(embedding: EmbeddingMap) -> Passage:
    """Every plane coloured by every property and by crystal system; planes side by side."""
    planes = {"principal components": embedding.points}
    if embedding.neighbours is not None:
        planes[UMAP] = embedding.neighbours
    systems = [] if embedding.crystal_system is None else ["crystal_system"]
    drawings = []
    for name in [*embedding.properties, *systems] or [""]:
        for plane, points in planes.items():
            text = f"{words(name)}, {plane}" if name else words(plane)
            drawings.append(Drawing(svg=_draw(embedding, name, plane, points), title=text))
    shown = len(embedding.points)
    note = f"{shown:,} of {counted(embedding.total, 'crystal')} are shown."
    return Passage(
        title="Map of the crystals",
        words=explained("map"),
        drawings=tuple(drawings),
        notes=(note,) if shown < embedding.total else (),
    )


def _draw(embedding: EmbeddingMap, name: str, plane: str, points: Points) -> str:
    """Crystals on a plane, coloured by a property, by crystal system, or not at all."""
    size = float(np.clip(8000 / len(points), 4.0, 14.0))  # square points; smaller where many
    by = f" coloured by {name}" if name else ""
    with drawing(4.2, 3.6) as (figure, axes):
        if name in embedding.properties:
            values = embedding.properties[name]
            known = np.isfinite(values)
            _scatter(axes, points[~known], COLOURS["rule"], size)
            low, high = np.percentile(values[known], [2, 98]) if known.any() else (0.0, 1.0)
            x, y = points[known].T
            drawn = axes.scatter(x, y, c=values[known], cmap=HEAT, s=size, vmin=low, vmax=high)
            drawn.set(linewidths=0, alpha=0.85, rasterized=True)
            bar = figure.colorbar(
                drawn, ax=axes, location="bottom", shrink=0.7, aspect=32, pad=0.03
            )
            bar.outline.set_linewidth(0)
            bar.locator = MaxNLocator(5)
            bar.set_label(with_unit(name.replace("_", " "), UNITS.get(name, "")))
        elif embedding.crystal_system is not None:
            codes = embedding.crystal_system
            _scatter(axes, points[codes < 0], COLOURS["rule"], size)
            for code, label in enumerate(CRYSTAL_SYSTEMS):
                if (codes == code).any():
                    _scatter(axes, points[codes == code], block_colour(code), size)
                    axes.scatter([], [], s=28, linewidths=0, color=block_colour(code), label=label)
            axes.legend(
                loc="upper center", bbox_to_anchor=(0.5, -0.07), ncols=4, handletextpad=0.1,
                fontsize=8.5, columnspacing=1.0,
            )  # fmt: skip
        else:
            _scatter(axes, points, COLOURS["accent"], size)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        if plane == UMAP:
            axes.set_xlabel("axes have no meaning; near is alike")
        else:
            first, second = map(percent, embedding.explained)
            axes.set(xlabel=f"first, {first} of the variance", ylabel=f"second, {second}")
        return to_svg(figure, f"Map of the features{by}, {plane}")


def _scatter(axes: Axes, points: Points, colour: str, size: float) -> None:
    x, y = points.T
    axes.scatter(x, y, s=size, linewidths=0, alpha=0.8, color=colour, rasterized=True)


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
    wanted = ([n for n in targets if n in schema] or [n for n in UNITS if n in schema])[
        :MOST_LABELS
    ]
    if not wanted or "immutable_id" not in schema:
        return {}
    table = pq.read_table(path, columns=["immutable_id", *wanted])
    rows = _rows(table["immutable_id"].to_pylist(), ids)
    labels = {}
    for name in wanted:
        values = table[name].to_numpy(zero_copy_only=False).astype(np.float64)
        labels[name] = np.where(rows >= 0, values[rows], np.nan)
    return {name: values for name, values in labels.items() if np.isfinite(values).any()}


def _rows(keys: Sequence[str], ids: npt.NDArray[np.str_]) -> Codes:
    """Row of every id among the keys, negative where it is not there."""
    row_of = {key: row for row, key in enumerate(keys)}
    return np.array([row_of.get(str(key), -1) for key in ids], dtype=np.int64)


def _stored_systems(path: Path, count: int, shown: npt.NDArray[np.int64]) -> Codes | None:
    """Crystal systems from the stored corpus, if it holds the same crystals."""
    if not path.is_file():
        return None
    from safetensors import safe_open

    with safe_open(path, framework="np") as handle:
        if "crystal_system" not in handle.keys():  # noqa: SIM118  # not a dictionary
            return None
        codes: Codes = handle.get_tensor("crystal_system").astype(np.int64)
    return codes[shown] if len(codes) == count else None


def _searched_systems(path: Path, ids: npt.NDArray[np.str_]) -> Codes | None:
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
    kept = _rows(result.crystals.ids.tolist(), ids)
    codes = result.symmetry.crystal_system.astype(np.int64)
    return np.where(kept >= 0, codes[kept], -1)
