"""Inputs, labels and a plan -> predictions of every crystal by models that never saw its formula.

Nested, at half the usual cost: for folds j and k there is one model fitted without both. For the
outer fold k, those models give the inner out-of-fold predictions that stack weights and intervals
are made from; the model without k alone predicts it. Every fit is cached, so a stopped run goes on.
After candidates.py, before fitting.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from time import perf_counter
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from crystalssl.datasets.splits import grouped_folds
from crystalssl.errors import InputError
from crystalssl.evaluation.cache import Cache, digest
from crystalssl.models.contract import Kind, head_settings
from crystalssl.processes import limited_threads
from crystalssl.properties.candidates import Candidate, Plan, build_plan
from crystalssl.properties.inputs import Inputs
from crystalssl.properties.stacking import ends

Floats = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
FIT = "property"
"""Kind of the cache's entries."""
Watch = Callable[[int, str], None]
"""Told of fits that were done, and of which candidate."""
Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One training set and the rows that its models predict.

    Attributes:
        name: for the cache, such as ``0: 1, 4``.
        train: rows to fit to.
        test: rows to predict.
        seed: seed of the heads.
    """

    name: str
    train: Index
    test: Index
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CrossValidation:
    """Predictions of one repeat.

    Attributes:
        folds: (n,) fold of each row.
        outer: (n, c, t) predictions of each row by models without its fold.
        inner: for each fold k, (n, c, t) predictions of the other rows by models without k and
            without their own fold; rows of k are NaN.
    """

    folds: Index
    outer: Floats
    inner: tuple[Floats, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Experiment:
    """What is fitted to what; all rows are labelled.

    Attributes:
        inputs: n crystals.
        labels: (n, t) labels.
        groups: (n,) what no split may divide.
        cache: keeps predictions.
        seed: seed of everything.
        workers: fits at a time.
        kind: what labels are.
        nonnegative: whether nothing below zero is predicted.
    """

    inputs: Inputs
    labels: Floats
    groups: npt.NDArray[np.str_]
    cache: Cache
    seed: int
    workers: int = 1
    kind: Kind = "regression"
    nonnegative: bool = False

    def data(self) -> list[str]:
        """Digests of everything that fits depend on."""
        names = [f"{section.kind} {len(section.columns)}" for section in self.inputs.sections]
        return [digest([self.inputs.matrix, self.labels, self.groups, *names])]


def usual_plan(experiment: Experiment) -> Plan:
    """The plan for these labels without a budget."""
    regression = experiment.kind == "regression"
    piled = regression and bool(np.isfinite(ends(experiment.labels)).any())
    return build_plan(experiment.inputs, len(experiment.labels), kind=experiment.kind, piled=piled)


def repeats(experiment: Experiment, plan: Plan) -> Iterator[list[Task]]:
    """Tasks of every repeat: single folds first, then pairs of folds.

    Raises:
        InputError: if there are fewer groups than folds.
    """
    groups = experiment.groups
    for repeat in range(plan.repeats):
        seed = experiment.seed + repeat
        folds = grouped_folds(groups, plan.folds, seed)
        held = [(k,) for k in range(len(folds))] + list(combinations(range(len(folds)), 2))
        yield [
            _task(f"{repeat}: {held_out}", [folds[k] for k in held_out], len(groups), seed)
            for held_out in held
        ]


def cluster_tasks(
    experiment: Experiment, clusters: npt.NDArray[np.int64]
) -> list[tuple[Index, Task]]:
    """For each cluster its rows and the task that leaves it out, formulas in it left out too."""
    tasks = []
    for number in np.unique(clusters).tolist():
        rows = np.flatnonzero(clusters == number)
        same = np.isin(experiment.groups, experiment.groups[rows])
        train = np.flatnonzero(~same)
        if len(train) >= 10:
            name = f"cluster {number}"
            task = Task(name=name, train=train, test=rows, seed=experiment.seed)
            tasks.append((rows, task))
    return tasks


def cross_validate(experiment: Experiment, plan: Plan, watch: Watch) -> Iterator[CrossValidation]:
    """Every repeat, as it is done."""
    count = len(experiment.labels)
    shape = (count, len(plan.candidates), experiment.labels.shape[1])
    for tasks in repeats(experiment, plan):
        outer = np.full(shape, np.nan)
        inner = [np.full(shape, np.nan) for _ in range(plan.folds)]
        fold_of = np.zeros(count, dtype=np.int64)
        for k in range(plan.folds):
            fold_of[tasks[k].test] = k
        for task, predictions in zip(
            tasks, predict_tasks(experiment, plan, tasks, watch), strict=True
        ):
            held = np.unique(fold_of[task.test]).tolist()
            if len(held) == 1:
                outer[task.test] = predictions
            else:
                for k in held:  # without k, the rows of the other fold of the pair
                    others = fold_of[task.test] != k
                    inner[k][task.test[others]] = predictions[others]
        yield CrossValidation(folds=fold_of, outer=outer, inner=tuple(inner))


def predict_tasks(
    experiment: Experiment, plan: Plan, tasks: Sequence[Task], watch: Watch
) -> list[Floats]:
    """(m, c, t) predictions of each task's test rows by every candidate.

    Fits of one thread each run side by side; what they give does not depend on how many do.
    """
    data = experiment.data()
    jobs = [(task, candidate) for task in tasks for candidate in plan.candidates]

    def work(job: tuple[Task, Candidate]) -> Floats:
        predictions = predictions_of(experiment, job[1], job[0], data)
        watch(1, job[1].name)
        return predictions

    results = run_jobs(work, jobs, experiment.workers)
    width = len(plan.candidates)
    return [np.stack(results[at : at + width], axis=1) for at in range(0, len(results), width)]


def run_jobs(work: Callable[[Job], Result], jobs: Sequence[Job], workers: int) -> list[Result]:
    """Results of jobs in order, some of them worked on at a time, with one thread each."""
    if not jobs:
        return []
    with limited_threads(1), ThreadPoolExecutor(max(1, workers)) as pool:
        futures = [pool.submit(work, job) for job in jobs]
        try:
            return [future.result() for future in futures]
        except BaseException:
            for future in futures:
                future.cancel()
            raise


def predictions_of(
    experiment: Experiment, candidate: Candidate, task: Task, data: list[str]
) -> Floats:
    """(m, t) predictions of a task's test rows, from the cache or fitted now."""
    cache = experiment.cache
    settings = {"head": head_settings(candidate.head), "kinds": candidate.kinds, "seed": task.seed}
    rows = digest([task.train, task.test])
    code = (type(candidate.head).__module__, __name__)
    key = cache.key(FIT, settings, data=[*data, rows], code=code)
    arrays = cache.get(key)
    if arrays is None:
        cache.put(key, {"predictions": _fit_and_predict(experiment, candidate, task)})
        cache.count(computed=1)
        arrays = cache.get(key)
    else:
        cache.count(reused=1)
    predictions: Floats = (arrays or {})["predictions"]
    return predictions


