"""Features of unlabelled crystals -> which of them to label first, in order.

A greedy experimental design for ridge regression (Yu, Bi, Tresp: Active learning via transductive
experimental design, ICML 2006): each crystal lowers most the variance of a ridge model's
predictions over ALL crystals, given those chosen before. What is asked for beyond its axes comes
from the middle of clusters, so that families are there as often as they occur, and the design adds
to these. Deterministic. What it brings beside random choices, and what lost: docs/search.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError
from crystalssl.search.axes import Matrix, evenly
from crystalssl.search.clusters import medoids
from crystalssl.search.nearest import Rows

MOST_CANDIDATES = 65_536
"""Crystals that are looked at; of more, those whose ids have the least checksums."""
DESIGN_AXES = 256
"""Principal axes on which the variance of predictions is lowered."""
DESIGNED = 500
"""Crystals that are chosen by design; of a larger choice the others are middles of clusters."""
CLUSTER_AXES = 64
"""Principal axes in which clusters are found."""
RIDGE = 0.1
"""Strength of ridge regression, in units of the mean squared length of a crystal's features."""

Weights = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """Crystals to label, the most useful first.

    Attributes:
        rows: (c,) their rows.
        explained: (c,) share of the variance of predictions over all crystals that is gone once
            this and all before it are labelled.
    """

    rows: Rows
    explained: Weights


def candidates(ids: npt.NDArray[np.str_], most: int = MOST_CANDIDATES) -> Rows:
    """Rows to choose among: all, or those of the least checksums of ids, whatever their order."""
    order = np.argsort(ids, kind="stable")
    if len(ids) <= most:
        return order
    sums = np.array([_checksum(name) for name in ids.tolist()], dtype=np.uint64)
    least = np.lexsort((ids, sums))[:most]
    return least[np.argsort(ids[least], kind="stable")]


def _checksum(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def principal(coordinates: Matrix, most: int = DESIGN_AXES) -> Matrix:
    """(n, l) centred rows on their leading principal axes, of mean squared length 1.

    Args:
        coordinates: (n, m) standardised features.
        most: axes to keep.

    Raises:
        InputError: if all rows are equal.
    """
    centred = coordinates - coordinates.mean(axis=0, dtype=np.float64).astype(np.float32)
    some = centred[evenly(len(centred), MOST_CANDIDATES)]
    _, vectors = np.linalg.eigh((some.T @ some).astype(np.float64))
    leading = vectors[:, ::-1][:, :most]
    largest = np.abs(leading).argmax(axis=0)
    leading = leading * np.sign(leading[largest, np.arange(leading.shape[1])])
    axes: Matrix = centred @ leading.astype(np.float32)  # (n, l)
    size = float(np.sqrt(np.einsum("ij,ij->", axes, axes, dtype=np.float64) / max(len(axes), 1)))
    if not size > 0:
        raise InputError("All crystals have the same features, so there is nothing to choose by.")
    axes /= np.float32(size)
    return axes


class Design:
    """Variance of the predictions of ridge regression over n crystals, as some get labels.

    With K = X M X' between all crystals (M starts as the identity), labelling crystal i takes
    K_i K_i' / (K_ii + ridge) from K, and so |K_i|^2 / (K_ii + ridge) from its trace.
    """

    def __init__(self, axes: Matrix, ridge: float = RIDGE, weights: Weights | None = None) -> None:
        """Take the crystals.

        Args:
            axes: (n, l) features, as ``principal`` gives them.
            ridge: strength of the model.
            weights: (n,) how much the predictions of each crystal matter; all the same if None.
        """
        self.axes = axes
        self.ridge = ridge
        self.weights = np.ones(len(axes)) if weights is None else weights / weights.mean()
        weighted = axes * self.weights[:, None].astype(np.float32)  # (n, l)
        self.weighted = axes if weights is None else weighted
        self.remaining = np.eye(axes.shape[1])  # M, (l, l)
        self.variance = np.einsum("ij,ij->i", axes, axes).astype(np.float64)  # K_ii
        moment = (self.weighted.T @ axes).astype(np.float32)  # (l, l)
        self.gain = np.einsum("ij,ij->i", axes @ moment, axes).astype(np.float64)  # |K_i|^2
        self.total = float(self.variance @ self.weights)

    def label(self, row: int) -> None:
        """Take the variance away that a label of this crystal takes."""
        direction = self.remaining @ self.axes[row]  # M x_i, (l,)
        column = self.axes @ direction.astype(np.float32)  # K_i, (n,)
        size = float(self.axes[row] @ direction) + self.ridge
        moved = self.remaining @ (self.weighted.T @ column).astype(np.float64)  # M X' W K_i
        cross = (self.axes @ moved.astype(np.float32)).astype(np.float64)  # K W K_i, (n,)
        column = column.astype(np.float64)
        squared = float(column @ (self.weights * column))
        share = column / size
        self.gain += share * (share * squared - 2 * cross)
        self.variance -= share * column
        self.remaining -= np.outer(direction, direction / size)

    @property
    def scores(self) -> Weights:
        """(n,) variance that a label of each crystal would take away."""
        lowered: Weights = np.maximum(self.gain, 0) / (np.maximum(self.variance, 0) + self.ridge)
        return lowered

    @property
    def explained(self) -> float:
        """Share of the variance that is gone."""
        return 1 - float(np.maximum(self.variance, 0) @ self.weights) / self.total


def check_count(count: int, left: int) -> None:
    """Refuse to choose more crystals than there are.

    Args:
        count: crystals asked for.
        left: crystals without a label.

    Raises:
        InputError: if there are fewer, or none is asked for.
    """
    if not 1 <= count <= left:
        raise InputError(
            f"Got {count:,} crystals to choose, expected 1 to {left:,}: so many have no label yet."
        )


def choose(
    axes: Matrix,
    count: int,
    *,
    labelled: Rows | None = None,
    weights: Weights | None = None,
    ridge: float = RIDGE,
    designed: int = DESIGNED,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> Choice:
    """The rows to label first; the first of equally good ones.

    Args:
        axes: (n, l) features, as :func:`principal` gives them.
        count: how many to choose.
        labelled: rows that have labels already; they are not chosen again.
        weights: (n,) how much the predictions of each crystal matter.
        ridge: strength of the model.
        designed: crystals chosen by design; of a larger choice those beyond are the middle of a
            cluster each, and the design adds to them.
        watch: told how many are chosen.

    Raises:
        InputError: if there are fewer rows without a label than asked for.
    """
    known = np.zeros(0, np.int64) if labelled is None else labelled
    check_count(count, len(axes) - len(known))
    design = Design(axes, ridge, weights)
    taken = np.zeros(len(axes), bool)
    for row in known.tolist():
        design.label(row)
    taken[known] = True
    middles = medoids(axes[:, :CLUSTER_AXES], max(0, count - designed), known)
    rows: list[int] = []
    explained = []
    for number in range(count):
        row = int(middles[number]) if number < len(middles) else -1
        if row < 0:
            row = int(np.where(taken, -np.inf, design.scores).argmax())
        taken[row] = True
        design.label(row)
        rows.append(row)
        explained.append(design.explained)
        watch(number + 1, count)
    return Choice(rows=np.array(rows, dtype=np.int64), explained=np.array(explained))
