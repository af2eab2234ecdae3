"""Runs commands in processes of their own, kills them at a counted point, and compares results.

A process is forked from one that has imported everything, so that hundreds take minutes. Times are
all that may differ between two runs.
"""

from __future__ import annotations

import csv
import gc
import hashlib
import importlib
import io
import json
import os
import pkgutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from crystalssl.files import FAULT

from .commands import Command, prepare

TIMES = ("seconds", "per_second")
"""Endings of names of numbers that tell of times."""
ONLY_RESUME = ("checkpoints", "tensorboard", ".stages", ".cache")
"""Folders that no one reads but a run that goes on; they keep times as well."""
REFUSED = "Another crystalssl command writes to"
_RECORD = 256


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a process ended: its exit code, negative for a signal, and what it printed."""

    code: int
    output: str


def start(work: Callable[[], None], log: Path, fault: str = "") -> int:
    """Begin work in a new process; returns its id, which is also that of its group."""
    sys.stdout.flush()
    number = os.fork()
    if number:
        return number
    code = 1
    try:
        os.setsid()
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        os.environ.pop(FAULT, None)
        if fault:
            os.environ[FAULT] = fault
        work()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException as error:
        traceback.print_exc()
        code = getattr(error, "exit_code", 1)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(number: int, log: Path) -> Ended:
    """Wait for a process that ``start`` began, and end what it has begun itself."""
    _, status = os.waitpid(number, 0)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(number, signal.SIGKILL)
    return Ended(code=os.waitstatus_to_exitcode(status), output=log.read_text(errors="replace"))


def digest(folder: Path) -> dict[str, str]:
    """SHA-256 of every file by name, without times."""
    held = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not set(path.relative_to(folder).parts) & set(ONLY_RESUME):
            held[name] = hashlib.sha256(_without_times(path)).hexdigest()
    return held


def _without_times(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix == ".json":
        return json.dumps(_clean(json.loads(content)), sort_keys=True).encode()
    if path.suffix == ".csv":
        rows = list(csv.DictReader(io.StringIO(content.decode())))
        return json.dumps(_clean(rows)).encode()
    if path.suffix == ".parquet" and "metric" in pq.read_schema(path).names:
        return json.dumps(_clean(pq.read_table(path).to_pylist())).encode()
    return content


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        if str(value.get("metric", "")).endswith(TIMES):
            return None  # a tidy row that tells of a time
        stamped = ("hash", "datestamp") if "datestamp" in value else ()  # Matbench hashes the time
        kept = (k for k in value if not k.endswith(TIMES) and k not in stamped)
        return {k: _clean(value[k]) for k in kept}
    return [_clean(entry) for entry in value] if isinstance(value, list) else value


class Harness:
    """A place for inputs and results of commands.

    Attributes:
        folder: where all is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inputs = folder / "inputs"
        self._number = 0
        made = self.run(lambda: prepare(self.inputs))
        if made.code:
            raise RuntimeError(made.output)

    def run(self, work: Callable[[], None], fault: str = "") -> Ended:
        log = self.folder / "output.txt"
        return wait(start(work, log, fault), log)

    def place(self, command: Command) -> Path:
        """A new folder for results of a command, with what it goes on from."""
        self._number += 1
        out = self.folder / f"out-{self._number}" / "out"  # one name, since reports show it
        out.mkdir(parents=True)
        if command.before is not None:
            before = command.before
            ended = self.run(lambda: before(self.inputs, out))
            if ended.code:
                raise RuntimeError(f"Before {command.name}: {ended.output}")
        return out

    def undisturbed(self, command: Command) -> tuple[dict[str, str], list[str]]:
        """Results of a command, and the points at which files change in it."""
        out, log = self.place(command), self.folder / "points"
        log.unlink(missing_ok=True)
        ended = self.run(lambda: command.work(self.inputs, out), f"0:{log}")
        points = log.read_text().splitlines() if log.exists() else []
        if ended.code or not points:
            raise RuntimeError(f"{command.name} ends with {ended.code}: {ended.output}")
        return digest(out), [point.strip() for point in points]

    def killed(self, command: Command, point: int, expected: dict[str, str]) -> str:
        """Kill a command at a point and give it again; what is wrong, empty if nothing is."""
        out, log = self.place(command), self.folder / "points"
        log.unlink(missing_ok=True)
        first = self.run(lambda: command.work(self.inputs, out), f"{point}:{log}")
        if first.code == 0:
            return f"was not killed at point {point}"
        again = self.run(lambda: command.work(self.inputs, out))
        return _difference(again, digest(out), expected)

    def two_at_once(self, command: Command, expected: dict[str, str]) -> str:
        """Give a command twice at the same time; what is wrong, empty if nothing is."""
        out = self.place(command)
        logs = [self.folder / f"output-{number}.txt" for number in (1, 2)]
        processes = [start(lambda: command.work(self.inputs, out), log) for log in logs]
        ended = [wait(number, log) for number, log in zip(processes, logs, strict=True)]
        done = [one for one in ended if not one.code]
        for one in ended:
            if one.code and REFUSED not in " ".join(one.output.split()):
                return f"exit {one.code}: {one.output[-500:]}"
        return _difference(done[0], digest(out), expected) if done else "both refused"


