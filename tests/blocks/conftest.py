"""Forty bundled crystals with several sites and elements, as a corpus for block tests."""

from __future__ import annotations

import pytest

from crystalssl.datasets.corpus import Corpus
from worlds import bundled_corpus


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    return bundled_corpus()
