"""True and predicted values -> metrics, resamples of them, and 95 % intervals.

One bootstrap serves all: it resamples formulas of the test rows, all crystals of a formula
together, the same resamples for everything that is compared. Before analysis.py.
Source: Efron, Tibshirani, An Introduction to the Bootstrap, chapters 8.3 and 13.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from crystalssl.evaluation.results import (
    Cell,
    Floats,
    Texts,
)

LEVEL = 0.95
"""Level of every interval."""
T_INTERVAL, BOOTSTRAP = "t over repeats", "bootstrap over test formulas"
"""Kinds of interval."""
Metric = Literal["r2", "rmse"]
COMPARED: tuple[Metric, ...] = ("r2", "rmse")
"""Metrics of which differences are taken."""


def scores(true: Floats, predicted: Floats) -> dict[str, float]:
    """Root mean square error, mean absolute error, and R2 against the mean of the test labels."""
    error = predicted - true
    total = float(np.square(true - true.mean()).sum())
    return {
        "rmse": float(np.sqrt(np.square(error).mean())),
        "mae": float(np.abs(error).mean()),
        "r2": 1.0 - float(np.square(error).sum()) / total if total > 0 else 0.0,
    }


class Bootstrap:
    """Resampled test parts of some splits, the same for everything that is compared."""

    def __init__(self, groups: Sequence[Texts], resamples: int, seed: int = 0) -> None:
        """Draw formulas with replacement, with all rows of each.

        Args:
            groups: (m,) formulas of the test rows, one array a split.
            resamples: number of resamples.
            seed: seed of the resamples.
        """
        names = np.unique(np.concatenate(groups))
        self._index = [np.searchsorted(names, each) for each in groups]
        self._weights = resample_counts(len(names), resamples, seed).astype(np.float64)

    def metrics(self, series: Sequence[Sequence[Cell]]) -> dict[Metric, Floats]:
        """(series, resamples) of each metric, its mean over splits.

        Args:
            series: cells of one model each, in the order of the splits.
        """
        width = self._weights.shape[1]
        rmse, r2 = np.zeros((2, len(series), len(self._weights)))
        for number, index in enumerate(self._index):
            rows = [
                values
                for cells in series
                for values in _per_row(cells[number].true, cells[number].predicted)
            ]
            sums = np.stack([np.bincount(index, values, width) for values in rows], axis=1)
            resampled = (self._weights @ sums).T  # (4 series, resamples), one pass over weights
            count, total, squares, error = resampled.reshape(len(series), 4, -1).swapaxes(0, 1)
            count = np.maximum(count, 1)
            rmse += np.sqrt(error / count)
            r2 += 1.0 - error / np.maximum(squares - total**2 / count, 1e-300)
        return {"rmse": rmse / len(self._index), "r2": r2 / len(self._index)}


def _per_row(true: Floats, predicted: Floats) -> tuple[Floats, ...]:
    """What R2 and RMSE need of each row: 1, y, y^2, (prediction - y)^2."""
    return np.ones(len(true)), true, true**2, (predicted - true) ** 2


def resample_counts(count: int, resamples: int, seed: int) -> npt.NDArray[np.int64]:
    """(resamples, count) how often each of some units is drawn, with replacement."""
    uniform = np.full(count, 1 / count)
    return np.random.default_rng(seed).multinomial(count, uniform, size=resamples)


def percentile_interval(values: Floats) -> tuple[float, float]:
    """Ends of the interval that holds the middle of the resampled values."""
    low, high = np.quantile(values, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return float(low), float(high)


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """Ends of the interval of the mean over repeats; the mean itself where there is but one."""
    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return mean, mean
    reach = float(stats.t.ppf(0.5 + LEVEL / 2, count - 1) * np.std(values, ddof=1) / count**0.5)
    return mean - reach, mean + reach
