"""Cost against size: synthetic corpora of several sizes, generated and streamed to features.

Each size runs in a process of its own, so that its peak memory is its own. The slope is that of
log CPU time against log size, start-up (imports, weights) measured on a handful and taken off.

``python benchmarks/scaling.py COUNT [WORKERS]`` does one size and prints a line of JSON; with two
workers and two quiet cores its ``rate`` is that of structure table to features, by the clock.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

MEAN_SITES = 26.0
HANDFUL = 32


def run_one(count: int, workers: int = 1, dtype: str = "float16") -> dict[str, Any]:
    """Generate so many crystals and stream them to features, here or in worker processes."""
    import torch

    from crystalssl.datasets.bundled import load_bundled
    from crystalssl.datasets.generate import write_corpus
    from crystalssl.features.extractor import ExtractorConfig
    from crystalssl.features.stream import stream_features

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        table = write_corpus(
            Path(folder) / "made.parquet", load_bundled(), count, mean_sites=MEAN_SITES
        )
        out = Path(folder) / "features.parquet"
        middle = time.perf_counter()
        done = stream_features(
            table, out, ExtractorConfig(device="cpu"), dtype=dtype, workers=workers
        )
        end = time.perf_counter()
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        # of its children a process knows the peak of the largest only
        peak = used[0].ru_maxrss + (workers if workers > 1 else 0) * used[1].ru_maxrss
        return {
            "crystals": count,
            "workers": workers,
            "written": done.written,
            "seconds": end - start,
            "rate": count / (end - middle),
            "cpu_seconds": sum(one.ru_utime + one.ru_stime for one in used),
            "peak_gb": peak / 1e6,
            "table_gb": table.stat().st_size / 1e9,
            "output_gb": out.stat().st_size / 1e9,
        }


def measure(counts: Sequence[int]) -> dict[str, Any]:
    """Run every size, and fit the slope."""
    command = [sys.executable, __file__]
    start, *runs = (
        json.loads(
            subprocess.run(
                [*command, str(count)], capture_output=True, text=True, check=True
            ).stdout.splitlines()[-1]
        )
        for count in (HANDFUL, *counts)
    )
    cost = np.array([run["cpu_seconds"] - start["cpu_seconds"] for run in runs])
    size = np.array([run["crystals"] for run in runs]) - HANDFUL
    slope = float(np.polyfit(np.log(size), np.log(cost), 1)[0]) if len(runs) > 1 else float("nan")
    return {"data": "synthetic", "start_up": start, "runs": runs, "slope": slope}


if __name__ == "__main__":
    print(json.dumps(run_one(*map(int, sys.argv[1:]))))
