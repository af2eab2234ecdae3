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
SAMPLE = 1
"""Points of every third command; the whole has all points of all."""


@pytest.mark.skipif(os.name != "posix", reason="forks and kills processes")
def test_commands_that_are_killed_end_with_the_same_bytes_when_given_again():
    # in a process without threads of its own, which may be forked
    code = "from tests.faults.harness import prove; from tests.faults.commands import COMMANDS; "
    code += f"import sys; sys.exit(prove(COMMANDS[::3], pairs=2, size={SAMPLE}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"{command.name}: " in done.stdout for command in COMMANDS[::3])
    assert "2 of 2 clean" in done.stdout


def test_a_sample_has_the_first_and_the_last_point():
    assert sample(3, 5) == [1, 2, 3] and sample(0, 2) == []
    assert sample(40, 4) == [1, 14, 27, 40]
