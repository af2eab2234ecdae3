"""Scenario: a Matbench task, its five official folds, frozen features and a head fitted in each.

A task and features in; tidy rows, predictions and a record in Matbench's own format out. The
encoders saw no label; what a head chooses (strength, number of trees, epochs) it chooses inside the
training part of the fold.
Source: Dunn et al., npj Comput. Mater. 6 (2020) 138.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from crystalssl.errors import InputError
from crystalssl.evaluation._model_code import head_code
from crystalssl.evaluation.feature_sets import FeatureSet
from crystalssl.evaluation.matbench_record import benchmark_record, unchanged
from crystalssl.evaluation.matbench_tasks import (
    EXTRA_SCORES,
    FOLD_SEED,
    FOLDS,
    TaskData,
    fold_scores,
    folds_of,
)
from crystalssl.evaluation.overlap import Overlap
from crystalssl.evaluation.scenario import (
    ResultTable,
    RunRecord,
    ScenarioResult,
    digest,
    installed_versions,
    write_table,
)
from crystalssl.evaluation.scoring import MEAN, prediction_table
from crystalssl.evaluation.store import Part, Store
from crystalssl.files import write_json
from crystalssl.models import Head, head_settings
from crystalssl.models.arrays import Floats, Index
from crystalssl.structures.formulas import reduced_formulas

SCENARIO = "matbench"
"""Scenario name in the results."""
RECORD_FILE = "results.json"
"""File of the record in Matbench's format."""
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Matbench:
    """What the scenario found.

    Attributes:
        table: tidy rows with their record.
        predictions: one row a crystal: property, unit, split_kind, fold, feature_set, model,
            immutable_id (the Matbench id), y_true, y_pred.
        record: the record in Matbench's format.
    """

    table: ResultTable
    predictions: pa.Table
    record: dict[str, Any]

    def save(self, folder: Path) -> list[Path]:
        """Write ``matbench.parquet``, ``.csv``, ``.json``, predictions and ``results.json``."""
        path = folder / RECORD_FILE
        return [
            self.table.save(folder / f"{SCENARIO}.csv"),
            self.table.save(folder / f"{SCENARIO}.parquet"),
            write_table(self.predictions, folder / f"{SCENARIO}_predictions.parquet"),
            path if unchanged(self.record, path) else write_json(self.record, path),
        ]


