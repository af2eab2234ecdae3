"""Crystals and trained blocks into features, row by row in the order of the input.

Evaluation mode, no gradients, no shuffling. Crystals are turned into a corpus a chunk at a time,
so memory stays bounded whatever their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from crystalssl.allocator import keep_freed_memory
from crystalssl.blocks._squash import settle
from crystalssl.blocks.contract import Block
from crystalssl.datasets.corpus import Corpus
from crystalssl.datasets.samplers import Index, pack
from crystalssl.features.container import Features, Origin, feature_names
from crystalssl.structures.canonical import CanonicalResult
from crystalssl.structures.crystals import Crystals

__all__ = ["Features", "extract", "feature_names"]

CHUNK_ATOMS = 131_072
"""Sites that are turned into a corpus at a time."""
SETTLED = 4_096
"""Crystals from which untrained encoders take the spread of their features."""
BATCH_ATOMS = {"cpu": 2_304, "cuda": 16_384}
"""Sites encoded at a time, by device: on a CPU what stays in its caches."""
BATCH_CRYSTALS = {"cpu": 96, "cuda": 512}
"""Crystals encoded at a time, by device."""


def extract(
    source: Crystals | CanonicalResult | Corpus,
    encoders: Mapping[str, Block],
    *,
    device: torch.device | str | None = None,
    max_atoms: int | None = None,
    origins: Sequence[Origin] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Features:
    """Compute features.

    The same input gives the same bytes on the same machine; on a GPU sums over sites are taken in
    any order, so that the last digits of two runs may differ. On a CPU several batches are encoded
    at once, each by one thread: tensors are small, and threads within an operation cost more than
    they bring.

    Args:
        source: canonical crystals (``structures.canonical.canonicalize``), or a corpus of them.
        encoders: block of each name; the order is that of the columns.
        device: where to compute; a CUDA GPU if there is one by default.
        max_atoms: sites encoded at a time; by default what suits the device.
        origins: the weights of the encoders, remembered with the features.
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
    atoms = max_atoms or BATCH_ATOMS.get(place.type, BATCH_ATOMS["cuda"])
    most = BATCH_CRYSTALS.get(place.type, BATCH_CRYSTALS["cuda"])
    first = done = 0
    with ExitStack() as stack:
        for block in encoders.values():
            stack.enter_context(_ready(block, place))
        pool = stack.enter_context(_workers(place))
        stack.enter_context(_exact_convolutions(place))
        for corpus in _corpora(crystals):
            there = corpus.to(place)
            encode = partial(_encode, there, encoders, blocks, first)
            plan = pack(np.arange(len(corpus)), corpus.site_counts, most, atoms)
            for count in pool.map(encode, plan):
                done += count
                if progress is not None:
                    progress(done, total)
            first += len(corpus)
    return Features(ids=crystals.ids, blocks=blocks, origins=tuple(origins))


def settle_encoders(
    source: CanonicalResult | Corpus,
    encoders: Mapping[str, Block],
    *,
    device: torch.device | str | None = None,
) -> None:
    """Let encoders that were never trained take the spread of their features from crystals.

    Trained ones know it from training; a comparison is fair when untrained ones know it as well.

    Args:
        source: crystals; up to ``SETTLED`` of them, evenly spaced, are looked at.
        encoders: block of each name; changed in place, weights excepted.
        device: where to compute; a CUDA GPU if there is one by default.
    """
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    crystals = source.crystals if isinstance(source, CanonicalResult) else source
    rows = np.unique(np.linspace(0, max(len(crystals) - 1, 0), SETTLED).astype(np.int64))
    some = crystals.take(rows[: len(crystals)])
    corpus = some if isinstance(some, Corpus) else Corpus.from_crystals(some, targets=False)
    corpus = corpus.to(place)
    plan = pack(np.arange(len(corpus)), corpus.site_counts, BATCH_CRYSTALS["cpu"], CHUNK_ATOMS)
    for block in encoders.values():
        with _ready(block, place):
            settle(block, (corpus.batch(part, block) for part in plan))


def _encode(
    corpus: Corpus,
    encoders: Mapping[str, Block],
    blocks: Mapping[str, npt.NDArray[np.float32]],
    first: int,
    rows: Index,
) -> int:
    """Encode some rows of a corpus into their place; ``first`` is the place of its row 0."""
    with torch.inference_mode():
        for name, block in encoders.items():
            features = block.encode(corpus.batch(rows, block)).features
            blocks[name][first + rows] = features.float().cpu().numpy()
    return len(rows)


@contextmanager
def _workers(device: torch.device) -> Iterator[ThreadPoolExecutor]:
    """Threads that encode: one a core on a CPU, each without threads of its own."""
    threads = torch.get_num_threads()
    on_cpu = device.type == "cpu"
    try:
        if on_cpu:
            keep_freed_memory()
            torch.set_num_threads(1)
        with ThreadPoolExecutor(threads if on_cpu else 1) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _exact_convolutions(device: torch.device) -> Iterator[None]:
    """Convolutions in float32; a GPU rounds their input to TF32, three digits, unless told."""
    cudnn: Any = torch.backends.cudnn
    place, name = cudnn, "allow_tf32"
    if hasattr(getattr(cudnn, "conv", None), "fp32_precision"):  # torch 2.9 and later
        place, name = cudnn.conv, "fp32_precision"
    before = getattr(place, name)
    try:
        if device.type == "cuda":
            setattr(place, name, False if place is cudnn else "ieee")
        yield
    finally:
        if device.type == "cuda":
            setattr(place, name, before)


def _corpora(source: Crystals | Corpus) -> Iterator[Corpus]:
    """The corpus itself, or one for each chunk of the crystals."""
    if isinstance(source, Corpus):
        yield source
        return
    for rows in pack(np.arange(len(source)), source.site_counts, CHUNK_ATOMS, CHUNK_ATOMS):
        yield Corpus.from_crystals(source.take(rows), targets=False)


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
