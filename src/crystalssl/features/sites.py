"""Features of atoms: per-site states of the encoders that have them, as they are or pooled.

Rows are the sites of the primitive reduced cell that encoders read, in its order. ``pooled`` turns
them into a fixed number of columns a crystal. Blocks say themselves whether their tokens are sites
(``Block.has_site_states``). Used by ``extractor.py`` and ``site_table.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch

from crystalssl.blocks.contract import Block
from crystalssl.datasets.corpus import Corpus
from crystalssl.datasets.samplers import Index
from crystalssl.devices import choose_device
from crystalssl.features.extract import one_thread_each, plan_batches, ready
from crystalssl.features.features import Features, Origin
from crystalssl.representation import elemental
from crystalssl.structures.canonical import CanonicalResult
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.elements import SYMBOLS

Pool = Literal["mean", "by-element", "cumulants"]
"""How features of sites become those of a crystal."""
POOLS = get_args(Pool)
ELEMENT_SLOTS = 4
"""Elements that are kept apart; a fifth and further ones share the last slot, as in the panel."""
CUMULANTS = ("mean", "std", "skew")
"""Mean, standard deviation and cube root of the third central moment, all in one unit."""

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteRows:
    """Sites of n crystals, crystal after crystal.

    Attributes:
        crystals: the canonical cells that the sites are of.
        blocks: (s, channels) float32 states of each block with per-site states.
        origins: weights that they come from.
    """

    crystals: Crystals
    blocks: dict[str, Matrix]
    origins: tuple[Origin, ...] = ()

    @property
    def crystal(self) -> npt.NDArray[np.int64]:
        """(s,) crystal of each site."""
        return self.crystals.crystal_of_site

    @property
    def site(self) -> npt.NDArray[np.int64]:
        """(s,) number of each site in its crystal, from 0."""
        counts = self.crystals.site_counts
        return np.arange(counts.sum()) - np.repeat(self.crystals.offsets[:-1], counts)

    @property
    def elements(self) -> list[str]:
        """(s,) element of each site; a disordered one with its occupancies, ``Li0.5 Na0.5``."""
        numbers, occupancy = self.crystals.numbers, self.crystals.occupancy
        whole = (occupancy[:, 0] > 1 - 1e-4) & (numbers[:, 1:] == 0).all(axis=1)
        return [
            SYMBOLS[row[0]] if alone else _mixture(row, shares)
            for row, shares, alone in zip(numbers, occupancy, whole, strict=True)
        ]

    @property
    def matrix(self) -> Matrix:
        """(s, channels) states of all blocks side by side."""
        return np.concatenate(list(self.blocks.values()), axis=1)


def _mixture(numbers: npt.NDArray[np.int16], shares: npt.NDArray[np.float32]) -> str:
    kinds = zip(numbers.tolist(), shares.tolist(), strict=True)
    return " ".join(f"{SYMBOLS[z]}{share:.4g}" for z, share in kinds if z)


def site_rows(
    source: CanonicalResult | Crystals | Corpus,
    encoders: Mapping[str, Block],
    *,
    device: torch.device | str | None = None,
    origins: Sequence[Origin] = (),
    progress: Callable[[int, int], None] | None = None,
) -> SiteRows:
    """States of every site of canonical crystals.

    Args:
        source: canonical crystals, or a corpus of them.
        encoders: blocks whose tokens are sites.
        device: where to compute; a CUDA GPU if there is one by default.
        origins: the weights of the encoders.
        progress: called with the number of crystals done and the number of all.

    Raises:
        InputError: if there is no such device.
    """
    there = choose_device(device)
    corpus = source
    if not isinstance(corpus, Corpus):
        corpus = Corpus.from_crystals(corpus, targets=False)
    crystals = Crystals.concatenate(list(corpus.crystals(np.arange(len(corpus)))))
    states: dict[str, list[Matrix]] = {name: [] for name in encoders}
    done, moved = 0, corpus.to(there)
    with ExitStack() as stack:
        for block in encoders.values():
            stack.enter_context(ready(block, there))
        pool = stack.enter_context(one_thread_each(there))
        plan = plan_batches(corpus.site_counts, there)
        for rows, tokens in zip(
            plan, pool.map(partial(_tokens, moved, encoders), plan), strict=True
        ):
            for name, values in tokens.items():
                states[name].append(values)
            done += len(rows)
            if progress is not None:
                progress(done, len(corpus))
    blocks = {
        name: np.concatenate([np.zeros((0, encoders[name].site_channels), np.float32), *batches])
        for name, batches in states.items()
    }
    return SiteRows(crystals=crystals, blocks=blocks, origins=tuple(origins))


def _tokens(corpus: Corpus, encoders: Mapping[str, Block], rows: Index) -> dict[str, Matrix]:
    """(site, channel) tokens of each block for some crystals."""
    with torch.inference_mode():
        return {
            name: block.encode(corpus.batch(rows, block)).tokens.float().cpu().numpy()
            for name, block in encoders.items()
        }


def pooled(rows: SiteRows, pool: str) -> Features:
    """A fixed number of columns a crystal.

    ``mean`` is that over its sites; ``cumulants`` adds standard deviation and skewness (cube root
    of the third central moment); ``by-element`` is the mean over the sites of each element,
    weighted by occupancy, in four slots by increasing electronegativity, zero where there are
    fewer elements.

    Args:
        rows: sites of n crystals.
        pool: one of ``POOLS``.

    Returns:
        n rows; names say block, slot or moment, and channel.
    """
    offsets = rows.crystals.offsets
    blocks, names = {}, []
    for name, states in rows.blocks.items():
        if pool == "by-element":
            columns = _by_element(rows.crystals, states)  # (n, 4, w)
        else:
            columns = _cumulants(offsets, states)[:, : 1 if pool == "mean" else len(CUMULANTS)]
        blocks[name] = columns.reshape(len(columns), -1).astype(np.float32)
        names += list(pooled_names(name, states.shape[1], pool))
    return Features(ids=rows.crystals.ids, blocks=blocks, names=tuple(names), origins=rows.origins)


def pooled_names(block: str, channels: int, pool: str) -> tuple[str, ...]:
    """Names of the columns that :func:`pooled` makes of a block."""
    by_element = [f"element{slot + 1}" for slot in range(ELEMENT_SLOTS)]
    groups = {"mean": CUMULANTS[:1], "cumulants": CUMULANTS, "by-element": tuple(by_element)}[pool]
    return tuple(f"{block}_{group}_{i}" for group in groups for i in range(channels))


def _cumulants(offsets: npt.NDArray[np.int64], states: Matrix) -> npt.NDArray[np.float64]:
    """(n, 3, w) mean, standard deviation, cube root of the third central moment."""
    counts = np.diff(offsets)[:, None]
    values = states.astype(np.float64)
    mean = _sums(values, offsets) / counts  # (n, w)
    values -= np.repeat(mean, counts[:, 0], axis=0)
    second = _sums(values**2, offsets) / counts
    third = _sums(values**3, offsets) / counts
    return np.stack([mean, np.sqrt(second), np.cbrt(third)], axis=1)


def _by_element(crystals: Crystals, states: Matrix) -> npt.NDArray[np.float64]:
    """(n, 4, w) mean of each element's sites, elements by increasing electronegativity, then Z."""
    count = len(crystals)
    site, slot = np.nonzero(crystals.numbers)
    z = crystals.numbers[site, slot].astype(np.int64)
    share = crystals.occupancy[site, slot].astype(np.float64)
    crystal = crystals.crystal_of_site[site]
    rank = np.argsort(elemental.by_electronegativity())  # of each Z - 1
    order = np.lexsort((rank[z - 1], crystal))
    site, z, share, crystal = site[order], z[order], share[order], crystal[order]
    first = np.ones(len(z), bool)  # of an element in a crystal
    first[1:] = (np.diff(z) != 0) | (np.diff(crystal) != 0)
    number = np.cumsum(first)
    opens = np.ones(len(z), bool)  # a crystal
    opens[1:] = np.diff(crystal) != 0
    before = np.maximum.accumulate(np.where(opens, number, 0))
    target = crystal * ELEMENT_SLOTS + np.minimum(number - before, ELEMENT_SLOTS - 1)
    sums = np.zeros((count * ELEMENT_SLOTS, states.shape[1]))
    np.add.at(sums, target, share[:, None] * states[site])
    weights = np.bincount(target, share, minlength=count * ELEMENT_SLOTS)
    return (sums / np.maximum(weights, 1e-12)[:, None]).reshape(count, ELEMENT_SLOTS, -1)


def _sums(
    values: npt.NDArray[np.float64], offsets: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """(n, w) sums over the sites of each crystal; every crystal has one at least."""
    if len(offsets) == 1:
        return np.zeros((0, values.shape[1]))
    return np.add.reduceat(values, offsets[:-1], axis=0)
