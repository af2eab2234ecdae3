"""Labels and predictions -> a parity plot of which every point can be pointed at.

Axes are drawn as all figures are; points lie above as links of SVG with their names as titles, so
that a browser shows who a point is without a script. Of very many crystals some are points, the
worst among them, and the others an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt
from matplotlib.ticker import MaxNLocator

from crystalssl.report.svg import COLOURS, drawing, to_svg

SIDE = 5.4
"""Width and height of the figure in inches."""
MOST_POINTS, WORST = 1500, 300
"""Crystals that are points at most, and how many of them are those of largest error."""
POINT = 2.7
"""Radius of a point in points of print."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One crystal.

    Attributes:
        x: label.
        y: prediction.
        title: what is said of it.
        link: page about it; may be empty.
        filled: whether its point is filled.
    """

    x: float
    y: float
    title: str
    link: str = ""
    filled: bool = True


def hover_parity(points: Sequence[Point], label: str, description: str) -> str:
    """Predictions against labels on equal axes, with the line on which both are equal.

    Args:
        points: the crystals.
        label: what is predicted, with its unit.
        description: text alternative.
    """
    at = np.array([(point.x, point.y) for point in points])  # (n, 2)
    shown = chosen_points(np.abs(at[:, 1] - at[:, 0]))
    low, high = float(at.min()), float(at.max())
    margin = 0.04 * (high - low or 1.0)
    with drawing(SIDE, SIDE) as (figure, axes):
        ends = (low - margin, high + margin)
        axes.plot(ends, ends, color=COLOURS["muted"], linewidth=1, linestyle=(0, (4, 3)))
        if len(shown) < len(points):
            axes.scatter(
                at[:, 0], at[:, 1], s=3, color=COLOURS["quiet"], linewidths=0, rasterized=True
            )
        axes.set(xlim=ends, ylim=ends, aspect="equal")
        axes.set(xlabel=f"{label}, label", ylabel=f"{label}, predicted out of fold")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(6))
        figure.canvas.draw()
        figure.set_layout_engine("none")  # where axes are now they stay
        inches = axes.transData.transform(at) / figure.dpi
        text = to_svg(figure, description)
    places = np.stack([inches[:, 0], SIDE - inches[:, 1]], axis=1) * 72
    circles = "\n".join(_circle(points[i], *places[i].tolist()) for i in shown.tolist())
    return text.removesuffix("</svg>") + f'<g class="points">\n{circles}\n</g>\n</svg>'


def chosen_points(errors: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Rows that become points: all, or the worst and others at even distances among the errors."""
    order = np.argsort(-errors, kind="stable")  # the largest first, drawn last
    if len(order) > MOST_POINTS:
        thinned = np.linspace(WORST, len(order) - 1, MOST_POINTS - WORST).astype(np.int64)
        order = order[np.concatenate([np.arange(WORST), np.unique(thinned)])]
    return order[::-1].astype(np.int64)


def _circle(point: Point, x: float, y: float) -> str:
    """One point with its title, inside a link where there is one."""
    look = (
        'fill="var(--accent)" fill-opacity="0.62"'
        if point.filled
        else 'fill="var(--page)" fill-opacity="0.4" stroke="var(--bad)"'
    )
    title = f"<title>{escape(point.title)}</title>"
    circle = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{POINT}" {look}>{title}</circle>'
    if not point.link:
        return circle
    return f'<a href="{escape(point.link)}" tabindex="-1">{circle}</a>'
