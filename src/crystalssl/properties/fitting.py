"""Inputs and labels -> nested predictions, their errors, the final stack, its intervals and domain.

The order: cross-validation (cross_validation.py), in each outer fold a stack and intervals from
inner predictions alone, then both from all outer predictions, then candidates fitted to all rows.
Used by pipeline/properties.py and estimators.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from crystalssl.models.contract import Fitted
from crystalssl.properties.calibration import Calibration, fit_calibration
from crystalssl.properties.candidates import Candidate, Plan
from crystalssl.properties.cross_validation import (
    CrossValidation,
    Experiment,
    Watch,
    cluster_tasks,
    cross_validate,
    predict_tasks,
    run_jobs,
)
from crystalssl.properties.domain import (
    AXES,
    NEAREST,
    PERCENTILE,
    Domain,
    fit_domain,
    nearest,
    nearest_of_others,
)
from crystalssl.properties.inputs import BLOCKS, MIXED, Inputs
from crystalssl.properties.intervals import Intervals, fit_intervals
from crystalssl.properties.stacking import Stack, fit_stack

Floats = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class OutOfFold:
    """Predictions of one repeat, each by a stack that did not see the crystal's group.

    Attributes:
        folds: (n,) outer fold of each row.
        predicted: (n, t) predictions.
        half_width: (n,) half width of the interval, from inner residuals alone.
        distance: (n,) to the nearest crystals fitted to.
        inside: (n,) whether the crystal is in the domain of those.
        nearest: (n, k) rows of the nearest crystals fitted to.
        candidates: (n, c, t) predictions of the candidates.
        learning: how much smaller residuals become with one fold more (:func:`learning_ratio`).
    """

    folds: Index
    predicted: Floats
    half_width: Floats
    distance: Floats
    inside: npt.NDArray[np.bool_]
    nearest: Index
    candidates: Floats
    learning: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """Everything that a model folder is written from.

    Attributes:
        plan: what was fitted.
        models: candidates with a weight, fitted to all rows.
        stack: weights of all candidates of the plan.
        calibration: of the probabilities of classes; None for numbers.
        intervals: of the final model.
        domain: of all rows.
        out_of_fold: predictions of every repeat.
        clusters: rows, truth, prediction and half width where whole clusters were left out.
    """

    plan: Plan
    models: tuple[tuple[Candidate, Fitted], ...]
    stack: Stack
    calibration: Calibration | None
    intervals: Intervals
    domain: Domain
    out_of_fold: list[OutOfFold]
    clusters: list[tuple[Index, Floats, Floats]] = field(default_factory=list)


def feature_columns(inputs: Inputs) -> slice:
    """Columns that distances are measured on: learned features, mixed ones if there are any."""
    kinds = inputs.kinds()
    return inputs.columns([MIXED if MIXED in kinds else BLOCKS])[0]


def fit_property(experiment: Experiment, plan: Plan, watch: Watch) -> Fit:
    """Fit and judge a property model.

    Args:
        experiment: labelled crystals.
        plan: what to try.
        watch: told how far it is.
    """
    inputs, labels = experiment.inputs, experiment.labels
    columns = feature_columns(inputs)
    matrix = inputs.matrix[:, columns]
    domain = fit_domain(matrix, inputs.ids, experiment.groups, inputs.elements)
    points = domain.points
    repeats = [_judged(experiment, run, points) for run in cross_validate(experiment, plan, watch)]
    outer = np.concatenate([run.candidates for run in repeats])
    stack, calibration = _stacked(experiment, outer, np.concatenate([labels] * len(repeats)))
    intervals = _final_intervals(repeats, stack, labels)
    left_out = _leave_clusters_out(experiment, plan, repeats, points, watch)
    models = _fit_all(experiment, plan, stack, watch)
    return Fit(
        plan=plan,
        models=tuple(models),
        stack=stack,
        calibration=calibration,
        intervals=intervals,
        domain=domain,
        out_of_fold=repeats,
        clusters=left_out,
    )


def _stacked(
    experiment: Experiment, candidates: Floats, labels: Floats
) -> tuple[Stack, Calibration | None]:
    """Stack of out-of-fold predictions (n, c, t) and, for classes, what calibrates it."""
    stack = fit_stack(candidates, labels, experiment.kind, experiment.nonnegative)
    if experiment.kind == "regression":
        return stack, None
    return stack, fit_calibration(stack.predict(candidates), labels)


def predict_stacked(stack: Stack, calibration: Calibration | None, candidates: Floats) -> Floats:
    """(n, t) predictions of (n, c, t) predictions of candidates."""
    predicted = stack.predict(candidates)
    return predicted if calibration is None else calibration.apply(predicted)


def _fit_all(
    experiment: Experiment, plan: Plan, stack: Stack, watch: Watch
) -> list[tuple[Candidate, Fitted]]:
    """Candidates with a weight, fitted to all rows."""
    inputs, rows = experiment.inputs, np.arange(len(experiment.labels))

    def work(candidate: Candidate) -> tuple[Candidate, Fitted]:
        matrix = inputs.matrix[:, inputs.columns(candidate.kinds)[0]]
        fitted = candidate.head.fit(
            matrix, rows, experiment.labels, experiment.groups, experiment.seed
        )
        watch(1, f"{candidate.name}, all crystals")
        return candidate, fitted

    used = [c for c, weight in zip(plan.candidates, stack.weights, strict=True) if weight > 0]
    return run_jobs(work, used, experiment.workers)


def _judged(experiment: Experiment, run: CrossValidation, points: Floats) -> OutOfFold:
    """Outer predictions with intervals: stack and quantiles come from inner predictions alone."""
    labels, groups = experiment.labels, experiment.groups
    count = len(labels)
    predicted = np.empty_like(labels)
    half_width, distance = np.zeros(count), np.zeros(count)
    inside = np.zeros(count, bool)
    index = np.zeros((count, NEAREST), dtype=np.int64)
    learning = np.ones(len(run.inner))
    for k in np.unique(run.folds).tolist():
        test, train = np.flatnonzero(run.folds == k), np.flatnonzero(run.folds != k)
        inner = run.inner[k][train]
        stack, calibration = _stacked(experiment, inner, labels[train])
        predicted[test] = predict_stacked(stack, calibration, run.outer[test])
        near, apart = nearest(points[test], points[train], NEAREST)
        index[test, : near.shape[1]] = train[near]
        distance[test] = apart.mean(axis=1)
        own = nearest_of_others(points[train], groups[train], NEAREST)[1].mean(axis=1)
        residuals = np.abs(labels[train] - stack.predict(inner)).max(axis=1)
        later = np.abs(labels[train] - stack.predict(run.outer[train])).max(axis=1)
        learning[k] = learning_ratio(residuals, later)
        residuals *= learning[k]  # the models of k have seen one fold more than inner ones
        intervals = fit_intervals(residuals, stack.disagreement(inner), own)
        disagreement = stack.disagreement(run.outer[test])
        half_width[test] = intervals.half_width(disagreement, distance[test])
        seen = experiment.inputs.elements[train].any(axis=0)
        unseen = (experiment.inputs.elements[test] & ~seen).any(axis=1)
        sure = intervals.usual(intervals.expected(disagreement, distance[test]))
        inside[test] = (distance[test] <= np.percentile(own, PERCENTILE)) & ~unseen & sure
    return OutOfFold(
        folds=run.folds,
        predicted=predicted,
        half_width=half_width,
        distance=distance,
        inside=inside,
        nearest=index,
        candidates=run.outer,
        learning=float(learning.mean()),
    )


def learning_ratio(earlier: Floats, later: Floats) -> float:
    """How much smaller residuals of the same rows became with one fold more to learn from.

    Args:
        earlier: (n,) absolute residuals of models without two folds.
        later: (n,) of models without one.
    """
    return float(np.clip(later.mean() / max(float(earlier.mean()), 1e-300), 0.7, 1.0))


def last_fold_factor(repeats: Sequence[OutOfFold]) -> float:
    """How much smaller errors of the final model are, which has seen one fold more.

    With errors falling as a power of the number of labels, what the last fold but one brought says
    what the last one brings.

    Args:
        repeats: predictions of every repeat.
    """
    folds = len(np.unique(repeats[0].folds))
    power = np.log(folds / (folds - 1)) / np.log((folds - 1) / (folds - 2)) if folds > 2 else 0.0
    return float(float(np.mean([run.learning for run in repeats])) ** power)


def _final_intervals(repeats: Sequence[OutOfFold], stack: Stack, labels: Floats) -> Intervals:
    """Intervals of the final model from outer residuals; repeats are not independent."""
    factor = last_fold_factor(repeats)
    residuals = factor * np.concatenate(
        [np.abs(labels - run.predicted).max(axis=1) for run in repeats]
    )
    disagreement = np.concatenate([stack.disagreement(run.candidates) for run in repeats])
    distance = np.concatenate([run.distance for run in repeats])
    return fit_intervals(residuals, disagreement, distance, count=len(labels))


def _leave_clusters_out(
    experiment: Experiment,
    plan: Plan,
    repeats: Sequence[OutOfFold],
    points: Floats,
    watch: Watch,
) -> list[tuple[Index, Floats, Floats]]:
    """Predictions and half widths of whole clusters that neither fitted nor calibrated."""
    labels = experiment.labels
    if plan.clusters < 2:
        return []
    tasks = cluster_tasks(experiment, cluster(points, plan.clusters, experiment.seed))
    predicted = predict_tasks(experiment, plan, [task for _, task in tasks], watch)
    results: list[tuple[Index, Floats, Floats]] = []
    for rows, task in tasks:
        others = task.train
        outer = np.concatenate([run.candidates[others] for run in repeats])
        known = np.concatenate([labels[others]] * len(repeats))
        stack, calibration = _stacked(experiment, outer, known)
        residuals = np.concatenate(
            [np.abs(labels[others] - run.predicted[others]).max(axis=1) for run in repeats]
        )
        distances = np.concatenate([run.distance[others] for run in repeats])
        intervals = fit_intervals(residuals, stack.disagreement(outer), distances, len(others))
        candidates = predicted[len(results)]  # (m, c, t)
        distance = nearest(points[rows], points[others], NEAREST)[1].mean(axis=1)
        half = intervals.half_width(stack.disagreement(candidates), distance)
        results.append((rows, predict_stacked(stack, calibration, candidates), half))
    return results


def cluster(points: Floats, count: int, seed: int) -> Index:
    """(n,) cluster of each crystal, by k-means on leading whitened axes."""
    from sklearn.cluster import KMeans

    count = min(count, max(2, len(points) // 10))
    kept = points[:, : min(8, AXES)]
    model = KMeans(n_clusters=count, n_init=4, random_state=seed).fit(kept)
    return np.asarray(model.labels_, dtype=np.int64)
