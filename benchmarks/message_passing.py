"""One layer of message passing on periodic graphs: ours, in torch, PyTorch Geometric's, dense.

All give 96 channels a site from 96 channels a site and distances, with four attention heads. Ours
(compiled, and the same in plain torch) and GATv2Conv pass along the edges of the graph; the dense
layer lets all sites of a crystal see each other, padded to the largest crystal of the batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from crystalssl.blocks._edge_kernels import tabled
from crystalssl.blocks._layers import BiasedAttention, GaussianBasis
from crystalssl.blocks.occupancy import GraphAttention
from crystalssl.datasets.corpus import Corpus
from crystalssl.datasets.samplers import pack

DIM, HEADS, BASIS, SCORE = 96, 4, 24, 32
Layer = Callable[[], object]


def layers_of(corpus: Corpus, crystals: int) -> tuple[dict[str, Layer], int]:
    """What to time: each layer on the first batches of a corpus, and the crystals in them.

    Args:
        corpus: crystals with graphs.
        crystals: about how many to use.
    """
    from torch_geometric.nn import GATv2Conv

    from crystalssl.blocks.occupancy import Occupancy, OccupancyConfig

    reader = Occupancy(OccupancyConfig())
    rows = torch.arange(min(crystals, len(corpus))).numpy()
    plan = pack(rows, corpus.site_counts, 64, 1_536)
    expand = GaussianBasis(0.5, 8.0, BASIS)
    ours = GraphAttention(DIM, HEADS, BASIS, SCORE).eval()
    theirs = GATv2Conv(DIM, DIM // HEADS, heads=HEADS, edge_dim=BASIS, add_self_loops=False).eval()
    dense, bias = BiasedAttention(DIM, HEADS, 0.0).eval(), nn.Linear(BASIS, HEADS)
    batches = []
    for part in plan:
        batch = corpus.batch(part, reader)
        edges = batch.edges
        assert edges is not None
        counts = torch.as_tensor(corpus.site_counts[part])
        states = torch.randn(int(counts.sum()), DIM, generator=torch.Generator().manual_seed(0))
        batches.append((states, edges, counts))

    def along_edges() -> None:
        with torch.inference_mode():
            for states, edges, _ in batches:
                near = tabled(expand, edges, edges.distance, len(states))
                assert near is not None
                ours(states, edges, near)

    def plain() -> None:
        with torch.inference_mode():
            for states, edges, _ in batches:
                ours(states, edges, expand(edges.distance))

    def geometric() -> None:
        with torch.inference_mode():
            for states, edges, _ in batches:
                pairs = torch.stack([edges.target, edges.source])
                theirs(states, pairs, expand(edges.distance))

    def all_pairs() -> None:
        with torch.inference_mode():
            for states, _, counts in batches:
                padded = _padded(states, counts)
                apart = torch.cdist(padded[..., :3], padded[..., :3])  # any distance costs as much
                dense(padded, bias(expand(apart)).permute(0, 3, 1, 2))

    named = {
        "ours": along_edges,
        "plain torch": plain,
        "PyTorch Geometric": geometric,
        "dense": all_pairs,
    }
    return named, sum(map(len, plan))


def _padded(states: Tensor, counts: Tensor) -> Tensor:
    """Sites of each crystal in a row of their own: (crystal, most sites, channel)."""
    parts = states.split(counts.tolist())
    return nn.utils.rnn.pad_sequence(list(parts), batch_first=True)
