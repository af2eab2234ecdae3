"""Crystals made by hand for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import worlds
from crystalssl.structures.crystals import Crystals

SHARED = Path(__file__).resolve().parents[2].parent / "shared"


@pytest.fixture(scope="session")
def crystals_of() -> Callable[[list[worlds.Cell]], Crystals]:
    """Build crystals from (lattice, frac_coords, species) triples."""
    return worlds.crystals_of


@pytest.fixture(scope="session")
def small() -> Crystals:
    """The 40 real crystals that come with the reference arrays."""
    return worlds.reference_crystals()


@pytest.fixture(scope="session")
def transformed() -> Callable[[Crystals, int], Crystals]:
    """The same crystals in another basis, origin, orientation, site order and cell."""
    return worlds.rewritten


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the larger reference data; the test is skipped without it."""
    if not SHARED.is_dir():
        pytest.skip("the folder shared next to the repository is absent")
    return SHARED
