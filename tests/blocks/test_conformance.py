"""Every block, ours or added, passes the shipped conformance suite."""

from dataclasses import replace

import pytest
import torch

from crystalssl.blocks.registry import list_blocks
from crystalssl.blocks.sites import Sites
from crystalssl.testing import CHECKS, ConformanceError, check_sites


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("block", list_blocks(), ids=lambda block: block.name)
def test_block_conforms(block, check, corpus):
    check(block, corpus)


@pytest.mark.parametrize("fault", ["order", "channels", "count"])
def test_tokens_that_are_no_sites_are_found(fault, corpus):
    class Odd(Sites):
        @property
        def site_channels(self):
            return super().site_channels + (fault == "channels")

        def encode(self, batch):
            encoded = super().encode(batch)
            tokens, crystal = encoded.tokens, encoded.crystal
            if fault == "order":  # the longest first: no order of the sites
                rank = tokens.norm(dim=1) - 1e6 * crystal
                tokens = tokens[torch.argsort(rank, descending=True)]
            if fault == "count":
                tokens, crystal = tokens[1:], crystal[1:]
            return replace(encoded, tokens=tokens, crystal=crystal)

    words = {"order": "do not follow", "channels": "site_channels", "count": "not one for each"}
    with pytest.raises(ConformanceError, match=words[fault]):
        check_sites(Odd, corpus)
