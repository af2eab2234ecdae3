"""Features -> the nearest crystals of each one, for the list beside a chosen crystal.

The search of ``crystalssl neighbors``, asked for all crystals at once. Of very many crystals it
goes over principal axes instead of all features, which the page says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crystalssl.features.features import Features
from crystalssl.report.projection import principal_axes
from crystalssl.search.index import CrystalIndex

AXES = 128
"""Principal components that distances of very many crystals are taken on."""
MOST = 20_000
"""Crystals up to which distances are taken on all features."""
QUERIES = 2048
"""Crystals asked for at a time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Nearest:
    """Neighbours of n crystals.

    Attributes:
        rows: (n, k) rows of the nearest others, the nearest first.
        distances: (n, k) root mean square difference, in standard deviations.
        metric: what the distance is, in words.
    """

    rows: npt.NDArray[np.int64]
    distances: npt.NDArray[np.float64]
    metric: str


def nearest_of(features: Features, count: int) -> Nearest | None:
    """The nearest other crystals of each; None without others.

    Args:
        features: of n crystals, all finite.
        count: neighbours of each, at most.
    """
    count = min(count, len(features) - 1)
    if count < 1:
        return None
    keys = [str(row) for row in range(len(features))]  # ids may repeat in a file of others
    if len(features) > MOST:
        axes, _ = principal_axes(features.matrix, AXES)
        index = CrystalIndex.build(axes / np.sqrt(axes.shape[1]), keys, standardise="none")
        what = f"{axes.shape[1]} principal components of the standardised features"
    else:
        index = CrystalIndex.build(features, keys)
        what = f"{index.axes.count:,} features"
    batches = [index.query(keys[at : at + QUERIES], count) for at in range(0, len(keys), QUERIES)]
    return Nearest(
        rows=np.concatenate([batch.rows for batch in batches]),
        distances=np.concatenate([batch.distances for batch in batches]),
        metric=f"Root mean square difference of {what}, in standard deviations",
    )
