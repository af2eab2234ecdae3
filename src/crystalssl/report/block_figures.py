"""What pre-training stored of each block -> figures, each as inline SVG.

Learning curves, effective rank, how full the panel is, and the map of the features. Colours of
blocks follow the registry.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import FuncFormatter, MaxNLocator

from crystalssl.hub.card import TaskFigure
from crystalssl.report.embedding import SYSTEMS, EmbeddingMap
from crystalssl.report.figures import DASHED, WIDTH, Values
from crystalssl.report.run_folder import BlockRun
from crystalssl.report.svg import COLOURS, block_colour, drawing, say, to_svg
from crystalssl.representation.panel import GroupSparsity

HEAT = LinearSegmentedColormap.from_list("heat", ["#2a5caa", "#3f9c9c", "#e0b84a", "#cf5540"])
"""Colours of a continuous property; readable on light and dark pages."""


def task_curve(block: BlockRun, task: TaskFigure) -> str:
    """The readable figure of one task over epochs, beside its trivial baseline."""
    epochs = [row["epoch"] + 1 for row in block.history]
    model = [row.get(f"{task.task}/model", np.nan) for row in block.history]
    trivial = [row.get(f"{task.task}/{task.trivial}", np.nan) for row in block.history]
    colour = block_colour(block.index)
    with drawing(3.4, 1.95) as (figure, axes):
        axes.plot(epochs, trivial, color=COLOURS["muted"], linewidth=1.2, linestyle=DASHED)
        axes.plot(epochs, model, color=colour, marker="o" if len(epochs) < 3 else None)
        texts = ((trivial, task.trivial, "muted"), (model, f"{model[-1]:.3g}", "ink"))
        for values, text, shade in texts:
            if np.isfinite(values[-1]):
                end = (epochs[-1], values[-1])
                say(axes, text, end, shift=(5, 0), colour=shade, annotation_clip=False)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.margins(x=0.02, y=0.16)
        axes.set_xlabel("epoch")
        return to_svg(figure, f"task-{block.name}-{task.task}", f"{task.task} over epochs")


def rank_bars(blocks: Sequence[BlockRun]) -> str:
    """Effective rank of each block's features as a share of their number."""
    shown = [block for block in blocks if "effective_rank" in block.monitors]
    entries = [
        (block.name, block_colour(block.index), block.monitors["effective_rank"], block.width)
        for block in shown
    ]
    return _share_bars(
        [
            (name, colour, rank / (width or rank), f"{rank:.0f} of {width or '?'}")
            for name, colour, rank, width in entries
        ],
        "effective rank / number of features",
        "Effective rank of each block's features",
    )


def sparsity_bars(groups: Sequence[GroupSparsity]) -> str:
    """Share of the panel's numbers that are not zero, per column group."""
    return _share_bars(
        [
            (group.name, block_colour(index), group.filled, f"of {group.numbers:,}")
            for index, group in enumerate(groups)
        ],
        "share of numbers that are not zero",
        "Share of filled numbers per panel group",
    )


def property_map(embedding: EmbeddingMap, name: str) -> str:
    """Crystals on the map, coloured by a property."""
    values = embedding.properties[name]
    known = np.isfinite(values)
    unit = embedding.units[name]
    with drawing(4.2, 3.5) as (figure, axes):
        _points(axes, embedding.points[~known], COLOURS["rule"])
        low, high = np.percentile(values[known], [2, 98]) if known.any() else (0.0, 1.0)
        x, y = embedding.points[known].T
        drawn = axes.scatter(x, y, c=values[known], cmap=HEAT, s=5, vmin=low, vmax=high)
        drawn.set(linewidths=0, alpha=0.8, rasterized=True)
        bar = figure.colorbar(drawn, ax=axes, shrink=0.8, aspect=28, pad=0.02)
        bar.outline.set_linewidth(0)
        bar.locator = MaxNLocator(5)
        bar.set_label(name.replace("_", " ") + (f" ({unit})" if unit else ""))
        _map_axes(axes, embedding)
        return to_svg(figure, f"map-{name}", f"Map of the features coloured by {name}")


def system_map(embedding: EmbeddingMap) -> str:
    """Crystals on the map, coloured by crystal system.

    Raises:
        ValueError: if the crystal systems are not known.
    """
    codes = embedding.crystal_system
    if codes is None:
        raise ValueError("expected a map with crystal systems")
    with drawing(4.2, 3.5) as (figure, axes):
        for code, label in enumerate(SYSTEMS):
            if (codes == code).any():
                _points(axes, embedding.points[codes == code], block_colour(code))
                axes.scatter([], [], s=28, linewidths=0, color=block_colour(code), label=label)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handletextpad=0.1, fontsize=8.5)
        _map_axes(axes, embedding)
        return to_svg(figure, "map-system", "Map of the features coloured by crystal system")


def _share_bars(rows: Sequence[tuple[str, str, float, str]], label: str, description: str) -> str:
    """Shares of one as bars: name, colour, share and a remark for each."""
    with drawing(WIDTH, 0.38 * len(rows) + 0.85) as (figure, axes):
        for at, (_, colour, share, remark) in enumerate(rows):
            axes.barh(at, 1.0, 0.5, color=COLOURS["rule"])
            axes.barh(at, share, 0.5, color=colour)
            say(axes, f"{100 * share:.0f} %", (1.0, at), colour="ink", fontweight="bold")
            say(axes, remark, (1.0, at), shift=(36, 0))
        axes.set_yticks(range(len(rows)), [name.replace("_", " ") for name, *_ in rows])
        axes.tick_params(axis="y", labelcolor=COLOURS["ink"])
        axes.set(xlim=(0, 1.42), ylim=(len(rows) - 0.5, -0.5), xticks=[0, 0.25, 0.5, 0.75, 1.0])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.set_xlabel(label, x=0.35)
        return to_svg(figure, description, description)


def _points(axes: Axes, points: Values, colour: str) -> None:
    x, y = points.T
    axes.scatter(x, y, s=5, linewidths=0, alpha=0.75, color=colour, rasterized=True)


def _map_axes(axes: Axes, embedding: EmbeddingMap) -> None:
    """Axes of a map: only their share of the variance means something."""
    first, second = embedding.explained
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_xlabel(f"first component, {100 * first:.0f} % of the variance")
    axes.set_ylabel(f"second, {100 * second:.0f} %")
