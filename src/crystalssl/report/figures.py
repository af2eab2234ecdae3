"""Rows and predictions of the linear probe -> figures, each as inline SVG.

One function a figure. They draw what they are given; nothing is fitted or scored here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from crystalssl.evaluation.scenario import ResultTable, Summary
from crystalssl.evaluation.scoring import MEAN
from crystalssl.report.svg import COLOURS, drawing, say, to_svg

Values = npt.NDArray[np.float64]

WIDTH = 5.2
"""Width of a figure in inches; the page scales it."""
VECTOR_POINTS = 1500
"""More points than this are drawn as an image, which keeps the page small."""
DASHED = (0, (4, 3))
"""Line of a baseline."""


def comparison_bars(
    table: ResultTable, property_name: str, split_kind: str, share: float | None, champion: str
) -> str:
    """Root mean square error of every feature set, ridge and least squares, with spreads.

    Args:
        table: rows of the linear probe.
        property_name: label column.
        split_kind: kind of split.
        share: share trained on, or None where splits are not told apart by it.
        champion: feature set that is drawn in the accent colour.
    """
    wanted: dict[str, Any] = {"property": property_name, "split_kind": split_kind}
    if share is not None:
        wanted["train_fraction"] = share
    summaries = table.summarize(["feature_set", "model"], metric="rmse", **wanted)
    found = {s.key: s for s in summaries}
    names = list(dict.fromkeys(s.key[0] for s in summaries if s.key[0] != MEAN))[::-1]
    floor = found.get((MEAN, MEAN))
    longest = floor.mean if floor is not None else max(s.mean for s in summaries)
    with drawing(WIDTH, 0.62 * len(names) + 1.0) as (figure, axes):
        for row, name in enumerate(names):
            for model, shift in (("ridge", 0.17), ("ols", -0.17)):
                if (name, model) in found:
                    own = found[name, model]
                    _bar(axes, row + shift, own, 1.12 * longest, model == "ridge", name == champion)
        if floor is not None:
            axes.axvline(floor.mean, color=COLOURS["muted"], linewidth=1, linestyle=DASHED)
            top = (floor.mean, len(names) - 0.45)
            say(axes, "mean of labels", top, shift=(-4, 0), ha="right", va="bottom")
        axes.set_xlim(0, 1.3 * longest)
        axes.set_ylim(-0.6, len(names) - 0.1)
        axes.set_yticks(range(len(names)), [table.record.labels.get(n, n) for n in names])
        axes.tick_params(axis="y", labelcolor=COLOURS["ink"])
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(f"RMSE{_unit(table, property_name)}; filled: ridge, open: least squares")
        name = f"bars-{property_name}-{split_kind}-{share}"
        return to_svg(figure, name, f"Error of each feature set, {property_name}")


def _bar(
    axes: Axes, at: float, summary: Summary, longest: float, filled: bool, leading: bool
) -> None:
    """One bar with its spread; one that leaves the figure ends at its edge, with its number."""
    colour = COLOURS["accent"] if leading else COLOURS["quiet"]
    length, end = min(summary.mean, longest), min(summary.mean + summary.spread, longest)
    face = colour if filled else "none"
    axes.barh(at, length, 0.27, facecolor=face, edgecolor=colour, linewidth=1.2)
    if summary.mean <= longest:
        axes.plot([summary.mean - summary.spread, end], [at, at], color=COLOURS["ink"], lw=1.1)
    text = f"{summary.mean:.3f}" if summary.mean < 100 else f"{summary.mean:,.0f}"
    weight = "bold" if filled and leading else "normal"
    say(axes, text, (end, at), colour="ink" if filled else "muted", fontweight=weight)


def share_lines(table: ResultTable, property_name: str, split_kind: str, champion: str) -> str:
    """Error under ridge against the share of the data trained on, a line per feature set."""
    by = ["feature_set", "train_fraction"]
    wanted = {"property": property_name, "split_kind": split_kind, "metric": "rmse"}
    entries = table.summarize(by, model="ridge", **wanted)
    with drawing(WIDTH, 2.9) as (figure, axes):
        for name in dict.fromkeys(entry.key[0] for entry in entries):
            own = sorted((e for e in entries if e.key[0] == name), key=lambda e: float(e.key[1]))
            shares, means = [100 * e.key[1] for e in own], [e.mean for e in own]
            colour = COLOURS["accent"] if name == champion else COLOURS["quiet"]
            axes.errorbar(shares, means, yerr=[e.spread for e in own], color=colour, capsize=2)
            axes.plot(shares, means, "o", color=colour, markersize=4)
            label = table.record.labels.get(name, name)
            say(axes, label, (shares[-1], means[-1]), colour="ink", annotation_clip=False)
        axes.set_title(f"{property_name.replace('_', ' ')}, {split_kind} splits")
        axes.set_xlabel("share trained on (%)")
        axes.set_ylabel(f"RMSE{_unit(table, property_name)}")
        name = f"shares-{property_name}-{split_kind}"
        return to_svg(figure, name, f"Error against share trained on, {property_name}")


def parity(truth: Values, guess: Values, title: str, unit: str, *, leading: bool) -> str:
    """Predicted against true values of test crystals, with the diagonal.

    Args:
        truth: (m,) labels.
        guess: (m,) predictions.
        title: name of the feature set.
        unit: unit of both.
        leading: whether to draw it in the accent colour.
    """
    low, high = float(truth.min()), float(truth.max())
    margin = 0.06 * (high - low)
    limits = (low - margin, high + margin)
    outside = int(((guess < limits[0]) | (guess > limits[1])).sum())
    colour = COLOURS["accent"] if leading else COLOURS["muted"]
    with drawing(3.5, 3.6) as (figure, axes):
        axes.plot(limits, limits, color=COLOURS["muted"], linewidth=1, linestyle=DASHED)
        dots = axes.scatter(truth, np.clip(guess, *limits), s=9, linewidths=0, color=colour)
        dots.set(alpha=0.45, zorder=3, rasterized=len(truth) > VECTOR_POINTS)
        axes.set(xlim=limits, ylim=limits, aspect="equal", title=title)
        axes.set_xlabel(f"true ({unit})" if unit else "true")
        axes.set_ylabel(f"predicted ({unit})" if unit else "predicted")
        if outside:
            corner: dict[str, Any] = {"xycoords": "axes fraction", "ha": "right", "va": "bottom"}
            say(axes, f"{outside} beyond the frame, at its edge", (0.98, 0.02), **corner)
        return to_svg(figure, f"parity-{title}-{unit}", f"{title}: predicted against true values")


def _unit(table: ResultTable, property_name: str) -> str:
    unit = table.where(property=property_name)[0].unit
    return f" ({unit})" if unit else ""
