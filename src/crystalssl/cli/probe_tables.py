"""Results of the linear probe on screen: errors of every feature set, wins and their margins.

Called by ``run`` and ``evaluate linear-probe``; everything shown is also stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from crystalssl.cli.console import grid, say

if TYPE_CHECKING:
    from crystalssl.evaluation.linear_probe import LinearProbe
    from crystalssl.evaluation.scenario import ResultTable

FOLDS = (
    ("RMSE, ridge", "rmse", "ridge"),
    ("MAE, ridge", "mae", "ridge"),
    ("R2, ridge", "r2", "ridge"),
    ("RMSE, least squares", "rmse", "ols"),
)
"""Columns for folds: heading, metric, model."""
MODEL_WORDS = {"ols": "least squares", "ridge": "ridge"}
"""Models in words."""


def show_results(probe: LinearProbe) -> None:
    """Print the protocol, a table for each property and kind of split, and the wins."""
    table = probe.table
    say(table.record.protocol)
    units = {row.property: row.unit for row in table.rows}
    for name, kind in dict.fromkeys((row.property, row.split_kind) for row in table.rows):
        unit = f" ({units[name]})" if units[name] else ""
        if kind == "held-out":
            title = f"Linear probe, {name}{unit}, held-out formulas, mean and spread over folds"
            _show(table, title, name, kind, [(*column, None) for column in FOLDS])
            continue
        shares = sorted({r.train_fraction for r in table.where(split_kind=kind)}, reverse=True)
        columns = [
            (f"{'LS ' if model == 'ols' else ''}{_share(share)}", "rmse", model, share)
            for model in ("ridge", "ols")
            for share in shares
        ]
        title = f"Linear probe, {name}{unit}, {kind} splits, RMSE of ridge and least squares (LS)"
        _show(table, title, name, kind, columns)
    show_wins(probe)


def show_wins(probe: LinearProbe) -> None:
    """Print how often each champion beats each baseline, and by how much of its error."""
    from crystalssl.evaluation.margins import count_wins

    labels = probe.table.record.labels
    found = count_wins(probe.margins)
    for champion, model in dict.fromkeys((w.champion, w.model) for w in found):
        rows = [
            [
                labels.get(w.baseline, w.baseline),
                w.split_kind,
                f"{w.won} of {w.of}",
                f"{w.surely} of {w.of}",
                f"{100 * w.least:.1f} to {100 * w.most:.1f} %",
            ]
            for w in found
            if (w.champion, w.model) == (champion, model)
        ]
        title = f"Comparisons won by {labels.get(champion, champion)}, {MODEL_WORDS[model]}"
        columns = ["against", "splits", "won", "95 % interval above 0", "lower error by"]
        grid(title, columns, rows)


def _show(
    table: ResultTable,
    title: str,
    name: str,
    kind: str,
    columns: Sequence[tuple[str, str, str, float | None]],
) -> None:
    """A row for each feature set; columns are heading, metric, model, share trained on."""
    from crystalssl.evaluation.scoring import MEAN

    own = table.where(property=name, split_kind=kind)
    rows = []
    for part, width in {row.feature_set: row.n_features for row in own}.items():
        cells = [table.record.labels.get(part, part), f"{width:,}"]
        for _, metric, model, share in columns:
            wanted: dict[str, str | float] = {"property": name, "split_kind": kind}
            wanted["feature_set"] = part
            wanted["model"] = MEAN if part == MEAN else model
            if share is not None:
                wanted["train_fraction"] = share
            shown = table.summarize(["feature_set"], metric=metric, **wanted)
            cells.append(spread(shown[0].mean, shown[0].spread, shown[0].count) if shown else "")
        rows.append(cells)
    grid(title, ["features", "columns", *(heading for heading, *_ in columns)], rows)


def spread(mean: float, deviation: float, count: int) -> str:
    """A mean and its spread where there is one, three decimals unless they are large."""
    form = ".3f" if abs(mean) < 1000 else ".3g"
    return f"{mean:{form}} ± {deviation:{form}}" if count > 1 else f"{mean:{form}}"


def _share(share: float) -> str:
    return f"{round(100 * share)}/{round(100 * (1 - share))}"
