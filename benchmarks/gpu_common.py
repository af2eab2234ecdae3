"""What the measurements on a GPU share: crystals, clocks that wait for the device, peak memory.

Read by ``gpu_training.py`` and ``gpu_extraction.py``; ``gpu.py`` is the command.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crystalssl.datasets.bundled import load_bundled
from crystalssl.datasets.corpus import Corpus
from crystalssl.datasets.samplers import Index
from crystalssl.processes import usable_cores
from crystalssl.structures.canonical import CanonicalResult, canonicalize
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.table import read_table

CRYSTALS, EPOCHS = 129_473, 50
"""What is extrapolated to: the published corpus, every block trained so many times on it."""

MEAN_SITES = 26.0
"""Sites of a synthetic crystal on average."""


@dataclass(kw_only=True)
class Bench:
    """Sizes of a run and the crystals it is about.

    Attributes:
        device: ``cuda`` or ``cpu``.
        table: structure table; the bundled crystals if there is none.
        count: crystals of the corpus.
        epochs: epochs of every timed training run; the first is left out of the rate.
        streamed: synthetic crystals that are streamed to features.
        whole: synthetic crystals of the largest training run.
        train_batches: crystals in a batch of the bare training steps, to try.
        folder: where runs and tables go.
        seconds: how long the corpus took, filled when it is made.
    """

    device: str
    table: Path
    count: int
    epochs: int
    streamed: int
    whole: int
    train_batches: tuple[int, ...]
    folder: Path
    seconds: dict[str, float] = field(default_factory=dict)

    @cached_property
    def crystals(self) -> Crystals:
        """Seeded crystals, 100 sites at most."""
        whole = read_table(self.table).crystals if self.table.is_file() else load_bundled()
        whole = whole.take(whole.site_counts <= 100)
        return whole.take(np.random.default_rng(0).permutation(len(whole))[: self.count])

    @cached_property
    def canonical(self) -> CanonicalResult:
        """Canonical cells, in as many processes as there are cores."""
        canonicalize(self.crystals.take(range(8)))
        start = time.perf_counter()
        found = canonicalize(self.crystals, processes=usable_cores())
        self.seconds["canonical"] = time.perf_counter() - start
        return found

    @cached_property
    def corpus(self) -> Corpus:
        """Graphs, lattice points and targets, on the host."""
        start = time.perf_counter()
        Corpus.from_crystals(canonicalize(self.crystals.take(range(64))))
        self.seconds["compile"] = time.perf_counter() - start
        canonical = self.canonical
        start = time.perf_counter()
        found = Corpus.from_crystals(canonical)
        self.seconds["corpus"] = time.perf_counter() - start
        return found

    @property
    def on_gpu(self) -> bool:
        """Whether there is a GPU to wait for."""
        return self.device.startswith("cuda")

    def now(self) -> float:
        """Seconds by the clock, once the device has done all it was given."""
        if self.on_gpu:
            torch.cuda.synchronize()
        return time.perf_counter()

    def forget_peak(self) -> None:
        """Start to watch the peak of device memory."""
        if self.on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def peak_gb(self) -> float:
        """Most device memory that tensors took since ``forget_peak``, 1e9 bytes."""
        return torch.cuda.max_memory_allocated() / 1e9 if self.on_gpu else 0.0


def split_of(corpus: Corpus) -> tuple[Index, Index]:
    """Row numbers to train on and to validate with, nine to one."""
    rows = np.random.default_rng(1).permutation(len(corpus))
    held = max(1, len(rows) // 10)
    return rows[held:], rows[:held]


def attempt(name: str, work: Callable[[], Any]) -> Any:
    """The result, or the traceback of what went wrong; said as it happens."""
    start = time.perf_counter()
    print(f"[{time.strftime('%H:%M:%S')}] {name} ...", flush=True)
    try:
        found = work()
    except Exception:  # one measurement must not cost the others
        found = {"error": traceback.format_exc()[-3000:]}
        print(found["error"][-1500:], flush=True)
    print(f"    {name}: {time.perf_counter() - start:.1f} s", flush=True)
    return found
