"""Losses, pooling and baselines against NumPy, and the lattice rule against known lattices."""

import numpy as np
import pytest
import torch
from torch import nn

from crystalssl.blocks._bravais import lattice_system
from crystalssl.blocks._layers import Taps, even_powers, pool, shell_sizes, shells, whole_shells
from crystalssl.blocks._masking import one_per_segment, shell_draw, sites_to_hide
from crystalssl.blocks._objectives import (
    ClassCounts,
    TargetMean,
    accuracy_result,
    decorrelation_result,
    decorrelation_task,
    error_result,
)
from crystalssl.blocks.occupancy import occupation
from crystalssl.blocks.registry import build_block
from crystalssl.blocks.structure_factors import interpolate
from crystalssl.structures.canonical import CRYSTAL_SYSTEMS


def test_pooling_is_the_weighted_mean_and_standard_deviation():
    rng = np.random.default_rng(0)
    tokens, weight = rng.normal(size=(9, 5)), rng.uniform(0.1, 1, 9)
    crystal = np.array([0, 0, 0, 1, 2, 2, 2, 2, 2])
    made = pool(*map(torch.tensor, (tokens, crystal)), 3, torch.tensor(weight)).numpy()
    for row in range(3):
        mine = crystal == row
        mean = np.average(tokens[mine], axis=0, weights=weight[mine])
        variance = np.average((tokens[mine] - mean) ** 2, axis=0, weights=weight[mine])
        np.testing.assert_allclose(made[row], [*mean, *np.sqrt(variance + 1e-4)], rtol=1e-6)


def test_the_regression_loss_is_smooth_l1_in_units_of_its_scale():
    rng = np.random.default_rng(1)
    said, truth = rng.normal(size=(7, 3)), rng.normal(size=(7, 3))
    result = error_result("t", torch.tensor(said), torch.tensor(truth), {}, scale=0.5)
    off = np.abs(said - truth) / 0.5
    expected = np.where(off < 1, 0.5 * off**2, off - 0.5).mean()
    assert float(result.loss) == pytest.approx(expected)
    figure = float(result.sums["model"] / result.count)
    assert figure == pytest.approx(np.abs(said - truth).mean())


def test_a_regression_without_entries_has_no_loss_and_counts_nothing():
    result = error_result("t", torch.zeros(0, 1), torch.zeros(0, 1), {"mean": torch.zeros(1)})
    assert float(result.loss) == 0.0 and float(result.count) == 0.0


def test_the_decorrelation_loss_is_the_mean_squared_correlation_of_two_features():
    rng = np.random.default_rng(4)
    features = rng.normal(size=(50, 6)) @ rng.normal(size=(6, 6)) * 100 + 7
    result = decorrelation_result("b", torch.tensor(features), 2.5)
    correlation = np.corrcoef(features, rowvar=False)
    expected = np.mean(correlation[~np.eye(6, dtype=bool)] ** 2)
    assert float(result.loss) == pytest.approx(expected, rel=1e-4)
    assert float(result.sums["model"] / result.count) == pytest.approx(expected**0.5, rel=1e-4)
    assert result.weight == 2.5 and result.task == decorrelation_task("b").name
    assert decorrelation_task("b").trivial in result.sums


def test_decorrelation_is_one_for_copies_of_a_feature_and_nothing_for_one_crystal():
    column = torch.linspace(-30, 40, 20, dtype=torch.float64)
    copies = torch.stack([column, -2 * column, column + 5], dim=1)
    assert float(decorrelation_result("b", copies, 1.0).loss) == pytest.approx(1, abs=1e-4)
    assert float(decorrelation_result("b", copies[:1], 1.0).loss) == 0


def test_dead_features_have_no_correlation_and_do_not_blow_up():
    features = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    features[:, 2:] = 3.0
    features.requires_grad_(True)
    result = decorrelation_result("b", features, 1.0)
    correlation = np.corrcoef(features[:, :2].detach().numpy(), rowvar=False)[0, 1]
    assert float(result.loss.detach()) == pytest.approx(2 * correlation**2 / 12, rel=1e-2)
    result.loss.backward()
    assert torch.isfinite(features.grad).all()


def test_the_mean_baseline_learns_in_training_only():
    mean = TargetMean(2)
    mean.train()
    mean(torch.tensor([[1.0, 2.0], [3.0, 6.0]]))
    mean.eval()
    assert mean(torch.tensor([[100.0, 100.0]])).tolist() == [2.0, 4.0]


def test_the_majority_is_that_of_training():
    counts = ClassCounts(4)
    counts.train()
    counts(torch.tensor([1, 1, 2]))
    counts.eval()
    logits = nn.functional.one_hot(torch.tensor([2, 2, 2]), 4).float()
    result = accuracy_result("t", logits, torch.tensor([2, 2, 1]), logits.sum(), counts)
    assert result.sums["model"].item() == 2 and result.sums["majority"].item() == 1


def test_even_powers_are_chebyshev_polynomials_of_even_order():
    cosine = np.linspace(-1, 1, 11)
    made = torch.stack(even_powers(torch.tensor(cosine), 4), dim=-1).numpy()
    expected = np.stack([np.cos(2 * n * np.arccos(cosine)) for n in (1, 2, 3, 4)], axis=-1)
    np.testing.assert_allclose(made, expected, atol=1e-12)


