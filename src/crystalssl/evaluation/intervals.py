"""Numbers of several draws, or predictions of one -> a mean with its 95 % interval.

Over draws the interval is Student's t: it holds how much depends on which labels were drawn. Of a
single draw it is a bootstrap over the formulas of the test part: how much depends on what is
tested. Used by few_shot.py and ablation.py.
Source: Efron, Tibshirani, An Introduction to the Bootstrap, chapter 13.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, get_type_hints

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import stats

from crystalssl.models.arrays import Floats

LEVEL = 0.95
"""Level of every interval."""
RESAMPLES = 2000
"""Resamples of a bootstrap."""
OVER_DRAWS, OVER_FORMULAS = "t over draws", "bootstrap over test formulas"
"""Kinds of interval."""
Metric = Literal["r2", "rmse"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A mean with its interval; one row of a summary table.

    Attributes:
        property: label column.
        unit: its unit.
        train_fraction: share of the labels trained on.
        n_train: training rows.
        n_test: test rows.
        feature_set: feature set of interest.
        baseline: feature set it is held against, empty where the number stands alone.
        model: model of both.
        metric: what the number is; differences are ours minus baseline.
        mean: mean over draws.
        low: lower end of the interval, NaN where it is not known.
        high: upper end.
        draws: number of draws.
        interval: kind of interval.
    """

    property: str
    unit: str
    train_fraction: float
    n_train: int
    n_test: int
    feature_set: str
    baseline: str
    model: str
    metric: str
    mean: float
    low: float
    high: float
    draws: int
    interval: str


def estimate_table(estimates: Sequence[Estimate]) -> pa.Table:
    """Estimates as a table; ends of an interval that is not known are null."""
    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    schema = pa.schema([(n, kinds[t]) for n, t in get_type_hints(Estimate).items()])
    names = [entry.name for entry in fields(Estimate)]
    columns = {
        n: pa.array([getattr(e, n) for e in estimates], schema.field(n).type, from_pandas=True)
        for n in names
    }
    return pa.table(columns, schema=schema)


def t_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, lower and upper end over draws; the ends are the mean where there is one draw."""
    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return mean, mean, mean
    reach = float(stats.t.ppf(0.5 + LEVEL / 2, count - 1) * np.std(values, ddof=1) / count**0.5)
    return mean, mean - reach, mean + reach


@dataclass(frozen=True, kw_only=True, slots=True)
class Resamples:
    """Resampled test parts, the same for everything that is compared.

    Attributes:
        group: (m,) number of each test row's formula.
        counts: (resamples, groups) how often each formula was drawn.
    """

    group: npt.NDArray[np.int64]
    counts: Floats

    @staticmethod
    def draw(groups: npt.NDArray[np.str_], seed: int = 0, resamples: int = RESAMPLES) -> Resamples:
        """Draw formulas with replacement, with all rows of each.

        Args:
            groups: (m,) formula of each test row.
            seed: seed of the draws.
            resamples: number of test parts.
        """
        names, group = np.unique(groups, return_inverse=True)
        rng = np.random.default_rng(seed)
        drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
        return Resamples(group=group.reshape(-1), counts=drawn.astype(np.float64))

    def metric(self, name: Metric, truth: Floats, guess: Floats) -> Floats:
        """(resamples,) R2, against the mean of each resample, or root mean square error."""
        per_row = [np.ones(len(truth)), truth, truth**2, (guess - truth) ** 2]
        sums = np.stack([np.bincount(self.group, values) for values in per_row], axis=1)
        count, total, squares, error = (self.counts @ sums).T
        if name == "rmse":
            return np.asarray(np.sqrt(error / count))
        return np.asarray(1.0 - error / np.maximum(squares - total**2 / count, 1e-300))


def percentile_interval(values: Floats) -> tuple[float, float]:
    """Ends of the interval that holds the middle of the resampled values."""
    low, high = np.quantile(values, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return float(low), float(high)