def _difference(ended: Ended, made: dict[str, str], expected: dict[str, str]) -> str:
    if ended.code:
        return f"exit {ended.code}: {ended.output[-1000:]}"
    names = sorted(made.keys() | expected.keys())
    other = [name for name in names if made.get(name) != expected.get(name)]
    return f"other files: {', '.join(other)}" if other else ""


def sample(count: int, size: int) -> list[int]:
    """Points from the first to the last, evenly spaced; a single one is in the middle."""
    if count <= size:
        return list(range(1, count + 1))
    if size == 1:
        return [(count + 1) // 2]
    return sorted({1 + round(i * (count - 1) / (size - 1)) for i in range(size)})


def import_all() -> None:
    """Load what commands need, once for all processes; nothing here may start a thread."""
    import torch

    torch.set_num_threads(1)
    import crystalssl
    from crystalssl.structures.validity import shortest_distance

    inside = pkgutil.walk_packages(crystalssl.__path__, "crystalssl.")
    names = [module.name for module in inside if not module.name.endswith("__main__")]
    for name in (*names, "lightgbm", "moyopy", "pandas", "shap"):
        importlib.import_module(name)
    one = np.zeros((1, 3))
    shortest_distance(np.eye(3)[None], np.array([0, 1]), one, np.ones(1))  # numba, compiled
    _warm_up(names)
    gc.collect()
    gc.freeze()  # else every process copies what is collected


def _warm_up(names: Sequence[str]) -> None:
    """Do once what every process would do again: read sources, tables and fonts."""
    from crystalssl.datasets.bundled import load_bundled
    from crystalssl.evaluation import cache, magpie
    from crystalssl.report.svg import drawing, to_svg

    cache.installed_versions = lru_cache(cache.installed_versions)
    cache.code_digest(tuple(n for n in names if n.startswith("crystalssl.evaluation")))
    magpie.magpie_statistics(load_bundled().take([0]), cache.Cache())
    with drawing(4, 3) as (figure, axes):
        axes.set_title("fonts")
        to_svg(figure, "fonts")


@contextmanager
def harness() -> Iterator[Harness]:
    """A harness in a folder that is removed afterwards."""
    import_all()
    with tempfile.TemporaryDirectory() as folder:
        yield Harness(Path(folder))


def prove(commands: Sequence[Command], pairs: int, size: int | None = None) -> int:
    """Kill every command at every point, or at ``size`` of them; print and count what is wrong.

    The last line holds the figures as JSON.
    """
    figures: dict[str, Any] = {"commands": {}, "pairs": pairs, "pairs_clean": 0}
    began = time.monotonic()
    with harness() as place:
        expected = {}
        for command in commands:
            start_of_command = time.monotonic()
            expected[command.name], points = place.undisturbed(command)
            chosen = sample(len(points), size or len(points))
            faults = []
            for point in chosen:
                fault = place.killed(command, point, expected[command.name])
                if fault:
                    faults.append(f"  point {point} ({points[point - 1]}): {fault}")
            same = len(chosen) - len(faults)
            figures["commands"][command.name] = {
                "points": len(points), "killed": len(chosen), "same_bytes": same,
                "seconds": round(time.monotonic() - start_of_command),
            }  # fmt: skip
            _say(f"{command.name}: {same} of {len(chosen)} kill points ({len(points)} in all)")
            _say(*faults)
        for number in range(pairs):
            command = commands[number % len(commands)]
            fault = place.two_at_once(command, expected[command.name])
            figures["pairs_clean"] += not fault
            _say(*([f"  two of {command.name}: {fault}"] if fault else []))
    figures["seconds"] = round(time.monotonic() - began)
    for name in ("killed", "same_bytes"):
        figures[name] = sum(each[name] for each in figures["commands"].values())
    _say(
        f"kill points: {figures['same_bytes']} of {figures['killed']} to the same bytes; pairs of "
        f"processes: {figures['pairs_clean']} of {pairs} clean; {figures['seconds']} s",
        json.dumps(figures),
    )
    return int(figures["killed"] - figures["same_bytes"] + pairs - figures["pairs_clean"])


def _say(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)  # noqa: T201
