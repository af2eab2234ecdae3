"""Scenario: a Matbench task, its five official folds, frozen features and a head fitted in each.

The folds are a split protocol of the grid. The encoders saw no label; what a head chooses
(strength, number of trees, epochs) it chooses inside the training part of the fold.
Source: Dunn et al., npj Comput. Mater. 6 (2020) 138.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from crystalssl.errors import InputError
from crystalssl.evaluation.analysis import IntervalRule, analyse, results_of, rows_of
from crystalssl.evaluation.cache import Cache
from crystalssl.evaluation.data import LABELS, SSL, Dataset, FeatureSet, Target
from crystalssl.evaluation.experiment import Experiment, Progress
from crystalssl.evaluation.matbench.folds import OfficialFolds, fold_scores, folds_of
from crystalssl.evaluation.matbench.task import TaskData
from crystalssl.evaluation.overlap import Overlap
from crystalssl.evaluation.results import MEAN, Cell, Results, Summary, Verdict
from crystalssl.features.features import Features
from crystalssl.models.contract import Head
from crystalssl.structures.formulas import reduced_formulas

SCENARIO = "matbench"
"""Name of the scenario and of its files."""
QUESTION = "How do frozen features and one head do on the official folds of a Matbench task?"
FAILURE = (
    "A head that does not beat the mean of the training labels, or a published model of "
    "composition alone."
)


def task_features(task: TaskData, features: Features) -> FeatureSet:
    """One row for each row of the task; ``valid`` marks those that have features.

    Args:
        task: n rows.
        features: features of some of them, in their order; ids are Matbench ids.
    """
    valid = np.isin(task.mbids, features.ids)
    matrix = np.zeros((len(valid), features.matrix.shape[1]), np.float32)
    matrix[valid] = features.matrix
    return FeatureSet(
        name=SSL, label=LABELS[SSL], matrix=matrix, valid=valid, width=matrix.shape[1]
    )


def matbench(
    task: TaskData,
    features: FeatureSet,
    head: Head,
    *,
    seed: int = 0,
    details: dict[str, str] | None = None,
    overlap: Overlap | None = None,
    cache: Cache | None = None,
    progress: Progress | None = None,
) -> Results:
    """Run the five official folds of a task.

    Split: the official folds, random rows, so another crystal of the same formula may be on both
    sides. Scaler and strength, trees or epochs: inside the training part of each fold. Rows without
    features (a structure that cannot be used) are not trained on and are predicted by the mean of
    the training labels, since Matbench wants a prediction for each; they are counted. Seeds: the
    benchmark's for the folds, ``seed`` for the head. Baseline: the mean of the training labels.
    Intervals: Student's t over folds. Failure: ``FAILURE``.

    Args:
        task: labels, ids and structures.
        features: one row for each of the task's n rows; ``valid`` marks those that have features.
        head: model that is fitted in each fold.
        seed: seed of the head.
        details: what else the record should say, such as the weights in use.
        overlap: which readable structures the weights have seen; counted in the record. No row is
            left out for it: the benchmark wants all.
        cache: keeps finished folds, so that a stopped run goes on.
        progress: called with folds done, folds in all, and what was done.

    Raises:
        InputError: if features and labels differ in number, or rows are too few.
    """
    if len(features.matrix) != len(task.labels):
        raise InputError(
            f"Got features of {len(features.matrix)} rows for the {len(task.labels)} rows of "
            f"{task.name}; expected one each. Extract the features of this task."
        )
    if head.kind != task.kind:
        raise InputError(f"Got a head for {head.kind}; the labels of {task.name} are {task.kind}.")
    formulas = reduced_formulas(task.crystals)
    groups = task.mbids.astype(object)
    groups[task.rows] = formulas
    experiment = Experiment(
        scenario=SCENARIO,
        dataset=Dataset(
            ids=task.mbids,
            groups=groups.astype(np.str_),
            targets=(Target(name=task.target, unit=task.unit, values=task.labels),),
            sets=(features,),
        ),
        protocol=OfficialFolds(
            labels=task.labels, kind=task.kind, task=task.name, official=task.official
        ),
        heads=[head],
        cache=cache or Cache(),
        progress=progress,
        seed=seed,
    )
    cells = _whole(experiment.run(), task, features)
    rows = rows_of(cells, partial(fold_scores, kind=task.kind))
    summary, _ = analyse(cells, rows, IntervalRule())
    record = experiment.record(
        question=QUESTION,
        failure=FAILURE,
        proposed=[features.name],
        config={"target": task.target, **(details or {}), "folds": _counts(task, features)},
    )
    without = int((~features.valid).sum())
    counts = {"rows": len(task.labels), "predicted by the training mean": without}
    record = replace(record, counts=counts, verdicts=[_verdict(summary, task)])
    if overlap is not None:
        record = overlap.noted(record, np.arange(len(task.crystals)), formulas, "none")
    return results_of(record, cells, rows, summary)


def _whole(cells: Sequence[Cell], task: TaskData, features: FeatureSet) -> list[Cell]:
    """Cells with all test rows; those without features get the mean of the training labels."""
    folds = folds_of(task.labels, task.kind)
    whole = []
    for cell in cells:
        train, test = folds[cell.fold]
        predicted = np.full(len(test), task.labels[train].mean())
        if cell.head != MEAN:
            predicted[features.valid[test]] = cell.predicted
        whole.append(
            replace(
                cell,
                n_train=len(train),
                n_test=len(test),
                ids=task.mbids[test],
                groups=np.asarray(task.mbids[test]),
                true=task.labels[test],
                predicted=predicted,
            )
        )
    return whole


def _counts(task: TaskData, features: FeatureSet) -> list[dict[str, int]]:
    """Rows with and without features of each fold."""
    return [
        {
            "training_rows_with_features": int(features.valid[train].sum()),
            "test_rows_predicted_by_training_mean": int((~features.valid[test]).sum()),
        }
        for train, test in folds_of(task.labels, task.kind)
    ]


def _verdict(summary: Sequence[Summary], task: TaskData) -> Verdict:
    """Whether the head beats the mean of the training labels."""
    metric = "mae" if task.kind == "regression" else "rocauc_probability"
    scores = {entry.head == MEAN: entry for entry in summary if entry.metric == metric}
    means = {which: entry.mean for which, entry in scores.items()}
    lower, higher = (
        (scores[False], scores[True]) if metric == "mae" else (scores[True], scores[False])
    )
    better = means[False] < means[True] if metric == "mae" else means[False] > means[True]
    return Verdict(
        target=task.target,
        claim=f"Better {metric} than the mean of the training labels",
        failed=not better,
        evidence=f"{means[False]:.4g} against {means[True]:.4g}, means over folds",
        significant=bool(lower.high < higher.low),
    )
