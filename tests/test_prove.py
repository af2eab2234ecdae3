"""The runner of the long proofs: what passed, failed and was printed stands in its record."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts" / "prove.py"))


def test_a_proof_gives_its_figures_and_its_time(script: dict[str, Any]) -> None:
    proof = script["run"]("good", (sys.executable, "-c", "print('{\"cases\": 3}')"))
    assert proof.passed and proof.figures == {"cases": 3} and proof.seconds > 0
    assert proof.command.startswith("python -c")


def test_a_proof_that_fails_is_recorded_with_its_last_words(
    script: dict[str, Any], tmp_path: Path
) -> None:
    failing = script["run"]("bad", (sys.executable, "-c", "raise SystemExit('case 7 is wrong')"))
    good = script["run"]("good", (sys.executable, "-c", "print('12 passed')"))
    path = script["record"]([good, failing], tmp_path / "prove.json")
    stored = json.loads(path.read_text(encoding="utf-8"))
    assert not stored["passed"]
    assert [proof["summary"] for proof in stored["proofs"]] == ["12 passed", "case 7 is wrong"]
    assert stored["versions"]["numpy"] and stored["commit"] is not None


def test_every_proof_names_files_that_are_there(script: dict[str, Any]) -> None:
    for command in script["PROOFS"].values():
        for word in command[1:]:
            if word.endswith(".py") or word.startswith("tests/"):
                assert (ROOT / word).exists(), word
