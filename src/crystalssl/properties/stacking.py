"""Out-of-fold predictions of candidates -> non-negative weights, and the stacked prediction.

Weights minimise Huber's loss of residuals from the mean label, none below zero, with a weak pull
towards equal weights that matters where labels are few. Source: Breiman, Machine
Learning 24 (1996) 49.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

Floats = npt.NDArray[np.float64]

PULL = 30.0
"""Rows that the pull towards equal weights counts as."""
ROUNDS = 4
"""Rounds of reweighting, so that a few outliers do not choose the weights."""
PILE = 0.01
"""Share of labels at one end of their range that makes it an end that predictions keep to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """How predictions of candidates become one.

    Attributes:
        weights: (c,) weight of each candidate, none below zero.
        centre: (t,) mean of the labels that weights were made on.
        low: smallest prediction: 0 where no label is below, the least label where labels pile up
            there; else minus infinity.
        high: largest prediction.
    """

    weights: Floats
    centre: Floats
    low: float
    high: float

    def predict(self, candidates: Floats) -> Floats:
        """(n, t) stacked predictions of (n, c, t) predictions of candidates."""
        away = candidates - self.centre  # (n, c, t)
        stacked = np.einsum("nct,c->nt", away, self.weights) + self.centre
        return np.asarray(np.clip(stacked, self.low, self.high))

    def interval(self, values: Floats, half_width: Floats) -> tuple[Floats, Floats]:
        """(n,) ends of intervals about (n,) predictions; they keep to the ends of the labels."""
        lower, upper = values - half_width, values + half_width
        return np.clip(lower, self.low, self.high), np.clip(upper, self.low, self.high)

    def disagreement(self, candidates: Floats) -> Floats:
        """(n,) weighted standard deviation of the candidates about their mean, over labels."""
        share = self.weights / max(float(self.weights.sum()), 1e-12)
        mean = np.einsum("nct,c->nt", candidates, share)
        squares = np.einsum("nct,c->n", np.square(candidates - mean[:, None]), share)
        return np.asarray(np.sqrt(squares))


def fit_stack(
    candidates: Floats, labels: Floats, kind: str = "regression", nonnegative: bool = False
) -> Stack:
    """Weights from out-of-fold predictions.

    Args:
        candidates: (n, c, t) predictions of rows that were not fitted to.
        labels: (n, t) labels.
        kind: what labels are; probabilities stay between 0 and 1, and their squared error counts
            whole, so that they stay frequencies.
        nonnegative: whether nothing below zero is predicted.
    """
    centre = labels.mean(axis=0)
    width = candidates.shape[1]
    inputs = (candidates - centre).transpose(0, 2, 1).reshape(-1, width)  # (n t, c)
    target = (labels - centre).reshape(-1)
    # a pull towards 1 / c with the weight of a few rows keeps few labels from choosing one model
    pull = np.sqrt(PULL * float(np.square(target).mean()) / width)
    inputs = np.vstack([inputs, pull * np.eye(width)])
    target = np.concatenate([target, np.full(width, pull / width)])
    rows = np.ones(len(target))
    for _ in range(ROUNDS if kind == "regression" else 1):
        weights, _ = nnls(inputs * rows[:, None], target * rows)
        size = np.abs(target - inputs @ weights)[:-width]
        # Huber's weights: an error beyond the median counts by its size and not by its square
        rows[:-width] = np.sqrt(np.minimum(1.0, np.median(size) / np.maximum(size, 1e-300)))
    low, high = ends(labels) if kind == "regression" else (0.0, 1.0)
    if nonnegative:
        low = max(low, 0.0)
    return Stack(weights=weights, centre=centre, low=low, high=high)


def ends(labels: Floats) -> tuple[float, float]:
    """Ends of the labels' range where they pile up, as band gaps do at zero; else infinity."""
    low, high = float(labels.min()), float(labels.max())
    piled = (float((labels == end).mean()) >= PILE and len(labels) >= 100 for end in (low, high))
    at_low, at_high = piled
    return (low if at_low else -np.inf), (high if at_high else np.inf)
