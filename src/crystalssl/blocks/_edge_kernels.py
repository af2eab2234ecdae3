"""Messages along the edges of a batch in one pass each, for encoding on a CPU without gradients.

An edge enters a layer through its distance alone, so a layer's filter is a table over distance,
read between two knots; a kernel then walks the edges and adds into their centres, and no array of
edges by channels is made. Training, GPUs and other precisions use the same sums in plain torch.
Results lie in memory of torch, whose alignment is fixed: the last digit of a matrix product depends
on where its rows begin, and NumPy's begin anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from crystalssl.blocks._layers import GaussianBasis
from crystalssl.blocks.contract import Edges
from crystalssl.representation._compiled import compiled, compiled_sums

Floats = npt.NDArray[np.float32]
Whole = npt.NDArray[np.int64]

STEPS = 8192
"""Steps of a table: read between its knots it is as good as float32; half as many are not."""
_REACH = 6.5  # widths past the last centre where a Gaussian is nothing beside float32


@dataclass(frozen=True, slots=True)
class TabledEdges:
    """Edges of a batch as the kernels read them.

    Attributes:
        basis: expands the distances; tables are made with it.
        source: (edges,) centre sites.
        target: (edges,) neighbour sites.
        knot: (edges,) the knot of the tables below each distance.
        share: (edges,) how far each distance lies towards the next knot, 0 to 1.
        sites: number of sites.
    """

    basis: GaussianBasis
    source: Whole
    target: Whole
    knot: Whole
    share: Floats
    sites: int


class FilterTable:
    """A layer over expanded distances, on an even grid; made again when its weights change.

    Threads may share one: at worst two make the same table. Copies of a model make their own.
    """

    def __init__(self) -> None:
        self._made: tuple[list[Tensor], Floats] | None = None

    def __reduce__(self) -> tuple[type[FilterTable], tuple[()]]:
        return FilterTable, ()

    def of(self, layer: nn.Module, basis: GaussianBasis) -> Floats:
        """The (knot, channel) values of ``layer(basis(distance))``."""
        weights = [basis.centres, *layer.parameters()]
        made = self._made
        # a comparison of values: counters of changes miss what is written through ``.data``
        if made is None or not all(map(torch.equal, made[0], weights)):
            grid = torch.arange(STEPS + 1, dtype=torch.float32) / _scale(basis)
            values = layer(basis(grid)).contiguous().numpy()
            # a chord misses a bend by up to f'' h^2 / 8, always on one side; knots moved by
            # f'' h^2 / 12, two thirds of that, leave no error on average
            values[1:-1] -= np.diff(values, n=2, axis=0) / 12
            made = self._made = [weight.detach().clone() for weight in weights], values
        return made[1]


def _scale(basis: GaussianBasis) -> float:
    """Steps per unit of distance."""
    return STEPS / (float(basis.centres[-1]) + _REACH * basis.width)


def tabled(
    basis: GaussianBasis, edges: Edges, distance: Float[Tensor, "edge"], sites: int
) -> TabledEdges | None:
    """Edges for the kernels, or None where layers must use torch.

    Args:
        basis: expands the distances.
        edges: the graph.
        distance: length of the edges, in the unit of the basis.
        sites: number of sites of the batch.

    Raises:
        IndexError: if an edge names a site that is not there.
    """
    if not tables_apply(basis, distance):
        return None
    source, target = _array(edges.source), _array(edges.target)
    knot, share = np.empty(len(source), np.int64), np.empty(len(source), np.float32)
    if not _place(_array(distance), _scale(basis), STEPS, source, target, sites, knot, share):
        raise IndexError(f"got edges between sites beyond the {sites} of the batch")
    return TabledEdges(basis, source, target, knot, share, sites)


def tables_apply(basis: GaussianBasis, values: Tensor) -> bool:
    """Whether kernels may stand in for torch, tables being made with a basis."""
    return kernels_apply(values) and kernels_apply(basis.centres)


def kernels_apply(values: Tensor) -> bool:
    """Whether kernels may stand in for torch: float32 on a CPU, no gradients, no autocast."""
    return (
        not torch.is_grad_enabled()
        and values.device.type == "cpu"
        and values.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
    )


def arrows(
    frac: Float[Tensor, "site 3"],
    lattice: Float[Tensor, "crystal 3 3"],
    crystal: Int[Tensor, "site"],
    edges: Edges,
) -> tuple[Float[Tensor, "edge 3"], Float[Tensor, "edge"]]:
    """Directions of edges (unit vectors) and their lengths in angstrom."""
    unit, length = torch.empty(len(edges.source), 3), torch.empty(len(edges.source))
    _arrows(
        _array(frac), _array(lattice), _array(crystal), _array(edges.source),
        _array(edges.target), _array(edges.image), unit.numpy(), length.numpy(),
    )  # fmt: skip
    return unit, length


def summed(table: Floats, edges: TabledEdges) -> Float[Tensor, "site channel"]:
    """Sum of a table's rows over the edges of every site."""
    out = torch.zeros(edges.sites, table.shape[1])
    _summed(table, edges.knot, edges.share, edges.source, out.numpy())
    return out


