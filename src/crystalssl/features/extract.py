"""Crystals and trained blocks into features, row by row in the order of the input.

Evaluation mode, no gradients, no shuffling. Crystals are turned into a corpus a chunk at a time,
so memory stays bounded whatever their number; batches follow from the crystals alone, so streamed
ones (``stream.py``) get the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from crystalssl.allocator import keep_freed_memory
from crystalssl.blocks._clipping import settle
from crystalssl.blocks.contract import Block
from crystalssl.blocks.registry import build_block
from crystalssl.datasets.corpus import Corpus
from crystalssl.datasets.samplers import Index, pack
from crystalssl.datasets.shards import joined
from crystalssl.devices import choose_device
from crystalssl.features.features import PHYSICS, UNTRAINED, Features, Origin, feature_names
from crystalssl.features.physics import view_of
from crystalssl.features.student import Student
from crystalssl.representation import layout
from crystalssl.representation.physics.view import view_names
from crystalssl.structures.canonical import CanonicalResult
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.validity import MAX_SITES

__all__ = ["Features", "extract", "feature_names"]

Model = TypeVar("Model", bound=torch.nn.Module)

CHUNK_ATOMS = 131_072
"""Sites that are turned into a corpus at a time."""
SETTLED = 4_096
"""Crystals from which untrained encoders take mean and standard deviation of their features."""
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
    max_crystals: int | None = None,
    electrons: Student | str | None = None,
    origins: Sequence[Origin] = (),
    progress: Callable[[int, int], None] | None = None,
    named: bool = False,
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
        max_crystals: crystals encoded at a time; by default what suits the device.
        electrons: what a block that reads numbers of the electrons is given: those that a student
            predicts from the blocks before it, or those of a level of the tight binding. None takes
            what the corpus holds, and level ``fast`` where it holds none.
        origins: the weights of the encoders, remembered with the features.
        progress: called with the number of crystals done and the number of all.
        named: whether named physics is one more block, as a bottleneck reads it.

    Returns:
        One row for each crystal, in input order. A crystal whose numbers are not finite keeps its
        row; ``Features.finite`` names it and leaves it out.

    Raises:
        InputError: if there is no such device.

    Example:
        >>> from crystalssl.structures.crystals import Crystals
        >>> extract(Crystals.empty(), {}).matrix.shape
        (0, 0)
    """
    there = choose_device(device)
    crystals = source.crystals if isinstance(source, CanonicalResult) else source
    total = len(crystals)
    widths = {name: block.width for name, block in encoders.items()}
    widths |= {PHYSICS: len(view_names())} if named else {}
    blocks = {name: np.empty((total, width), np.float32) for name, width in widths.items()}
    done = 0
    with ExitStack() as stack:
        for block in encoders.values():
            stack.enter_context(ready(block, there))
        pool = cores = stack.enter_context(one_thread_each(there))
        if there.type != "cpu":
            cores = stack.enter_context(ThreadPoolExecutor(torch.get_num_threads()))
        stack.enter_context(_exact_convolutions(there))
        student = electrons if isinstance(electrons, Student) else None
        if student is not None:
            student = stack.enter_context(ready(student, there))
        reads = any(block.group == layout.ELECTRONIC for block in encoders.values())
        for corpus, first, plan in _planned(crystals, there, max_atoms, max_crystals):
            if reads and student is None:  # on all cores, and not once a batch
                level = electrons if isinstance(electrons, str) else None
                corpus = corpus.with_electrons(level)
            if named:
                _name(corpus, plan, blocks[PHYSICS][first:], cores)
            encode = partial(_encode, corpus.to(there), encoders, student, blocks, first)
            for count in pool.map(encode, plan):
                done += count
                if progress is not None:
                    progress(done, total)
    return Features(
        ids=crystals.ids,
        blocks=blocks,
        origins=tuple(origins),
        beyond_training=crystals.site_counts > MAX_SITES,
    )


def plan_batches(
    sites: Index,
    device: torch.device,
    max_atoms: int | None = None,
    max_crystals: int | None = None,
) -> list[npt.NDArray[np.int64]]:
    """Rows that are encoded together.

    The last digits of a crystal's features depend on what is multiplied with it at a time, so a
    batch must follow from the crystals before it alone, however they come: as a whole or piece by
    piece. Bounds are those of the device.

    Args:
        sites: (n,) sites of each crystal, from the first on or from the first of a batch on.
        device: where they are encoded.
        max_atoms: sites in a batch, instead of what suits the device.
        max_crystals: crystals in a batch, likewise.
    """
    kind = device.type if device.type in BATCH_ATOMS else "cuda"
    return pack(
        np.arange(len(sites)),
        sites,
        max_crystals or BATCH_CRYSTALS[kind],
        max_atoms or BATCH_ATOMS[kind],
    )


