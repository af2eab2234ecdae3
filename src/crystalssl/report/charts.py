"""Numbers with intervals -> figures as inline SVG: dots, lines, bars, curves, parity.

Every section draws with these. A dot is a mean, its line the 95 % interval that was stored beside
it; what lies far outside the others ends in a triangle at the edge of the frame. A description is
the text alternative of a figure and keeps the ids of figures apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from crystalssl.report.svg import COLOURS, colour_of, drawing, to_svg

Values = npt.NDArray[np.float64]

WIDTH = 4.6
"""Width of a figure in inches; the page scales it."""
TALL = 3.1
"""Height of a figure of lines in inches."""
DASHED = (0, (4, 3))
"""Line of a baseline."""
MARKERS = ("s", "D", "^", "v", "P", "X")
"""Markers that tell grey lines apart."""
LINE = 0.21
"""Inches between two dots of one row."""
LABELLED = 0.065
"""Bars below this fraction hold no number."""
VECTOR_POINTS = 1500
"""More points than this are drawn as an image, which keeps the page small."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """A mean with its interval.

    Attributes:
        at: mean.
        low: lower end, NaN where it is not known.
        high: upper end.
        colour: name in ``svg.COLOURS`` or a colour.
        filled: whether the dot is filled.
        text: number beside it.
    """

    at: float
    low: float = np.nan
    high: float = np.nan
    colour: str = "accent"
    filled: bool = True
    text: str = ""

    @property
    def ends(self) -> tuple[float, float]:
        """Ends of the interval; the mean where it is not known."""
        low, high = np.where(np.isnan([self.low, self.high]), self.at, [self.low, self.high])
        return float(low), float(high)


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """Means over train fractions, for one feature set.

    Attributes:
        label: name, written at the end of the line.
        at: positions, rising.
        marks: means with intervals.
        leading: whether it is drawn in the accent colour.
        dashed: whether it is dashed.
    """

    label: str
    at: tuple[float, ...]
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
) -> str:
    """A row of dots for each name, with intervals.

    Args:
        rows: names with their marks.
        label: what is shown, with its unit.
        description: text alternative.
        reference: where a dashed line stands.
        key: what the colours mean: text, colour, filled.
    """
    heights = [max(len(marks), 1) * LINE + 0.16 for _, marks in rows]
    middles = np.cumsum([0.0, *heights[:-1]]) + np.array(heights) / 2
    tall = sum(heights) + 0.75 + (0.3 if key else 0.0)
    low, high = _frame([mark for _, marks in rows for mark in marks], reference)
    with drawing(WIDTH, tall) as (figure, axes):
        if reference is not None:
            axes.axvline(reference, color=COLOURS["muted"], linewidth=1, linestyle=DASHED)
        for middle, (_, marks) in zip(middles, rows, strict=True):
            for index, mark in enumerate(marks):
                _dot(axes, middle + (index - (len(marks) - 1) / 2) * LINE, mark, (low, high))
        axes.set(xlim=(low, high + 0.27 * (high - low)), ylim=(sum(heights), 0.0))
        axes.set_yticks(middles, [name for name, _ in rows])
        axes.tick_params(axis="y", labelcolor=COLOURS["ink"])
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        ticks = [t for t in MaxNLocator(5).tick_values(low, high) if low <= t <= high]
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.set_xlabel(label)
        _key(axes, key)
        return to_svg(figure, description)


def lines(entries: Sequence[Line], x_label: str, y_label: str, description: str) -> str:
    """Means over train fractions, a line for each feature set, with intervals.

    Args:
        entries: the lines.
        x_label: what the positions are; logarithmic where they span more than a factor of ten.
        y_label: what is shown, with its unit.
        description: text alternative.
    """
    bottom, top = _frame([mark for line in entries for mark in line.marks], None)
    positions = sorted({at for line in entries for at in line.at})
    with drawing(WIDTH, TALL) as (figure, axes):
        for index, line in enumerate(sorted(entries, key=lambda line: line.leading)):
            _line(axes, line, "o" if line.leading else MARKERS[index % len(MARKERS)])
        if positions[-1] > 10 * positions[0]:
            axes.set_xscale("log")
            axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(positions, [f"{at:g}" for at in positions])
        axes.set(xlabel=x_label, ylabel=y_label, ylim=(bottom, top))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.margins(x=0.03)
        axes.grid(axis="x", visible=False)
        _end_labels(axes, entries)
        return to_svg(figure, description)


def stacked(bars: Sequence[tuple[str, Sequence[tuple[str, float, str]]]], description: str) -> str:
    """A bar for each name, its fractions of one side by side.

    Args:
        bars: names with their fractions (name, size, colour), the same ones in each.
        description: text alternative.
    """
    with drawing(WIDTH, 0.6 * len(bars) + 1.3) as (figure, axes):
        for row, (_, fractions) in enumerate(bars):
            start = 0.0
            for name, size, colour in fractions:
                label = name if row == 0 else None
                axes.barh(
                    row, size, 0.62, left=start, color=colour_of(colour), label=label,
                    edgecolor=COLOURS["page"], linewidth=1.5,
                )  # fmt: skip
                if size >= LABELLED:
                    axes.text(
                        start + size / 2, row, f"{100 * size:.0f}", ha="center", va="center",
                        fontsize=8.5, color=COLOURS["page"], fontweight="bold",
                    )  # fmt: skip
                start += size
        _percentages(axes, [name for name, _ in bars], 1.0)
        axes.legend(
            loc="upper left", bbox_to_anchor=(-0.02, -0.22 - 0.12 / max(len(bars), 1)), ncols=3,
            fontsize=8.5, handlelength=0.9, handleheight=0.9, columnspacing=1.2,
        )  # fmt: skip
        return to_svg(figure, description)


def fraction_bars(rows: Sequence[tuple[str, str, float, str]], label: str, description: str) -> str:
    """Fractions of one as bars.

    Args:
        rows: name, colour, fraction and a remark for each.
        label: what is shown.
        description: text alternative.
    """
    with drawing(WIDTH, 0.38 * len(rows) + 0.85) as (figure, axes):
        for at, (_, colour, fraction, remark) in enumerate(rows):
            axes.barh(at, 1.0, 0.5, color=COLOURS["rule"])
            axes.barh(at, fraction, 0.5, color=colour)
            _annotate(axes, f"{100 * fraction:.0f} %", (1.0, at), colour="ink", fontweight="bold")
            _annotate(axes, remark, (1.0, at), shift=(36, 0))
        _percentages(axes, [name.replace("_", " ") for name, *_ in rows], 1.46)
        axes.set_xlabel(label, x=0.35)
        return to_svg(figure, description)


def curve(
    values: tuple[Sequence[float], Sequence[float]], baseline: str, colour: str, description: str
) -> str:
    """A figure of merit over epochs, beside that of a baseline.

    Args:
        values: figure after each epoch, and that of the baseline; NaN where it is not known.
        baseline: name of the baseline.
        colour: colour of the curve.
        description: text alternative.
    """
    model, trivial = values
    epochs = range(1, len(model) + 1)
    with drawing(3.4, 1.95) as (figure, axes):
        axes.plot(epochs, trivial, color=COLOURS["muted"], linewidth=1.2, linestyle=DASHED)
        axes.plot(epochs, model, color=colour, marker="o" if len(model) < 3 else None)
        gap, span = model[-1] - trivial[-1], float(np.ptp(np.nan_to_num([*model, *trivial])))
        apart = 0.0 if not abs(gap) <= 0.12 * span else 5.0 if gap >= 0 else -5.0
        ends = ((trivial, baseline, "muted", -apart), (model, f"{model[-1]:.3g}", "ink", apart))
        for series, text, shade, shift in ends:
            if np.isfinite(series[-1]):
                end = (len(series), series[-1])
                _annotate(axes, text, end, shift=(5, shift), colour=shade, annotation_clip=False)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.margins(x=0.02, y=0.16)
        axes.set_xlabel("epoch")
        return to_svg(figure, description)


def parity(true: Values, predicted: Values, title: str, quantity: str, *, leading: bool) -> str:
    """Predicted against true values of test crystals, with the diagonal.

    Args:
        true: (m,) labels.
        predicted: (m,) predictions.
        title: name of the feature set.
        quantity: what is predicted, with its unit.
        leading: whether to draw it in the accent colour.
    """
    low, high = float(true.min()), float(true.max())
    pad = 0.06 * (high - low) or 1.0
    limits = (low - pad, high + pad)
    outside = int(((predicted < limits[0]) | (predicted > limits[1])).sum())
    with drawing(4.2, 4.3) as (figure, axes):
        axes.plot(limits, limits, color=COLOURS["muted"], linewidth=1, linestyle=DASHED)
        points = axes.scatter(true, np.clip(predicted, *limits), s=9, linewidths=0, alpha=0.45)
        points.set(color=COLOURS["accent" if leading else "muted"], zorder=3)
        points.set_rasterized(len(true) > VECTOR_POINTS)
        axes.set(xlim=limits, ylim=limits, aspect="equal", title=title)
        axes.set(xlabel=f"true {quantity}", ylabel=f"predicted {quantity}")
        if outside:
            corner: dict[str, Any] = {"xycoords": "axes fraction", "ha": "right", "va": "bottom"}
            _annotate(axes, f"{outside} beyond the frame, at its edge", (0.98, 0.02), **corner)
        description = f"{title}: predicted against true values, {quantity}"
        return to_svg(figure, description)


def _frame(marks: Sequence[Mark], reference: float | None) -> tuple[float, float]:
    """Frame around all means but far outliers; intervals stretch it, but not more than double it.

    Far outliers are beyond three interquartile ranges from the quartiles (Tukey's outer fences),
    and beyond twice the median, which keeps them where most means are equal.
    """
    means = np.array([mark.at for mark in marks], float)
    first, third = np.percentile(means, [25, 75])
    reach = max(3 * (third - first), 2 * float(np.median(np.abs(means))))
    inside = means[(means >= first - reach) & (means <= third + reach)].tolist()
    inside += [] if reference is None else [reference]
    low, high = min(inside), max(inside)
    room = 0.6 * (high - low) or max(abs(high), 1e-3)
    low = min(low, max(min(mark.ends[0] for mark in marks), low - room))
    high = max(high, min(max(mark.ends[1] for mark in marks), high + room))
    pad = 0.04 * (high - low or 1.0)
    return low - pad, high + pad


def _dot(axes: Axes, y: float, mark: Mark, frame: tuple[float, float]) -> None:
    colour = colour_of(mark.colour)
    at = float(np.clip(mark.at, *frame))
    low, high = (float(np.clip(end, *frame)) for end in mark.ends)
    axes.plot([low, high], [y, y], color=colour, linewidth=1.6, alpha=0.75)
    for end, cut, arrow in ((low, mark.ends[0] < low, "<"), (high, mark.ends[1] > high, ">")):
        if cut:
            axes.plot([end], [y], arrow, color=colour, markersize=4)
    face = colour if mark.filled else COLOURS["page"]
    shape = "o" if at == mark.at else ">" if at < mark.at else "<"
    axes.plot([at], [y], shape, markersize=6, mfc=face, mec=colour, mew=1.5, zorder=3)
    _annotate(
        axes, mark.text, (max(high, at), y), shift=(8, 0),
        colour="ink" if mark.filled else "muted",
        bbox={"facecolor": COLOURS["page"], "edgecolor": "none", "pad": 0.6},
    )  # fmt: skip


def _line(axes: Axes, line: Line, marker: str) -> None:
    colour = COLOURS["accent" if line.leading else "quiet"]
    front = 3 if line.leading else 2
    means = [mark.at for mark in line.marks]
    axes.plot(line.at, means, color=colour, linestyle=DASHED if line.dashed else "-", zorder=front)
    face = COLOURS["page"] if line.dashed else colour
    axes.plot(line.at, means, marker, color=colour, mfc=face, markersize=4.5, zorder=front)
    for at, mark in zip(line.at, line.marks, strict=True):
        axes.plot([at, at], mark.ends, color=colour, linewidth=1.2, alpha=0.7, zorder=front)


def _end_labels(axes: Axes, entries: Sequence[Line]) -> None:
    """Names at the ends of the lines, moved apart where they would touch."""
    bottom, top = axes.get_ylim()
    order = sorted(entries, key=lambda line: line.marks[-1].at)
    heights = np.clip([line.marks[-1].at for line in order], bottom, top)
    moved = heights.copy()
    gap = (top - bottom) * 0.165 / (TALL - 0.7)
    for _ in range(200):  # neighbours that touch push each other apart, half the lack each
        lack = np.maximum(gap - np.diff(moved), 0.0)
        moved[:-1] -= lack / 2
        moved[1:] += lack / 2
    reach = 72 * (TALL - 0.55) / (top - bottom)  # points of print per unit of the axis
    last = max(line.at[-1] for line in entries)
    for line, height, label in zip(order, heights, moved, strict=True):
        _annotate(
            axes, line.label, (last, height), shift=(9, (label - height) * reach),
            annotation_clip=False, colour="accent" if line.leading else "muted", fontsize=8,
            fontweight="bold" if line.leading and not line.dashed else "normal",
        )  # fmt: skip


def _percentages(axes: Axes, names: Sequence[str], right: float) -> None:
    """Axes of horizontal bars of fractions, one for each name."""
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", labelcolor=COLOURS["ink"])
    axes.set(xlim=(0, right), ylim=(len(names) - 0.5, -0.5), xticks=[0, 0.25, 0.5, 0.75, 1.0])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _key(axes: Axes, key: Sequence[tuple[str, str, bool]]) -> None:
    """What the colours mean, above the frame."""
    for text, name, filled in key:
        colour = colour_of(name)
        face = colour if filled else COLOURS["page"]
        axes.plot([], [], "o", markersize=6, mew=1.5, mec=colour, mfc=face, label=text)
    if key:
        axes.legend(
            loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=len(key), fontsize=8.5,
            handletextpad=0.1, columnspacing=1.2, borderaxespad=0.2,
        )  # fmt: skip


def _annotate(
    axes: Axes,
    text: str,
    at: tuple[float, float],
    *,
    shift: tuple[float, float] = (6, 0),
    colour: str = "muted",
    **style: Any,
) -> None:
    """Write beside a point of the data; ``shift`` in points of print."""
    settings: dict[str, Any] = {"va": "center", "fontsize": 8.5, "color": COLOURS[colour]} | style
    axes.annotate(text, at, xytext=shift, textcoords="offset points", **settings)
