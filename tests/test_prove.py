"""The runner of the long proofs: what passed, failed and was printed stands in its record."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.faults.commands import COMMANDS
from tests.fuzz.seeds import ENDINGS

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def script() -> dict[str, Any]:
    """The script's names, new for each test: one of them puts other proofs in."""
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
    assert stored["versions"]["numpy"] and stored["proofs"][0]["commit"] is not None


def test_a_record_is_gone_on_with_and_proofs_that_passed_on_this_commit_are_not_run_again(
    script: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "prove.json"
    script["PROOFS"].clear()
    script["PROOFS"].update(
        {
            "a: 1": (sys.executable, "-c", f"open({str(tmp_path / 'ran')!r}, 'a').write('x')"),
            "a: 2": (sys.executable, "-c", "raise SystemExit('wrong')"),
            "b": (sys.executable, "-c", "print('{\"n\": 1}')"),
        }
    )
    assert script["main"](["--only", "a", "--out", str(path)]) == 1
    assert script["main"](["--out", str(path)]) == 1
    assert (tmp_path / "ran").read_text() == "x"
    assert "passed before" in capsys.readouterr().out
    kept = script["stored"](path)
    assert list(kept) == ["a: 1", "a: 2", "b"] and kept["b"].figures == {"n": 1}
    script["main"](["--only", "a: 1", "--again", "--out", str(path)])
    assert (tmp_path / "ran").read_text() == "xx"


def test_all_readers_are_fuzzed_and_all_commands_killed(script: dict[str, Any]) -> None:
    proofs = " ".join(script["PROOFS"])
    assert set(script["READERS"]) == set(ENDINGS)
    assert set(script["GROUPS"]) == {command.group for command in COMMANDS}
    assert all(f"fuzzing: {reader}" in proofs for reader in ENDINGS)


def test_every_proof_names_files_that_are_there(script: dict[str, Any]) -> None:
    for command in script["PROOFS"].values():
        for word in command[1:]:
            if word.endswith(".py") or word.startswith("tests/"):
                assert (ROOT / word).exists(), word


def test_the_record_itself_does_not_make_a_commit_dirty(
    script: dict[str, Any], tmp_path: Path
) -> None:
    def git(*words: str) -> None:
        named = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", *named, *words], cwd=tmp_path, check=True, capture_output=True)

    record, source = tmp_path / "benchmarks" / "results" / "prove.json", tmp_path / "source.py"
    record.parent.mkdir(parents=True)
    for path in (record, source):
        path.write_text("before")
    git("init")
    git("add", ".")
    git("commit", "-m", "all")
    commit = script["_commit"]
    commit.__globals__["ROOT"] = tmp_path
    clean = commit()
    assert clean and not clean.endswith("-dirty")
    record.write_text("after")
    assert commit() == clean
    source.write_text("after")
    assert commit() == f"{clean}-dirty"
