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
from crystalssl.properties.card import CandidateCard, MetricCard, ScoreCard
from crystalssl.properties.cross_validation import Experiment, Watch
from crystalssl.properties.fitting import LEVEL, Fit, Metric, OutOfFold, coverage, metrics_of
from crystalssl.structures.crystals import Crystals

Floats = npt.NDArray[np.float64]
MODEL, MEAN, ELEMENTS = "model", "mean", "element statistics"
"""Names of what metrics are of."""


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
    labels, groups = experiment.labels[:, 0], experiment.groups
    predicted = [run.predicted[:, 0] for run in fit.out_of_fold]
    means = [_mean_predictions(labels, run) for run in fit.out_of_fold]
    cards = {
        MODEL: _card(labels, predicted, groups, experiment.seed),
        MEAN: _card(labels, means, groups, experiment.seed),
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
        same = _card(labels[held], [p[held] for p in predicted], groups[held], experiment.seed)
        note = (
            f"{int((~held).sum())} crystals hold elements that it does not know; on the others the "
            f"model has RMSE {same.metrics['rmse'].mean:.4g}, MAE {same.metrics['mae'].mean:.4g}"
        )
    card = _card(labels[held], [p[held] for p in baseline], groups[held], experiment.seed, note)
    cards[ELEMENTS] = card
    return cards


def _mean_predictions(labels: Floats, run: OutOfFold) -> Floats:
    """(n,) mean label of the other folds."""
    predicted = np.empty_like(labels)
    for k in np.unique(run.folds):
        predicted[run.folds == k] = labels[run.folds != k].mean()
    return predicted


def _element_predictions(
    statistics: npt.NDArray[np.float32],
    experiment: Experiment,
    run: OutOfFold,
    held: npt.NDArray[np.bool_],
) -> Floats:
    """(n,) predictions of boosted trees on element statistics; NaN where they are not known."""
    labels = experiment.labels[:, 0]
    predicted = np.full(len(labels), np.nan)
    head = LightGBM(rounds=600)
    for k in np.unique(run.folds):
        train = np.flatnonzero((run.folds != k) & held)
        test = np.flatnonzero((run.folds == k) & held)
        fitted = head.fit(statistics, train, labels, experiment.groups, experiment.seed)
        predicted[test] = fitted.predict(statistics, test)
    return predicted


def _card(
    labels: Floats, predicted: Sequence[Floats], groups: npt.NDArray[np.str_], seed: int,
    note: str = "",
) -> ScoreCard:  # fmt: skip
    metrics = metrics_of(labels, predicted, groups, seed)
    return ScoreCard(rows=len(labels), metrics=_metric_cards(metrics), note=note)


def _metric_cards(metrics: dict[str, Metric]) -> dict[str, MetricCard]:
    return {name: MetricCard(**asdict(metric)) for name, metric in metrics.items()}


def candidate_cards(fit: Fit, experiment: Experiment, kinds: Sequence[str]) -> list[CandidateCard]:
    """Every candidate with its weight and out-of-fold metrics.

    Args:
        fit: what was fitted.
        experiment: labelled crystals.
        kinds: kinds of the stored heads, of those with a weight, in order.
    """
    labels = experiment.labels[:, 0]
    stored = iter(kinds)
    cards = []
    for at, candidate in enumerate(fit.plan.candidates):
        predicted = [run.candidates[:, at, 0] for run in fit.out_of_fold]
        metrics = metrics_of(labels, predicted, experiment.groups, experiment.seed)
        weight = float(fit.stack.weights[at])
        cards.append(
            CandidateCard(
                name=candidate.name,
                kinds=list(candidate.kinds),
                weight=weight,
                stored=next(stored) if weight > 0 else "",
                settings=_plain(head_settings(candidate.head)),
                metrics={name: metric.mean for name, metric in metrics.items()},
            )
        )
    return cards


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


def out_of_fold_table(fit: Fit, experiment: Experiment) -> pa.Table:
    """Every crystal in every repeat: id, formula, truth, prediction, interval, domain, nearest."""
    inputs, truth = experiment.inputs, experiment.labels[:, 0]
    tables = []
    for repeat, run in enumerate(fit.out_of_fold):
        predicted = run.predicted[:, 0]
        tables.append(
            pa.table(
                {
                    "immutable_id": pa.array(inputs.ids.tolist(), pa.string()),
                    "formula": pa.array(inputs.formulas.tolist(), pa.string()),
                    "repeat": pa.array([repeat] * len(inputs), pa.int32()),
                    "fold": pa.array(run.folds.astype(np.int32)),
                    "true": pa.array(truth),
                    "predicted": pa.array(predicted),
                    "lower": pa.array(predicted - run.half_width),
                    "upper": pa.array(predicted + run.half_width),
                    "in_domain": pa.array(run.inside),
                    "nearest": pa.array(inputs.ids[run.nearest].tolist(), pa.list_(pa.string())),
                }
            )
        )
    return pa.concat_tables(tables)


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as JSON holds them."""
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()
    }
