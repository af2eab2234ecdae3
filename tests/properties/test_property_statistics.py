"""Stack weights, intervals, domain and clusters, each against another way to the same numbers."""

from __future__ import annotations

import crepes
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from crystalssl.properties.domain import fit_domain, nearest, nearest_of_others
from crystalssl.properties.fitting import learning_ratio
from crystalssl.properties.intervals import fit_intervals
from crystalssl.properties.stacking import ends, fit_stack


def test_weights_are_not_negative_and_leave_out_a_model_that_knows_nothing() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(400, 1))
    noise = rng.normal(size=(400, 3, 1)) * np.array([0.3, 0.3, 1.0])[None, :, None]
    good = truth[:, None] + noise
    good[:, 2] = rng.normal(size=(400, 1))
    stack = fit_stack(good, truth)
    assert (stack.weights >= 0).all()
    assert stack.weights[2] < 0.05
    np.testing.assert_allclose(stack.weights[:2].sum(), 0.95, atol=0.06)
    both = np.abs(stack.predict(good) - truth).mean()
    assert both < min(np.abs(good[:, 0] - truth).mean(), np.abs(good[:, 1] - truth).mean())


def test_few_rows_share_their_weight_among_equal_models() -> None:
    truth = np.array([[0.0], [1.0], [2.0], [4.0]])
    same = np.repeat(truth[:, None], 3, axis=1)
    np.testing.assert_allclose(fit_stack(same, truth).weights, 1 / 3, atol=0.02)


def test_predictions_keep_to_an_end_at_which_labels_pile_up() -> None:
    labels = np.concatenate([np.zeros(50), np.linspace(0.1, 5, 100)])[:, None]
    low, high = ends(labels)
    assert (low, high) == (0.0, np.inf)
    stack = fit_stack(labels[:, None] - 0.3, labels)
    assert stack.predict(np.full((1, 1, 1), -9.0)).item() == 0.0


@pytest.mark.parametrize("level", [0.8, 0.9, 0.95])
def test_intervals_are_those_of_crepes(level: float) -> None:
    rng = np.random.default_rng(1)
    residuals, sigma = rng.normal(size=157), rng.uniform(0.5, 2, size=157)
    fitted = fit_intervals(residuals * sigma, sigma, np.zeros(157))
    expected = fitted.expected(sigma, np.zeros(157))
    oracle = crepes.ConformalRegressor().fit(residuals * sigma, sigmas=expected)
    middle, new = np.zeros(3), np.array([0.7, 1.0, 1.8])
    theirs = oracle.predict_int(middle, sigmas=fitted.expected(new, np.zeros(3)), confidence=level)
    ours = fitted.half_width(new, np.zeros(3), level)
    np.testing.assert_allclose(ours, theirs[:, 1], rtol=1e-12)
    np.testing.assert_allclose(-ours, theirs[:, 0], rtol=1e-12)


def test_intervals_of_new_rows_hold_their_share_and_are_wider_where_errors_are() -> None:
    rng = np.random.default_rng(2)
    distance = rng.uniform(0, 3, size=6000)
    residuals = rng.normal(size=6000) * (0.2 + distance)
    fitted = fit_intervals(residuals[:3000], np.zeros(3000), distance[:3000])
    half = fitted.half_width(np.zeros(3000), distance[3000:])
    inside = np.abs(residuals[3000:]) <= half
    assert 0.88 < inside.mean() < 0.92
    near, far = distance[3000:] < 1, distance[3000:] > 2
    assert abs(inside[near].mean() - inside[far].mean()) < 0.05
    assert half[far].mean() > 2 * half[near].mean()


def test_what_candidates_disagree_on_most_is_outside_of_the_domain() -> None:
    rng = np.random.default_rng(5)
    disagreement = rng.uniform(0, 3, size=2000)
    residuals = rng.normal(size=2000) * (0.2 + disagreement)
    fitted = fit_intervals(residuals[:1000], disagreement[:1000], np.zeros(1000))
    usual = fitted.usual(fitted.expected(disagreement[1000:], np.zeros(1000)))
    assert 0.92 < usual.mean() < 0.98
    assert disagreement[1000:][~usual].min() > disagreement[1000:][usual].max()
    alike = fit_intervals(residuals, np.zeros(2000), np.zeros(2000))  # nothing tells rows apart
    assert alike.usual(alike.expected(np.zeros(7), np.zeros(7))).all()


def test_one_fold_more_makes_intervals_smaller_but_never_larger_nor_nothing() -> None:
    assert learning_ratio(np.array([1.0, 3.0]), np.array([0.8, 2.8])) == pytest.approx(0.9)
    assert learning_ratio(np.array([1.0]), np.array([2.0])) == 1.0
    assert learning_ratio(np.array([1.0]), np.array([0.0])) == 0.7


def test_few_residuals_give_the_widest_interval_there_is() -> None:
    fitted = fit_intervals(np.array([1.0, -2.0, 0.5]), np.zeros(3), np.zeros(3))
    assert fitted.half_width(np.zeros(1), np.zeros(1), 0.99).item() == pytest.approx(2.0)


def test_nearest_are_those_of_brute_force_and_never_of_the_own_group() -> None:
    rng = np.random.default_rng(3)
    points, queries = rng.normal(size=(90, 5)), rng.normal(size=(17, 5))
    index, distances = nearest(queries, points, 3)
    brute = cdist(queries, points)
    np.testing.assert_array_equal(index, np.argsort(brute, axis=1)[:, :3])
    np.testing.assert_allclose(distances, np.sort(brute, axis=1)[:, :3], rtol=1e-10)
    groups = np.array([f"g{row // 4}" for row in range(90)])
    index, distances = nearest_of_others(points, groups, 3)
    brute = cdist(points, points)
    brute[groups[:, None] == groups] = np.inf
    np.testing.assert_array_equal(index, np.argsort(brute, axis=1)[:, :3])


def test_a_crystal_far_away_or_of_an_unseen_element_is_outside_of_the_domain() -> None:
    rng = np.random.default_rng(4)
    matrix = rng.normal(size=(200, 40)).astype(np.float32)
    elements = np.zeros((200, 119), bool)
    elements[:, 8] = True
    names = np.array([f"c{row}" for row in range(200)])
    domain = fit_domain(matrix, names, names, elements)
    placed = domain.place(matrix, elements)
    assert placed.inside.mean() > 0.9
    np.testing.assert_array_equal(placed.nearest[:, 0], names)
    moved = domain.place(matrix[:5] * 4, elements[:5])
    assert not moved.inside.any()
    assert (moved.percentile > 95).all()
    other = elements[:1].copy()
    other[0, 92] = True
    placed = domain.place(matrix[:1], other)
    assert placed.unseen == [["U"]]
    assert not placed.inside.any()
