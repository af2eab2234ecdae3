"""Labels and out-of-fold predictions -> metrics over repeats with 95 % intervals.

Numbers have RMSE, MAE and R2; classes have accuracy, balanced accuracy, area under the ROC curve
and log loss. Intervals come from a bootstrap over groups, or from repeats where these differ more.
After fitting.py, before report.py. Source: Efron, Tibshirani, An Introduction to the Bootstrap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crystalssl.evaluation.statistics import resample_counts, scores, t_interval
from crystalssl.models.contract import Kind
from crystalssl.properties.calibration import probabilities, true_classes

Floats = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
METRICS: dict[Kind, tuple[str, ...]] = {
    "regression": ("rmse", "mae", "r2"),
    "classification": ("accuracy", "balanced_accuracy", "auc", "log_loss"),
}
"""Names of the metrics of numbers and of classes."""
RESAMPLES: dict[Kind, int] = {"regression": 500, "classification": 200}
"""Resamples of the bootstrap; those of an area under a curve cost a pass over the rows each."""
BINS = 10
"""Bins of equal count in which frequencies are compared with probabilities."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One metric over repeats.

    Attributes:
        mean: mean over repeats.
        standard_deviation: over repeats, 0 for a single one.
        low: lower end of the 95 % interval.
        high: upper end.
    """

    mean: float
    standard_deviation: float
    low: float
    high: float


def metrics_of(
    truth: Floats,
    predictions: Sequence[Floats],
    groups: npt.NDArray[np.str_],
    seed: int,
    kind: Kind = "regression",
) -> dict[str, Metric]:
    """Metrics of each repeat, with a 95 % interval.

    Over three repeats and more the interval is the wider of Student's t over repeats, which knows
    how much folds matter, and a bootstrap over groups, which knows how much crystals matter.

    Args:
        truth: (n, t) labels.
        predictions: (n, t) predictions of each repeat.
        groups: (n,) what is resampled as a whole.
        seed: of the resamples.
        kind: what labels are.
    """
    if kind == "classification":
        per_repeat = [class_scores(truth, predicted) for predicted in predictions]
        resampled = _bootstrap_classes(truth, predictions, groups, seed)
    else:
        per_repeat = [scores(truth[:, 0], predicted[:, 0]) for predicted in predictions]
        resampled = _bootstrap(truth[:, 0], [p[:, 0] for p in predictions], groups, seed)
    table = {}
    for name in METRICS[kind]:
        values = [entry[name] for entry in per_repeat]
        low, high = np.nanquantile(resampled[name], [0.025, 0.975])
        if len(values) > 2:
            t_low, t_high = t_interval(values)
            low, high = min(low, t_low), max(high, t_high)
        table[name] = Metric(
            mean=float(np.mean(values)),
            standard_deviation=float(np.std(values, ddof=1)) if len(values) > 1 else 0.0,
            low=float(low),
            high=float(high),
        )
    return table


def mean_metrics(
    truth: Floats, predictions: Sequence[Floats], kind: Kind = "regression"
) -> dict[str, float]:
    """Metrics averaged over repeats, without intervals.

    Args:
        truth: (n, t) labels.
        predictions: (n, t) predictions of each repeat.
        kind: what labels are.
    """
    per_repeat = [
        class_scores(truth, p) if kind == "classification" else scores(truth[:, 0], p[:, 0])
        for p in predictions
    ]
    return {name: float(np.mean([entry[name] for entry in per_repeat])) for name in METRICS[kind]}


def _bootstrap(
    truth: Floats, predictions: Sequence[Floats], groups: npt.NDArray[np.str_], seed: int
) -> dict[str, Floats]:
    """Metrics of resampled groups, mean over repeats."""
    names, label = np.unique(groups, return_inverse=True)
    label = label.reshape(-1)
    sums = np.stack(
        [np.bincount(label, v, len(names)) for v in (np.ones(len(truth)), truth, truth**2)]
        + [np.bincount(label, (p - truth) ** 2, len(names)) for p in predictions]
        + [np.bincount(label, np.abs(p - truth), len(names)) for p in predictions]
    )
    weights = resample_counts(len(names), RESAMPLES["regression"], seed)
    drawn = weights @ sums.T  # (resamples, 3 + 2 r)
    count, total, squares = np.maximum(drawn[:, 0], 1), drawn[:, 1], drawn[:, 2]
    repeats = len(predictions)
    square_error, size = drawn[:, 3 : 3 + repeats], drawn[:, 3 + repeats :]
    variance = np.maximum(squares - total**2 / count, 1e-300)
    return {
        "rmse": np.sqrt(square_error / count[:, None]).mean(axis=1),
        "mae": (size / count[:, None]).mean(axis=1),
        "r2": (1 - square_error / variance[:, None]).mean(axis=1),
    }


def class_scores(truth: Floats, predicted: Floats) -> dict[str, float]:
    """Metrics of probabilities of classes.

    Args:
        truth: (n, t) labels: 0 or 1 for two classes, one column a class for more.
        predicted: (n, t) probabilities.
    """
    return _class_metrics(truth, predicted)(np.ones(len(truth)))


def _bootstrap_classes(
    truth: Floats, predictions: Sequence[Floats], groups: npt.NDArray[np.str_], seed: int
) -> dict[str, Floats]:
    """Metrics of resampled groups, mean over repeats; NaN where a class is missing."""
    names, label = np.unique(groups, return_inverse=True)
    counts = resample_counts(len(names), RESAMPLES["classification"], seed)
    measures = [_class_metrics(truth, predicted) for predicted in predictions]
    rows = []
    for drawn in counts:
        weight = drawn[label.reshape(-1)].astype(np.float64)  # (n,)
        rows.append([measure(weight) for measure in measures])
    return {
        name: np.array([np.mean([entry[name] for entry in row]) for row in rows])
        for name in METRICS["classification"]
    }


def _class_metrics(truth: Floats, predicted: Floats) -> Callable[[Floats], dict[str, float]]:
    """A function from (n,) weights of rows to the metrics; what has no weights is done once."""
    shares = probabilities(predicted)  # (n, c)
    true = true_classes(truth)  # (n,)
    count = shares.shape[1]
    hit = (shares.argmax(axis=1) == true).astype(np.float64)
    loss = -np.log(np.maximum(shares[np.arange(len(true)), true], 1e-15))
    ranks = [
        np.unique(shares[:, c], return_inverse=True)[1].reshape(-1)
        for c in (range(count) if count > 2 else (1,))
    ]
    positives = [(true == c).astype(np.float64) for c in (range(count) if count > 2 else (1,))]

    def measure(weight: Floats) -> dict[str, float]:
        total = max(float(weight.sum()), 1e-300)
        there = np.bincount(true, weight, count)  # (c,)
        right = np.bincount(true, weight * hit, count)
        areas = [area_under_curve(r, p, weight) for r, p in zip(ranks, positives, strict=True)]
        known = [area for area in areas if not np.isnan(area)]
        return {
            "accuracy": float((weight * hit).sum() / total),
            "balanced_accuracy": float((right[there > 0] / there[there > 0]).mean()),
            "auc": float(np.mean(known)) if known else 0.5,
            "log_loss": float((weight * loss).sum() / total),
        }

    return measure


def area_under_curve(rank: Index, positive: Floats, weight: Floats) -> float:
    """Area under the ROC curve; ties count half. NaN where a class has no weight.

    Args:
        rank: (n,) rank of each row's score from 0 on, equal for ties.
        positive: (n,) 1 for rows of the class, 0 for others.
        weight: (n,) weight of each row.
    """
    of_class = np.bincount(rank, weight * positive)
    others = np.bincount(rank, weight * (1 - positive))
    pairs = float(of_class.sum() * others.sum())
    if pairs == 0:
        return float("nan")
    above = of_class.sum() - np.cumsum(of_class)
    return float((others * (above + 0.5 * of_class)).sum()) / pairs


def calibration_error(truth: Floats, predicted: Floats) -> float:
    """Mean difference between the probability of the predicted class and how often it is right.

    Args:
        truth: (n, t) labels.
        predicted: (n, t) probabilities.
    """
    shares = probabilities(predicted)
    sure = shares.max(axis=1)
    hit = (shares.argmax(axis=1) == true_classes(truth)).astype(np.float64)
    order = np.argsort(sure, kind="stable")
    parts = np.array_split(order, min(BINS, max(1, len(order))))
    gaps = [abs(float(sure[p].mean() - hit[p].mean())) * len(p) for p in parts if len(p)]
    return float(sum(gaps) / max(len(order), 1))


def coverage(truth: Floats, predicted: Floats, half_width: Floats) -> float:
    """Share of labels inside their intervals."""
    return float((np.abs(truth - predicted) <= half_width).mean())
