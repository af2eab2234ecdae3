"""Features stay what they are when the same crystal is written down in another way.

Cosine similarity of standardised features >= 0.9999 for at least 98 % of 200 real crystals, for
every block and every way. The blocks are untrained: invariance is theirs by construction.
"""

import numpy as np
import pytest
import torch

from crystalssl.blocks.registry import build_block, list_blocks
from crystalssl.datasets.bundled import load_bundled
from crystalssl.datasets.corpus import Corpus
from crystalssl.structures.canonical import canonicalize
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.transforms import TRANSFORMS

COUNT = 200


def features_of(crystals: Crystals) -> dict[str, np.ndarray]:
    corpus = Corpus.from_crystals(canonicalize(crystals))
    assert len(corpus) == COUNT
    made = {}
    for block in list_blocks():
        model = build_block(block.name).eval()
        with torch.inference_mode():
            parts = [
                model.encode(corpus.batch(index, block)).features
                for index in torch.arange(COUNT).split(50)
            ]
        made[block.name] = torch.cat(parts).double().numpy()
    return made


@pytest.fixture(scope="module")
def crystals() -> Crystals:
    bundled = load_bundled()
    return bundled.take(np.random.default_rng(7).permutation(len(bundled))[:COUNT])


@pytest.fixture(scope="module")
def as_given(crystals) -> dict[str, np.ndarray]:
    return features_of(crystals)


@pytest.mark.parametrize("way", sorted(TRANSFORMS))
def test_features_do_not_notice(way, crystals, as_given):
    changed = features_of(TRANSFORMS[way](crystals, seed=3))
    for name, before in as_given.items():
        mean, std = before.mean(0), before.std(0) + 1e-9
        a, b = (before - mean) / std, (changed[name] - mean) / std
        cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        share = (cosine >= 0.9999).mean()
        assert share >= 0.98, f"{name}: {share:.3f} of crystals, lowest cosine {cosine.min():.5f}"
