"""The long proofs, one after the other, into a record: what ran, how long, what it found.

    make prove                      all of them; those that passed on this commit are not run again
    make prove ARGS="--only docs"   one, or a family such as "fuzzing"; --list names them

Run before a release. `make test` holds a sample of each. The record is written after every proof,
whole, to benchmarks/results/prove-<date>.json; a proof that fails is in it too. A command that was
stopped goes on with the proofs that are left when it is given again on the same day.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
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
POINTS = "14"
"""Points at which each command is killed, evenly spaced from the first to the last."""
MINUTES = "10"
"""CPU time of the fuzzing of each reader."""
READERS = (
    "ase-db", "cif", "extxyz", "gz", "json", "npy", "parquet", "poscar", "tar", "zip",
)  # fmt: skip
GROUPS = ("features", "training", "run", "evaluation")
"""Commands that are killed, as ``tests.faults`` groups them."""


def _module(name: str, *options: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"tests.{name}", *options)


PROOFS: Mapping[str, tuple[str, ...]] = {
    **{
        f"kill points: {group}": _module("faults", "--group", group, "--size", POINTS)
        for group in GROUPS
    },
    **{
        f"fuzzing: {reader}": _module("fuzz", "--reader", reader, "--minutes", MINUTES)
        for reader in READERS
    },
    "situations of users": (*PYTEST, "tests/cases"),
    "settings of space groups": _module("structures.test_cif_settings"),
    "rattled supercells": _module("structures.test_rattled"),
    "experimental disordered files": _module("structures.test_obelix"),
    "reading beside pymatgen": (sys.executable, "benchmarks/read_cif.py"),
    "long tests": (*PYTEST, "-m", "long", "tests"),
    "docs": (*PYTEST, "-m", "long or not long", "tests/docs"),
    "notebooks": (sys.executable, "scripts/run_notebooks.py"),
    "end to end": (
        *PYTEST,
        "-m",
        "long or not long",
        "tests/test_end_to_end.py",
        "tests/test_seventh_block.py",
    ),
    "clean install": (sys.executable, "scripts/prove_install.py"),
}
"""What is run, by name; each prints its figures as JSON in its last line, if it has any."""
PACKAGES = ("crystalssl", "numpy", "torch", "scikit-learn", "numba", "moyopy", "gemmi")


@dataclass(frozen=True, kw_only=True)
class Proof:
    """One proof and what came of it.

    Attributes:
        name: its name.
        commit: what was checked out, ``-dirty`` with changes that are not committed.
        command: what was run, the interpreter as ``python``.
        passed: whether it ended with 0.
        seconds: wall time.
        cpu_seconds: of all its processes.
        figures: what it printed as JSON in its last line.
        summary: its last line otherwise; the last twenty where it failed.
    """

    name: str
    commit: str
    command: str
    passed: bool
    seconds: float
    cpu_seconds: float
    figures: dict[str, Any]
    summary: str


def run(name: str, command: Sequence[str]) -> Proof:
    """Run a command in the root of the repository."""
    commit, before, start = _commit(), _children(), time.perf_counter()
    path = f"{ROOT / 'src'}{os.pathsep}{ROOT}"
    with tempfile.TemporaryFile("w+") as errors, subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
    ) as process:  # fmt: skip
        lines = []
        for line in process.stdout or ():
            lines.append(line.rstrip())
            print(f"  {lines[-1]}", flush=True)
        code = process.wait()
        errors.seek(0)
        lines += errors.read().splitlines() if code else []
    seconds, after = time.perf_counter() - start, _children()
    lines = [line for line in lines if line.strip()]
    last = lines[-1] if lines else ""
    try:
        figures = json.loads(last)
    except ValueError:
        figures = None
    passed = code == 0
    return Proof(
        name=name,
        commit=commit,
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
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "passed": all(proof["passed"] for proof in listed),
        "proofs": listed,
    }
    return write_json(content, path)


def stored(path: Path) -> dict[str, Proof]:
    """The proofs of a record by name; none where there is no record."""
    if not path.is_file():
        return {}
    listed = json.loads(path.read_text(encoding="utf-8"))["proofs"]
    return {proof["name"]: Proof(**proof) for proof in listed}


def chosen(named: Sequence[str] | None) -> list[str]:
    """Names of proofs; a name before a colon stands for all that begin with it."""
    return [n for n in PROOFS if not named or n in named or n.partition(":")[0] in named]


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _commit() -> str:
    """What is checked out; records of proofs, which are tracked and written here, do not count."""
    commit = _git("describe", "--always")
    changed = _git("status", "--porcelain", "--", ".", ":!benchmarks/results")
    tracked = [line for line in changed.splitlines() if not line.startswith("??")]
    return f"{commit}-dirty" if tracked else commit


def _git(*words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )  # fmt: skip
    return done.stdout.rstrip()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def main(words: Sequence[str] | None = None) -> int:
    """Run the chosen proofs; 1 if one of them fails."""
    today = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    families = dict.fromkeys(name.partition(":")[0] for name in PROOFS)
    names = list(dict.fromkeys([*families, *PROOFS]))
    parser.add_argument("--only", action="append", choices=names, help="may be given again")
    parser.add_argument("--again", action="store_true", help="also those that passed before")
    parser.add_argument("--list", action="store_true", help="name the proofs and stop")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "benchmarks" / "results" / f"prove-{today}.json"
    )
    options = parser.parse_args(words)
    if options.list:
        print("\n".join(f"{name:30} {' '.join(command)}" for name, command in PROOFS.items()))
        return 0
    proofs = stored(options.out)
    for name in chosen(options.only):
        before = proofs.get(name)
        if (
            before is not None
            and before.passed
            and before.commit == _commit()
            and not options.again
        ):
            print(f"{name:30} passed before")
            continue
        proofs[name] = proof = run(name, PROOFS[name])
        record([proofs[name] for name in PROOFS if name in proofs], options.out)
        print(f"{name:30} {'passed' if proof.passed else 'FAILED'} {proof.seconds:7.0f} s")
        if not proof.passed:
            print(proof.summary, flush=True)
    print(options.out)
    return 0 if all(proof.passed for proof in proofs.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
