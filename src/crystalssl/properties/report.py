"""A fit -> its card and the table of out-of-fold predictions: everything that people are told.

Metrics of the model stand beside those of the mean label and of element statistics (Magpie, with
LightGBM), each on the crystals that it holds. After fitting.py, before the pipeline writes files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from crystalssl.errors import MissingExtraError
from crystalssl.evaluation.magpie import magpie_statistics
from crystalssl.models.boosting import LightGBM
from crystalssl.models.contract import head_settings
from crystalssl.processes import usable_cores
from crystalssl.properties.calibration import probabilities, true_classes
from crystalssl.properties.card import CandidateCard, MetricCard, ScoreCard
from crystalssl.properties.cross_validation import Experiment, Watch
from crystalssl.properties.fitting import Fit, OutOfFold
from crystalssl.properties.intervals import LEVEL
from crystalssl.properties.metrics import (
    Metric,
    calibration_error,
    class_scores,
    coverage,
    mean_metrics,
    metrics_of,
)
from crystalssl.structures.crystals import Crystals

Floats = npt.NDArray[np.float64]
MODEL, MEAN, ELEMENTS = "model", "mean", "element statistics"
"""Names of what metrics are of."""
TITLES = {
    "rmse": "RMSE", "mae": "MAE", "r2": "R2", "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy", "auc": "AUC", "log_loss": "log loss",
}  # fmt: skip
"""Metrics as people write them."""


def score_cards(
    fit: Fit, experiment: Experiment, crystals: Crystals, watch: Watch
) -> dict[str, ScoreCard]:
    """Metrics of the model and of both baselines, in the same folds.

    Args:
        fit: what was fitted.
        experiment: labelled crystals.
        crystals: the same crystals, for element statistics.
        watch: told what is at work.
    """
    everything = np.ones(len(experiment.labels), bool)
    predicted = [run.predicted for run in fit.out_of_fold]
    means = [_mean_predictions(experiment.labels, run) for run in fit.out_of_fold]
    cards = {
        MODEL: _card(experiment, predicted, everything),
        MEAN: _card(experiment, means, everything),
    }
    watch(0, ELEMENTS)
    try:
        statistics = magpie_statistics(crystals, experiment.cache, processes=usable_cores())
    except MissingExtraError as error:
        cards[ELEMENTS] = ScoreCard(rows=0, metrics={}, note=str(error))
        return cards
    held = np.asarray(np.isfinite(statistics).all(axis=1))
    if held.sum() < 10:
        cards[ELEMENTS] = ScoreCard(rows=int(held.sum()), metrics={}, note="too few crystals")
        return cards
    baseline = [_element_predictions(statistics, experiment, run, held) for run in fit.out_of_fold]
    note = ""
    if not held.all():
        same = mean_metrics(experiment.labels[held], [p[held] for p in predicted], experiment.kind)
        told = ", ".join(f"{TITLES[name]} {value:.4g}" for name, value in same.items())
        note = (
            f"{int((~held).sum())} crystals hold elements that it does not know; on the others the "
            f"model has {told}"
        )
    cards[ELEMENTS] = _card(experiment, baseline, held, note)
    return cards


def _mean_predictions(labels: Floats, run: OutOfFold) -> Floats:
    """(n, t) mean label, or frequencies of the classes, of the other folds."""
    predicted = np.empty_like(labels)
    for k in np.unique(run.folds):
        predicted[run.folds == k] = labels[run.folds != k].mean(axis=0)
    return predicted


def _element_predictions(
    statistics: npt.NDArray[np.float32],
    experiment: Experiment,
    run: OutOfFold,
    held: npt.NDArray[np.bool_],
) -> Floats:
    """(n, t) predictions of boosted trees on element statistics; NaN where they are not known."""
    labels = experiment.labels
    predicted = np.full(labels.shape, np.nan)
    head = LightGBM(kind=experiment.kind, rounds=600)
    for k in np.unique(run.folds):
        train = np.flatnonzero((run.folds != k) & held)
        test = np.flatnonzero((run.folds == k) & held)
        varies = np.ptp(labels[train], axis=0) > 0
        predicted[test] = labels[train].mean(axis=0)
        if varies.any():
            fitted = head.fit(
                statistics, train, labels[:, varies], experiment.groups, experiment.seed
            )
            predicted[np.ix_(test, varies)] = fitted.predict(statistics, test)
    return predicted


def _card(
    experiment: Experiment,
    predicted: Sequence[Floats],
    rows: npt.NDArray[np.bool_],
    note: str = "",
) -> ScoreCard:
    metrics = metrics_of(
        experiment.labels[rows], [p[rows] for p in predicted], experiment.groups[rows],
        experiment.seed, experiment.kind,
    )  # fmt: skip
    return ScoreCard(rows=int(rows.sum()), metrics=_metric_cards(metrics), note=note)


def _metric_cards(metrics: dict[str, Metric]) -> dict[str, MetricCard]:
    return {name: MetricCard(**asdict(metric)) for name, metric in metrics.items()}


def candidate_cards(fit: Fit, experiment: Experiment, kinds: Sequence[str]) -> list[CandidateCard]:
    """Every candidate with its weight and out-of-fold metrics.

    Args:
        fit: what was fitted.
        experiment: labelled crystals.
        kinds: kinds of the stored heads, of those with a weight, in order.
    """
    stored = iter(kinds)
    cards = []
    for at, candidate in enumerate(fit.plan.candidates):
        predicted = [run.candidates[:, at] for run in fit.out_of_fold]
        weight = float(fit.stack.weights[at])
        cards.append(
            CandidateCard(
                name=candidate.name,
                kinds=list(candidate.kinds),
                weight=weight,
                stored=next(stored) if weight > 0 else "",
                settings=_plain(head_settings(candidate.head)),
                metrics=mean_metrics(experiment.labels, predicted, experiment.kind),
            )
        )
    return cards


def class_coverage_card(fit: Fit, labels: Floats) -> dict[str, Any]:
    """How far probabilities are from frequencies, and accuracy in and outside of the domain."""
    errors = [calibration_error(labels, run.predicted) for run in fit.out_of_fold]
    card: dict[str, Any] = {"calibration_error": float(np.mean(errors))}
    if fit.clusters:
        rows = np.concatenate([rows for rows, _, _ in fit.clusters])
        predicted = np.concatenate([values for _, values, _ in fit.clusters])
        card["clusters_left_out"] = {
            "clusters": len(fit.clusters),
            "rows": len(rows),
            "calibration_error": calibration_error(labels[rows], predicted),
            **class_scores(labels[rows], predicted),
        }
    inside = np.concatenate([run.inside for run in fit.out_of_fold])
    truth = true_classes(labels)
    hit = np.concatenate(
        [probabilities(run.predicted).argmax(axis=1) == truth for run in fit.out_of_fold]
    ).astype(np.float64)
    card["inside"] = {"share": float(inside.mean()), "accuracy": _mean(hit[inside])}
    card["outside"] = {"share": float((~inside).mean()), "accuracy": _mean(hit[~inside])}
    return card


def coverage_card(fit: Fit, labels: Floats) -> dict[str, Any]:
    """Level of intervals, share of labels in them, and errors inside and outside of the domain."""
    truth = labels[:, 0]
    nested = [coverage(truth, run.predicted[:, 0], run.half_width) for run in fit.out_of_fold]
    card: dict[str, Any] = {
        "level": LEVEL,
        "nested": float(np.mean(nested)),
        "mean_half_width": float(np.mean([run.half_width.mean() for run in fit.out_of_fold])),
    }
    if fit.clusters:
        rows = np.concatenate([rows for rows, _, _ in fit.clusters])
        predicted = np.concatenate([values[:, 0] for _, values, _ in fit.clusters])
        half = np.concatenate([width for _, _, width in fit.clusters])
        error = predicted - truth[rows]
        card["clusters_left_out"] = {
            "clusters": len(fit.clusters),
            "rows": len(rows),
            "coverage": coverage(truth[rows], predicted, half),
            "least": min(coverage(truth[r], p[:, 0], h) for r, p, h in fit.clusters),
            "rmse": float(np.sqrt(np.square(error).mean())),
            "mae": float(np.abs(error).mean()),
        }
    inside = np.concatenate([run.inside for run in fit.out_of_fold])
    error = np.concatenate([np.abs(run.predicted[:, 0] - truth) for run in fit.out_of_fold])
    card["inside"] = {"share": float(inside.mean()), "mae": _mean(error[inside])}
    card["outside"] = {"share": float((~inside).mean()), "mae": _mean(error[~inside])}
    return card


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if len(values) else None


def out_of_fold_table(fit: Fit, experiment: Experiment, classes: Sequence[str] = ()) -> pa.Table:
    """Every crystal in every repeat: id, formula, truth, prediction, domain, nearest.

    Numbers have ends of their interval, classes a probability each.

    Args:
        fit: what was fitted.
        experiment: to what.
        classes: names of the classes; none for numbers.
    """
    inputs = experiment.inputs
    tables = []
    for repeat, run in enumerate(fit.out_of_fold):
        columns = {
            "immutable_id": pa.array(inputs.ids.tolist(), pa.string()),
            "formula": pa.array(inputs.formulas.tolist(), pa.string()),
            "repeat": pa.array([repeat] * len(inputs), pa.int32()),
            "fold": pa.array(run.folds.astype(np.int32)),
            **_predicted_columns(fit, run, experiment.labels, classes),
            "in_domain": pa.array(run.inside),
            "nearest": pa.array(inputs.ids[run.nearest].tolist(), pa.list_(pa.string())),
        }
        tables.append(pa.table(columns))
    return pa.concat_tables(tables)


def _predicted_columns(
    fit: Fit, run: OutOfFold, labels: Floats, classes: Sequence[str]
) -> dict[str, Any]:
    """Truth, prediction, and an interval or probabilities."""
    if not classes:
        predicted = run.predicted[:, 0]
        lower, upper = fit.stack.interval(predicted, run.half_width)
        return {
            "true": pa.array(labels[:, 0]),
            "predicted": pa.array(predicted),
            "lower": pa.array(lower),
            "upper": pa.array(upper),
        }
    shares = probabilities(run.predicted, least=0.0)
    named = np.array(classes, dtype=np.str_)
    return {
        "true": pa.array(named[true_classes(labels)].tolist(), pa.string()),
        "predicted": pa.array(named[shares.argmax(axis=1)].tolist(), pa.string()),
        **{f"probability_{name}": pa.array(shares[:, at]) for at, name in enumerate(classes)},
    }


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as JSON holds them."""
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()
    }
