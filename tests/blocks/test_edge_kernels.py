"""Compiled messages along edges against the same sums in plain torch, and when they stand in."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from crystalssl.blocks import _edge_kernels
from crystalssl.blocks._edge_kernels import FilterTable, TabledEdges, summed, tabled
from crystalssl.blocks._geometry import edge_vectors
from crystalssl.blocks._layers import GaussianBasis, segment_sum
from crystalssl.blocks.contract import Block, BlockBatch, Edges
from crystalssl.blocks.registry import build_block
from crystalssl.datasets.corpus import Corpus
from crystalssl.datasets.samplers import pack
from crystalssl.features.extract import extract

GRAPH_BLOCKS = ["sites", "occupancy"]
TOLERANCE = 2e-5


@pytest.fixture(params=GRAPH_BLOCKS)
def block(request) -> Block:
    return build_block(request.param, seed=1).eval()


def encode(block: Block, batch: BlockBatch) -> torch.Tensor:
    with torch.inference_mode():
        return block.encode(batch).tokens


def encode_in_torch(block: Block, batch: BlockBatch) -> torch.Tensor:
    return block.encode(batch).tokens.detach()  # gradients are on


def whole(corpus: Corpus, block: Block) -> BlockBatch:
    return corpus.batch(np.arange(len(corpus)), block)


def random_edges(sites: int, edges: int, longest: float) -> Edges:
    generator = torch.Generator().manual_seed(3)

    def numbers(top: int, *shape: int) -> torch.Tensor:
        return torch.randint(top, shape, generator=generator)

    return Edges(
        source=numbers(sites, edges).sort().values,
        target=numbers(sites, edges),
        image=numbers(3, edges, 3) - 1,
        distance=torch.rand(edges, generator=generator) * longest,
        arrow=torch.randn(edges, 3, generator=generator),
    )


def count_kernels(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the kernels called from now on."""
    called: list[str] = []

    def spy(name: str) -> None:
        real = getattr(_edge_kernels, name)

        def spied(*args: object) -> None:
            called.append(name)
            real(*args)

        monkeypatch.setattr(_edge_kernels, name, spied)

    spy("_attend")
    spy("_pass")
    return called


def test_tokens_are_those_of_torch_for_single_sites_and_many(block, corpus):
    batch = whole(corpus, block)
    assert (batch.valid[:, :100].sum(1) == 1).any()
    torch.testing.assert_close(
        encode(block, batch), encode_in_torch(block, batch), atol=TOLERANCE, rtol=0
    )


def test_tokens_are_those_of_torch_for_disordered_sites(block, made_corpus):
    batch = whole(made_corpus, block)
    torch.testing.assert_close(
        encode(block, batch), encode_in_torch(block, batch), atol=TOLERANCE, rtol=0
    )


def test_sites_without_edges_and_edges_beyond_the_table_are_read_as_in_torch(block, corpus):
    batch = whole(corpus, block)
    edges = batch.edges
    kept = (edges.source != 0) & (edges.source != 5)
    fewer = Edges(
        source=edges.source[kept],
        target=edges.target[kept],
        image=edges.image[kept] * 3,
        arrow=edges.arrow[kept],
        distance=edges.distance[kept] * torch.linspace(0.01, 30, int(kept.sum())),
    )
    batch = replace(batch, edges=fewer)
    torch.testing.assert_close(
        encode(block, batch), encode_in_torch(block, batch), atol=TOLERANCE, rtol=0
    )


def test_a_batch_without_any_edge_is_encoded(block, corpus):
    batch = whole(corpus, block)
    none = Edges(**{name: getattr(batch.edges, name)[:0] for name in Edges.__slots__})
    batch = replace(batch, edges=none)
    torch.testing.assert_close(
        encode(block, batch), encode_in_torch(block, batch), atol=TOLERANCE, rtol=0
    )


def test_a_table_read_between_its_knots_is_the_expansion_of_the_distance():
    basis, edges = GaussianBasis(0.5, 8.0, 24), random_edges(40, 3000, 12.0)
    with torch.no_grad():
        lines = tabled(basis, edges, edges.distance, 40)
        made = summed(FilterTable().of(torch.nn.Identity(), basis), lines)
        expected = segment_sum(basis(edges.distance), edges.source, 40)
    torch.testing.assert_close(made, expected, atol=5e-5, rtol=0)


def test_directions_and_lengths_are_those_of_edge_vectors():
    edges = random_edges(30, 400, 5.0)
    frac, crystal = torch.rand(30, 3), torch.arange(30) // 15
    lattice = torch.eye(3) * 4 + torch.rand(2, 3, 3)
    unit, length = _edge_kernels.arrows(frac, lattice, crystal, edges)
    vectors = edge_vectors(frac, lattice, crystal, edges)
    torch.testing.assert_close(unit * length.unsqueeze(1), vectors, atol=1e-5, rtol=0)
    torch.testing.assert_close(length, torch.sqrt((vectors**2).sum(1) + 1e-12))