def seconds_of(experiment: Experiment, plan: Plan, most: float = np.inf) -> dict[str, float]:
    """Seconds that each candidate took for the first fit of the plan, measured once.

    Kept with the fits, so that a stopped run goes on with the plan that it had.

    Args:
        experiment: labelled crystals.
        plan: candidates; those that read few columns come first.
        most: seconds after which no further candidate is tried; those left are not listed.
    """
    task = next(repeats(experiment, plan))[0]
    data, cache = experiment.data(), experiment.cache
    seconds: dict[str, float] = {}

    def columns(candidate: Candidate) -> int:
        return sum(experiment.inputs.columns(candidate.kinds)[1])

    with limited_threads(1):
        for candidate in sorted(plan.candidates, key=columns):
            if seconds and sum(seconds.values()) > most:
                break
            key = cache.key(FIT, {"seconds": candidate.name}, data=data, code=(__name__,))
            known = cache.get(key)
            if known is None:
                start = perf_counter()
                predictions_of(experiment, candidate, task, data)
                cache.put(key, {"seconds": np.array(perf_counter() - start)})
                known = cache.get(key) or {}
            seconds[candidate.name] = float(known["seconds"])
    return seconds


def elapsed(cache: Cache, start: float) -> float:
    """Seconds since a start, as they were when they were first asked for in this cache.

    So that a stopped run that goes on has the plan that it had.

    Args:
        cache: of the run.
        start: ``perf_counter`` at the start.
    """
    key = cache.key(FIT, {"elapsed": True})
    known = cache.once(key, lambda: {"seconds": np.array(perf_counter() - start)})
    return float(known["seconds"])


def _fit_and_predict(experiment: Experiment, candidate: Candidate, task: Task) -> Floats:
    """(m, t) predictions; a class that is always or never there keeps its frequency."""
    columns, _ = experiment.inputs.columns(candidate.kinds)
    matrix, labels = experiment.inputs.matrix[:, columns], experiment.labels
    varies = np.ptp(labels[task.train], axis=0) > 0  # (t,)
    predictions = np.tile(labels[task.train].mean(axis=0), (len(task.test), 1))
    if varies.any():
        fitted = candidate.head.fit(
            matrix, task.train, labels[:, varies], experiment.groups, task.seed
        )
        predictions[:, varies] = fitted.predict(matrix, task.test)
    return predictions


def _task(name: str, folds: list[Index], count: int, seed: int) -> Task:
    test = np.sort(np.concatenate(folds))
    train = np.setdiff1d(np.arange(count), test, assume_unique=True)
    if len(train) < 2:
        raise InputError(f"Got {len(train)} training rows; expected at least 2. Use more labels.")
    return Task(name=name, train=train, test=test, seed=seed)
