"""Out-of-fold residuals -> intervals that hold a chosen share of crystals that were never seen.

Grouped cross-conformal prediction: a residual is divided by the error that is to be expected there,
from the disagreement of candidates and the distance to labelled crystals; the quantile of these
ratios, with the correction for a finite number, times the expected error is the half width.
Sources: Barber et al., Annals of Statistics 49 (2021) 486; Papadopoulos et al., JAIR 40 (2011) 815.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

Floats = npt.NDArray[np.float64]

LEVEL = 0.9
"""Share of crystals that intervals are to hold."""
PERCENTILE = 95.0
"""Percentile of what was to be expected for labelled crystals that ends the domain."""
FLOOR = 0.1
"""Smallest expected error, as a fraction of the mean absolute residual."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Intervals:
    """Half widths of intervals.

    Attributes:
        scale: (3,) expected absolute residual: constant, times disagreement, times distance.
        floor: smallest expected residual.
        ratios: sorted ratios of absolute to expected residual, for any level.
        count: number of independent residuals that they come from.
        limit: expected residual at which the domain ends (``domain.py``).
    """

    scale: Floats
    floor: float
    ratios: Floats
    count: int
    limit: float = math.inf

    def expected(self, disagreement: Floats, distance: Floats) -> Floats:
        """(m,) absolute residual to be expected."""
        inputs = _inputs(disagreement, distance)
        return np.maximum(inputs @ self.scale, self.floor)

    def usual(self, expected: Floats) -> npt.NDArray[np.bool_]:
        """(m,) whether no larger residual is to be expected than for most labelled crystals."""
        return np.asarray(expected <= self.limit * (1 + 1e-9))  # rounding decides nothing

    def half_width(self, disagreement: Floats, distance: Floats, level: float = LEVEL) -> Floats:
        """(m,) half width of intervals of a level; the largest ratio where residuals are few."""
        return self.quantile(level) * self.expected(disagreement, distance)

    def quantile(self, level: float) -> float:
        """Ratio that the share ``level`` of new crystals stays below."""
        rank = np.ceil((self.count + 1) * level) / max(self.count, 1)
        at = min(len(self.ratios) - 1, int(np.ceil(rank * len(self.ratios))) - 1)
        return float(self.ratios[at])


def fit_intervals(
    residuals: Floats, disagreement: Floats, distance: Floats, count: int | None = None
) -> Intervals:
    """Intervals from residuals of rows that the models did not see.

    Args:
        residuals: (n,) label minus prediction.
        disagreement: (n,) of the candidates.
        distance: (n,) to the nearest crystals that were fitted to.
        count: independent residuals, where rows come several times; None for all.
    """
    size = np.abs(residuals)
    inputs = _inputs(disagreement, distance)
    # least squares of the absolute residual; its square root in both keeps outliers from ruling
    weight = 1.0 / (np.median(size) + inputs[:, 1] + 1e-12)
    widths = np.maximum(np.sqrt(np.square(inputs * weight[:, None]).mean(axis=0)), 1e-12)
    scale = nnls(inputs * weight[:, None] / widths, size * weight)[0] / widths
    floor = max(FLOOR * float(size.mean()), 1e-12)
    expected = np.maximum(inputs @ scale, floor)
    return Intervals(
        scale=scale,
        floor=floor,
        ratios=np.sort(size / expected),
        count=len(size) if count is None else count,
        limit=float(np.percentile(expected, PERCENTILE)),
    )


def _inputs(disagreement: Floats, distance: Floats) -> Floats:
    """(m, 3) one, disagreement and distance."""
    return np.stack([np.ones(len(distance)), disagreement, distance], axis=1)
