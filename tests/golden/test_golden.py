"""Numbers must not move silently: old weights load, and their features are what they were.

The arrays beside this file were made with the ``tiny`` weights (``scripts/train_tiny_weights.py``).
Where a test fails, the change that made it fail also changes features that users have stored:
undo it, or raise the panel layout's version, and only then make weights and arrays anew.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crystalssl.blocks.registry import list_blocks
from crystalssl.datasets.bundled import load_bundled
from crystalssl.features.extractor import ExtractorConfig
from crystalssl.features.store import load_features
from crystalssl.hub.weights import BUNDLED, load_cards, load_seen, run_folders
from crystalssl.structures.canonical import CanonicalResult, canonicalize

FOLDER = Path(__file__).parent


@pytest.fixture(scope="module")
def crystals() -> CanonicalResult:
    """The crystals whose features are kept, in their order."""
    kept = load_features(FOLDER / "tiny_blocks.parquet").ids
    bundled = load_bundled()
    place = {str(key): row for row, key in enumerate(bundled.ids)}
    return canonicalize(bundled.take([place[str(key)] for key in kept]))


@pytest.mark.parametrize("output", ["blocks", "bottleneck"])
def test_features_of_the_tiny_weights_are_what_they_were(
    output: str, crystals: CanonicalResult
) -> None:
    expected = load_features(FOLDER / f"tiny_{output}.parquet")
    made = ExtractorConfig(weights="tiny", output=output).extractor().features_of(crystals)
    assert made.ids.tolist() == expected.ids.tolist()
    assert made.widths == expected.widths
    for name, block in made.blocks.items():
        np.testing.assert_allclose(block, expected.blocks[name], rtol=1e-4, atol=1e-4)


def test_the_kept_features_tell_crystals_and_columns_apart() -> None:
    for output, width in (("blocks", 2048), ("bottleneck", 64)):
        kept = load_features(FOLDER / f"tiny_{output}.parquet").matrix
        assert kept.shape == (12, width) and kept.dtype == np.float32
        # a change of one part in a hundred of any block would be seen
        assert np.median(kept.std(axis=0)) > 0.02


def test_the_tiny_weights_are_whole_and_small() -> None:
    cards = load_cards("tiny")
    assert list(cards) == [block.name for block in list_blocks() if block.number <= 6]
    for name, folder in run_folders("tiny").items():
        card, seen = cards[name], load_seen(folder)
        assert card.figures and card.training["effective_rank"] > 1
        assert card.data["sources"] == ["mp6k.parquet (bundled)"]
        assert seen is not None
    size = sum(path.stat().st_size for path in (BUNDLED / "tiny").rglob("*") if path.is_file())
    assert size < 1.5e6


def test_what_the_tiny_weights_saw_is_recorded_and_nothing_else() -> None:
    bundled = load_bundled()
    seen = load_seen(run_folders("tiny")["lattice"])
    assert seen is not None
    rows = np.arange(0, len(bundled), 4)
    used = rows[bundled.column("split")[rows] != "test"]
    assert seen.structures(bundled.take(used[:40])).all()
    unused = np.flatnonzero(bundled.column("split") == "test")[:200]
    assert seen.formulas(bundled.take(unused)).mean() < 0.02  # hashes collide now and then
