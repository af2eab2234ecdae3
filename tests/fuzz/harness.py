"""Runs mutated inputs through readers and canonical cell, under limits of time and memory."""

from __future__ import annotations

import resource
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
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


def try_input(data: bytes, reader: str, folder: Path, counts: Counts, name: str) -> None:
    """Read one input to canonical crystals and count what comes of it."""
    path = folder / f"input{ENDINGS[reader]}"
    path.write_bytes(data)
    counts.inputs += 1
    before, start = _peak(), time.process_time()
    try:
        with _alarm(SECONDS * 6):  # wall time; what counts is the time of the process
            result = load_crystals([path])
            counts.netted += sum("it cannot be read: " in skip.reason for skip in result.skipped)
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
    reader: str, *, first: int = 0, inputs: int | None = None, seconds: float | None = None
) -> Counts:
    """Try mutated inputs of a reader, so many of them or for so long.

    Args:
        reader: a key of ``ENDINGS``.
        first: seed of the first input; each has its number as seed.
        inputs: how many.
        seconds: how long.
    """
    good = seeds(reader)
    text = reader in ("cif", "poscar", "extxyz", "json")
    counts = Counts()
    end = time.monotonic() + (seconds or 1e9)
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        number = first
        while time.monotonic() < end and (inputs is None or number < first + inputs):
            data = mutated(number, good, text=text)
            try_input(data, reader, Path(name), counts, f"{reader} {number}")
            number += 1
    return counts
