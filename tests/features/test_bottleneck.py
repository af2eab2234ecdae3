"""The bottleneck: what it is trained on, what it gives, how it is kept and chosen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import euclidean_distances, rbf_kernel

from crystalssl.errors import InputError, UnknownNameError
from crystalssl.features.axes import turned_axes, view_weights
from crystalssl.features.bottleneck import (
    BOTTLENECK,
    CARD_FILE,
    WEIGHTS_FILE,
    Bottleneck,
    BottleneckCard,
    find_output,
    load_bottleneck,
    save_bottleneck,
)
from crystalssl.features.bottleneck_objective import (
    BottleneckConfig,
    Heads,
    bottleneck_loss,
    keep_some,
)
from crystalssl.features.bottleneck_training import train_bottleneck
from crystalssl.features.encoding import Extractor
from crystalssl.features.features import Features
from crystalssl.features.kernel_units import KernelUnits
from crystalssl.files import read_json, write_json

CONFIG = BottleneckConfig(width=32, epochs=45, batch_size=50, least_steps=1)
TRAIN, VAL = np.arange(300), np.arange(300, 400)


@pytest.fixture(scope="module")
def views() -> tuple[Features, np.ndarray]:
    """Two views of the same five numbers, and three of these as targets."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(400, 5))
    blocks = {
        "one": np.tanh(hidden @ rng.normal(size=(5, 12))).astype(np.float32),
        "two": (10 + hidden @ rng.normal(size=(5, 8))).astype(np.float32),
    }
    ids = np.array([f"c{i}" for i in range(400)])
    return Features(ids=ids, blocks=blocks), [hidden[:, :3].astype(np.float32)]


@pytest.fixture(scope="module")
def trained(views):
    return train_bottleneck(*views, TRAIN, VAL, CONFIG)


def test_each_view_is_told_from_the_other(trained):
    assert trained.figures["told"].keys() == {"one", "two"}
    assert min(trained.figures["told"].values()) > 0.3  # 0 is the mean


def test_targets_are_told_better_than_by_their_mean(trained):
    assert trained.figures["targets"]["model"] < 0.5 * trained.figures["targets"]["mean"]


def test_the_loss_falls(trained):
    assert trained.figures["losses"][-1] < 0.5 * trained.figures["losses"][0]


def test_the_same_seed_gives_the_same_features_and_another_others(views, trained):
    again = train_bottleneck(*views, TRAIN, VAL, CONFIG).bottleneck.apply_to(views[0]).matrix
    other = train_bottleneck(*views, TRAIN, VAL, replace(CONFIG, seed=1)).bottleneck
    assert np.array_equal(trained.bottleneck.apply_to(views[0]).matrix, again)
    assert not np.array_equal(other.apply_to(views[0]).matrix, again)


def test_the_first_half_of_the_features_is_linear_and_no_other(views, trained):
    bottleneck = trained.bottleneck
    rows = bottleneck.standardise(torch.from_numpy(views[0].matrix[:50])) * 0.1
    once, twice = bottleneck.units(rows).detach(), bottleneck.units(2 * rows).detach()
    offset = bottleneck.units(torch.zeros_like(rows)).detach()
    doubled = torch.isclose(twice - offset, 2 * (once - offset), atol=1e-4).all(0)
    assert doubled[:16].all() and not doubled[16:].any()


def test_linear_units_hold_the_leading_principal_axes_and_training_leaves_them_alone(
    views, trained
):
    inputs = trained.bottleneck.standardise(torch.from_numpy(views[0].matrix))
    weight, bias = turned_axes(inputs, torch.ones(20), TRAIN, 16, CONFIG.seed)
    stored = trained.bottleneck.mix.weight[:16], trained.bottleneck.mix.bias[:16]
    torch.testing.assert_close(stored[0], weight, rtol=2**-10, atol=1e-6)  # stored as float16
    torch.testing.assert_close(stored[1], bias)
    rows = inputs[TRAIN].numpy().astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov(rows.T))
    held = weight.numpy() @ vectors[:, -16:]  # (unit, axis): nothing beside the leading ones
    np.testing.assert_allclose((held**2).sum(), (weight.numpy() ** 2).sum(), rtol=1e-5)
    units = rows @ weight.numpy().T + bias.numpy()
    np.testing.assert_allclose(units.mean(0), 0, atol=1e-4)
    spectrum, leading = np.linalg.eigvalsh(np.cov(units.T)), values[-16:]
    np.testing.assert_allclose(spectrum / spectrum.sum(), leading / leading.sum(), atol=1e-4)
    unlike = np.sqrt(leading[-1] / leading[0])  # of the axes; turned, they vary alike
    assert units.std(0).max() / units.std(0).min() < unlike / 2


