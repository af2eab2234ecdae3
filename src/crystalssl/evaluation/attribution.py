"""A fitted head and some rows -> SHAP values: what each column adds to each prediction.

Trees: exact path-dependent SHAP values, by LightGBM's own routine (the one shap.TreeExplainer
calls). Networks: expected gradients over background rows, by shap.GradientExplainer, an average of
samples. Both come back in the units of the label, one column for each column of the matrix.
Source: Lundberg et al., Nat. Mach. Intell. 2 (2020) 56; Erion et al., ibid. 3 (2021) 620.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from crystalssl.errors import missing_extra
from crystalssl.models.arrays import Features, Floats, Index
from crystalssl.models.boosting import FittedLightGBM

Columns = Mapping[str, npt.NDArray[np.bool_]]
"""Columns of the matrix that belong to each group, (p,) masks by name."""
STEP = 50
"""Rows that are explained at a time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attribution:
    """SHAP values of m rows, summed up.

    Attributes:
        absolute: (m, groups) sum of absolute SHAP values over the columns of each group.
        columns: (p,) mean absolute SHAP value of each column of the matrix.
        base: value that SHAP values are added to, in the unit of the label.
        total: (m,) base plus all SHAP values of the row.
        predicted: (m,) predictions of the head.
    """

    absolute: Floats
    columns: Floats
    base: float
    total: Floats
    predicted: Floats

    @property
    def gaps(self) -> Floats:
        """(m,) distance of total and prediction, as a share of the spread of the predictions."""
        spread = float(self.predicted.std())
        gaps: Floats = np.abs(self.total - self.predicted) / (spread if spread > 0 else 1.0)
        return gaps


def explain_trees(
    fitted: FittedLightGBM, matrix: Features, rows: Index, groups: Columns
) -> Attribution:
    """SHAP values of boosted trees for numbers, exact.

    Args:
        fitted: head with one label.
        matrix: (n, p) features it was fitted on.
        rows: (m,) rows to explain.
        groups: columns of each group.
    """
    booster = fitted.boosters[0]

    def values(part: Index) -> tuple[Floats, Floats]:
        found = np.asarray(booster.predict(matrix[part], pred_contrib=True), dtype=np.float64)
        return found[:, :-1], found[:, -1]

    return _summed(values, matrix.shape[1], rows, groups, fitted.predict(matrix, rows))


def explain_network(
    fitted: Any,
    matrix: Features,
    rows: Index,
    background: Index,
    groups: Columns,
    *,
    samples: int,
    seed: int,
) -> Attribution:
    """SHAP values of a network for numbers, as expected gradients.

    Each value is an average over ``samples`` points between the row and a background row, so values
    carry sampling noise, and additivity holds to within it.

    Args:
        fitted: ``FittedMLP`` with one label.
        matrix: (n, p) features it was fitted on.
        rows: (m,) rows to explain.
        background: (b,) training rows that stand for the data.
        groups: columns of each group.
        samples: points for each row.
        seed: seed of the points.

    Raises:
        MissingExtraError: if shap is not installed.
    """
    import torch

    network, scale = fitted.networks[0], float(fitted.scale[0])
    known = fitted.scaler.columns
    reference = torch.from_numpy(fitted.scaler.transform(matrix, background, np.float32))
    explainer = _gradient_explainer(network, reference, samples)
    base = float(fitted.predict(matrix, background).mean())

    def values(part: Index) -> tuple[Floats, Floats]:
        inputs = torch.from_numpy(fitted.scaler.transform(matrix, part, np.float32))
        state = np.random.get_state()  # noqa: NPY002  shap draws from the global generator
        try:
            found = explainer.shap_values(inputs, nsamples=samples, rseed=seed + int(part[0]))
        finally:
            np.random.set_state(state)  # noqa: NPY002
        whole = np.zeros((len(part), matrix.shape[1]))
        whole[:, known] = np.asarray(found).reshape(len(part), len(known)) * scale
        return whole, np.full(len(part), base)

    return _summed(values, matrix.shape[1], rows, groups, fitted.predict(matrix, rows))


def _summed(
    values: Callable[[Index], tuple[Floats, Floats]],
    width: int,
    rows: Index,
    groups: Columns,
    predicted: Floats,
) -> Attribution:
    """Sums over groups and rows; SHAP values themselves are held for a few rows at a time."""
    members = np.stack(list(groups.values()), axis=1).astype(np.float64)
    absolute, total = np.empty((len(rows), members.shape[1])), np.empty(len(rows))
    columns, base = np.zeros(width), 0.0
    for start in range(0, len(rows), STEP):
        part = slice(start, start + STEP)
        found, bases = values(rows[part])
        size = np.abs(found)
        absolute[part] = size @ members
        columns += size.sum(axis=0)
        total[part] = found.sum(axis=1) + bases
        base = float(bases[0])
    return Attribution(
        absolute=absolute,
        columns=columns / len(rows),
        base=base,
        total=total,
        predicted=predicted,
    )


def _gradient_explainer(network: Any, reference: Any, batch: int) -> Any:
    """Shap's explainer of a network.

    Raises:
        MissingExtraError: if shap is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # notices of its dependencies at import
            import shap
    except ImportError as error:
        raise missing_extra("shap", "boosting", "Explaining a network") from error
    return shap.GradientExplainer(network, reference, batch_size=batch)
