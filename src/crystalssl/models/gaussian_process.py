"""Gaussian process head: Matern kernel on principal axes, a length scale for each view of crystals.

Columns of a view are standardised, clipped and turned to their leading principal axes; a view has
one length scale and one exponent that weighs axes between their variance and equal weight. These
maximise the marginal likelihood of a subset of the training rows. Exact up to ``exact`` rows, on
inducing points (deterministic training conditional) beyond. Source: Rasmussen, Williams, Gaussian
Processes for Machine Learning, sections 2.2, 5.4 and 8.3.4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import cho_factor, cho_solve
from torch import Tensor

from crystalssl.models.arrays import Features, Floats, Index, chunks
from crystalssl.models.contract import Fitted, Head, Training
from crystalssl.models.scaling import Scaler, fit_scaler

JITTER = 1e-6
"""Added to the noise variance, for a Cholesky factor that exists."""
AXES_ROWS = 6_000
"""Rows from which principal axes are made at most; no label is looked at."""


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
    """Steps of the optimiser (L-BFGS) at most."""
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
        rows = _sample(data.rows, AXES_ROWS, data.seed)
        edges = np.cumsum([0, *(self.widths or (data.matrix.shape[1],))])
        scalers, axes, variances = [], [], []
        scaler = fit_scaler(data.matrix, data.rows).clipped(self.widest)
        for low, high in zip(edges[:-1], edges[1:], strict=True):
            view = _columns_between(scaler, low, high)
            if not len(view.columns):
                continue
            inputs = view.transform(data.matrix, rows, np.float64)  # (s, p_v)
            kept, spread = _principal_axes(inputs - inputs.mean(axis=0), self.axes)
            scalers.append(view)
            axes.append(kept)
            variances.append(spread)
        return scalers, axes, variances

    def _points(self, data: Training) -> Index:
        """Positions among the training rows that kernel functions sit at."""
        count = len(data.rows)
        everything = np.arange(count, dtype=np.int64)
        return everything if count <= self.exact else _sample(everything, self.inducing, data.seed)

    def _fit_label(
        self, scores: Floats, target: Floats, points: Index, variances: list[Floats], seed: int
    ) -> _Label:
        """Hyperparameters and weights of one label."""
        deviation = float(target.std()) or 1.0
        labels = (target - target.mean()) / deviation
        few = _sample(np.arange(len(labels), dtype=np.int64), self.likelihood_rows, seed)
        scale, amplitude, noise = _maximise(scores[few], labels[few], variances, self.steps)
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
    blocks = []
    for scaler, turned in zip(scalers, axes, strict=True):
        scores = np.empty((len(rows), turned.shape[1]))
        for chunk in chunks(len(rows), len(turned)):
            scores[chunk] = scaler.transform(matrix, rows[chunk], np.float32) @ turned.astype(
                np.float32
            )
        blocks.append(scores)
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
    scores: Floats, labels: Floats, variances: list[Floats], steps: int
) -> tuple[Floats, float, float]:
    """Scale of each axis, amplitude and noise with the largest marginal likelihood.

    A weak prior on the noise keeps few labels from being taken at their word.
    """
    inputs, target = torch.from_numpy(scores), torch.from_numpy(labels)
    logs = [torch.from_numpy(np.log(values)) for values in variances]
    total = [0.5 * float(np.log(2 * len(variances) * values.sum())) for values in variances]
    length = torch.tensor(total, dtype=torch.float64, requires_grad=True)
    exponent = torch.zeros(len(logs), dtype=torch.float64, requires_grad=True)
    both = torch.tensor(
        [0.0, -1.5], dtype=torch.float64, requires_grad=True
    )  # log amplitude, noise
    unit = torch.eye(len(labels), dtype=torch.float64)
    optimizer = torch.optim.LBFGS(
        [length, exponent, both], max_iter=steps, history_size=10, line_search_fn="strong_wolfe"
    )

    def axis_scale() -> Tensor:
        return torch.cat(
            [torch.exp(-length[v] - 0.5 * exponent[v] * log) for v, log in enumerate(logs)]
        )

    def loss() -> Tensor:
        optimizer.zero_grad()
        scaled = inputs * axis_scale()
        squares = scaled.square().sum(1)
        distance = (squares[:, None] + squares - 2 * scaled @ scaled.T).clamp_min(1e-12).sqrt()
        s = 5.0**0.5 * distance
        kernel = torch.exp(2 * both[0]) * (1 + s + s * s / 3) * torch.exp(-s)
        system = kernel + (torch.exp(2 * both[1]) + JITTER) * unit
        factor, failed = torch.linalg.cholesky_ex(system)
        half = torch.linalg.solve_triangular(factor, target[:, None], upper=False)
        value = 0.5 * half.square().sum() + factor.diagonal().log().sum()
        value = value + 0.025 * (both[1] + 2.0) ** 2 + 0.025 * exponent.square().sum()
        if int(failed):
            value = value.detach().new_full((), 1e12, requires_grad=True)
        torch.autograd.backward(value)
        return value

    optimizer.step(loss)
    with torch.no_grad():
        amplitude, noise = torch.exp(both).tolist()
        scale: Floats = axis_scale().numpy()
    if not (np.isfinite(scale).all() and np.isfinite([amplitude, noise]).all()):
        return (
            np.exp(-np.concatenate([np.full(len(v), t) for v, t in zip(variances, total)])),
            1.0,
            0.3,
        )
    return scale, float(amplitude), float(noise)


def _principal_axes(inputs: Floats, most: int) -> tuple[Floats, Floats]:
    """(p, d) leading axes and (d,) variances of centred inputs (s, p)."""
    rows, columns = inputs.shape
    small = inputs @ inputs.T if rows < columns else inputs.T @ inputs
    values, vectors = np.linalg.eigh(small / rows)
    order = np.argsort(-values, kind="stable")[:most]
    order = order[values[order] > 1e-6 * max(float(values[order[0]]), 1e-12)]
    values, vectors = values[order], vectors[:, order]
    if rows < columns:
        vectors = inputs.T @ vectors / np.sqrt(values * rows)
    sign = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])])
    return vectors * sign, values


def _columns_between(scaler: Scaler, low: int, high: int) -> Scaler:
    """The part of a scaler for columns low to high of the matrix."""
    kept = (scaler.columns >= low) & (scaler.columns < high)
    names = ("centre", "scale", "low", "high", "columns")
    return Scaler(**{name: getattr(scaler, name)[kept] for name in names})


def _sample(rows: Index, most: int, seed: int) -> Index:
    """At most so many of the rows, in their order."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(seed).permutation(rows)[:most])
