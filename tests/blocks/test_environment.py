"""Moments, numbers of bonds, pooling and bounds against plain loops; old settings against new."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from crystalssl.blocks._bond_numbers import element_numbers
from crystalssl.blocks._bravais import lattice_system
from crystalssl.blocks._clipping import Rotation, settle
from crystalssl.blocks._environment import (
    ELEMENT_CHANNELS,
    ORDERS,
    PowerSpectrum,
    Species,
    bonds_of,
    harmonics,
    moments,
    orders_of,
    surroundings,
)
from crystalssl.blocks._layers import Pooling
from crystalssl.blocks.contract import Edges
from crystalssl.blocks.occupancy import occupation
from crystalssl.blocks.registry import build_block, get_block, list_blocks
from crystalssl.blocks.structure_factors import Residual
from crystalssl.datasets.bundled import load_bundled
from crystalssl.datasets.corpus import Corpus
from crystalssl.hub.weights import load_cards, load_run
from crystalssl.representation import elemental
from crystalssl.structures.canonical import canonicalize

EDGES = Edges(
    source=torch.tensor([0, 0]),
    target=torch.tensor([1, 2]),
    image=torch.zeros(2, 3, dtype=torch.long),
    distance=torch.full((2,), 2.0),
    arrow=torch.zeros(2, 3),
)
"""Two neighbours of one site, 2 angstrom away."""


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def bonded(corpus: Corpus):
    """Edges of some crystals with their bonds, directions and what sits on their sites."""
    batch = corpus.batch(np.arange(len(corpus)), get_block("occupancy"))
    held = batch.valid[:, :-3]
    species = occupation(batch.rows[:, :-3][held])
    bonds = bonds_of(batch.edges, batch.edges.distance, len(species))
    unit = batch.edges.arrow / batch.edges.distance.unsqueeze(1)
    return batch, species, bonds, unit


def test_arrows_of_a_batch_are_as_long_as_its_edges(corpus):
    batch, _, _, unit = bonded(corpus)
    torch.testing.assert_close(batch.edges.arrow.norm(dim=1), batch.edges.distance)
    assert unit.norm(dim=1).sub(1).abs().max() < 1e-4


def test_sums_over_harmonics_are_legendre_polynomials():
    one, other = (torch.randn(50, 3, generator=seeded().manual_seed(n)).double() for n in (1, 2))
    one, other = (v / v.norm(dim=1, keepdim=True) for v in (one, other))
    x = (one * other).sum(1)
    expected = [torch.ones_like(x), x, (3 * x**2 - 1) / 2, (5 * x**3 - 3 * x) / 2]
    both = (harmonics(one) * harmonics(other)).split(list(ORDERS), dim=1)
    for made, legendre in zip(both, expected, strict=True):
        torch.testing.assert_close(made.sum(1), legendre)


def test_the_kernel_adds_what_torch_adds(corpus):
    _, species, bonds, unit = bonded(corpus)
    weights = Species().weights(species, torch.zeros(len(species)))
    assert weights.shape[1] == ELEMENT_CHANNELS
    compiled = moments(bonds, unit, weights)
    plain = moments(bonds, unit.double(), weights)
    torch.testing.assert_close(compiled.double(), plain, atol=1e-5, rtol=1e-4)


def test_kernels_give_without_gradients_what_torch_gives_with_them(corpus):
    batch, species, bonds, unit = bonded(corpus)
    weights = Species().weights(species, torch.zeros(len(species)))
    values, spectrum = Species().values(species), PowerSpectrum(ELEMENT_CHANNELS, 4)
    plain = surroundings(bonds, unit, weights, spectrum)
    numbers = element_numbers(bonds.__class__(*(t.double() for t in bonds[:2]), *bonds[2:]),
                              plain.orders.double(), values.double())  # fmt: skip
    with torch.inference_mode():
        again = bonds_of(batch.edges, batch.edges.distance, len(species))
        compiled = surroundings(again, unit, weights, spectrum)
        same = element_numbers(again, compiled.orders, values)
    for made, expected in (
        (again.weight, bonds.weight), (again.nearest, bonds.nearest),
        (again.coordination, bonds.coordination), (compiled.orders, plain.orders),
        (compiled.invariants, plain.invariants.detach()), (same.double(), numbers),
    ):  # fmt: skip
        torch.testing.assert_close(made, expected, atol=1e-5, rtol=1e-4)


def test_shifted_products_are_a_convolution():
    for step in (1, 2, 4):
        layer = Residual(6, 5, step)
        states, valid = torch.randn(3, 9, 6, generator=seeded()), torch.ones(3, 9, 1)
        valid[1, 5:] = 0
        normed = (layer.norm(states) * valid).transpose(1, 2)
        plain = layer.second(torch.nn.functional.silu(layer.first(normed))).transpose(1, 2)
        torch.testing.assert_close(layer(states, valid), (states + plain) * valid)


def test_spectra_do_not_turn_and_tell_angles_apart():
    spectrum = PowerSpectrum(1, 4)

    def of(degrees: float, turn: torch.Tensor) -> torch.Tensor:
        angle = torch.tensor(degrees).deg2rad()
        arrow = torch.tensor([[1.0, 0.0, 0.0], [angle.cos(), angle.sin(), 0.0]])
        edges = replace(EDGES, arrow=arrow @ turn * 2.0)
        bonds = bonds_of(edges, edges.distance, 3)
        with torch.no_grad():
            return spectrum(moments(bonds, edges.arrow / 2.0, torch.ones(3, 1)))[0]

    turn = torch.linalg.qr(torch.randn(3, 3, generator=seeded()))[0]
    straight = torch.eye(3)
    torch.testing.assert_close(of(90.0, straight), of(90.0, turn), atol=1e-5, rtol=1e-4)
    assert (of(90.0, straight) - of(110.0, straight)).abs().max() > 1e-2


def test_numbers_of_bonds_are_those_of_a_loop(corpus):
    _, species, bonds, unit = bonded(corpus)
    table = Species()
    values = table.values(species)
    summed = moments(bonds, unit, torch.ones(len(species), ELEMENT_CHANNELS))
    made = element_numbers(bonds, orders_of(summed, ELEMENT_CHANNELS), values)
    mass, radius = elemental.raw("atomic_mass_u"), elemental.raw("covalent_radius_angstrom")
    number = species.argmax(1).numpy()
    for site in range(0, len(species), 17):
        rows = (bonds.source == site).numpy()
        there, d = number[bonds.target.numpy()[rows]], bonds.distance.numpy()[rows]
        reduced = mass[number[site]] * mass[there] / (mass[number[site]] + mass[there])
        assert made[site, 0].item() == pytest.approx(d.min(), rel=1e-5)
        stiffest = (1 / np.sqrt(reduced) / d**2).max()
        assert made[site, 8].item() == pytest.approx(stiffest, rel=1e-4)
        assert made[site, 2].item() == pytest.approx(np.log(stiffest), abs=1e-3)
        shortest = (d / (radius[number[site]] + radius[there])).min()
        assert -made[site, 9].item() == pytest.approx(shortest, rel=1e-4)


def test_a_hidden_species_reaches_neither_states_nor_numbers(corpus):
    model = build_block("occupancy").eval()
    batch = corpus.batch(np.arange(len(corpus)), model)
    species, crystal, _ = model._sites(batch)
    left, hidden = model.corrupt(species, crystal, len(batch.rows), seeded())
    other = species.clone()
    other[hidden] = species[hidden].roll(7, dims=1)
    changed = other.masked_fill(hidden.unsqueeze(1), 0.0)
    assert hidden.any()
    for one, two in zip(
        model._states(left, hidden, batch.edges),
        model._states(changed, hidden, batch.edges),
        strict=True,
    ):
        assert torch.equal(one, two)


def test_pooling_is_numpys():
    pooling = Pooling(24, extremes=4, numbers=2)
    tokens, numbers = torch.randn(9, pooling.channels, generator=seeded()), torch.rand(9, 2)
    crystal = torch.tensor([0, 0, 0, 0, 2, 2, 3, 3, 3])
    weight = torch.rand(9, generator=seeded()) + 0.1
    made = pooling(tokens, crystal, 4, weight, numbers)
    assert made.shape == (4, 24) and made.isfinite().all()
    mine = crystal == 3
    w, t = weight[mine].double().numpy(), tokens[mine].double().numpy()
    mean = (w[:, None] * t).sum(0) / w.sum()
    std = np.sqrt((w[:, None] * (t - mean) ** 2).sum(0) / w.sum() + 1e-4)
    n, d = pooling.channels, pooling.deviations
    np.testing.assert_allclose(made[3, :n], mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(made[3, n : n + d], std[:d], rtol=1e-4)
    lows, highs = made[3, -12:-6], made[3, -6:]
    np.testing.assert_allclose(-lows[:4], t[:, -4:].min(0), rtol=1e-5)
    np.testing.assert_allclose(highs[:4], t[:, -4:].max(0), rtol=1e-5)
    np.testing.assert_allclose(highs[4:], numbers[mine].max(0).values, rtol=1e-5)


def test_a_rotation_keeps_lengths_and_refuses_other_widths():
    rotation = Rotation(64)
    matrix = rotation(torch.eye(64))
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(64))
    torch.testing.assert_close(matrix.abs(), torch.full((64, 64), 1 / 8))
    assert torch.equal(matrix, Rotation(64)(torch.eye(64)))
    with pytest.raises(ValueError, match="power of two"):
        Rotation(48)


def test_the_rule_counts_what_all_integer_matrices_leave_unchanged():
    bundled = load_bundled()
    cells = torch.from_numpy(canonicalize(bundled.take(range(0, 600, 20))).crystals.lattice)
    entries = np.array(list(product((-1, 0, 1), repeat=9)), dtype=float).reshape(-1, 3, 3)
    entries = entries[np.abs(np.linalg.det(entries) - 1) < 0.1]
    of_order = {1: 0, 2: 1, 4: 2, 8: 3, 6: 4, 12: 5, 24: 6}
    for cell, system in zip(cells.numpy(), lattice_system(cells), strict=True):
        metric = cell @ cell.T
        scale = np.sqrt(np.outer(np.diag(metric), np.diag(metric)))
        same = np.abs(entries @ metric @ entries.transpose(0, 2, 1) - metric) < 1e-3 * scale
        assert of_order[int(same.all(axis=(1, 2)).sum())] == int(system)


@pytest.mark.parametrize("block", [b for b in list_blocks() if b.absent], ids=lambda b: b.name)
def test_settings_that_came_later_are_off_for_weights_from_before(block):
    cards = load_cards("tiny")  # made before: no card names these settings
    if block.name in cards:  # block 7 came later than they
        kept = cards[block.name].config
        assert not set(kept) & set(block.absent)
        state = build_block(block.name, {**kept, **block.absent}).state_dict()
        assert set(load_run("tiny", [block.name])[block.name].state_dict()) == set(state)
    assert build_block(block.name).config != build_block(block.name, {**block.absent}).config


@pytest.mark.parametrize("block", [b for b in list_blocks() if b.absent], ids=lambda b: b.name)
def test_features_are_bounded_where_they_are_standardised_on_the_elements(block):
    bundled = load_bundled()
    rows = np.split(bundled.numbers, bundled.offsets[1:-1])
    kinds = np.array([len(set(row[row > 0])) for row in rows])
    elements, compounds = np.flatnonzero(kinds == 1)[:30], np.flatnonzero(kinds > 1)[::60]
    corpus = Corpus.from_crystals(
        canonicalize(bundled.take(np.concatenate([elements, compounds]))), targets=False
    )
    model = build_block(block.name, seed=0)
    settle(model, [corpus.batch(np.arange(len(corpus)), model)])
    with torch.no_grad():
        made = model.eval().encode(corpus.batch(np.arange(len(corpus)), model)).features.double()
    first = made[: len(elements)]
    z = (made - first.mean(0)) / first.std(0, unbiased=False)
    assert z.abs().max() < 30  # of untrained encoders on thirty crystals; 1e4 and more without
