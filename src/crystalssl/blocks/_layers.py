"""Layers that several blocks build on: bases, ragged pooling, layer taps, biased attention.

Pooling needs no training and sees every layer: each layer's states pass through a narrow linear
tap that the token heads read too, the taps side by side are the tokens, and mean and standard
deviation of the tokens over a crystal are its features.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from crystalssl.blocks._precision import widened
from crystalssl.representation import elemental


def mlp(*widths: int, dropout: float = 0.0) -> nn.Sequential:
    """Linear layers with SiLU between them, none after the last."""
    layers: list[nn.Module] = []
    for index, (inner, outer) in enumerate(pairwise(widths)):
        if index:
            layers += [nn.SiLU(), nn.Dropout(dropout)]
        layers.append(nn.Linear(inner, outer))
    return nn.Sequential(*layers)


class GaussianBasis(nn.Module):
    """Gaussians on an even grid: (...) -> (..., count)."""

    centres: Tensor

    def __init__(self, low: float, high: float, count: int) -> None:
        super().__init__()
        self.register_buffer("centres", torch.linspace(low, high, count), persistent=False)
        self.width = (high - low) / (count - 1)

    def forward(self, value: Float[Tensor, "..."]) -> Float[Tensor, "... basis"]:
        """Expand a number (same unit as ``low`` and ``high``)."""
        return torch.exp(-0.5 * ((value.unsqueeze(-1) - self.centres) / self.width) ** 2)


class ElementEmbedding(nn.Module):
    """A learned vector per element plus its tabulated physical properties.

    Row 0 is the vacancy, rows 1..103 the elements by atomic number.
    """

    properties: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        table = torch.tensor(elemental.PROPERTIES, dtype=torch.float32)
        self.register_buffer("properties", table, persistent=False)
        self.learned = nn.Embedding(len(table), dim)
        nn.init.normal_(self.learned.weight, std=0.3)
        self.physical = nn.Linear(table.shape[1], dim)

    def table(self) -> Float[Tensor, "element channel"]:
        """The vectors of the vacancy and all elements."""
        vectors: Tensor = self.learned.weight + self.physical(self.properties)
        return vectors


def segment_sum(
    values: Float[Tensor, "token channel"], segment: Int[Tensor, "token"], count: int
) -> Float[Tensor, "segment channel"]:
    """Sum tokens by segment, in float32 at least."""
    values = widened(values)
    zeros = values.new_zeros(count, values.shape[1])
    return zeros.index_add(0, segment, values)


def pool(
    tokens: Float[Tensor, "token channel"],
    crystal: Int[Tensor, "token"],
    count: int,
    weight: Float[Tensor, "token"] | None = None,
) -> Float[Tensor, "crystal feature"]:
    """Weighted mean and standard deviation of a crystal's tokens, side by side."""
    if weight is None:
        weight = tokens.new_ones(len(tokens))
    column = weight.unsqueeze(-1)
    total = segment_sum(column, crystal, count).clamp_min(1e-12)
    mean = segment_sum(tokens * column, crystal, count) / total
    deviation = tokens - mean.index_select(0, crystal)
    variance = segment_sum(deviation * deviation * column, crystal, count) / total
    # the floor keeps the gradient of the root finite where all tokens agree
    return torch.cat([mean, torch.sqrt(variance + 1e-4)], dim=-1)


class Pooling(nn.Module):
    """Tokens, and numbers beside them, into features: mean, deviation, minimum and maximum.

    Attributes:
        channels: channels that tokens must have.
        learned: features that are statistics of tokens.
    """

    def __init__(self, width: int, extremes: int = 0, numbers: int = 0) -> None:
        """Share the features out.

        Args:
            width: number of features.
            extremes: channels of which minimum and maximum are features; without any, and without
                numbers, means and deviations of all channels share the width.
            numbers: numbers beside the tokens, of which all four are features.
        """
        super().__init__()
        rest = width - 4 * numbers - 2 * extremes
        self.deviations = 2 * rest // 5 if extremes or numbers else width // 2
        self.channels = rest - self.deviations
        self.extremes = extremes
        self.learned = width - 4 * numbers

    def forward(
        self,
        tokens: Float[Tensor, "token channel"],
        crystal: Int[Tensor, "token"],
        count: int,
        weight: Float[Tensor, "token"] | None = None,
        numbers: Float[Tensor, "token number"] | None = None,
    ) -> Float[Tensor, "crystal feature"]:
        """Pool the tokens of every crystal.

        Args:
            tokens: states; those without weight are left out before.
            crystal: crystal of each.
            count: number of crystals.
            weight: weight of each token in mean and deviation; extremes go by presence.
            numbers: numbers of each token.
        """
        pooled = pool(tokens, crystal, count, weight)[:, : self.channels + self.deviations]
        ends = [tokens[:, self.channels - self.extremes :]]
        every = [pooled]
        if numbers is not None:
            every.append(pool(numbers, crystal, count, weight))
            ends.append(numbers)
        if self.extremes or numbers is not None:
            last = torch.cat(ends, dim=1)
            # one pass for both ends: the smallest is the largest of the negative
            every.append(extreme(torch.cat([-last, last], dim=1), crystal, count, "amax"))
        return torch.cat(every, dim=1)


