"""Fixtures for all tests: crystals by rule, a small corpus of them, and a tiny block to train."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crystalssl.blocks import registry
from crystalssl.blocks.contract import Block
from crystalssl.datasets.corpus import Corpus
from crystalssl.structures.canonical import CanonicalResult, canonicalize
from crystalssl.structures.crystals import Crystals
from worlds import Toy, make_crystals


@pytest.fixture(scope="session")
def many_crystals() -> Crystals:
    return make_crystals(70)


@pytest.fixture(scope="session")
def canonical(many_crystals: Crystals) -> CanonicalResult:
    return canonicalize(many_crystals)


@pytest.fixture(scope="session")
def made_corpus(canonical: CanonicalResult) -> Corpus:
    return Corpus.from_crystals(canonical)


@pytest.fixture(scope="session")
def toy_class() -> type[Block]:
    return Toy


@pytest.fixture
def registered_toy() -> Iterator[type[Block]]:
    """The toy as a block of this process, taken back afterwards."""
    registry.register_block(Toy)
    yield Toy
    registry._REGISTERED.remove(Toy)
