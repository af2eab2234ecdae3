"""A label-free stack and encoders trained on -> one stack with one more candidate.

A fold is held out: encoders trained on without it predict it, as the stack without it did. Where
labels are few, more folds are held out in turn, until there are ``HELD`` such predictions. One
non-negative weight each is made from them, as those of candidates, and so are the intervals. What
is told of the result is cross-fitted: weights and intervals of one half of the held-out groups
judge the other. Encoders trained on with all labels go to the model. After finetuning.py, before
folder.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from crystalssl.properties.calibration import Calibration, fit_calibration
from crystalssl.properties.cross_validation import Experiment
from crystalssl.properties.finetuning import Tuning
from crystalssl.properties.fitting import Fit, predict_stacked
from crystalssl.properties.intervals import Intervals, fit_intervals
from crystalssl.properties.metrics import calibration_error, coverage, mean_metrics
from crystalssl.properties.stacking import Stack, fit_stack
from crystalssl.properties.tuned_encoders import TunedEncoders

Floats = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
LEAST_WEIGHT = 0.05
"""Weight below which encoders are not kept."""
HELD = 1_000
"""Crystals that are held out at least, if there are as many."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuned:
    """Encoders in a fit, and what they bring.

    Attributes:
        encoders: trained on with all labels; None where they bring nothing.
        weight: in the stack.
        rows: crystals that were held out.
        metrics: of stack and encoders together, on these.
        without: of the stack alone, on these.
        alone: of the encoders alone, on these.
        coverage: share of labels in intervals, or error of calibration, on these.
    """

    encoders: TunedEncoders | None
    weight: float
    rows: int
    metrics: dict[str, float]
    without: dict[str, float]
    alone: dict[str, float]
    coverage: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Held:
    """Crystals held out: labels, and predictions of models that did not see them."""

    labels: Floats
    stacked: Floats
    candidates: Floats
    tuned: Floats
    distance: Floats


def blend(
    experiment: Experiment, fit: Fit, tuning: Tuning, watch: Callable[[int, str], None]
) -> tuple[Fit, Tuned]:
    """Let encoders that are trained on join a fit.

    Args:
        experiment: labelled crystals.
        fit: label-free stack.
        tuning: what is trained.
        watch: told how far it is.
    """
    run = fit.out_of_fold[0]
    count = held_folds(run.folds)
    test, tuned_rows = np.flatnonzero(run.folds < count), np.empty_like(experiment.labels)
    for fold in range(count):
        encoders = tuning.fit(np.flatnonzero(run.folds != fold), watch)
        out = np.flatnonzero(run.folds == fold)
        tuned_rows[out] = tuning.predict(encoders, out)
    held = _Held(
        labels=experiment.labels[test],
        stacked=run.predicted[test],
        candidates=run.candidates[test],
        tuned=tuned_rows[test],
        distance=run.distance[test],
    )
    everything = np.arange(len(test))
    stack, calibration, intervals = _joined(experiment, fit, held, everything)
    tuned = _judged(experiment, fit, held, experiment.groups[test], float(stack.weights[-1]))
    if stack.weights[-1] < LEAST_WEIGHT or not _helps(tuned):
        return fit, tuned
    final = tuning.fit(np.arange(len(experiment.labels)), watch)
    models = tuple(
        entry
        for entry in fit.models
        if stack.weights[[c.name for c in fit.plan.candidates].index(entry[0].name)] > 0
    )
    joined = replace(fit, models=models, stack=stack, calibration=calibration, intervals=intervals)
    return joined, replace(tuned, encoders=final)


def _helps(tuned: Tuned) -> bool:
    """Whether errors of held-out crystals are smaller with encoders than without."""
    error = "mae" if "mae" in tuned.metrics else "log_loss"
    return tuned.metrics[error] < tuned.without[error]


def trainings(fit: Fit) -> int:
    """How often :func:`blend` trains encoders."""
    return held_folds(fit.out_of_fold[0].folds) + 1


def held_folds(folds: Index) -> int:
    """How many folds, from the first, are held out in turn."""
    reached = np.cumsum(np.bincount(folds)) >= HELD
    return int(reached.argmax()) + 1 if reached.any() else int(folds.max()) + 1


def _joined(
    experiment: Experiment, fit: Fit, held: _Held, rows: Index
) -> tuple[Stack, Calibration | None, Intervals]:
    """Stack of candidates and encoders, its calibration and intervals, from some held-out rows."""
    truth = held.labels[rows]
    both = np.stack([fit.stack.predict(held.candidates[rows]), held.tuned[rows]], axis=1)
    share, own = fit_stack(both, truth, experiment.kind).weights
    stack = replace(fit.stack, weights=np.append(share * fit.stack.weights, own))
    candidates = _with(held, rows)
    predicted, calibration = stack.predict(candidates), None
    if experiment.kind == "classification":
        calibration = fit_calibration(predicted, truth)
        predicted = calibration.apply(predicted)
    # what one fold more brings is not known of encoders: their residuals stand as they are
    residuals = np.abs(truth - predicted).max(axis=1)
    intervals = fit_intervals(residuals, stack.disagreement(candidates), held.distance[rows])
    return stack, calibration, intervals


def _with(held: _Held, rows: Index) -> Floats:
    """(m, c + 1, t) predictions of candidates and encoders."""
    return np.concatenate([held.candidates[rows], held.tuned[rows][:, None]], axis=1)


def _judged(
    experiment: Experiment, fit: Fit, held: _Held, groups: npt.NDArray[np.str_], weight: float
) -> Tuned:
    """Errors and coverage on each half of the groups, with weights and intervals of the other."""
    code = np.unique(groups, return_inverse=True)[1].reshape(-1)
    first = np.random.default_rng(experiment.seed).permutation(code.max() + 1) % 2 == 0
    predicted = np.empty_like(held.labels)
    half_width = np.zeros(len(held.labels))
    for half in (True, False):
        known, judged = np.flatnonzero(first[code] == half), np.flatnonzero(first[code] != half)
        stack, calibration, intervals = _joined(experiment, fit, held, known)
        candidates = _with(held, judged)
        predicted[judged] = predict_stacked(stack, calibration, candidates)
        disagreement = stack.disagreement(candidates)
        half_width[judged] = intervals.half_width(disagreement, held.distance[judged])
    if experiment.kind == "classification":
        covered = calibration_error(held.labels, predicted)
    else:
        covered = coverage(held.labels[:, 0], predicted[:, 0], half_width)
    return Tuned(
        encoders=None,
        weight=weight,
        rows=len(held.labels),
        metrics=mean_metrics(held.labels, [predicted], experiment.kind),
        without=mean_metrics(held.labels, [held.stacked], experiment.kind),
        alone=mean_metrics(held.labels, [held.tuned], experiment.kind),
        coverage=covered,
    )