def extreme(
    values: Float[Tensor, "item channel"], segment: Int[Tensor, "item"], count: int, which: str
) -> Float[Tensor, "segment channel"]:
    """Smallest (``amin``) or largest (``amax``) value of every segment; 0 for an empty one."""
    values = widened(values)
    index = segment.unsqueeze(1).expand_as(values)
    empty = values.new_zeros(count, values.shape[1])
    return empty.scatter_reduce(0, index, values, which, include_self=False)


def both(
    layer: nn.Linear, states: Float[Tensor, "item channel"], split: Sequence[int]
) -> list[Float[Tensor, "item output"]]:
    """The outputs of a linear layer split by channel, each contiguous in memory."""
    weights = torch.split(layer.weight, list(split))
    biases = torch.split(layer.bias, list(split))
    return [functional.linear(states, w, b) for w, b in zip(weights, biases, strict=True)]


def rows_at(
    padded: Float[Tensor, "crystal row channel"], kept: Bool[Tensor, "crystal row"]
) -> tuple[Float[Tensor, "token channel"], Int[Tensor, "token"]]:
    """The kept rows one below the other, and the crystal of each."""
    index = kept.flatten().nonzero()[:, 0]  # rows of (crystal * row, channel)
    tokens = padded.flatten(0, 1).index_select(0, index)
    return tokens, index.div(kept.shape[1], rounding_mode="floor")


def on_planes(
    layers: nn.Sequential, planes: Float[Tensor, "channel crystal row row"]
) -> Float[Tensor, "crystal head row row"]:
    """Apply an ``mlp`` of two layers to the leading axis: pairs of rows need no copies then."""
    first, last = (layer for layer in layers if isinstance(layer, nn.Linear))
    flat = planes.flatten(1)  # (channel, pair): weights @ pairs, where nn.Linear would transpose
    hidden = functional.silu(torch.addmm(first.bias.unsqueeze(1), first.weight, flat))
    heads = torch.addmm(last.bias.unsqueeze(1), last.weight, hidden)
    return heads.view(len(heads), *planes.shape[1:]).transpose(0, 1)


class Taps(nn.Module):
    """One narrow linear read-out per layer; side by side they are the tokens."""

    def __init__(self, widths: Sequence[int], out: int) -> None:
        super().__init__()
        share, rest = divmod(out, len(widths))
        outs = [share + (index < rest) for index in range(len(widths))]
        self.norms = nn.ModuleList([nn.LayerNorm(width) for width in widths])
        self.reads = nn.ModuleList([nn.Linear(w, o) for w, o in zip(widths, outs, strict=True)])

    def forward(self, states: Sequence[Float[Tensor, "..."]]) -> Float[Tensor, "... channel"]:
        """Read every layer's states (same leading shape)."""
        reads = [
            read(norm(state))
            for read, norm, state in zip(self.reads, self.norms, states, strict=True)
        ]
        return torch.cat(reads, dim=-1)


def layer_states(
    layers: Iterable[nn.Module], states: Float[Tensor, "... channel"], *context: object
) -> list[Float[Tensor, "... channel"]]:
    """The states before the first layer and after each; every layer is called with ``context``."""
    made = [states]
    for layer in layers:
        made.append(layer(made[-1], *context))
    return made


class BiasedAttention(nn.Module):
    """Pre-norm Transformer layer whose attention scores carry an additive pair bias."""

    def __init__(self, dim: int, heads: int, dropout: float, expansion: int = 2) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm_attention, self.norm_feed = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.feed = mlp(dim, expansion * dim, dim, dropout=dropout)

    def forward(
        self,
        states: Float[Tensor, "crystal row channel"],
        bias: Float[Tensor, "crystal #head #row row"],
    ) -> Float[Tensor, "crystal row channel"]:
        """Attend; ``bias`` is -inf (or very negative) at keys that must not be read."""
        batch, rows, dim = states.shape
        qkv = self.qkv(self.norm_attention(states))
        # (crystal, row, 3 * dim) -> (3, crystal, head, row, channel)
        split = qkv.view(batch, rows, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        drop = self.dropout if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(
            split[0], split[1], split[2], attn_mask=bias, dropout_p=drop
        )
        states = states + self.out(mixed.transpose(1, 2).reshape(batch, rows, dim))
        updated: Tensor = states + self.feed(self.norm_feed(states))
        return updated


def key_bias(readable: Bool[Tensor, "crystal row"]) -> Float[Tensor, "crystal 1 1 row"]:
    """Bias that hides unreadable keys; finite, so that a row without any key stays finite."""
    return torch.where(readable, 0.0, -1e9)[:, None, None, :]


def even_powers(cosine: Float[Tensor, "..."], count: int) -> list[Float[Tensor, "..."]]:
    """Even Chebyshev polynomials of a cosine: unchanged when a vector is replaced by minus it."""
    bounded = cosine.clamp(-1, 1)
    doubled = 2 * bounded * bounded - 1
    terms = [torch.ones_like(doubled), doubled]
    while len(terms) <= count:
        terms.append(2 * doubled * terms[-1] - terms[-2])
    return terms[1 : count + 1]
