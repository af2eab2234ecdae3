"""Runs mutated inputs through readers and canonical cell, under limits of time and memory.

:func:`fuzz` does so in this process, :func:`fuzz_apart` in one that may die: an input that ends its
process, or never returns, is counted and the next goes on.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.fuzz.mutations import mutated
from tests.fuzz.seeds import ENDINGS, seeds

from crystalssl.datasets.load import load_crystals
from crystalssl.errors import CrystalSSLError
from crystalssl.structures.canonical import canonicalize
from crystalssl.structures.table import to_arrow

SECONDS = 10.0
"""Time that one input may take."""
BYTES = 1024**3
"""Memory that one input may take above what the process has."""
LONGEST = 120.0
"""Seconds of wall time without a new input after which a process is killed."""
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where inputs are written: no disk, if there is such a place."""
TEXT = ("cif", "poscar", "extxyz", "json")
"""Readers whose inputs are mutated word by word."""
ALWAYS_WHOLE = ("cif", "poscar")
"""Readers whose inputs all go on to the canonical cell; of the others every eighth does."""
CORPUS = Path(__file__).parent / "corpus"
"""Inputs that once failed, as ``<reader>-<what>``."""


class TooSlow(BaseException):
    """An input that took more than ``SECONDS``."""


@dataclass
class Counts:
    """What came of the inputs of a reader."""

    inputs: int = 0
    uncaught: int = 0
    slow: int = 0
    large: int = 0
    netted: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing was uncaught, slow or large."""
        return not (self.uncaught or self.slow or self.large)


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def try_input(
    data: bytes, reader: str, folder: Path, counts: Counts, name: str, *, whole: bool = True
) -> None:
    """Read one input, ``whole`` to canonical crystals, and count what comes of it."""
    path = folder / f"input{ENDINGS[reader]}"
    path.write_bytes(data)
    counts.inputs += 1
    before, start = _peak(), time.process_time()
    try:
        with _alarm(SECONDS * 6):  # wall time; what counts is the time of the process
            result = load_crystals([path])
            counts.netted += sum("it cannot be read: " in skip.reason for skip in result.skipped)
            if whole and len(result.crystals):
                to_arrow(result.crystals)
                to_arrow(canonicalize(result.crystals).crystals)
    except CrystalSSLError:
        pass
    except TooSlow:
        counts.slow += 1
        counts.failures.append(f"{name}: more than {SECONDS * 6:g} s")
    except BaseException:
        counts.uncaught += 1
        counts.failures.append(f"{name}: {traceback.format_exc()}")
    if time.process_time() - start > SECONDS:
        counts.slow += 1
        counts.failures.append(f"{name}: {time.process_time() - start:.1f} s")
    if _peak() - before > BYTES:
        counts.large += 1
        counts.failures.append(f"{name}: {(_peak() - before) / 1024**2:.0f} MB")


def fuzz(
    reader: str,
    *,
    first: int = 0,
    inputs: int | None = None,
    seconds: float | None = None,
    state: Path | None = None,
    counts: Counts | None = None,
) -> Counts:
    """Try mutated inputs of a reader, so many of them or for so long.

    Args:
        reader: a key of ``ENDINGS``.
        first: seed of the first input; each has its number as seed.
        inputs: how many.
        seconds: how long, in time of the process.
        state: file that holds the counts and the number of the input that is tried.
        counts: what is added to.
    """
    good = seeds(reader)
    counts = Counts() if counts is None else counts
    end = time.process_time() + (seconds or 1e9)
    with tempfile.TemporaryDirectory(dir=MEMORY) as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        number = first
        while time.process_time() < end and (inputs is None or number < first + inputs):
            if state is not None:
                _keep(state, counts, number, end - time.process_time())
            data = mutated(number, good, text=reader in TEXT)
            whole = reader in ALWAYS_WHOLE or number % 8 == 0
            try_input(data, reader, Path(name), counts, f"{reader} {number}", whole=whole)
            number += 1
    return counts


def fuzz_apart(reader: str, *, first: int = 0, seconds: float) -> Counts:
    """As :func:`fuzz`, in a process of its own that is begun again where an input ends it."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        state = Path(name) / "state.json"
        _keep(state, Counts(), first, seconds)
        context = multiprocessing.get_context("spawn")
        while True:
            process = context.Process(target=_go_on, args=(reader, state))
            process.start()
            hangs = _watch(process, state)
            held = json.loads(state.read_text())
            counts = Counts(**held["counts"])
            if process.exitcode == 0:
                return counts
            counts.inputs += 1
            counts.slow += hangs
            counts.uncaught += not hangs
            how = "never returned" if hangs else f"ended its process with {process.exitcode}"
            counts.failures.append(f"{reader} {held['number']}: {how}")
            _keep(state, counts, held["number"] + 1, held["left"])


def _go_on(reader: str, state: Path) -> None:
    held = json.loads(state.read_text())
    counts = Counts(**held["counts"])
    fuzz(reader, first=held["number"], seconds=held["left"], state=state, counts=counts)
    _keep(state, counts, 0, 0.0)


def _keep(state: Path, counts: Counts, number: int, left: float) -> None:
    state.write_text(json.dumps({"counts": asdict(counts), "number": number, "left": left}))


def _watch(process: multiprocessing.process.BaseProcess, state: Path) -> bool:
    """Wait for a process; whether it had to be killed since it stood at one input."""
    while process.is_alive():
        process.join(1.0)
        if time.time() - state.stat().st_mtime > LONGEST:
            process.kill()
            process.join()
            return True
    return False
