"""Gaussian processes: they find a curve, and few labels do not give every axis equal weight."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from crystalssl.models.gaussian_process import GaussianProcess

N, COLUMNS = 400, 40
TRAIN, TEST = np.arange(0, 60), np.arange(60, N)

Matrix = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]


def world(seed: int) -> tuple[Matrix, Floats]:
    """Columns of falling variance along hidden directions; labels curve along the first two."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(N, COLUMNS))
    turned = np.linalg.qr(rng.normal(size=(COLUMNS, COLUMNS)))[0]
    matrix = hidden * np.arange(1, COLUMNS + 1) ** -1.0 @ turned
    return matrix.astype(np.float32), np.sin(hidden[:, 0]) + 0.5 * hidden[:, 1]


def r2(head: GaussianProcess, matrix: Matrix, labels: Floats) -> float:
    """Share of the variance of other rows that is explained."""
    predicted = head.fit(matrix, TRAIN, labels, None, 0).predict(matrix, TEST)
    return float(1.0 - np.square(predicted - labels[TEST]).mean() / labels[TEST].var())


@pytest.mark.parametrize("seed", range(3))
def test_a_curve_along_two_directions_is_found_among_forty(seed: int) -> None:
    matrix, labels = world(seed)
    assert r2(GaussianProcess(axes=COLUMNS), matrix, labels) > 0.8
    split = GaussianProcess(axes=COLUMNS, widths=(10, 30))
    assert r2(split, matrix, labels) > 0.6


def test_labels_that_are_noise_do_not_whiten_the_axes() -> None:
    matrix, _ = world(0)
    exponents = []
    for seed in range(6):
        labels = np.random.default_rng(seed).normal(size=N)
        fitted = GaussianProcess(axes=COLUMNS).fit(matrix, TRAIN, labels, None, 0)
        deviations = fitted.points.std(axis=0)
        exponents.append(-np.polyfit(np.log(deviations), np.log(fitted.scales[0]), 1)[0])
    assert np.abs(exponents).max() < 0.2  # 0.66 with a prior ten times as wide
