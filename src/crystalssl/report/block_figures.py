"""What pre-training stored of each block -> figures, each as inline SVG.

Learning curves, effective rank, and how full the panel is. Colours of blocks follow the registry.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator

from crystalssl.hub.card import TaskFigure
from crystalssl.report.block_runs import BlockRun
from crystalssl.report.intervals import DASHED, WIDTH
from crystalssl.report.svg import COLOURS, block_colour, drawing, say, to_svg
from crystalssl.representation.panel import GroupSparsity


def task_curve(block: BlockRun, task: TaskFigure) -> str:
    """The readable figure of one task over epochs, beside its trivial baseline."""
    epochs = [row["epoch"] + 1 for row in block.history]
    model = [row.get(f"{task.task}/model", np.nan) for row in block.history]
    trivial = [row.get(f"{task.task}/{task.trivial}", np.nan) for row in block.history]
    colour = block_colour(block.index)
    with drawing(3.4, 1.95) as (figure, axes):
        axes.plot(epochs, trivial, color=COLOURS["muted"], linewidth=1.2, linestyle=DASHED)
        axes.plot(epochs, model, color=colour, marker="o" if len(epochs) < 3 else None)
        apart = _apart(model[-1] - trivial[-1], [*model, *trivial])
        texts = ((trivial, task.trivial, "muted"), (model, f"{model[-1]:.3g}", "ink"))
        for values, text, shade in texts:
            if np.isfinite(values[-1]):
                end = (epochs[-1], values[-1])
                shift = (5, apart if shade == "ink" else -apart)
                say(axes, text, end, shift=shift, colour=shade, annotation_clip=False)
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


def _apart(gap: float, values: Sequence[float]) -> float:
    """Points of print by which two labels at the ends of lines move so that they do not touch."""
    span = float(np.nanmax(values) - np.nanmin(values)) if np.isfinite(values).any() else 0.0
    if not np.isfinite(gap) or abs(gap) > 0.12 * span:
        return 0.0
    return 5.0 if gap >= 0 else -5.0


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