def whole_batches(corpora: Iterable[Corpus], device: torch.device) -> Iterator[Corpus]:
    """The same crystals cut where batches end, so that each piece is encoded as in the whole."""
    waiting: list[Corpus] = []
    for corpus in corpora:
        waiting = [joined([*waiting, corpus])] if waiting else [corpus]
        *complete, last = plan_batches(waiting[0].site_counts, device) or [np.zeros(0, np.int64)]
        if complete:  # the last batch may still grow
            yield waiting[0].take(np.concatenate(complete))
            waiting = [waiting[0].take(last)]
    yield from waiting


def settle_encoders(
    source: CanonicalResult | Corpus,
    encoders: Mapping[str, Block],
    *,
    device: torch.device | str | None = None,
) -> None:
    """Let encoders that were never trained take the statistics of their features from crystals.

    Trained ones know it from training; a comparison is fair when untrained ones know it as well.

    Args:
        source: crystals; up to ``SETTLED`` of them, evenly spaced, are looked at.
        encoders: block of each name; changed in place, weights excepted.
        device: where to compute; a CUDA GPU if there is one by default.
    """
    there = choose_device(device)
    crystals = source.crystals if isinstance(source, CanonicalResult) else source
    rows = np.unique(np.linspace(0, max(len(crystals) - 1, 0), SETTLED).astype(np.int64))
    some = crystals.take(rows[: len(crystals)])
    corpus = some if isinstance(some, Corpus) else Corpus.from_crystals(some, targets=False)
    corpus = corpus.to(there)
    plan = pack(np.arange(len(corpus)), corpus.site_counts, BATCH_CRYSTALS["cpu"], CHUNK_ATOMS)
    for block in encoders.values():
        with ready(block, there):
            settle(block, (corpus.batch(rows, block) for rows in plan))


def extract_untrained(
    source: CanonicalResult | Corpus,
    blocks: Sequence[str],
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Features:
    """Features of encoders that were never trained: what architecture alone is worth.

    Args:
        source: canonical crystals, or a corpus of them.
        blocks: names of the blocks.
        seed: seed of their weights.
        progress: called with the number of crystals done and the number of all.
    """
    fresh = {name: build_block(name, seed=seed) for name in blocks}
    settle_encoders(source, fresh)
    return extract(source, fresh, origins=[Origin(weights=UNTRAINED, sha256={})], progress=progress)


def _name(
    corpus: Corpus, plan: Sequence[Index], out: npt.NDArray[np.float32], cores: ThreadPoolExecutor
) -> None:
    """Fill named physics, of the crystals of a batch at a time: see ``view_numbers``."""
    for rows, numbers in zip(plan, cores.map(partial(view_of, corpus), plan), strict=True):
        out[rows] = numbers


def _encode(
    corpus: Corpus,
    encoders: Mapping[str, Block],
    student: Student | None,
    blocks: Mapping[str, npt.NDArray[np.float32]],
    first: int,
    rows: Index,
) -> int:
    """Encode some rows of a corpus into ``blocks``, where its row 0 is row ``first``."""
    made: dict[str, torch.Tensor] = {}
    with torch.inference_mode():
        for name, block in encoders.items():
            predicted = None
            if student is not None and block.group == layout.ELECTRONIC:
                predicted = student(torch.cat([made[read] for read in student.widths], dim=1))
            batch = corpus.batch(rows, block, predicted)
            made[name] = block.encode(batch).features.float()
            blocks[name][first + rows] = made[name].cpu().numpy()
    return len(rows)


@contextmanager
def one_thread_each(device: torch.device) -> Iterator[ThreadPoolExecutor]:
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
    setting, name = cudnn, "allow_tf32"
    if hasattr(getattr(cudnn, "conv", None), "fp32_precision"):  # torch 2.9 and later
        setting, name = cudnn.conv, "fp32_precision"
    before = getattr(setting, name)
    try:
        if device.type == "cuda":
            setattr(setting, name, False if setting is cudnn else "ieee")
        yield
    finally:
        if device.type == "cuda":
            setattr(setting, name, before)


def _planned(
    source: Crystals | Corpus,
    device: torch.device,
    max_atoms: int | None,
    max_crystals: int | None,
) -> Iterator[tuple[Corpus, int, list[Index]]]:
    """Corpora of whole batches, the row each starts at, and its batches by rows of its own."""
    plan = plan_batches(source.site_counts, device, max_atoms, max_crystals)
    if isinstance(source, Corpus):
        yield source, 0, plan
        return
    sizes = np.array([source.site_counts[rows].sum() for rows in plan], np.int64)
    for group in pack(np.arange(len(plan)), sizes, CHUNK_ATOMS, CHUNK_ATOMS):  # batches together
        first, stop = plan[group[0]][0], plan[group[-1]][-1] + 1
        corpus = Corpus.from_crystals(source.take(np.arange(first, stop)), targets=False)
        yield corpus, int(first), [plan[number] - first for number in group]


@contextmanager
def ready(model: Model, device: torch.device) -> Iterator[Model]:
    """A block or a student in evaluation mode on a device, put back afterwards."""
    training = model.training
    home = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    try:
        yield model.eval().to(device)
    finally:
        model.train(training).to(home)
