"""The map of the crystals -> figures: principal components and UMAP, each coloured in turn.

Points are an image inside the drawing, which keeps the page small; all words stay text.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import MaxNLocator

from crystalssl.report.embedding import SYSTEMS, EmbeddingMap
from crystalssl.report.page import Drawing
from crystalssl.report.svg import COLOURS, block_colour, drawing, to_svg
from crystalssl.report.wording import with_unit, words

HEAT = LinearSegmentedColormap.from_list("heat", ["#40519f", "#3282a6", "#57ab84", "#e3b13f"])
"""Colours of a continuous property, from dark to bright; readable on light and dark pages."""
SIZE = (4.2, 3.6)
"""Inches of a map."""
UNKNOWN = -1
"""Code of an unknown crystal system."""

Points = npt.NDArray[np.float64]


def map_drawings(embedding: EmbeddingMap) -> list[Drawing]:
    """Every plane coloured by every property and by crystal system; planes side by side."""
    planes = {"principal components": embedding.points}
    if embedding.neighbours is not None:
        planes["UMAP"] = embedding.neighbours
    drawn = [
        Drawing(
            svg=property_map(embedding, name, plane, points),
            title=f"{words(name)}, {plane}",
        )
        for name in embedding.properties
        for plane, points in planes.items()
    ]
    if embedding.crystal_system is not None:
        drawn += [
            Drawing(svg=system_map(embedding, plane, points), title=f"Crystal system, {plane}")
            for plane, points in planes.items()
        ]
    if not drawn:
        drawn = [
            Drawing(svg=plain_map(embedding, plane, points), title=words(plane))
            for plane, points in planes.items()
        ]
    return drawn


def property_map(embedding: EmbeddingMap, name: str, plane: str, points: Points) -> str:
    """Crystals on a plane, coloured by a property."""
    values = embedding.properties[name]
    known = np.isfinite(values)
    with drawing(*SIZE) as (figure, axes):
        _scatter(axes, points[~known], COLOURS["rule"], _size(points))
        low, high = np.percentile(values[known], [2, 98]) if known.any() else (0.0, 1.0)
        x, y = points[known].T
        drawn = axes.scatter(x, y, c=values[known], cmap=HEAT, s=_size(points), vmin=low, vmax=high)
        drawn.set(linewidths=0, alpha=0.85, rasterized=True)
        bar = figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.7, aspect=32, pad=0.03)
        bar.outline.set_linewidth(0)
        bar.locator = MaxNLocator(5)
        bar.set_label(with_unit(name.replace("_", " "), embedding.units[name]))
        _frame(axes, embedding, plane)
        description = f"Map of the features coloured by {name}, {plane}"
        return to_svg(figure, description, description)


def system_map(embedding: EmbeddingMap, plane: str, points: Points) -> str:
    """Crystals on a plane, coloured by crystal system.

    Raises:
        ValueError: if the crystal systems are not known.
    """
    codes = embedding.crystal_system
    if codes is None:
        raise ValueError("expected a map with crystal systems")
    with drawing(*SIZE) as (figure, axes):
        size = _size(points)
        _scatter(axes, points[codes == UNKNOWN], COLOURS["rule"], size)
        for code, label in enumerate(SYSTEMS):
            if (codes == code).any():
                _scatter(axes, points[codes == code], block_colour(code), size)
                axes.scatter([], [], s=28, linewidths=0, color=block_colour(code), label=label)
        axes.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.07), ncols=4, handletextpad=0.1,
            fontsize=8.5, columnspacing=1.0,
        )  # fmt: skip
        _frame(axes, embedding, plane)
        description = f"Map of the features coloured by crystal system, {plane}"
        return to_svg(figure, description, description)


def plain_map(embedding: EmbeddingMap, plane: str, points: Points) -> str:
    """Crystals on a plane, where nothing is known that could colour them."""
    with drawing(*SIZE) as (figure, axes):
        _scatter(axes, points, COLOURS["accent"], _size(points))
        _frame(axes, embedding, plane)
        description = f"Map of the features, {plane}"
        return to_svg(figure, description, description)


def _scatter(axes: Axes, points: Points, colour: str, size: float) -> None:
    x, y = points.T
    axes.scatter(x, y, s=size, linewidths=0, alpha=0.8, color=colour, rasterized=True)


def _size(points: Points) -> float:
    """Area of a dot in square points: smaller where there are more."""
    return float(np.clip(8000 / len(points), 4.0, 14.0))


def _frame(axes: Axes, embedding: EmbeddingMap, plane: str) -> None:
    """Axes of a map: only the shares of the variance mean something."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    if plane == "UMAP":
        axes.set_xlabel("axes have no meaning; near is alike")
        return
    first, second = embedding.explained
    axes.set_xlabel(f"first, {100 * first:.0f} % of the variance")
    axes.set_ylabel(f"second, {100 * second:.0f} %")
