import math

import numpy as np
import torch

from crystalssl.pretraining.monitors import feature_health, rank_me


def test_effective_rank_agrees_with_its_formula_in_numpy():
    matrix = np.random.default_rng(0).normal(size=(40, 12))
    values = np.linalg.svd(matrix, compute_uv=False)
    share = values / values.sum()
    expected = math.exp(-(share * np.log(share)).sum())
    assert math.isclose(rank_me(torch.from_numpy(matrix)), expected, rel_tol=1e-9)


def test_effective_rank_counts_equal_directions():
    assert math.isclose(rank_me(torch.eye(8)), 8, rel_tol=1e-9)
    assert math.isclose(rank_me(torch.ones(8, 5)), 1, rel_tol=1e-6)
    assert rank_me(torch.zeros(3, 3)) == 0


def test_collapse_shows_as_dead_features_and_low_rank():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(200, 10, generator=generator)
    healthy = feature_health(features)
    assert healthy["dead_features"] == 0 and healthy["effective_rank"] > 9
    features[:, 5:] = 3.0
    collapsed = feature_health(features)
    assert collapsed["dead_features"] == 5 and collapsed["effective_rank"] < 5.1
    assert feature_health(torch.ones(5, 3))["effective_rank"] == 0


def test_effective_rank_comes_with_what_it_cannot_exceed():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(20, 50, generator=generator)
    features[:, :3] = 1.0
    few = feature_health(features)
    assert few["effective_rank_limit"] == 19 and few["effective_rank"] <= 19
    many = feature_health(torch.randn(200, 10, generator=generator))
    assert many["effective_rank_limit"] == 10


def test_a_crystal_that_is_not_finite_does_not_hide_the_health_of_the_others():
    features = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    features[3, 2] = float("nan")
    rest = features[[i for i in range(20) if i != 3]]
    assert feature_health(features) == feature_health(rest)
