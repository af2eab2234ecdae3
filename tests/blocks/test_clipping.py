"""Softly clipped features: bounded, standardised by running statistics, settled or trained."""

import copy

import pytest
import torch

from crystalssl.blocks._clipping import SoftClip, settle
from crystalssl.blocks.registry import build_block
from crystalssl.datasets.bundled import load_bundled
from crystalssl.datasets.corpus import Corpus
from crystalssl.structures.canonical import canonicalize


@pytest.fixture(scope="module")
def corpus():
    return Corpus.from_crystals(canonicalize(load_bundled().take(range(0, 600, 10))))


def batches(corpus, block):
    return [corpus.batch(range(start, start + 20), block) for start in (0, 20, 40)]


def test_features_stay_within_the_limit_and_keep_their_order():
    clip = SoftClip(1, limit=2.0).eval()
    made = clip(torch.tensor([[-1e6], [-1.0], [0.0], [0.1], [1e6]]))
    assert made.abs().max() <= 2.0
    assert (made.diff(dim=0) >= 0).all()
    assert made[3].item() == pytest.approx(0.1, rel=1e-3)


def test_statistics_are_those_of_all_batches_at_first():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(400, 3, generator=generator) * torch.tensor([1.0, 5.0, 0.1]) + 7.0
    clip = SoftClip(3).train()
    for batch in rows.split(100):
        clip(batch)
    torch.testing.assert_close(clip.mean, rows.mean(0))
    torch.testing.assert_close(clip.square, rows.square().mean(0))


def test_evaluation_changes_no_statistics():
    clip = SoftClip(2).eval()
    before = copy.deepcopy(clip.state_dict())
    clip(torch.full((5, 2), 3.0))
    assert all(torch.equal(value, before[name]) for name, value in clip.state_dict().items())


@pytest.mark.parametrize("name", ["lattice", "sites", "reciprocal"])
def test_untrained_encoders_take_statistics_from_crystals_and_nothing_else(corpus, name):
    block = build_block(name, seed=0)
    before = {key: value.clone() for key, value in block.named_parameters()}
    settle(block, batches(corpus, block))
    assert block.training
    assert all(torch.equal(value, before[key]) for key, value in block.named_parameters())
    block.eval()
    with torch.no_grad():
        made = torch.cat([block.encode(batch).features for batch in batches(corpus, block)])
    # standardised features have a standard deviation near one, less what the limit takes; mixing
    # them leaves the sum of their variances
    assert made.var(0).mean().sqrt() == pytest.approx(0.85, abs=0.15)
    assert made.mean(0).abs().max() < 0.5


def test_a_block_that_clips_nothing_is_left_alone(corpus):
    block = build_block("composition", {"limit": 0.0}, seed=0)
    before = copy.deepcopy(block.state_dict())
    settle(block, batches(corpus, block))
    assert all(torch.equal(value, before[name]) for name, value in block.state_dict().items())
