"""A fixed sample of mutated inputs, and every input that once failed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.fuzz.harness import CORPUS, Counts, fuzz, try_input
from tests.fuzz.seeds import ENDINGS

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="limits of time need POSIX signals"),
    pytest.mark.filterwarnings("ignore"),
]
SAMPLE = {"cif": 400, "poscar": 400, "extxyz": 400, "json": 300, "parquet": 200, "ase-db": 60}


@pytest.mark.parametrize("reader", sorted(ENDINGS))
def test_mutated_inputs_end_as_skips(reader: str) -> None:
    counts = fuzz(reader, first=10_000_000, inputs=SAMPLE.get(reader, 100))
    assert counts.clean, "\n".join(counts.failures)


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*-*")), ids=lambda path: path.name)
def test_inputs_that_once_failed_do_so_no_more(path: Path, tmp_path: Path) -> None:
    counts = Counts()
    reader = next(name for name in ENDINGS if path.name.startswith(f"{name}-"))
    try_input(path.read_bytes(), reader, tmp_path, counts, path.name)
    assert counts.clean, "\n".join(counts.failures)
