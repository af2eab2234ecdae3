"""Shares of a whole, with their intervals -> stacked bars, as inline SVG.

Drawn from stored rows for the section on SHAP shares (``shap_page.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.ticker import FuncFormatter

from crystalssl.report.intervals import WIDTH, colour_of
from crystalssl.report.svg import COLOURS, drawing, to_svg

ROOM = 0.065
"""Shares below this hold no number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """A part of a whole.

    Attributes:
        name: name of the part.
        share: its share.
        colour: its colour, or its name in ``svg.COLOURS``.
    """

    name: str
    share: float
    colour: str


def stacked(bars: Sequence[tuple[str, Sequence[Slice]]], description: str) -> str:
    """A bar for each name, its parts side by side.

    Args:
        bars: names with their parts, the same parts in each.
        description: for those who cannot see it; also keeps the ids of figures apart.
    """
    with drawing(WIDTH, 0.6 * len(bars) + 1.3) as (figure, axes):
        for row, (_, slices) in enumerate(bars):
            start = 0.0
            for part in slices:
                label = part.name if row == 0 else None
                axes.barh(
                    row, part.share, 0.62, left=start, color=colour_of(part.colour), label=label,
                    edgecolor=COLOURS["page"], linewidth=1.5,
                )  # fmt: skip
                if part.share >= ROOM:
                    axes.text(
                        start + part.share / 2, row, f"{100 * part.share:.0f}",
                        ha="center", va="center", fontsize=8.5, color=COLOURS["page"],
                        fontweight="bold",
                    )  # fmt: skip
                start += part.share
        axes.set_yticks(range(len(bars)), [name for name, _ in bars])
        axes.tick_params(axis="y", labelcolor=COLOURS["ink"])
        axes.set(xlim=(0, 1), ylim=(len(bars) - 0.5, -0.5), xticks=[0, 0.25, 0.5, 0.75, 1.0])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.legend(
            loc="upper left", bbox_to_anchor=(-0.02, -0.22 - 0.12 / max(len(bars), 1)), ncols=3,
            fontsize=8.5, handlelength=0.9, handleheight=0.9, columnspacing=1.2,
        )  # fmt: skip
        return to_svg(figure, description, description)
