"""Forty bundled crystals with several sites and elements, as a corpus for block tests."""

import numpy as np
import pytest

from crystalssl.datasets.bundled import load_bundled
from crystalssl.datasets.corpus import Corpus
from crystalssl.structures.canonical import canonicalize


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    crystals = load_bundled()
    size = crystals.site_counts
    rng = np.random.default_rng(0)
    several = rng.permutation(np.flatnonzero((size > 3) & (size < 24)))[:34]
    lone = np.flatnonzero(size == 1)[:6]
    return Corpus.from_crystals(canonicalize(crystals.take(np.concatenate([several, lone]))))
