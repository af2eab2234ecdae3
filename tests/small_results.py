"""Small results of every scenario: made-up numbers in the form that evaluations write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from crystalssl.evaluation.results import (
    Cell,
    Difference,
    Record,
    ResultRow,
    Results,
    Summary,
    Verdict,
    prediction_table,
)

TARGET, UNIT = "formation_energy_per_atom", "eV/atom"
LABELS = {
    "raw_ftcp": "Raw FTCP",
    "ssl": "Pre-trained encoders",
    "untrained": "Untrained encoders",
    "magpie": "Magpie statistics",
    "hybrid": "Raw FTCP beside pre-trained",
    "mean": "Mean of training labels",
}
CELL: dict[str, Any] = {
    "target": TARGET,
    "unit": UNIT,
    "split": "held-out",
    "train_fraction": 1.0,
    "head": "ridge",
    "n_train": 290,
}
"""What made-up cells, rows, summaries and differences have in common unless told otherwise."""


def cell(feature_set: str, true: Sequence[float], predicted: Sequence[float], **other: Any) -> Cell:
    """Predictions; the ids are counted, and each row has a formula of its own."""
    names = np.array([f"mp-{row}" for row in range(len(true))])
    groups = np.array([f"A{row}B" for row in range(len(true))])
    base = CELL | {"repeat": 0, "fold": 0, "n_features": 10, "ids": names, "groups": groups}
    arrays = {"true": np.array(true, float), "predicted": np.array(predicted, float)}
    base["n_test"] = len(true)
    return Cell(**(base | arrays | {"feature_set": feature_set} | other))


def row(feature_set: str, metric: str, value: float, **other: Any) -> ResultRow:
    """One number of one cell."""
    base = CELL | {"repeat": 0, "fold": 0, "n_features": 10, "n_test": 100}
    named = {"feature_set": feature_set, "metric": metric, "value": value}
    return ResultRow(**(base | named | other))


def summary(
    feature_set: str, metric: str, mean: float, reach: float = 0.03, **other: Any
) -> Summary:
    """A mean with an interval of ``reach`` on both sides."""
    base = CELL | {
        "n_features": 10,
        "n_test": 100,
        "standard_deviation": 0.01,
        "low": mean - reach,
        "high": mean + reach,
        "interval": "t over repeats",
        "repeats": 5,
    }
    named = {"feature_set": feature_set, "metric": metric, "mean": mean}
    return Summary(**(base | named | other))


def difference(
    feature_set: str, baseline: str, metric: str, away: float, reach: float = 0.03, **other: Any
) -> Difference:
    """A difference with an interval of ``reach`` on both sides."""
    base = CELL | {
        "baseline_head": other.get("head", "ridge"),
        "best_head": False,
        "value": 0.5 + away,
        "baseline_value": 0.5,
        "standard_deviation": 0.01,
        "low": away - reach,
        "high": away + reach,
        "interval": "t over repeats",
        "better": 5 if (away > 0) == (metric == "r2") else 0,
        "repeats": 5,
        "n_test": 100,
    }
    named = {"feature_set": feature_set, "baseline": baseline, "metric": metric}
    return Difference(**(base | named | {"difference": away} | other))


def record(
    scenario: str, config: dict[str, Any] | None = None, failed: bool = False, **counts: int
) -> Record:
    """A record with counts of a pre-training overlap, and one verdict."""
    overlap = {"weights": "default", "seen_unknown": "", "drop_seen": "none"}
    seen = {
        "tested": 100,
        "tested formulas": 80,
        "tested formulas seen": 7,
        "tested with a seen formula": 11,
        "tested structures seen": 0,
    }
    verdict = Verdict(
        target=TARGET,
        claim="Pre-trained encoders beat raw FTCP (ridge)",
        failed=failed,
        evidence="better in 4 of 4 comparisons",
    )
    return Record(
        scenario=scenario,
        question=f"What does {scenario} ask?",
        failure="Features that lose to raw FTCP.",
        protocol=f"Protocol of {scenario}.",
        proposed=["ssl"],
        config=(config or {}) | {"overlap": overlap},
        seeds=[0, 1],
        data_hash="ab" * 16,
        counts={"crystals": 400, "compared": 390} | counts | seen,
        labels=LABELS,
        versions={"python": "3.11"},
        verdicts=[verdict],
    )


def small_results(scenario: str = "linear_probe", *, failed: bool = False) -> Results:
    """Three feature sets with two repeats of three test rows: every file has some rows."""
    sets = {"raw_ftcp": 0.4, "ssl": 0.2, "mean": 0.9}
    cells = [
        cell(name, [0.0, 1.0, 2.0], [error, 1 + error, 2 - error], repeat=repeat)
        for name, error in sets.items()
        for repeat in (0, 1)
    ]
    return Results(
        record=record(scenario, failed=failed),
        rows=tuple(row(c.feature_set, "rmse", sets[c.feature_set], repeat=c.repeat) for c in cells),
        summary=tuple(summary(name, "rmse", error) for name, error in sets.items()),
        differences=(difference("ssl", "raw_ftcp", "rmse", 0.2 if failed else -0.2),),
        predictions=prediction_table(cells),
    )