def test_more_linear_units_than_features_repeat_what_the_first_ones_hold(views):
    inputs = torch.from_numpy(views[0].matrix)
    weight, bias = turned_axes(inputs, torch.ones(20), TRAIN, 30, 0)
    assert weight.shape == (30, 20) and bias.shape == (30,)
    back, *_ = np.linalg.lstsq(weight.numpy().T @ weight.numpy(), np.eye(20), rcond=None)
    units = inputs.numpy() @ weight.numpy().T + bias.numpy()
    again = (units - bias.numpy()) @ weight.numpy() @ back
    np.testing.assert_allclose(again, inputs.numpy(), atol=1e-2)


def test_it_says_how_many_features_it_gives_kernel_components_among_them():
    bottleneck = Bottleneck({"one": 3}, 8, 2, kernel=3, landmarks=5)
    encoder = Extractor(encoders={}, bottleneck=bottleneck, electrons=None, origins=(), device=None)
    assert encoder.widths == {BOTTLENECK: 8} and len(encoder.names) == 8


def test_features_are_bounded_whatever_comes_in(views, trained):
    wild = {name: 1e4 * values for name, values in views[0].blocks.items()}
    made = trained.bottleneck.apply_to(replace(views[0], blocks=wild)).matrix
    assert np.sqrt((made**2).mean(1)).max() <= CONFIG.limit  # mixing keeps the length of a row
    usual = trained.bottleneck.apply_to(views[0].take(TRAIN)).matrix
    assert np.abs(usual.mean(0)).max() < 0.5 and 0.5 < usual.std(0).mean() < 1.1
    one = train_bottleneck(*views, TRAIN, VAL, replace(CONFIG, width=24, epochs=1)).bottleneck
    assert not one.shape["rotated"] and one.shape["limit"] == CONFIG.limit


def test_a_bottleneck_of_before_has_no_bounds():
    old = Bottleneck({"one": 3}, 4, 1)
    assert set(old.state_dict()) == {"mean", "scale", "mix.weight", "mix.bias"}


def test_labels_of_rows_that_are_not_trained_on_change_nothing(views, trained):
    features, targets = views
    spoilt = {name: values.copy() for name, values in features.blocks.items()}
    for values in spoilt.values():
        values[VAL] = 7.0
    other = targets[0].copy()
    other[VAL] = -7.0
    outcome = train_bottleneck(replace(features, blocks=spoilt), [other], TRAIN, VAL, CONFIG)
    same = zip(
        outcome.bottleneck.state_dict().values(), trained.bottleneck.state_dict().values(),
        strict=True,
    )  # fmt: skip
    assert all(torch.equal(a, b) for a, b in same)


def test_one_block_always_stays():
    keep = keep_some(500, 4, 0.95, torch.Generator().manual_seed(0))
    assert keep.any(1).all() and keep.float().mean() < 0.5


def test_loss_equals_its_plain_sum():
    torch.manual_seed(0)
    heads, config = (
        Heads(6, 5, [1, 3]),
        BottleneckConfig(decorrelation_weight=2.0, kept_weight=0.25),
    )
    mixed, inputs, truth = torch.randn(7, 6), torch.randn(7, 5), 3 * torch.randn(7, 4)
    shown = (torch.rand(7, 5) > 0.5).float()
    got = bottleneck_loss(heads, mixed, inputs, shown, truth, config).item()
    with torch.no_grad():
        told, aims = heads.features(mixed).numpy(), heads.targets(mixed).numpy()
    weight = np.where(shown.numpy() > 0, 0.25, 1.0)
    error = ((told - inputs.numpy()) ** 2 * weight).mean()
    apart = np.abs(aims - truth.numpy())
    smooth = np.where(apart < 1, 0.5 * apart**2, apart - 0.5)
    smooth = smooth[:, :1].mean() + smooth[:, 1:].mean()
    wide = mixed.numpy() - mixed.numpy().mean(0)
    scaled = wide / np.sqrt((wide**2).mean(0) + 1e-4)
    square = (scaled.T @ scaled / 7) ** 2
    correlation = (square.sum() - np.trace(square)) / 30
    assert got == pytest.approx(error + smooth + 2 * correlation, rel=1e-4)