def attended(
    states: Float[Tensor, "site channel"],
    centre: Float[Tensor, "site width"],
    score: Float[Tensor, "head width"],
    table: Floats,
    edges: TabledEdges,
) -> Float[Tensor, "site dim"]:
    """Attention of every site to its neighbours; see ``GraphAttention``.

    Args:
        states: key (as wide as ``centre``) and value of every site, side by side.
        centre: what a centre adds to the keys of its neighbours.
        score: weights from key channels to the score of every head.
        table: filter of key and value by distance.
        edges: who attends to whom.
    """
    out = torch.zeros(edges.sites, states.shape[1] - centre.shape[1])
    _attend(
        _array(states), _array(centre), _array(score), table, edges.knot, edges.share,
        edges.source, edges.target, out.numpy(), np.zeros((edges.sites, len(score)), np.float32),
    )  # fmt: skip
    return out


def passed(
    messages: Float[Tensor, "site message"],
    vectors: Float[Tensor, "site 3 vector"],
    unit: Float[Tensor, "edge 3"],
    table: Floats,
    edges: TabledEdges,
) -> tuple[Float[Tensor, "site channel"], Float[Tensor, "site 3 vector"]]:
    """Sums of filtered messages into scalars and vectors of every site; see ``Interaction``.

    Args:
        messages: what every site sends: scalars, along the edge, along its own vectors.
        vectors: vectors of every site.
        unit: direction of every edge.
        table: filter of messages by distance.
        edges: who hears whom.
    """
    width = messages.shape[1] - 2 * vectors.shape[2]
    scalars, pushed = torch.zeros(edges.sites, width), torch.zeros(tuple(vectors.shape))
    _pass(
        _array(messages), _array(vectors), _array(unit), table, edges.knot, edges.share,
        edges.source, edges.target, scalars.numpy(), pushed.numpy(),
    )  # fmt: skip
    return scalars, pushed


def _array(tensor: Tensor) -> npt.NDArray[Any]:
    """A tensor as the kernels take it: rows lie together, so one version of each suffices."""
    return tensor.detach().contiguous().numpy()


@compiled
def _place(
    distance: Floats,
    scale: float,
    steps: int,
    source: Whole,
    target: Whole,
    sites: int,
    knot: Whole,
    share: Floats,
) -> bool:
    """Fill the knot below every distance; whether all edges are between sites of the batch.

    Kernels do not check bounds: an edge to a site that is not there must be known before.
    """
    known = True
    for e in range(len(distance)):
        known &= (0 <= source[e] < sites) and (0 <= target[e] < sites)
        x = distance[e] * scale
        at = 0
        if x >= steps:
            at, x = steps - 1, float(steps)
        elif x > 0:  # a distance that is no number stays none, at knot 0
            at = int(x)
        knot[e], share[e] = at, x - at
    return known