def test_shells_break_where_lengths_do_and_are_kept_whole():
    lengths = torch.tensor([[1.0, 1.0, 1.5, 1.50001, 2.0, 2.0, 0.0]])
    valid = torch.tensor([[True] * 6 + [False]])
    shell = shells(lengths, valid)
    assert shell[0, :6].tolist() == [0, 0, 1, 1, 2, 2]
    assert shell_sizes(shell, valid)[0, :6].tolist() == [2, 2, 2, 2, 2, 2]
    assert whole_shells(shell, valid, 5)[0].tolist() == [True] * 4 + [False] * 3
    assert whole_shells(shell, valid, 7)[0].tolist() == valid[0].tolist()


def test_one_item_of_every_segment_is_drawn_evenly():
    segment = torch.tensor([0, 0, 0, 1, 2, 2])
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([one_per_segment(segment, 3, generator) for _ in range(600)])
    assert (segment[draws] == torch.arange(3)).all()
    shares = torch.bincount(draws[:, 0], minlength=3) / 600
    assert (shares - 1 / 3).abs().max() < 0.08


def test_at_least_one_site_of_every_crystal_is_hidden():
    crystal = torch.tensor([0, 1, 1, 2, 2, 2])
    hidden = sites_to_hide(crystal, 3, 0.0, torch.Generator().manual_seed(1))
    assert torch.bincount(crystal[hidden], minlength=3).tolist() == [1, 1, 1]


def test_a_shell_is_drawn_as_one():
    shell = torch.tensor([[0, 0, 1, 1, 2], [0, 1, 1, 1, 2]])
    draw = shell_draw(shell, torch.Generator().manual_seed(2))
    assert draw[0, 0] == draw[0, 1] and draw[1, 1] == draw[1, 3] and draw[0, 0] != draw[0, 2]


def test_interpolation_is_numpys():
    rng = np.random.default_rng(3)
    lengths = np.sort(rng.uniform(0.1, 1.5, (4, 20)), axis=1)
    values, seen = rng.uniform(size=(4, 20, 2)), rng.uniform(size=(4, 20)) < 0.6
    seen[0], seen[1, 0], seen[2, -1] = False, False, False
    made = interpolate(*(torch.tensor(part) for part in (lengths, values, seen))).numpy()
    assert (made[0] == 0).all()
    for row in range(1, 4):
        for column in range(2):
            expected = np.interp(
                lengths[row], lengths[row, seen[row]], values[row, seen[row], column]
            )
            np.testing.assert_allclose(made[row, :, column], expected, atol=1e-9)


def test_occupation_holds_fractions_and_the_vacancy():
    rows = torch.tensor([[26.0, 0.5, 8.0, 0.25, 0.0, 0.0, 0.0, 0.0]])
    spread = occupation(rows)[0]
    assert spread[26] == 0.5 and spread[8] == 0.25 and spread[0] == pytest.approx(0.25)
    assert float(spread.sum()) == pytest.approx(1.0)


def test_taps_fill_the_width_whatever_the_number_of_layers():
    for layers in (1, 3, 5):
        states = [torch.randn(6, 8) for _ in range(layers)]
        assert Taps([8] * layers, 32)(states).shape == (6, 32)


def test_the_loss_of_soft_occupations_is_their_cross_entropy(corpus):
    block = build_block("occupancy").eval()
    batch = corpus.batch(torch.arange(8), type(block))
    species, crystal, edges = block._sites(batch)
    left, hidden = block.corrupt(species, crystal, 8, torch.Generator().manual_seed(5))
    logits = block.head(block._tokens(left, hidden, edges)[hidden]).detach().double().numpy()
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    expected = -(species[hidden].double().numpy() * log_p).sum(1).mean()
    result = block.pretext(batch, torch.Generator().manual_seed(5))[0]
    assert float(result.loss.detach()) == pytest.approx(expected, rel=1e-5)


CELLS = {
    "triclinic": [[3, 0, 0], [0.7, 3.5, 0], [0.4, 0.9, 4.1]],
    "monoclinic": [[3, 0, 0], [0, 4, 0], [-0.8, 0, 5]],
    "orthorhombic": [[3, 0, 0], [0, 4, 0], [0, 0, 5]],
    "tetragonal": [[3, 0, 0], [0, 3, 0], [0, 0, 5]],
    "trigonal": [[1.0, 0, 2.0], [-0.5, 3**0.5 / 2, 2.0], [-0.5, -(3**0.5) / 2, 2.0]],
    "hexagonal": [[3, 0, 0], [-1.5, 3 * 3**0.5 / 2, 0], [0, 0, 5]],
    "cubic": [[0, 2, 2], [2, 0, 2], [2, 2, 0]],
}


@pytest.mark.parametrize("system", CRYSTAL_SYSTEMS)
def test_the_lattice_rule_names_lattices_of_every_system(system):
    cell = torch.tensor([CELLS[system]], dtype=torch.float32)
    assert CRYSTAL_SYSTEMS[int(lattice_system(cell)[0])] == system
