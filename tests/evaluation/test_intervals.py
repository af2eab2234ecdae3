import numpy as np
import pytest

from crystalssl.evaluation.intervals import Resamples, percentile_interval, t_interval
from crystalssl.evaluation.scoring import scores

GROUPS = np.array([f"g{i}" for i in range(200)])


def test_the_t_interval_of_draws_is_that_of_the_textbook():
    from scipy import stats

    values = [0.8, 0.9, 0.85, 0.7, 0.95]
    mean, low, high = t_interval(values)
    ends = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert (mean, low, high) == pytest.approx((0.84, ends.low, ends.high))
    assert t_interval([0.5]) == (0.5, 0.5, 0.5)


def test_resampled_metrics_equal_scores_of_the_resampled_rows():
    rng = np.random.default_rng(0)
    truth, guess = rng.normal(size=(2, 200))
    drawn = Resamples.draw(GROUPS, resamples=3)
    for counts, r2, rmse in zip(
        drawn.counts,
        drawn.metric("r2", truth, guess),
        drawn.metric("rmse", truth, guess),
        strict=True,
    ):
        rows = np.repeat(drawn.group.argsort(), counts.astype(int))
        expected = scores(truth[rows], guess[rows])
        assert (r2, rmse) == pytest.approx((expected["r2"], expected["rmse"]))


def test_the_bootstrap_interval_covers_the_true_error_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    inside = 0
    for number in range(100):
        error = rng.normal(size=200)
        drawn = Resamples.draw(GROUPS, seed=number, resamples=200)
        low, high = percentile_interval(drawn.metric("rmse", np.zeros(200), error))
        inside += low < 1.0 < high
    assert 85 <= inside <= 100


def test_formulas_are_resampled_whole():
    groups = np.repeat(["a", "b"], 50)
    drawn = Resamples.draw(groups, resamples=50)
    means = drawn.metric("rmse", np.zeros(100), np.repeat([1.0, 3.0], 50))
    assert set(np.round(means**2, 6)) <= {1.0, 5.0, 9.0}
