"""Gaussian process head: Matern kernel on principal axes, a length scale for each view of crystals.

Columns of a view are standardised, clipped and turned to their leading principal axes; a view has
one length scale and one exponent that weighs axes between their variance and equal weight. These
maximise the marginal likelihood of a subset of the training rows. Exact up to ``exact`` rows, on
inducing points (deterministic training conditional) beyond. Source: Rasmussen, Williams, Gaussian
Processes for Machine Learning, sections 2.2, 5.4 and 8.3.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.linalg.lapack import dpotrf, dpotri
from scipy.optimize import minimize

from crystalssl.models.arrays import Features, Floats, Index, chunks
from crystalssl.models.contract import Fitted, Head, Training
from crystalssl.models.principal_axes import (
    columns_between,
    fit_axes,
    sample_rows,
    scores_along,
)
from crystalssl.models.scaling import Scaler, fit_scaler

EXPONENT = 0.4
"""Standard deviation of the prior on exponents, about zero: few labels would give all axes, down to
the noisiest, equal weight."""
JITTER = 1e-6
"""Added to the noise variance, for a Cholesky factor that exists."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedGaussianProcess(Fitted):
    """A Gaussian process after fitting.

    Attributes:
        scalers: standardisation of each view's columns; indices are those of the whole matrix.
        axes: (p_v, d_v) principal axes of each view, divided by length scales of the first label.
        scales: (t, d) what axes are multiplied with for each label; d over all views.
        points: (m, d) axes of the points that weights belong to, before ``scales``.
        weights: (m, t) weights of the kernel functions at the points.
        mean: (t,) mean of each label.
        amplitude: (t,) standard deviation of the function, in units of the label.
        noise: (t,) standard deviation of the noise, in units of the label.
    """

    scalers: list[Scaler]
    axes: list[Floats]
    scales: Floats
    points: Floats
    weights: Floats
    mean: Floats
    amplitude: Floats
    noise: Floats

    def _predict(self, matrix: Features, rows: Index) -> Floats:
        scores = project(matrix, rows, self.scalers, self.axes)  # (k, d)
        columns = []
        for label, scale in enumerate(self.scales):
            kernel = matern(_distances(scores * scale, self.points * scale))  # (k, m)
            columns.append(kernel @ self.weights[:, label] + self.mean[label])
        return np.stack(columns, axis=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class GaussianProcess(Head):
    """Gaussian process regression; classes are fitted as numbers and clipped to 0 and 1."""

    name: str = "gaussian_process"
    """Name in the registry."""
    widths: tuple[int, ...] = ()
    """Columns of each view, side by side in the matrix; one view of all columns if empty."""
    axes: int = 60
    """Principal axes of each view at most."""
    exact: int = 5_000
    """Training rows up to which the fit is exact."""
    inducing: int = 3_000
    """Inducing points beyond."""
    likelihood_rows: int = 600
    """Training rows whose marginal likelihood is maximised."""
    steps: int = 30
    """Steps of the optimiser (L-BFGS-B) at most."""
    widest: float = 5.0
    """Standard deviations at which inputs are clipped."""

    def _fit(self, data: Training) -> FittedGaussianProcess:
        scalers, axes, variances = self._axes(data)
        scores = project(data.matrix, data.rows, scalers, axes)  # (k, d)
        points = self._points(data)
        fits = [
            self._fit_label(scores, target, points, variances, data.seed) for target in data.targets
        ]
        return FittedGaussianProcess(
            scalers=scalers,
            axes=axes,
            scales=np.stack([fit.scale for fit in fits]),
            points=scores[points],
            weights=np.stack([fit.weights for fit in fits], axis=1),
            mean=data.targets.mean(axis=1),
            amplitude=np.array([fit.amplitude for fit in fits]),
            noise=np.array([fit.noise for fit in fits]),
            label_shape=data.label_shape,
        )

    def _axes(self, data: Training) -> tuple[list[Scaler], list[Floats], list[Floats]]:
        """Scaler, (p_v, d_v) axes and (d_v,) their variances, of each view that varies."""
        edges = np.cumsum([0, *(self.widths or (data.matrix.shape[1],))])
        scalers, axes, variances = [], [], []
        scaler = fit_scaler(data.matrix, data.rows).clipped(self.widest)
        for low, high in pairwise(edges.tolist()):
            view = columns_between(scaler, low, high)
            if not len(view.columns):
                continue
            kept, variance = fit_axes(data.matrix, data.rows, view, self.axes, data.seed)
            scalers.append(view)
            axes.append(kept)
            variances.append(variance)
        return scalers, axes, variances

    def _points(self, data: Training) -> Index:
        """Positions among the training rows that kernel functions sit at."""
        count = len(data.rows)
        everything = np.arange(count, dtype=np.int64)
        return (
            everything if count <= self.exact else sample_rows(everything, self.inducing, data.seed)
        )

    def _fit_label(
        self, scores: Floats, target: Floats, points: Index, variances: list[Floats], seed: int
    ) -> _Label:
        """Hyperparameters and weights of one label."""
        deviation = float(target.std()) or 1.0
        labels = (target - target.mean()) / deviation
        start = None
        # most steps on a quarter of the rows, which cost a sixtieth each; then a few on all
        for share, steps in ((4, self.steps), (1, self.steps // 3)):
            rows = max(min(200, self.likelihood_rows), self.likelihood_rows // share)
            few = sample_rows(np.arange(len(labels), dtype=np.int64), rows, seed)
            start = _maximise(scores[few], labels[few], variances, steps, start)
        scale, amplitude, noise = _hyperparameters(start, variances)
        scaled = scores * scale
        if len(points) == len(scaled):
            system = amplitude**2 * matern(_distances(scaled, scaled))  # (k, k)
            system.flat[:: len(system) + 1] += noise**2 + JITTER
            solved = cho_solve(cho_factor(system, lower=True, overwrite_a=True), labels)
        else:
            solved = _inducing_weights(scaled, labels, points, amplitude, noise)
        return _Label(
            scale=scale,
            weights=solved * amplitude**2 * deviation,
            amplitude=amplitude * deviation,
            noise=noise * deviation,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Label:
    """Fit of one label: (d,) scale of axes, (m,) weights, and two standard deviations."""

    scale: Floats
    weights: Floats
    amplitude: float
    noise: float


def project(matrix: Features, rows: Index, scalers: list[Scaler], axes: list[Floats]) -> Floats:
    """(m, d) scores of some rows along the axes of every view, side by side."""
    blocks = [
        scores_along(matrix, rows, scaler, turned)
        for scaler, turned in zip(scalers, axes, strict=True)
    ]
    return np.concatenate(blocks, axis=1)


def matern(squares: Floats) -> Floats:
    """Matern 5/2 correlation of squared scaled distances; the argument is overwritten."""
    root = np.sqrt(squares, out=squares)
    root *= -(5.0**0.5)  # -s
    correlation = np.exp(root)
    root *= root / 3.0 - 1.0  # s + s^2 / 3
    root += 1.0
    correlation *= root
    return correlation


def _distances(left: Floats, right: Floats) -> Floats:
    """(m, n) squared distances, none below zero."""
    squares = left @ right.T
    squares *= -2.0
    squares += np.square(left).sum(axis=1)[:, None]
    squares += np.square(right).sum(axis=1)
    return np.maximum(squares, 0.0, out=squares)


def _inducing_weights(
    scaled: Floats, labels: Floats, points: Index, amplitude: float, noise: float
) -> Floats:
    """(m,) weights of the deterministic training conditional: (s2 Kmm + Kmn Knm)^-1 Kmn y."""
    inducing = scaled[points]
    system = amplitude**2 * matern(_distances(inducing, inducing))  # (m, m)
    system *= noise**2 + JITTER
    cross = np.zeros(len(points))
    for chunk in chunks(len(scaled), 2 * len(points)):
        kernel = amplitude**2 * matern(_distances(scaled[chunk], inducing))  # (chunk, m)
        system += kernel.T @ kernel
        cross += kernel.T @ labels[chunk]
    system.flat[:: len(system) + 1] += 1e-10 * float(np.trace(system)) / len(system)
    solved: Floats = cho_solve(cho_factor(system, lower=True, overwrite_a=True), cross)
    return solved


def _maximise(
    scores: Floats, labels: Floats, variances: list[Floats], steps: int, start: Floats | None
) -> Floats:
    """(2 v + 2,) hyperparameters with the largest marginal likelihood.

    Log length and exponent of each view, log amplitude, log noise. A weak prior on the noise keeps
    few labels from being taken at their word; one on the exponents keeps axes near their variance.
    """
    views = len(variances)
    view = np.repeat(np.arange(views), [len(values) for values in variances])  # (d,)
    logs = np.log(np.concatenate(variances))
    if start is None:
        start = np.zeros(2 * views + 2)
        start[:views] = [0.5 * np.log(2 * views * values.sum()) for values in variances]
        start[-1] = -1.5

    def loss(theta: Floats) -> tuple[float, Floats]:
        scale, amplitude, noise = _hyperparameters(theta, variances)
        value, by_scale, by_amplitude, by_noise = _likelihood(
            scores, labels, scale, amplitude, noise
        )
        by_log, exponent = -by_scale * scale, theta[views:-2]
        gradient = np.concatenate(
            [
                np.bincount(view, by_log, views),
                np.bincount(view, 0.5 * logs * by_log, views) + exponent / EXPONENT**2,
                [by_amplitude, by_noise + 0.05 * (theta[-1] + 2.0)],
            ]
        )
        value += 0.025 * (theta[-1] + 2.0) ** 2 + 0.5 * float(exponent @ exponent) / EXPONENT**2
        return value, gradient

    bounds = [(-6.0, 12.0)] * views + [(-4.0, 4.0)] * views + [(-6.0, 6.0), (-7.0, 2.0)]
    best: Floats = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=bounds,
        options={"maxiter": steps, "maxfun": steps + steps // 3},
    ).x  # fmt: skip
    return best


def _hyperparameters(theta: Floats | None, variances: list[Floats]) -> tuple[Floats, float, float]:
    """(d,) scale of each axis, amplitude and noise, from their logarithms."""
    if theta is None:
        raise ValueError("hyperparameters were not fitted")
    views = len(variances)
    scales = [
        np.exp(-theta[v] - 0.5 * theta[views + v] * np.log(values))
        for v, values in enumerate(variances)
    ]
    return np.concatenate(scales), float(np.exp(theta[-2])), float(np.exp(theta[-1]))


def _likelihood(
    scores: Floats, labels: Floats, scale: Floats, amplitude: float, noise: float
) -> tuple[float, Floats, float, float]:
    """Negative log marginal likelihood, and its derivatives.

    Returns:
        The value; its derivative by each axis scale, (d,); by log amplitude; by log noise.
    """
    scaled = scores * scale
    root = np.sqrt(5.0 * _distances(scaled, scaled))  # s, (k, k)
    decay = np.exp(-root)
    kernel = amplitude**2 * (1.0 + root + root**2 / 3.0) * decay
    system = kernel.copy()
    system.flat[:: len(system) + 1] += noise**2 + JITTER
    factor, failed = dpotrf(system, lower=1, overwrite_a=1)
    if failed:
        return 1e12, np.zeros_like(scale), 0.0, 0.0
    alpha = cho_solve((factor, True), labels)
    value = 0.5 * float(labels @ alpha) + float(np.log(factor.diagonal()).sum())
    inverse = dpotri(factor, lower=1)[0]
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    by_kernel = 0.5 * (inverse - np.outer(alpha, alpha))
    # d kernel / d squared distance = -5/6 a^2 (1 + s) exp(-s)
    slope = by_kernel * (-5.0 / 6.0 * amplitude**2) * (1.0 + root) * decay
    pairs = slope.sum(axis=1) @ np.square(scores) - np.einsum("ia,ia->a", scores, slope @ scores)
    return (
        value,
        4.0 * scale * pairs,
        2.0 * float((by_kernel * kernel).sum()),
        2.0 * noise**2 * float(np.trace(by_kernel)),
    )
