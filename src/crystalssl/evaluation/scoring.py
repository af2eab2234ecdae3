"""Predictions of one split -> tidy rows, and the predictions themselves for the parity plot.

Shared by the scenarios; a model that predicts the mean is scored beside every other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from crystalssl.evaluation.feature_sets import FeatureSet
from crystalssl.evaluation.protocols import Split
from crystalssl.evaluation.scenario import ScenarioResult
from crystalssl.models.arrays import Floats
from crystalssl.models.ridge import LinearModel

MEAN = "mean"
"""Name of the baseline that predicts the mean of the training labels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One property.

    Attributes:
        name: label column.
        unit: its unit.
        values: (n,) labels, NaN where unknown.
    """

    name: str
    unit: str
    values: Floats


@dataclass(kw_only=True)
class Scorer:
    """Collects the rows and predictions of one split.

    Attributes:
        scenario: scenario name.
        targets: properties, t of them.
        split: rows of both sides.
        labels: (n, t) labels.
        ids: (n,) ids.
        rows: what was scored so far.
        predictions: what was predicted so far.
    """

    scenario: str
    targets: list[Target]
    split: Split
    labels: Floats
    ids: npt.NDArray[np.str_]
    rows: list[ScenarioResult] = field(default_factory=list)
    predictions: list[pa.Table] = field(default_factory=list)

    def add(
        self,
        part: FeatureSet | None,
        model: str,
        predicted: Floats,
        fitted: LinearModel | None = None,
        seconds: float = 0.0,
    ) -> None:
        """Score the predictions of one model for every target."""
        name = MEAN if part is None else part.name
        for column, target in enumerate(self.targets):
            truth, guess = self.labels[self.split.test, column], predicted[:, column]
            values = scores(truth, guess) | {"fit_seconds": seconds}
            if fitted is not None:
                values["strength"] = float(fitted.strength[column])
            self.rows += [
                ScenarioResult(
                    scenario=self.scenario,
                    property=target.name,
                    unit=target.unit,
                    split_kind=self.split.kind,
                    train_fraction=self.split.train_fraction,
                    seed=self.split.seed,
                    fold=self.split.fold,
                    feature_set=name,
                    n_features=0 if part is None else part.width,
                    model=model,
                    metric=metric,
                    value=value,
                    n_train=len(self.split.train),
                    n_test=len(self.split.test),
                )
                for metric, value in values.items()
            ]
            if self.split.keep_predictions and part is not None:
                same = [target.name, target.unit, self.split.kind, self.split.fold, name, model]
                self.predictions.append(
                    prediction_table(same, self.ids[self.split.test], truth, guess)
                )

    def prediction_table(self) -> pa.Table:
        """All predictions so far, one row each; empty where none are kept."""
        return pa.concat_tables(self.predictions) if self.predictions else prediction_table([])


def scores(truth: Floats, guess: Floats) -> dict[str, float]:
    """Root mean square error, mean absolute error, and R2 against the mean of the test labels."""
    error = guess - truth
    spread = float(np.square(truth - truth.mean()).sum())
    return {
        "rmse": float(np.sqrt(np.square(error).mean())),
        "mae": float(np.abs(error).mean()),
        "r2": 1.0 - float(np.square(error).sum()) / spread if spread > 0 else 0.0,
    }


def prediction_table(same: list[Any], *columns: npt.NDArray[Any]) -> pa.Table:
    """Predictions of one model in one fold, columns with one value first."""
    names = ("property", "unit", "split_kind", "fold", "feature_set", "model")
    kinds = (pa.string(), pa.string(), pa.string(), pa.int64(), pa.string(), pa.string())
    count = len(columns[0]) if columns else 0
    held = {
        name: pa.array([same[i]] * count if same else [], kind).dictionary_encode()
        if kind == pa.string()
        else pa.array([same[i]] * count if same else [], kind)
        for i, (name, kind) in enumerate(zip(names, kinds, strict=True))
    }
    ends = (("immutable_id", pa.string()), ("y_true", pa.float64()), ("y_pred", pa.float64()))
    for i, (name, kind) in enumerate(ends):
        held[name] = pa.array(columns[i] if columns else [], kind)
    return pa.table(held)
