"""Everything that runs on a GPU, measured, and compared with the CPU.

``python benchmarks/gpu.py OUT.json [--only runs,agreement] [--quick] [--device cpu]``. Sections
are independent: what fails leaves its traceback in the record, which is written after each. Times
extrapolated to 129,473 crystals and 50 epochs say so. Short tables end the output.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import gpu_extraction
import gpu_finetuning
import gpu_training
import torch
from gpu_common import Bench, attempt

TABLE = Path(__file__).resolve().parents[2] / "shared" / "data" / "mp36k.parquet"
"""33 k Materials Project crystals, where the folder lies beside the repository."""
SECTIONS: dict[str, Callable[[Bench], Any]] = {
    "host": gpu_extraction.host,
    "runs": gpu_training.runs,
    "agreement": gpu_extraction.agreement,
    "rates": gpu_extraction.rates,
    "stream": gpu_extraction.streamed,
    "bare": gpu_training.bare,
    "learning": gpu_training.learning,
    "profiles": gpu_training.profiles,
    "float32": gpu_training.float32_runs,
    "together": gpu_training.together,
    "whole": gpu_training.whole,
    "finetuning": gpu_finetuning.finetuning,
}
"""Measurements by name; each makes what it needs."""
FULL = {"count": 16_384, "epochs": 4, "streamed": 60_000, "whole": 129_473}
QUICK = {"count": 96, "epochs": 2, "streamed": 2_100, "whole": 200}


def machine(device: str) -> dict[str, Any]:
    """What the figures were measured on."""
    found = {"torch": torch.__version__, "python": platform.python_version(), "device": device}
    if device.startswith("cuda"):
        found["device"] = torch.cuda.get_device_name()
        found["cuda"] = str(torch.version.cuda)
    return found


def write(record: dict[str, Any], out: Path) -> None:
    """Replace the record as a whole."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    partial.replace(out)


def number(value: Any) -> str:
    """A figure as a table shows it; what failed is a dash."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return "-" if value is None else str(value)


def lines_of(value: Any, place: str = "") -> list[str]:
    """A record as short lines: numbers side by side, one line a dictionary of numbers."""
    plain = {k: v for k, v in value.items() if isinstance(v, str | int | float | bool)}
    listed = {k: v for k, v in value.items() if isinstance(v, list)}
    if "error" in plain:
        return [f"{place}: FAILED {plain['error'].strip().splitlines()[-1][:160]}"]
    words = [f"{k} {number(v)}" for k, v in plain.items()]
    words += [f"{k} [{' '.join(map(number, v))}]" for k, v in listed.items()]
    lines = [f"{place}: {', '.join(words)}"] if words else []
    for key, inner in value.items():
        if isinstance(inner, dict):
            lines += lines_of(inner, f"{place} / {key}" if place else str(key))
    return lines


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, by comma")
    parser.add_argument("--skip", default="", help="sections to leave out")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that all runs")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--table", type=Path, default=TABLE)
    for name in FULL:
        parser.add_argument(f"--{name}", type=int)
    given = parser.parse_args(words)
    unknown = set(filter(None, f"{given.only},{given.skip}".split(","))) - set(SECTIONS)
    if unknown:
        parser.error(f"no sections {sorted(unknown)}; there are {', '.join(SECTIONS)}")
    return given


def main(words: Sequence[str] | None = None) -> None:
    """Measure, and write what was found after every section."""
    given = parse(words)
    sizes = {
        name: getattr(given, name) or value
        for name, value in (QUICK if given.quick else FULL).items()
    }
    table = {"table": given.table.name if given.table.is_file() else "bundled"}
    record: dict[str, Any] = {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "machine": machine(given.device),
        "command": shlex.join(["python", "benchmarks/gpu.py", *sys.argv[1:]]),
        "sizes": {**sizes, **table},
    }
    chosen = [n for n in given.only.split(",") if n and n not in given.skip.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(
            device=given.device, table=given.table, folder=Path(folder),
            train_batches=(32,) if given.quick else (512, 2048), **sizes,
        )  # fmt: skip
        for name in chosen:
            record[name] = attempt(name, lambda name=name: SECTIONS[name](bench))
            write(record, given.out)
    print("\n".join(line[:300] for line in lines_of(record)), flush=True)


if __name__ == "__main__":
    main()
