"""Blocks under automatic mixed precision: geometry and baselines stay as they are in float32."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crystalssl.blocks._bravais import lattice_system
from crystalssl.blocks._geometry import image_distance
from crystalssl.blocks._layers import pool
from crystalssl.blocks.registry import build_block, list_blocks
from crystalssl.datasets.bundled import load_bundled
from crystalssl.datasets.corpus import Corpus
from crystalssl.structures.canonical import canonicalize


def mixed() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, cache_enabled=False)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus.from_crystals(canonicalize(load_bundled().take(np.arange(400, 464))))


@pytest.mark.parametrize("name", [block.name for block in list_blocks()])
def test_baselines_do_not_depend_on_the_precision_of_the_encoder(corpus: Corpus, name: str) -> None:
    batch = corpus.batch(np.arange(len(corpus)), build_block(name))
    found = []
    for context in (torch.autocast("cpu", enabled=False), mixed()):
        block = build_block(name).train()
        with context:
            block.pretext(batch, torch.Generator().manual_seed(1))
            with torch.no_grad():
                found.append(block.eval().pretext(batch, torch.Generator().manual_seed(2)))
    for full, half in zip(*found, strict=True):
        assert torch.equal(full.count, half.count)
        assert abs(float(full.loss) - float(half.loss)) < 0.05 * abs(float(full.loss)) + 0.01
        for key in full.sums.keys() - {"model"}:
            torch.testing.assert_close(full.sums[key], half.sums[key], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [block.name for block in list_blocks()])
def test_every_parameter_gets_a_finite_gradient_of_its_own_type(corpus: Corpus, name: str) -> None:
    block = build_block(name).train()
    batch = corpus.batch(np.arange(len(corpus)), block)
    with mixed():
        results = block.pretext(batch, torch.Generator().manual_seed(1))
        loss = torch.stack([result.weight * result.loss for result in results]).sum()
    loss.backward()
    for parameter in block.parameters():
        assert parameter.grad is not None and parameter.grad.dtype == torch.float32
        assert torch.isfinite(parameter.grad).all()


def test_geometry_is_exact(corpus: Corpus) -> None:
    lattice = corpus.panel.lattice
    apart = torch.rand(len(lattice), 3, generator=torch.Generator().manual_seed(0))
    with mixed():
        assert torch.equal(lattice_system(lattice), _plain(lattice_system, lattice))
        assert torch.equal(image_distance(apart, lattice), _plain(image_distance, apart, lattice))


def test_sums_over_many_tokens_do_not_round_to_bf16() -> None:
    tokens = torch.full((4_000, 1), 1.0, dtype=torch.bfloat16)
    pooled = pool(tokens, torch.zeros(4_000, dtype=torch.long), 1)
    assert pooled.dtype == torch.float32 and float(pooled[0, 0]) == 1.0


def test_a_batch_of_elements_alone_trains(corpus: Corpus) -> None:
    everything = load_bundled()
    kinds = np.array(
        [
            len(set(n.tolist()) - {0})
            for n in np.split(everything.numbers[:, 0], everything.offsets[1:-1])
        ]
    )
    alone = Corpus.from_crystals(canonicalize(everything.take(np.flatnonzero(kinds == 1)[:6])))
    for kind in list_blocks():
        block = build_block(kind.name).train()
        results = block.pretext(alone.batch(np.arange(len(alone)), block), torch.Generator())
        assert all(torch.isfinite(result.loss) for result in results)


def _plain(function, *given):
    with torch.autocast("cpu", enabled=False):
        return function(*given)
