"""Absolute SHAP values by row and section -> shares of the whole, enrichment, bootstrap intervals.

A share alone says little: a section with more columns gets more. Enrichment divides it by the
section's share of the columns. After attribution.py, before shap_share.py.
Source: Efron, Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crystalssl.models.arrays import Floats

INTERVAL = (2.5, 97.5)
"""Percentiles of the bootstrap interval."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """What one section holds of all absolute SHAP values.

    Attributes:
        share: over all explained rows.
        low: lower end of its bootstrap interval.
        high: upper end.
        of_all: the section's share of all columns.
        of_varying: its share of the columns that vary over training rows.
    """

    share: float
    low: float
    high: float
    of_all: float
    of_varying: float

    def metrics(self) -> dict[str, float]:
        """The numbers by metric name; there is no enrichment where no column is."""
        ends = {"": self.share, "_low": self.low, "_high": self.high}
        found = {f"shap_share{end}": value for end, value in ends.items()}
        for name, part in (("all", self.of_all), ("varying", self.of_varying)):
            if part > 0:
                found |= {f"enrichment_{name}{end}": value / part for end, value in ends.items()}
        return found


def share_values(
    absolute: Floats,
    members: Floats,
    widths: Floats,
    varying: Floats,
    *,
    draws: int,
    seed: int,
) -> list[Share]:
    """Shares of sections, or of several sections together.

    Args:
        absolute: (m, sections) sums of absolute SHAP values of each explained row; sections are
            disjoint and make up the whole.
        members: (sections, shares) 1 where a section belongs to a share, else 0.
        widths: (sections,) columns of each, constant ones included.
        varying: (sections,) columns of each that vary over training rows.
        draws: bootstrap draws of the m rows.
        seed: seed of the draws.
    """
    count = len(absolute)
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws)
    low, high = np.percentile(_shares(times @ absolute) @ members, INTERVAL, axis=0)
    found = _shares(absolute.sum(axis=0, keepdims=True))[0] @ members
    of_all, of_varying = (_shares(columns[None])[0] @ members for columns in (widths, varying))
    return [
        Share(
            share=float(found[i]),
            low=float(low[i]),
            high=float(high[i]),
            of_all=float(of_all[i]),
            of_varying=float(of_varying[i]),
        )
        for i in range(members.shape[1])
    ]


def _shares(sums: Floats) -> Floats:
    """(draws, sections) shares; equal ones where a model ignores everything."""
    total = sums.sum(axis=1, keepdims=True)
    empty = total == 0
    shares: Floats = np.where(empty, 1 / sums.shape[1], sums / np.where(empty, 1.0, total))
    return shares
