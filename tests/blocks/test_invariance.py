"""Features stay what they are when the same crystal is written down in another way.

The shipped check on real crystals for every block; that it can fail is shown by a block that
reads coordinates. The blocks are untrained: invariance is theirs by construction.
"""

from __future__ import annotations

import numpy as np
import pytest

from crystalssl import testing
from crystalssl.blocks.contract import Block
from crystalssl.blocks.registry import list_blocks
from crystalssl.datasets.bundled import load_bundled
from crystalssl.datasets.corpus import Corpus
from crystalssl.structures.canonical import canonicalize
from crystalssl.structures.transforms import TRANSFORMS
from worlds import Toy


@pytest.fixture(scope="module", params=[40, pytest.param(200, marks=pytest.mark.long)])
def real(request: pytest.FixtureRequest) -> Corpus:
    bundled = load_bundled()
    chosen = bundled.take(np.random.default_rng(7).permutation(len(bundled))[: request.param])
    return Corpus.from_crystals(canonicalize(chosen), targets=False)


@pytest.mark.parametrize("block", list_blocks(), ids=lambda block: block.name)
def test_features_do_not_notice_another_description_of_a_crystal(
    block: type[Block], real: Corpus
) -> None:
    testing.check_invariance(block, real)


def test_the_check_is_part_of_the_suite_and_names_what_a_block_that_reads_coordinates_notices(
    corpus: Corpus,
) -> None:
    assert testing.check_invariance in testing.CHECKS
    with pytest.raises(testing.ConformanceError, match="features notice") as error:
        testing.check_invariance(Toy, corpus)
    assert any(repr(name) in str(error.value) for name in TRANSFORMS)