@compiled
def _arrows(
    frac: Floats,
    lattice: Floats,
    crystal: Whole,
    source: Whole,
    target: Whole,
    image: Whole,
    unit: Floats,
    length: Floats,
) -> None:
    """Fill direction (edge, 3) and length (edge,) of every edge."""
    step = np.empty(3, np.float32)
    for e in range(len(source)):
        s, t = source[e], target[e]
        cell = lattice[crystal[s]]
        for i in range(3):
            step[i] = frac[t, i] + np.float32(image[e, i]) - frac[s, i]
        square = np.float32(1e-12)
        for j in range(3):
            along = step[0] * cell[0, j] + step[1] * cell[1, j] + step[2] * cell[2, j]
            unit[e, j] = along
            square += along * along
        length[e] = np.sqrt(square)
        for j in range(3):
            unit[e, j] /= length[e]


@compiled_sums
def _summed(table: Floats, knot: Whole, share: Floats, source: Whole, out: Floats) -> None:
    """Add the table's rows at every edge into ``out`` (site, channel)."""
    for e in range(len(source)):
        low, high, w, mine = table[knot[e]], table[knot[e] + 1], share[e], out[source[e]]
        for c in range(len(mine)):
            mine[c] += low[c] + w * (high[c] - low[c])


@compiled_sums
def _attend(
    states: Floats,
    centre: Floats,
    score: Floats,
    table: Floats,
    knot: Whole,
    share: Floats,
    source: Whole,
    target: Whole,
    out: Floats,
    total: Floats,
) -> None:
    """Add weighted values into ``out`` and weights into ``total``, then divide.

    As ``GraphAttention._mixed``, an edge at a time: ``states`` (site, width + dim) and ``table``
    (knot, width + dim) hold keys before values, so that no array of edges by channels is made.
    """
    heads, width = score.shape
    dim = out.shape[1]
    lot = dim // heads
    hidden, weights = np.empty(width, np.float32), np.empty(dim, np.float32)
    for e in range(len(source)):
        s, t, w = source[e], target[e], share[e]
        low, high, there, here = table[knot[e]], table[knot[e] + 1], states[t], centre[s]
        for c in range(width):
            # key of the neighbour + centre + filter of the distance; leaky ReLU of slope 0.2
            x = there[c] + here[c] + low[c] + w * (high[c] - low[c])
            hidden[c] = max(x, np.float32(0.2) * x)
        for h in range(heads):
            one, sum_ = score[h], np.float32(0)
            for c in range(width):
                sum_ += hidden[c] * one[c]
            weight = np.exp(min(max(sum_, np.float32(-15)), np.float32(15)))
            total[s, h] += weight
            same = weights[h * lot :]  # repeated over the head's channels: the loop below is flat
            for c in range(lot):
                same[c] = weight
        mine, value = out[s], there[width:]
        low, high = low[width:], high[width:]
        for c in range(dim):
            mine[c] += weights[c] * value[c] * (low[c] + w * (high[c] - low[c]))
    for s in range(len(out)):
        for h in range(heads):
            factor = np.float32(1) / max(total[s, h], np.float32(1e-9))
            for c in range(h * lot, (h + 1) * lot):
                out[s, c] *= factor


@compiled_sums
def _pass(
    messages: Floats,
    vectors: Floats,
    unit: Floats,
    table: Floats,
    knot: Whole,
    share: Floats,
    source: Whole,
    target: Whole,
    scalars: Floats,
    pushed: Floats,
) -> None:
    """Add filtered messages into ``scalars`` (site, channel) and ``pushed`` (site, 3, vector).

    As ``Interaction._sums``, an edge at a time: ``messages`` and ``table`` hold, side by side, what
    goes into scalars, into vectors along the edge, and onto the neighbour's vectors.
    """
    width, count = scalars.shape[1], vectors.shape[2]
    filtered = np.empty(table.shape[1], np.float32)
    along, carried = filtered[width : width + count], filtered[width + count :]
    for e in range(len(source)):
        s, t, w = source[e], target[e], share[e]
        low, high, sent, mine = table[knot[e]], table[knot[e] + 1], messages[t], scalars[s]
        for c in range(len(filtered)):
            filtered[c] = sent[c] * (low[c] + w * (high[c] - low[c]))
        for c in range(width):
            mine[c] += filtered[c]
        for i in range(3):
            towards, sent_vectors, sum_ = unit[e, i], vectors[t, i], pushed[s, i]
            for c in range(count):
                sum_[c] += towards * along[c] + sent_vectors[c] * carried[c]
