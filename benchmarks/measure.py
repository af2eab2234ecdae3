"""Measure every step and write ``results/<date>.json`` and ``results/table.md``.

``python benchmarks/measure.py [--crystals 1500] [--peers 24] [--steps read_cif,...] [--scaling
1000,10000]``. One core, CPU time; see ``steps.py``. ``--scaling`` streams synthetic corpora of
these sizes (``scaling.py``) and adds the slope of cost against size.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    "crystalssl",
    "torch",
    "numpy",
    "numba",
    "moyopy",
    "gemmi",
    "pymatgen",
    "spglib",
    "matminer",
)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    return {"cpu": model, "cores": os.cpu_count(), "python": platform.python_version()}


def as_markdown(record: dict[str, Any]) -> str:
    """The table that ``docs/scale.md`` shows."""
    lines = [
        "| step | crystals/s, one core | peer | peer | ratio | two cores, target |",
        "|---|---|---|---|---|---|",
    ]
    for row in record["steps"]:
        peer = f"{row['peer_rate']:,.0f}" if row["peer_rate"] else ""
        ratio = f"{row['rate'] / row['peer_rate']:,.1f}" if row["peer_rate"] else ""
        target = f"{row['cores'] * row['rate']:,.0f}, {row['target']:,.0f}" if row["target"] else ""
        lines.append(
            f"| {row['step']} | {row['rate']:,.0f} | {row['peer']} | {peer} | {ratio} | {target} |"
        )
    where = record["machine"]
    lines += ["", f"{record['date']}, {where['cpu']}, CPU time of one core."]
    if "scaling" in record:
        lines += [
            "",
            "| synthetic crystals | seconds | CPU s | peak GB | output GB |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| {r['crystals']:,} | {r['seconds']:.0f} | {r['cpu_seconds']:.0f} | "
            f"{r['peak_gb']:.2f} | {r['output_gb']:.3f} |"
            for r in record["scaling"]["runs"]
        ]
        lines += ["", f"Slope of log CPU time against log size: {record['scaling']['slope']:.3f}"]
    return "\n".join(lines) + "\n"


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crystals", type=int, default=1500)
    parser.add_argument("--peers", type=int, default=24)
    parser.add_argument("--steps", default="all")
    parser.add_argument("--scaling", default="")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args(words)
    if hasattr(os, "sched_setaffinity"):  # one core: rates do not depend on how many there are
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    import scaling
    import steps
    import torch

    torch.set_num_threads(1)
    names = list(steps.STEPS) if given.steps == "all" else [n for n in given.steps.split(",") if n]
    crystals = steps.sample(given.crystals)
    found: list[steps.Measured] = []
    for name in names:
        found += steps.STEPS[name](crystals, given.peers)
        print(*found[-1:], sep="\n", flush=True)
    record: dict[str, Any] = {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "machine": machine(),
        "versions": {package: version(package) for package in PACKAGES},
        "crystals": {
            "table": steps.TABLE.name if steps.TABLE.is_file() else "bundled",
            "count": len(crystals),
            "mean_sites": round(float(crystals.site_counts.mean()), 1),
        },
        "extraction_batch": steps.batch_shape(),
        "steps": [asdict(one) for one in found],
    }
    if any(one.step.startswith("training") for one in found):
        record["quick_minutes_on_two_cores_extrapolated"] = round(steps.quick_minutes(found), 1)
    if given.scaling:
        record["scaling"] = scaling.measure([int(word) for word in given.scaling.split(",")])
    given.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record, indent=2) + "\n"
    (given.out / f"{record['date']}.json").write_text(text, encoding="utf-8")
    (given.out / "table.md").write_text(as_markdown(record), encoding="utf-8")
    print(as_markdown(record))


if __name__ == "__main__":
    main()