def test_it_does_without_targets(views):
    outcome = train_bottleneck(views[0], None, TRAIN, VAL, replace(CONFIG, epochs=2))
    assert "targets" not in outcome.figures


def test_saved_and_read_it_gives_the_same_features(views, trained, tmp_path):
    card = BottleneckCard(**trained.bottleneck.shape)
    save_bottleneck(trained.bottleneck, tmp_path, card)
    found = load_bottleneck(tmp_path).apply_to(views[0])
    assert np.array_equal(found.matrix, trained.bottleneck.apply_to(views[0]).matrix)
    assert found.widths == {BOTTLENECK: 32} and found.names[0] == "bottleneck_0"
    assert found.ids.tolist() == views[0].ids.tolist()


def test_blocks_are_read_in_the_order_of_training_whatever_their_names(views, tmp_path):
    ids, blocks = views[0].ids, views[0].blocks
    # later in the alphabet, earlier in the row, and as wide as the other
    turned = Features(ids=ids, blocks={"zeta": blocks["two"], "alpha": blocks["one"][:, :8]})
    made = train_bottleneck(turned, None, TRAIN, VAL, replace(CONFIG, epochs=2)).bottleneck
    save_bottleneck(made, tmp_path / BOTTLENECK, BottleneckCard(**made.shape))
    found = load_bottleneck(tmp_path / BOTTLENECK)
    assert list(found.widths) == ["zeta", "alpha"]
    assert np.array_equal(found.apply_to(turned).matrix, made.apply_to(turned).matrix)
    assert find_output(tmp_path, "auto", ["zeta", "alpha"]) is not None


def test_a_card_without_the_order_of_blocks_is_refused(views, trained, tmp_path):
    card = BottleneckCard(**trained.bottleneck.shape)
    save_bottleneck(trained.bottleneck, tmp_path, card)
    fields = read_json(tmp_path / CARD_FILE)
    write_json({**fields, "widths": dict(fields["widths"])}, tmp_path / CARD_FILE)
    with pytest.raises(InputError, match="order"):
        load_bottleneck(tmp_path)


def test_a_damaged_file_is_refused(views, trained, tmp_path):
    save_bottleneck(trained.bottleneck, tmp_path, BottleneckCard(**trained.bottleneck.shape))
    path = tmp_path / WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="card"):
        load_bottleneck(tmp_path)


def test_features_of_other_blocks_are_refused_with_what_to_do(views, trained):
    with pytest.raises(InputError, match="crystalssl bottleneck"):
        trained.bottleneck.apply_to(views[0].only("one"))


def test_a_single_block_cannot_be_mixed(views):
    with pytest.raises(InputError, match="several views"):
        train_bottleneck(views[0].only("one"), None, TRAIN, VAL, CONFIG)


def test_the_output_is_chosen_by_name_or_by_what_the_run_has(views, trained, tmp_path):
    assert find_output(tmp_path, "auto", ["one", "two"]) is None
    folder = tmp_path / BOTTLENECK
    card = BottleneckCard(**trained.bottleneck.shape)
    save_bottleneck(trained.bottleneck, folder, card)
    assert find_output(tmp_path, "auto", ["one", "two"]) == folder
    assert find_output(tmp_path, "blocks", ["one", "two"]) is None
    assert find_output(tmp_path, "auto", ["one"]) is None
    with pytest.raises(InputError, match="two"):
        find_output(tmp_path, BOTTLENECK, ["one"])
    with pytest.raises(UnknownNameError, match="bottleneck"):
        find_output(tmp_path, "bottelneck", ["one", "two"])


def test_the_trained_units_of_a_bottleneck_go_on_from_one_of_fewer_blocks() -> None:
    rng = np.random.default_rng(0)
    blocks = {n: rng.normal(size=(40, 6)).astype(np.float32) for n in ("sites", "lattice")}
    more = {**blocks, "occupancy": rng.normal(size=(40, 4)).astype(np.float32)}
    ids, rows = np.arange(40).astype(np.str_), np.arange(40)
    config = BottleneckConfig(
        width=8, epochs=1, least_steps=1, learning_rate=1e-12, kernel_share=0.25
    )
    few = train_bottleneck(Features(ids=ids, blocks=blocks), None, rows, rows, config).bottleneck
    wide = Features(ids=ids, blocks=more)
    many = train_bottleneck(wide, None, rows, rows, config, init=few).bottleneck
    both = many.mix.weight[4:, :12], few.mix.weight[4:]
    np.testing.assert_allclose(*(weight.detach().numpy() for weight in both), atol=1e-4)
    alone = train_bottleneck(wide, None, rows, rows, config).bottleneck
    assert torch.equal(many.mix.weight[:4], alone.mix.weight[:4])  # computed, not learnt
    with pytest.raises(InputError, match="expected 12 and 8"):
        wider = replace(config, width=16)
        train_bottleneck(wide, None, rows, rows, wider, init=few)


