"""Every block, ours or added, passes the shipped conformance suite."""

import pytest

from crystalssl.blocks.registry import list_blocks
from crystalssl.testing import CHECKS


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("block", list_blocks(), ids=lambda block: block.name)
def test_block_conforms(block, check, corpus):
    check(block, corpus)
