"""A sample of what ``python -m tests.faults`` does in full."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .commands import COMMANDS
from .harness import sample

ROOT = Path(__file__).parents[2]
SAMPLED = (
    "convert", "extract to npy, int8", "streamed to parquet", "pretrain", "featurize-corpus",
    "predict",
)  # fmt: skip
"""Commands that are killed at one point; the whole kills all of them at many."""


@pytest.mark.skipif(os.name != "posix", reason="forks and kills processes")
def test_commands_that_are_killed_end_with_the_same_bytes_when_given_again():
    # in a process without threads of its own, which may be forked
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", *SAMPLED, "--size", "1", "--pairs", "1"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"{name}: 1 of 1 kill points" in done.stdout for name in SAMPLED)
    assert set(SAMPLED) < {command.name for command in COMMANDS}
    assert "1 of 1 clean" in done.stdout


def test_a_sample_has_the_first_and_the_last_point():
    assert sample(3, 5) == [1, 2, 3] and sample(0, 2) == []
    assert sample(40, 4) == [1, 14, 27, 40]
