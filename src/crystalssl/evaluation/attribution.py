"""A fitted head and some rows -> SHAP values of its columns, and the shares of groups of them.

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
from crystalssl.evaluation.statistics import percentile_interval, resample_counts
from crystalssl.models.arrays import Features, Floats, Index
from crystalssl.models.boosting import FittedLightGBM

Columns = Mapping[str, npt.NDArray[np.int64] | npt.NDArray[np.bool_]]
"""Columns of the matrix that belong to each group, by its name: numbers, or a (p,) mask."""
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
        """(m,) distance of total and prediction, in standard deviations of the predictions."""
        deviation = float(self.predicted.std())
        gaps: Floats = np.abs(self.total - self.predicted) / (deviation if deviation > 0 else 1.0)
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

    def values(chunk: Index) -> tuple[Floats, Floats]:
        shap = np.asarray(booster.predict(matrix[chunk], pred_contrib=True), dtype=np.float64)
        return shap[:, :-1], shap[:, -1]  # (chunk, p), and the base that they are added to

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
    columns = fitted.scaler.columns
    reference = torch.from_numpy(fitted.scaler.transform(matrix, background, np.float32))
    explainer = _gradient_explainer(network, reference, samples)
    base = float(fitted.predict(matrix, background).mean())

    def values(chunk: Index) -> tuple[Floats, Floats]:
        inputs = torch.from_numpy(fitted.scaler.transform(matrix, chunk, np.float32))
        state = np.random.get_state()  # noqa: NPY002  shap uses the global generator
        try:
            varying = explainer.shap_values(inputs, nsamples=samples, rseed=seed + int(chunk[0]))
        finally:
            np.random.set_state(state)  # noqa: NPY002
        shap = np.zeros((len(chunk), matrix.shape[1]))
        shap[:, columns] = np.asarray(varying).reshape(len(chunk), len(columns)) * scale
        return shap, np.full(len(chunk), base)

    return _summed(values, matrix.shape[1], rows, groups, fitted.predict(matrix, rows))


def _summed(
    values: Callable[[Index], tuple[Floats, Floats]],
    width: int,
    rows: Index,
    groups: Columns,
    predicted: Floats,
) -> Attribution:
    """Sums over groups and rows; SHAP values themselves are held for a few rows at a time."""
    members = np.zeros((width, len(groups)))
    for number, columns in enumerate(groups.values()):
        members[columns, number] = 1.0
    absolute, total = np.empty((len(rows), len(groups))), np.empty(len(rows))
    per_column, base = np.zeros(width), 0.0
    for start in range(0, len(rows), STEP):
        chunk = slice(start, start + STEP)
        shap, bases = values(rows[chunk])
        size = np.abs(shap)
        absolute[chunk] = size @ members
        per_column += size.sum(axis=0)
        total[chunk] = shap.sum(axis=1) + bases
        base = float(bases[0])
    return Attribution(
        absolute=absolute,
        columns=per_column / len(rows),
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
        raise missing_extra("shap", "fit", "Explaining a network") from error
    return shap.GradientExplainer(network, reference, batch_size=batch)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shares:
    """Shares of all features together and of each section.

    Attributes:
        share: (shares,) of absolute SHAP values.
        low: (shares,) lower ends of their bootstrap intervals.
        high: (shares,) upper ends.
        of_all: (shares,) of all columns.
        of_varying: (shares,) of the columns that vary over training rows.
    """

    share: Floats
    low: Floats
    high: Floats
    of_all: Floats
    of_varying: Floats


def share_values(
    absolute: Floats, members: Floats, columns: tuple[Floats, Floats], resamples: int, seed: int
) -> Shares:
    """Shares of sections, or of several sections together.

    Args:
        absolute: (m, sections) sums of absolute SHAP values of each explained row; sections are
            disjoint and make up the whole.
        members: (sections, shares) 1 where a section belongs to a share, else 0.
        columns: (sections,) columns of each, constant ones included, and those that vary.
        resamples: bootstrap resamples of the m rows.
        seed: their seed.
    """
    counts = resample_counts(len(absolute), resamples, seed)
    resampled = _normalised(counts @ absolute) @ members  # (resamples, shares)
    ends = np.array([percentile_interval(values) for values in resampled.T])
    share, of_all, of_varying = (
        _normalised(sums[None])[0] @ members for sums in (absolute.sum(axis=0), *columns)
    )
    return Shares(
        share=share, low=ends[:, 0], high=ends[:, 1], of_all=of_all, of_varying=of_varying
    )


def _normalised(sums: Floats) -> Floats:
    """(resamples, sections) shares; equal ones where a model ignores everything."""
    total = sums.sum(axis=1, keepdims=True)
    empty = total == 0
    shares: Floats = np.where(empty, 1 / sums.shape[1], sums / np.where(empty, 1.0, total))
    return shares
