"""The weights that ship: complete, small, checked, and usable right after install."""

import numpy as np
import torch

from crystalssl import CrystalFeaturizer
from crystalssl.blocks.registry import build_block, list_blocks
from crystalssl.datasets.bundled import load_bundled
from crystalssl.features.extract import extract
from crystalssl.hub.weights import BUNDLED, load_cards, load_run
from crystalssl.structures.canonical import canonicalize


def test_the_default_weights_hold_every_block_with_its_card():
    cards = load_cards("default")
    assert list(cards) == [block.name for block in list_blocks()]
    for card in cards.values():
        assert card.sha256 and card.licence and card.figures
        assert card.data["train_crystals"] > 45_000
        assert all(figure.beats_trivial for figure in card.figures)


def test_the_default_weights_stay_below_28_megabytes():
    size = sum(path.stat().st_size for path in BUNDLED.rglob("*") if path.is_file())
    assert size < 28e6


def test_structures_become_2048_features_without_any_training():
    features = CrystalFeaturizer.from_pretrained("default").fit_transform(
        load_bundled().take(np.arange(0, 60, 5))
    )
    assert features.shape == (12, 2048)
    assert np.isfinite(np.asarray(features)).all()


def test_the_default_encoders_are_trained_not_fresh():
    crystals = canonicalize(load_bundled().take(np.arange(0, 600, 10)))
    trained = load_run("default")
    fresh = {name: build_block(name) for name in trained}
    for name, block in trained.items():
        other = fresh[name].state_dict()
        assert not all(torch.equal(v, other[k]) for k, v in block.state_dict().items())
    made = extract(crystals, trained).matrix
    assert made.std(axis=0).min() > 1e-6
    assert not np.allclose(made, extract(crystals, fresh).matrix)
