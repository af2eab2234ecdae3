"""Crystals and trained blocks into features, row by row in the order of the input.

Evaluation mode, no gradients, no shuffling. Crystals are turned into a corpus a chunk at a time,
so memory stays bounded whatever their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import numpy as np
import torch

from crystalssl.blocks._contract import Block
from crystalssl.datasets.corpus import Corpus
from crystalssl.datasets.samplers import pack
from crystalssl.features.container import Features, feature_names
from crystalssl.structures.canonical import CanonicalResult
from crystalssl.structures.crystals import Crystals

__all__ = ["Features", "extract", "feature_names"]

CHUNK_ATOMS = 131_072
"""Sites that are turned into a corpus at a time."""
BATCH_ATOMS = 8_192
"""Sites encoded at a time."""
BATCH_CRYSTALS = 256
"""Crystals encoded at a time."""


def extract(
    source: Crystals | CanonicalResult | Corpus,
    encoders: Mapping[str, Block],
    *,
    device: torch.device | str | None = None,
    max_atoms: int = BATCH_ATOMS,
    progress: Callable[[int, int], None] | None = None,
) -> Features:
    """Compute features.

    The same input gives the same bytes on the same machine.

    Args:
        source: canonical crystals (``structures.canonical.canonicalize``), or a corpus of them.
        encoders: block of each name; the order is that of the columns.
        device: where to compute; a CUDA GPU if there is one by default.
        max_atoms: sites encoded at a time.
        progress: called with the number of crystals done and the number of all.

    Returns:
        One row for each crystal, in input order.

    Example:
        >>> from crystalssl.structures.crystals import Crystals
        >>> extract(Crystals.empty(), {}).matrix.shape
        (0, 0)
    """
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    crystals = source.crystals if isinstance(source, CanonicalResult) else source
    total = len(crystals)
    blocks = {name: np.empty((total, block.width), np.float32) for name, block in encoders.items()}
    done = 0
    with torch.inference_mode(), ExitStack() as stack:
        for block in encoders.values():
            stack.enter_context(_ready(block, place))
        for corpus in _corpora(crystals):
            sites = corpus.site_counts
            there = corpus.to(place)
            for rows in pack(np.arange(len(corpus)), sites, BATCH_CRYSTALS, max_atoms):
                for name, block in encoders.items():
                    features = block.encode(there.batch(rows, block)).features
                    blocks[name][done : done + len(rows)] = features.float().cpu().numpy()
                done += len(rows)
                if progress is not None:
                    progress(done, total)
    return Features(ids=crystals.ids, blocks=blocks)


def _corpora(source: Crystals | Corpus) -> Iterator[Corpus]:
    """The corpus itself, or one for each chunk of the crystals."""
    if isinstance(source, Corpus):
        yield source
        return
    for rows in pack(np.arange(len(source)), source.site_counts, CHUNK_ATOMS, CHUNK_ATOMS):
        yield Corpus.from_crystals(source.take(rows))


@contextmanager
def _ready(block: Block, device: torch.device) -> Iterator[None]:
    """A block in evaluation mode on a device, put back afterwards."""
    training = block.training
    home = next((parameter.device for parameter in block.parameters()), torch.device("cpu"))
    try:
        block.eval().to(device)
        yield
    finally:
        block.train(training).to(home)
