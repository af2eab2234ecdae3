"""Rows and predictions of the linear probe -> figures, each as inline SVG.

One function a figure. They draw what they are given; nothing is fitted or scored here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from crystalssl.evaluation.linear_probe import LinearProbe
from crystalssl.evaluation.scenario import Summary
from crystalssl.evaluation.scoring import MEAN
from crystalssl.report.intervals import DASHED, WIDTH, Line, Mark, dots, lines
from crystalssl.report.probe_tables import Setting, champion_of, ours_of, rows_of
from crystalssl.report.svg import COLOURS, drawing, say, to_svg
from crystalssl.report.wording import label_of, number, with_unit

Values = npt.NDArray[np.float64]

VECTOR_POINTS = 1500
"""More points than this are drawn as an image, which keeps the page small."""

__all__ = ["DASHED", "WIDTH", "Values", "comparison_bars", "parity", "share_lines"]


def comparison_bars(probe: LinearProbe, setting: Setting) -> str:
    """Root mean square error of every feature set, ridge and least squares, with intervals.

    Args:
        probe: the linear probe.
        setting: the comparison.
    """
    part = rows_of(probe.table, setting)
    ours = ours_of(part)
    found = {s.key: s for s in part.summarize(["feature_set", "model"], metric="rmse")}
    best = {m: min((s.mean for k, s in found.items() if k[1] == m), default=0.0) for m in MODELS}
    names = [name for name in dict.fromkeys(key[0] for key in found) if name != MEAN]
    rows = []
    for name in names:
        marks = []
        for model in MODELS:
            summary = found.get((name, model))
            if summary is not None:
                low, high = _ends(probe, setting, name, model, summary)
                colour = "accent" if name in ours else "muted"
                marks.append(
                    Mark(
                        at=summary.mean, low=low, high=high, colour=colour,
                        filled=model == "ridge", text=number(summary.mean),
                        strong=summary.mean <= best[model],
                    )
                )  # fmt: skip
        rows.append((label_of(part.record.labels, name), marks))
    floor = found.get((MEAN, MEAN))
    longest = max(m.at for _, marks in rows for m in marks if m.filled)
    at = floor.mean if floor is not None and floor.mean < 4 * longest else None
    label = with_unit("RMSE", setting.unit)
    return dots(
        _within(rows, 1.15 * max(at or 0.0, longest)),
        f"{label}; dashed: mean of the training labels" if at is not None else label,
        f"Error of each feature set, {setting.title()}",
        reference=at,
        key=(("ridge", "ink", True), ("least squares", "ink", False)),
    )


MODELS = ("ridge", "ols")


def _within(rows: list[tuple[str, list[Mark]]], longest: float) -> list[tuple[str, list[Mark]]]:
    """The same rows; errors beyond the longest are put at the edge, with their number."""
    return [
        (
            name,
            [
                mark
                if mark.at <= longest
                else Mark(
                    at=longest, colour=mark.colour, filled=mark.filled, text=mark.text, beyond=True
                )
                for mark in marks
            ],
        )
        for name, marks in rows
    ]  # fmt: skip


def _ends(
    probe: LinearProbe, setting: Setting, name: str, model: str, summary: Summary
) -> tuple[float | None, float | None]:
    """The stored interval of an error, else its spread between splits."""
    for entry in probe.margins:
        if entry.model == model and setting.is_of(entry) and entry.champion_low is not None:
            if entry.champion == name:
                return entry.champion_low, entry.champion_high
            if entry.baseline == name:
                return entry.baseline_low, entry.baseline_high
    if summary.count > 1:
        return summary.mean - summary.spread, summary.mean + summary.spread
    return None, None


def share_lines(probe: LinearProbe, property_name: str, split_kind: str) -> str:
    """Error under ridge against the share of the data trained on, a line per feature set."""
    table = probe.table
    wanted: dict[str, Any] = {"property": property_name, "split_kind": split_kind}
    entries = table.summarize(
        ["feature_set", "train_fraction"], model="ridge", metric="rmse", **wanted
    )
    unit = table.where(**wanted)[0].unit
    champion, ours = champion_of(table), ours_of(table)
    drawn = []
    for name in dict.fromkeys(entry.key[0] for entry in entries):
        own = sorted((e for e in entries if e.key[0] == name), key=lambda e: float(e.key[1]))
        marks = []
        for entry in own:
            share = float(entry.key[1])
            setting = Setting(property=property_name, unit=unit, split_kind=split_kind, share=share)
            low, high = _ends(probe, setting, name, "ridge", entry)
            marks.append(Mark(at=entry.mean, low=low, high=high))
        drawn.append(
            Line(
                label=label_of(table.record.labels, name),
                shares=tuple(100 * float(e.key[1]) for e in own),
                marks=tuple(marks),
                leading=name in ours,
                dashed=name in ours and name != champion,
            )
        )
    description = f"Error against share trained on, {property_name}, {split_kind}"
    return lines(drawn, "share trained on (%)", with_unit("RMSE", unit), description)


def parity(
    truth: Values, guess: Values, title: str, property_name: str, unit: str, *, leading: bool
) -> str:
    """Predicted against true values of test crystals, with the diagonal.

    Args:
        truth: (m,) labels.
        guess: (m,) predictions.
        title: name of the feature set.
        property_name: label column.
        unit: unit of both.
        leading: whether to draw it in the accent colour.
    """
    low, high = float(truth.min()), float(truth.max())
    margin = 0.06 * (high - low)
    limits = (low - margin, high + margin)
    outside = int(((guess < limits[0]) | (guess > limits[1])).sum())
    colour = COLOURS["accent"] if leading else COLOURS["muted"]
    name = property_name.replace("_", " ")
    with drawing(4.2, 4.3) as (figure, axes):
        axes.plot(limits, limits, color=COLOURS["muted"], linewidth=1, linestyle=DASHED)
        dots = axes.scatter(truth, np.clip(guess, *limits), s=9, linewidths=0, color=colour)
        dots.set(alpha=0.45, zorder=3, rasterized=len(truth) > VECTOR_POINTS)
        axes.set(xlim=limits, ylim=limits, aspect="equal", title=title)
        axes.set_xlabel(f"true {with_unit(name, unit)}")
        axes.set_ylabel(f"predicted {with_unit('', unit).strip()}")
        if outside:
            corner: dict[str, Any] = {"xycoords": "axes fraction", "ha": "right", "va": "bottom"}
            say(axes, f"{outside} beyond the frame, at its edge", (0.98, 0.02), **corner)
        description = f"{title}: predicted against true values, {name}"
        return to_svg(figure, description, description)