def test_kernels_stand_in_only_without_gradients_in_single_precision_on_a_cpu(
    block, corpus, monkeypatch
):
    batch, called = whole(corpus, block), count_kernels(monkeypatch)
    block.encode(batch).features.sum().backward()
    assert any(parameter.grad is not None for parameter in block.parameters())
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        block.encode(batch)
    double = replace(
        batch,
        rows=batch.rows.double(),
        edges=replace(batch.edges, distance=batch.edges.distance.double()),
    )
    with torch.no_grad():
        copy.deepcopy(block).double().encode(double)
    assert not called
    encode(block, batch)
    assert len(called) == block.config.layers


def test_weights_changed_in_place_are_seen_however_they_are_changed(block, corpus):
    batch = whole(corpus, block)
    before = encode(block, batch)
    filters = [
        module
        for name, module in block.encoder.named_modules()
        if name.endswith(("edge", "filter"))
    ]
    for change in (
        lambda weight: weight.detach().mul_(1.5),
        lambda weight: weight.data.add_(0.1),
        lambda weight: weight.detach().numpy().__imul__(0.5),
    ):
        for module in filters:
            change(module.weight)
        after = encode(block, batch)
        assert not torch.allclose(after, before, atol=1e-3)
        torch.testing.assert_close(after, encode_in_torch(block, batch), atol=TOLERANCE, rtol=0)
        before = after


def test_tables_stay_out_of_weights_copies_and_pickles(block, corpus):
    names, size = set(block.state_dict()), len(pickle.dumps(block.encoder))
    before = encode(block, whole(corpus, block))
    assert set(block.state_dict()) == names
    assert len(pickle.dumps(block.encoder)) < size + 1000
    torch.testing.assert_close(encode(copy.deepcopy(block), whole(corpus, block)), before)


def test_sums_of_a_site_do_not_depend_on_the_other_crystals_of_the_batch():
    edges, basis = random_edges(50, 900, 6.0), GaussianBasis(0.5, 8.0, 24)
    generator = torch.Generator().manual_seed(5)
    states, centre, score, vectors = (
        torch.randn(*shape, generator=generator)
        for shape in ((50, 128), (50, 32), (4, 32), (50, 3, 16))
    )
    unit = torch.randn(900, 3, generator=generator)
    part = int((edges.source < 20).sum())
    first = Edges(**{name: getattr(edges, name)[:part] for name in Edges.__slots__})
    results = []
    with torch.no_grad():
        table = FilterTable().of(torch.nn.Linear(24, 128), basis)
        narrow = FilterTable().of(torch.nn.Linear(24, 96), basis)
        for each, ways in ((edges, unit), (first, unit[:part])):
            lines = tabled(basis, each, each.distance, 50)
            assert isinstance(lines, TabledEdges)
            results.append(
                (
                    _edge_kernels.attended(states, centre, score, table, lines)[:20],
                    *(
                        made[:20]
                        for made in _edge_kernels.passed(
                            states[:, :96], vectors, ways, narrow, lines
                        )
                    ),
                )
            )
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


def test_many_threads_write_the_bytes_of_one(block, corpus):
    batches = [
        corpus.batch(rows, block)
        for rows in pack(np.arange(len(corpus)), corpus.site_counts, 4, 40)
    ]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda batch: encode(block, batch), batches))
    for batch, tokens in zip(batches, together, strict=True):
        assert torch.equal(encode(block, batch), tokens)


def test_extraction_twice_gives_the_same_bytes(block, corpus):
    first, second = (
        extract(corpus, {block.name: block}, device="cpu", max_atoms=64).matrix for _ in range(2)
    )
    assert first.tobytes() == second.tobytes()


def test_edges_to_sites_that_are_not_there_are_an_error_and_not_a_crash(block, corpus):
    batch = whole(corpus, block)
    target = batch.edges.target.clone()
    target[7] = 100_000
    with pytest.raises(IndexError, match="beyond"):
        encode(block, replace(batch, edges=replace(batch.edges, target=target)))


def test_a_distance_that_is_no_number_shows_in_the_tokens(corpus):
    block = build_block("occupancy", seed=1).eval()
    batch = whole(corpus, block)
    distance = batch.edges.distance.clone()
    distance[3] = torch.nan
    tokens = encode(block, replace(batch, edges=replace(batch.edges, distance=distance)))
    assert tokens[batch.edges.source[3]].isnan().any()
