"""Tidy rows -> who wins against whom, by how much, in how many comparisons.

A comparison is one property under one kind and share of split. Margins are paired: both feature
sets saw the same rows in the same splits. Feeds the result table on screen and the report.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crystalssl.evaluation.scenario import ResultTable


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One feature set against another, same model, same splits.

    Attributes:
        property: label column.
        unit: its unit.
        split_kind: kind of split.
        train_fraction: share trained on; 0 for held-out folds, where it varies a little.
        model: model name.
        champion: feature set of interest.
        baseline: feature set it is held against.
        champion_rmse: mean over splits, in ``unit``.
        baseline_rmse: mean over splits, in ``unit``.
        margin: mean of baseline minus champion; the champion wins where it is positive.
        margin_spread: standard deviation of that difference over splits.
        wins: splits in which the champion is better.
        splits: splits in all.
        margin_low: lower end of the interval of the margin (``margins.py``), where it was drawn.
        margin_high: its upper end.
        champion_low: lower end of the interval of ``champion_rmse``.
        champion_high: its upper end.
        baseline_low: lower end of the interval of ``baseline_rmse``.
        baseline_high: its upper end.
    """

    property: str
    unit: str
    split_kind: str
    train_fraction: float
    model: str
    champion: str
    baseline: str
    champion_rmse: float
    baseline_rmse: float
    margin: float
    margin_spread: float
    wins: int
    splits: int
    margin_low: float | None = None
    margin_high: float | None = None
    champion_low: float | None = None
    champion_high: float | None = None
    baseline_low: float | None = None
    baseline_high: float | None = None


def share_of(split_kind: str, train_fraction: float) -> float:
    """The share trained on that tells comparisons apart; 0 for folds, which differ in size."""
    return 0.0 if split_kind == "held-out" else round(train_fraction, 1)


def compare(table: ResultTable, champion: str, model: str = "ridge") -> list[Comparison]:
    """Hold one feature set against every other.

    Args:
        table: rows of a scenario.
        champion: feature set of interest.
        model: model of both sides.

    Returns:
        One entry per comparison and baseline; none if the champion is not in the table.
    """
    rows = table.where(metric="rmse", model=model)
    settings: dict[tuple[str, str, float], dict[str, dict[tuple[int, int], float]]] = {}
    for row in rows:
        share = share_of(row.split_kind, row.train_fraction)
        found = settings.setdefault((row.property, row.split_kind, share), {})
        found.setdefault(row.feature_set, {})[(row.seed, row.fold)] = row.value
    units = {row.property: row.unit for row in rows}
    results = []
    for (name, kind, share), errors in settings.items():
        own = errors.get(champion, {})
        for baseline, other in errors.items():
            pairs = [(own[key], other[key]) for key in other if key in own]
            if baseline == champion or not pairs:
                continue
            mine, theirs = np.array(pairs).T
            margins = theirs - mine
            results.append(
                Comparison(
                    property=name,
                    unit=units[name],
                    split_kind=kind,
                    train_fraction=share,
                    model=model,
                    champion=champion,
                    baseline=baseline,
                    champion_rmse=float(mine.mean()),
                    baseline_rmse=float(theirs.mean()),
                    margin=float(margins.mean()),
                    margin_spread=float(margins.std(ddof=1)) if len(margins) > 1 else 0.0,
                    wins=int((margins > 0).sum()),
                    splits=len(margins),
                )
            )
    return results
