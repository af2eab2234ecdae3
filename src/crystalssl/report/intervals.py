"""Numbers with intervals -> figures: rows of dots, and lines over a share; each as inline SVG.

Every scenario draws with these two. A dot is a mean, its line the interval that was stored beside
it; what leaves the frame ends in a triangle at its edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from crystalssl.report.svg import COLOURS, drawing, say, to_svg

WIDTH = 4.6
"""Width of a figure in inches; the page scales it."""
DASHED = (0, (4, 3))
"""Line of a baseline."""
MARKERS = ("s", "D", "^", "v", "P", "X")
"""Markers that tell grey lines apart."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """A mean with its interval.

    Attributes:
        at: mean.
        low: lower end, or None.
        high: upper end, or None.
        colour: name in ``svg.COLOURS`` or a colour.
        filled: whether the dot is filled.
        text: number beside it.
        strong: whether the number is bold.
        beyond: whether the mean is right of the frame, so that a triangle stands at its edge.
    """

    at: float
    low: float | None = None
    high: float | None = None
    colour: str = "accent"
    filled: bool = True
    text: str = ""
    strong: bool = False
    beyond: bool = False

    @property
    def ends(self) -> tuple[float, float]:
        """Ends of the interval; the mean where it is not known."""
        low, high = self.low, self.high
        return (self.at if low is None else low, self.at if high is None else high)


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """Means over shares of something, for one name.

    Attributes:
        label: name, written at the end of the line.
        shares: positions, rising.
        marks: means with intervals.
        leading: whether it is drawn in the accent colour.
        dashed: whether it is dashed.
    """

    label: str
    shares: tuple[float, ...]
    marks: tuple[Mark, ...]
    leading: bool = False
    dashed: bool = False


def dots(
    rows: Sequence[tuple[str, Sequence[Mark]]],
    label: str,
    description: str,
    *,
    reference: float | None = None,
    key: Sequence[tuple[str, str, bool]] = (),
    width: float = WIDTH,
) -> str:
    """A row of dots for each name, with intervals.

    Args:
        rows: names with their marks; an empty list makes the name a heading.
        label: what is shown, with its unit.
        description: for those who cannot see it; also keeps the ids of figures apart.
        reference: where a dashed line stands.
        key: what the colours mean: text, colour, filled.
        width: inches.
    """
    gap = 0.21
    heights = [max(len(marks), 1) * gap + 0.16 for _, marks in rows]
    middles = np.cumsum([0.0, *heights[:-1]]) + np.array(heights) / 2
    tall = sum(heights) + 0.75 + (0.3 if key else 0.0)
    low, high = _limits([mark for _, marks in rows for mark in marks], reference)
    with drawing(width, tall) as (figure, axes):
        if reference is not None:
            axes.axvline(reference, color=COLOURS["muted"], linewidth=1, linestyle=DASHED)
        for middle, (_, marks) in zip(middles, rows, strict=True):
            for place, mark in enumerate(marks):
                _dot(axes, middle + (place - (len(marks) - 1) / 2) * gap, mark, (low, high))
        axes.set(xlim=(low, high + 0.27 * (high - low)), ylim=(sum(heights), 0.0))
        axes.set_yticks(middles, [name for name, _ in rows])
        axes.tick_params(axis="y", labelcolor=COLOURS["ink"])
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        ticks = [t for t in MaxNLocator(5).tick_values(low, high) if low <= t <= high]
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.set_xlabel(label)
        _key(axes, key)
        return to_svg(figure, description, description)


def lines(
    entries: Sequence[Line],
    x_label: str,
    y_label: str,
    description: str,
    *,
    logarithmic: bool = False,
    floor: float | None = None,
    size: tuple[float, float] = (4.6, 3.1),
) -> str:
    """Means over shares, a line for each name, with intervals.

    Args:
        entries: the lines.
        x_label: what the shares are.
        y_label: what is shown, with its unit.
        description: for those who cannot see it; also keeps the ids of figures apart.
        logarithmic: whether the shares are spread logarithmically.
        floor: lower edge of the frame; None where everything is to be seen.
        size: inches.
    """
    every = [mark for line in entries for mark in line.marks]
    shown = [end for mark in every for end in mark.ends]
    bottom, top = min(shown), max(shown)
    if floor is not None:
        bottom = max(bottom, floor)
        top = max(top, bottom + 0.1)
    pad = 0.05 * (top - bottom or 1.0)
    shares = sorted({share for line in entries for share in line.shares})
    with drawing(*size) as (figure, axes):
        grey = 0
        for line in sorted(entries, key=lambda line: line.leading):
            colour = COLOURS["accent"] if line.leading else COLOURS["quiet"]
            marker = "o" if line.leading else MARKERS[grey % len(MARKERS)]
            grey += not line.leading
            _line(axes, line, colour, marker)
        if logarithmic:
            axes.set_xscale("log")
            axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(shares, [f"{share:g}" for share in shares])
        axes.set_ylim(bottom - pad, top + pad)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.margins(x=0.03)
        axes.grid(axis="x", visible=False)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        _end_labels(axes, entries, size[1])
        return to_svg(figure, description, description)


def colour_of(name: str) -> str:
    """A colour by its name in ``COLOURS``, or as it is."""
    return COLOURS.get(name, name)


def _limits(marks: Sequence[Mark], reference: float | None) -> tuple[float, float]:
    """Frame around all means; intervals may stretch it, but not more than double it."""
    means = [mark.at for mark in marks] + ([] if reference is None else [reference])
    low, high = min(means), max(means)
    room = 0.6 * (high - low) or max(abs(high), 1e-3)
    low = max(min(mark.ends[0] for mark in marks), low - room) if marks else low
    high = min(max(mark.ends[1] for mark in marks), high + room) if marks else high
    low, high = min(low, *means), max(high, *means)
    pad = 0.04 * (high - low or 1.0)
    return low - pad, high + pad


def _dot(axes: Axes, at: float, mark: Mark, frame: tuple[float, float]) -> None:
    colour = colour_of(mark.colour)
    low, high = np.clip(mark.ends, *frame)
    axes.plot([low, high], [at, at], color=colour, linewidth=1.6, alpha=0.75)
    for end, cut, arrow in ((low, mark.ends[0] < low, "<"), (high, mark.ends[1] > high, ">")):
        if cut:
            axes.plot([end], [at], arrow, color=colour, markersize=4)
    face = colour if mark.filled else COLOURS["page"]
    shape = ">" if mark.beyond else "o"
    axes.plot([mark.at], [at], shape, markersize=6, mfc=face, mec=colour, mew=1.5, zorder=3)
    weight = "bold" if mark.strong else "normal"
    shade = "ink" if mark.filled else "muted"
    box = {"facecolor": COLOURS["page"], "edgecolor": "none", "pad": 0.6}
    place = (max(high, mark.at), at)
    say(axes, mark.text, place, shift=(8, 0), colour=shade, fontweight=weight, bbox=box)


def _line(axes: Axes, line: Line, colour: str, marker: str) -> None:
    means = [mark.at for mark in line.marks]
    style = DASHED if line.dashed else "-"
    front = 3 if line.leading else 2
    axes.plot(line.shares, means, color=colour, linestyle=style, zorder=front)
    face = COLOURS["page"] if line.dashed else colour
    axes.plot(line.shares, means, marker, color=colour, mfc=face, markersize=4.5, zorder=front)
    for share, mark in zip(line.shares, line.marks, strict=True):
        axes.plot([share, share], mark.ends, color=colour, linewidth=1.2, alpha=0.7, zorder=front)


def _end_labels(axes: Axes, entries: Sequence[Line], tall: float) -> None:
    """Names at the ends of the lines, moved apart where they would touch."""
    bottom, top = axes.get_ylim()
    gap = (top - bottom) * 0.165 / max(tall - 0.7, 1.0)
    ends = sorted(
        (min(max(line.marks[-1].at, bottom), top), line.shares[-1], number)
        for number, line in enumerate(entries)
    )
    places = _apart([end[0] for end in ends], gap)
    reach = points_per_unit(tall, top - bottom)
    last = max(end[1] for end in ends)
    for (height, _, number), place in zip(ends, places, strict=True):
        line = entries[number]
        shift = (9, (place - height) * reach)
        say(
            axes, line.label, (last, height), shift=shift, annotation_clip=False,
            colour="accent" if line.leading else "muted", fontsize=8,
            fontweight="bold" if line.leading and not line.dashed else "normal",
        )  # fmt: skip


def points_per_unit(tall: float, span: float) -> float:
    """Points of print per unit of the vertical axis of a figure, about."""
    return 72 * (tall - 0.55) / span


def _apart(places: Sequence[float], gap: float) -> list[float]:
    """Rising places moved apart until neighbours keep a distance, staying near where they were."""
    moved = list(places)
    for _ in range(200):
        touched = False
        for i in range(len(moved) - 1):
            lack = gap - (moved[i + 1] - moved[i])
            if lack > 1e-9:
                moved[i] -= lack / 2
                moved[i + 1] += lack / 2
                touched = True
        if not touched:
            break
    return moved


def _key(axes: Axes, key: Sequence[tuple[str, str, bool]]) -> None:
    if not key:
        return
    handles = [
        Line2D(
            [], [], marker="o", linestyle="", markersize=6, mew=1.5, mec=colour_of(colour),
            mfc=colour_of(colour) if filled else COLOURS["page"], label=text,
        )
        for text, colour, filled in key
    ]  # fmt: skip
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=len(key),
        fontsize=8.5, handletextpad=0.1, columnspacing=1.2, borderaxespad=0.2,
    )  # fmt: skip