def matbench(
    task: TaskData,
    features: FeatureSet,
    head: Head,
    *,
    seed: int = 0,
    details: dict[str, str] | None = None,
    overlap: Overlap | None = None,
    store: Store | None = None,
    progress: Progress | None = None,
) -> Matbench:
    """Run the five official folds of a task.

    Split: the official folds, random rows, so another crystal of the same formula may be on both
    sides. Scaler and strength, trees or epochs: inside the training part of each fold. Rows without
    features (a structure that cannot be used) are not trained on and are predicted by the mean of
    the training labels, since Matbench wants a prediction for each; they are counted. Seeds: the
    benchmark's for the folds, ``seed`` for the head. Baseline: the mean of the training labels.
    Failure: a head that does not beat that baseline, or a published model of composition alone.

    Args:
        task: labels, ids and structures.
        features: one row for each of the task's n rows; ``valid`` marks those that have features.
        head: model that is fitted in each fold.
        seed: seed of the head.
        details: what else the record should say, such as the weights in use.
        overlap: which readable structures the weights have seen; counted in the record. No row is
            left out for it: the benchmark wants all.
        store: keeps finished folds, so that a stopped run goes on; those that this run did not
            ask for are removed. None computes all.
        progress: called with folds done, folds in all, and what is being done.

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
    keys: list[str] = []
    rows: list[ScenarioResult] = []
    tables: list[pa.Table] = []
    results: dict[str, Any] = {}
    record = _record(task, features, head, seed, details or {}, overlap)
    for fold, (train, test) in enumerate(folds_of(task.labels, task.kind)):
        if progress is not None:
            progress(fold, FOLDS, f"fold {fold + 1}")
        unit = _Unit(task=task, features=features, head=head, fold=fold, train=train, test=test)
        if store is None:
            part = unit.compute(seed)
        else:
            key = store.key(
                SCENARIO,
                {"head": head_settings(head), "seed": seed, "fold": fold},
                data=[record.data_hash],
                code=[*head_code(head), sys.modules[__name__]],
            )
            keys.append(key)
            part = store.once(key, partial(unit.compute, seed))
        rows += part.rows
        same = [task.target, task.unit, "random", fold, features.name, head.name]
        guess = part.arrays["predictions"]
        tables.append(prediction_table(same, task.mbids[test], task.labels[test], guess))
        results[f"fold_{fold}"] = unit.entry(guess)
    if store is not None:
        store.keep_only(keys)
    if progress is not None:
        progress(FOLDS, FOLDS, "")
    return Matbench(
        table=ResultTable(rows=tuple(rows), record=record),
        predictions=pa.concat_tables(tables),
        record=benchmark_record(task.name, results, _metadata(task, record)),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Unit:
    """One fold: what is fitted, on what, and how it is written down."""

    task: TaskData
    features: FeatureSet
    head: Head
    fold: int
    train: Index
    test: Index

    def compute(self, seed: int) -> Part:
        """Rows of the head and of the mean of labels, and (m,) predictions of the test rows."""
        task, matrix, valid = self.task, self.features.matrix, self.features.valid
        truth, mean = task.labels[self.test], task.labels[self.train].mean()
        start = time.perf_counter()
        fitted = self.head.fit(matrix, self.train[valid[self.train]], task.labels, None, seed)
        seconds = time.perf_counter() - start
        blind = np.full(len(self.test), mean)
        guess, known = blind.copy(), valid[self.test]
        if known.any():
            guess[known] = fitted.predict(matrix, self.test[known])
        own = {**fold_scores(truth, guess, task.kind), "fit_seconds": seconds}
        row = self._row()
        plain = replace(row, feature_set=MEAN, model=MEAN, n_features=0)
        return Part(
            rows=(
                *(replace(row, metric=name, value=value) for name, value in own.items()),
                *(
                    replace(plain, metric=name, value=value)
                    for name, value in fold_scores(truth, blind, task.kind).items()
                ),
            ),
            arrays={"predictions": guess},
        )

    def _row(self) -> ScenarioResult:
        """A tidy row of the fold, its metric still open."""
        return ScenarioResult(
            scenario=SCENARIO,
            property=self.task.target,
            unit=self.task.unit,
            split_kind="random",
            train_fraction=1 - 1 / FOLDS,
            seed=FOLD_SEED,
            fold=self.fold,
            feature_set=self.features.name,
            n_features=self.features.width,
            model=self.head.name,
            metric="",
            value=0.0,
            n_train=len(self.train),
            n_test=len(self.test),
        )

    def entry(self, guess: Floats) -> dict[str, Any]:
        """The fold as Matbench records it."""
        scores = fold_scores(self.task.labels[self.test], guess, self.task.kind)
        flat = {
            k: v for k, v in head_settings(self.head).items() if isinstance(v, str | int | float)
        }
        counts = {
            "training_rows_with_features": int(self.features.valid[self.train].sum()),
            "test_rows_predicted_by_training_mean": int((~self.features.valid[self.test]).sum()),
        }
        return {
            "data": dict(zip(self.task.mbids[self.test].tolist(), guess.tolist(), strict=True)),
            "parameters": {**flat, **counts},
            "scores": {name: scores[name] for name in scores if name not in EXTRA_SCORES},
            "uncertainty": None,
        }


def _record(
    task: TaskData,
    features: FeatureSet,
    head: Head,
    seed: int,
    details: dict[str, str],
    overlap: Overlap | None,
) -> RunRecord:
    """What the table should say about itself."""
    counts, settings = {}, {}
    if overlap is not None:
        every = np.arange(len(task.crystals))
        counts = overlap.counts(every, reduced_formulas(task.crystals))
        settings = {"overlap": overlap.settings("none")}
    without = int((~features.valid).sum())
    return RunRecord(
        scenario=SCENARIO,
        protocol=(
            f"The five {'official ' if task.official else ''}folds of {task.name} (random rows); "
            "frozen features, a head fitted in the training part of each fold. Rows without "
            "features are predicted by the mean of the training labels."
        ),
        config={
            "task": task.name,
            "target": task.target,
            "kind": task.kind,
            "official": task.official,
            "head": head_settings(head),
            **details,
            **settings,
        },
        seeds=[FOLD_SEED, seed],
        data_hash=digest([features.matrix, features.valid, task.labels, task.name]),
        counts={"rows": len(task.labels), "predicted by the training mean": without, **counts},
        labels={MEAN: "Mean of training labels", features.name: features.label},
        versions=installed_versions(),
    )


def _metadata(task: TaskData, record: RunRecord) -> dict[str, Any]:
    """What the Matbench record says of the run: flat, since its hash is taken of plain values."""
    return {
        "algorithm": "crystalssl",
        "algorithm_long": record.protocol,
        "official_task": task.official,
        "data_hash": record.data_hash,
        **{name: value for name, value in record.config.items() if isinstance(value, str)},
        **{name.replace(" ", "_"): count for name, count in record.counts.items()},
        **{f"version_{name}": version for name, version in record.versions.items()},
        "head": record.config["head"]["name"],
        "seed": record.seeds[-1],
    }
