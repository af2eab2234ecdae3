"""The long proofs, one after the other, into a record: what ran, how long, what it found.

    make prove                      all of them
    make prove ARGS="--only docs"   one; --list names them

Run before a release. `make test` holds a sample of each. The record is written after every proof,
whole, to benchmarks/results/prove-<date>.json; a proof that fails is in it too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from crystalssl.files import write_json

ROOT = Path(__file__).resolve().parents[1]
PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
PROOFS: Mapping[str, tuple[str, ...]] = {
    "kill points": (sys.executable, "-m", "tests.faults"),
    "fuzzing": (sys.executable, "-m", "tests.fuzz"),
    "settings of space groups": (sys.executable, "-m", "tests.structures.test_cif_settings"),
    "docs": (*PYTEST, "tests/docs"),
    "end to end": (*PYTEST, "tests/test_end_to_end.py", "tests/test_seventh_block.py"),
    "clean install": (sys.executable, "scripts/prove_install.py"),
}
"""What is run, by name; each prints its figures as JSON in its last line, if it has any."""
PACKAGES = ("crystalssl", "numpy", "torch", "scikit-learn", "numba", "moyopy", "gemmi")


@dataclass(frozen=True, kw_only=True)
class Proof:
    """One proof and what came of it.

    Attributes:
        name: its name.
        command: what was run, the interpreter as ``python``.
        passed: whether it ended with 0.
        seconds: wall time.
        cpu_seconds: of all its processes.
        figures: what it printed as JSON in its last line.
        summary: its last line otherwise; the last twenty where it failed.
    """

    name: str
    command: str
    passed: bool
    seconds: float
    cpu_seconds: float
    figures: dict[str, Any]
    summary: str


def run(name: str, command: Sequence[str]) -> Proof:
    """Run a command in the root of the repository."""
    before, start = _children(), time.perf_counter()
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    seconds, after = time.perf_counter() - start, _children()
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    try:
        figures = json.loads(last)
    except ValueError:
        figures = None
    passed = done.returncode == 0
    return Proof(
        name=name,
        command=" ".join(["python" if word == sys.executable else word for word in command]),
        passed=passed,
        seconds=round(seconds, 3),
        cpu_seconds=round(after - before, 3),
        figures=figures if isinstance(figures, dict) else {},
        summary=last if passed else "\n".join(lines[-20:]),
    )


def record(proofs: Iterable[Proof], path: Path) -> Path:
    """Write what is known so far, atomically."""
    listed = [asdict(proof) for proof in proofs]
    content = {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "commit": _commit(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "passed": all(proof["passed"] for proof in listed),
        "proofs": listed,
    }
    return write_json(content, path)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def main(words: Sequence[str] | None = None) -> int:
    """Run the chosen proofs; 1 if one of them fails."""
    today = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=[*PROOFS], help="may be given again")
    parser.add_argument("--list", action="store_true", help="name the proofs and stop")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "benchmarks" / "results" / f"prove-{today}.json"
    )
    options = parser.parse_args(words)
    if options.list:
        print("\n".join(f"{name:15} {' '.join(command)}" for name, command in PROOFS.items()))
        return 0
    proofs: list[Proof] = []
    for name in options.only or PROOFS:
        proof = run(name, PROOFS[name])
        proofs.append(proof)
        record(proofs, options.out)
        print(f"{name:15} {'passed' if proof.passed else 'FAILED'} {proof.seconds:7.0f} s")
        print(proof.summary)
    print(options.out)
    return 0 if all(proof.passed for proof in proofs) else 1


if __name__ == "__main__":
    sys.exit(main())