def test_views_count_as_their_blocks_say():
    factors = view_weights({"composition": 2, "lattice": 1, "mine": 2})
    assert factors.tolist() == [4.0, 4.0, 0.5, 1.0, 1.0]
    rng = np.random.default_rng(0)
    inputs = torch.from_numpy(rng.normal(size=(500, 4)).astype(np.float32))
    factors = torch.tensor([2.0, 2.0, 1.0, 1.0])
    weight, _ = turned_axes(inputs, factors, np.arange(500), 2, 0)
    share = weight.square().sum(0)
    assert share[:2].sum() > 0.98 * share.sum()  # leading axes are those of what counts more
    whole, _ = turned_axes(inputs, factors, np.arange(500), 4, 0)
    units = inputs @ whole.T
    apart = (units[0] - units[1]).square().sum()  # turned, distances are those of weighted views
    expected = ((inputs[0] - inputs[1]) * factors).square().sum()
    scale = 4 / (inputs.double() * factors).var(0, correction=0).sum()
    assert float(apart) == pytest.approx(float(scale * expected), rel=1e-3)


def test_kernel_units_are_those_of_an_rbf_kernel():
    rng = np.random.default_rng(0)
    landmarks = torch.from_numpy(rng.normal(size=(12, 5)).astype(np.float32)).half().float()
    crystals = torch.from_numpy(rng.normal(size=(30, 5)).astype(np.float32))
    units = KernelUnits(5, 12, 12)
    units.fit(landmarks, 0.7, seed=0)
    median = np.median(euclidean_distances(landmarks, landmarks, squared=True))
    gamma = 0.5 / (0.7**2 * median)
    assert float(units.gamma) == pytest.approx(gamma, rel=0.1)  # of an even number: the lower one
    here, all_ = (rbf_kernel(x, landmarks, gamma=float(units.gamma)) for x in (landmarks, crystals))
    nystroem = all_ @ np.linalg.inv(here) @ all_.T
    made = units(crystals).numpy()
    factor = 144 / np.trace(here)
    np.testing.assert_allclose(made @ made.T, factor * nystroem, rtol=0.02, atol=0.05)


def test_few_kernel_units_keep_the_leading_components():
    rng = np.random.default_rng(0)
    landmarks = torch.from_numpy(rng.normal(size=(40, 3)).astype(np.float32)).half().float()
    few = KernelUnits(3, 40, 6)
    few.fit(landmarks, 0.7, seed=0)
    here = rbf_kernel(landmarks, gamma=float(few.gamma))
    values, vectors = np.linalg.eigh(here)
    best = vectors[:, -6:] @ np.diag(values[-6:]) @ vectors[:, -6:].T
    made = few(landmarks).numpy()
    best *= np.trace(made @ made.T) / np.trace(best)
    np.testing.assert_allclose(made @ made.T, best, rtol=0.02, atol=0.05)
    assert torch.equal(few(torch.full((1, 3), 1e3)), torch.zeros(1, 6))  # unlike all of them


def test_fewer_crystals_than_landmarks_are_all_landmarks(views, trained):
    shape = trained.bottleneck.shape
    assert (shape["width"], shape["linear"], shape["kernel"], shape["landmarks"]) == (
        32, 16, 14, 300,
    )  # fmt: skip
    rows = np.arange(6)
    few = train_bottleneck(*views, rows, VAL, replace(CONFIG, epochs=1)).bottleneck
    assert (few.shape["width"], few.shape["kernel"], few.shape["landmarks"]) == (32, 6, 6)
    assert np.isfinite(few.apply_to(views[0]).matrix).all()


@pytest.mark.parametrize(("linear", "kernel"), [(0.0, 0), (0.75, 8), (1.0, 0)])
def test_the_kernel_takes_the_room_that_linear_units_leave(views, linear, kernel):
    config = replace(CONFIG, linear_share=linear, epochs=1)
    made = train_bottleneck(*views, TRAIN, VAL, config).bottleneck
    assert made.shape["kernel"] == kernel
    features = made.apply_to(views[0]).matrix
    assert features.shape == (400, 32) and np.isfinite(features).all()
