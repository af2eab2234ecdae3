"""Stacked scores of classes -> probabilities that are as often right as they say.

Logarithms of the scores are stretched by one slope and moved by one bias a class (Platt scaling for
two classes, vector scaling with a common slope for more), fitted to out-of-fold scores with a weak
pull to leaving them as they are. After stacking.py. Sources: Platt, Advances in Large Margin
Classifiers (1999) 61; Guo et al., ICML 2017.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

Floats = npt.NDArray[np.float64]
LEAST = 1e-4
"""Smallest score; a score of zero has no logarithm."""
PULL = 5.0
"""Rows that the pull to leaving scores as they are counts as."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """How scores become probabilities.

    Attributes:
        slope: factor of the logarithms.
        bias: (c,) added to them, one a class; they add up to zero.
    """

    slope: float
    bias: Floats

    def apply(self, scores: Floats) -> Floats:
        """(n, t) calibrated probabilities of (n, t) scores."""
        logits = self.slope * np.log(probabilities(scores)) + self.bias
        return as_columns(_softmax(logits))


def fit_calibration(scores: Floats, labels: Floats) -> Calibration:
    """Slope and biases with the least log loss.

    Args:
        scores: (n, t) out-of-fold scores.
        labels: (n, t) labels: 0 or 1 for two classes, one column a class for more.
    """
    logs = np.log(probabilities(scores))  # (n, c)
    truth = probabilities(labels, least=0.0)
    rows, count = logs.shape

    def loss(theta: Floats) -> tuple[float, Floats]:
        slope, bias = theta[0], theta[1:]
        shares = _softmax(slope * logs + bias)
        value = -np.log(np.maximum((shares * truth).sum(axis=1), 1e-300)).sum()
        away = shares - truth
        pull = PULL * ((slope - 1) ** 2 + float(bias @ bias))
        gradient = np.concatenate([[(away * logs).sum()], away.sum(axis=0)])
        gradient += 2 * PULL * np.concatenate([[slope - 1], bias])
        return float(value + pull) / rows, gradient / rows

    start = np.zeros(count + 1)
    start[0] = 1.0
    bounds = [(0.05, 20.0), *[(-10.0, 10.0)] * count]
    best = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return Calibration(slope=float(best[0]), bias=best[1:] - best[1:].mean())


def probabilities(columns: Floats, least: float = LEAST) -> Floats:
    """(n, c) probabilities that add up to one, of (n, t) columns; two classes have one column.

    Args:
        columns: (n, t) scores or labels.
        least: smallest score.

    Example:
        >>> probabilities(np.array([[0.2]])).round(3).tolist()
        [[0.8, 0.2]]
    """
    if columns.shape[1] == 1:
        columns = np.concatenate([1 - columns, columns], axis=1)
    kept = np.clip(columns, least, None)
    shares: Floats = kept / np.maximum(kept.sum(axis=1, keepdims=True), 1e-300)
    return shares


def as_columns(shares: Floats) -> Floats:
    """(n, t) columns of (n, c) probabilities: the second alone where there are two classes."""
    return shares[:, 1:] if shares.shape[1] == 2 else shares


def true_classes(labels: Floats) -> npt.NDArray[np.int64]:
    """(n,) class of each row of (n, t) labels."""
    if labels.shape[1] == 1:
        return (labels[:, 0] > 0.5).astype(np.int64)
    return np.asarray(labels.argmax(axis=1), dtype=np.int64)


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares
