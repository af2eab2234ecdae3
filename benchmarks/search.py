"""Times and memory of searches: one query by id, and near-duplicates between two tables.

Run: python benchmarks/search.py [--rows 100000] [--width 512]. Features are drawn in clusters along
axes whose variances fall off as those of real features do, one row in a thousand of the second
table is all but a row of the first, and every step runs in a process of its own, so that its peak
of memory is its own. Prints one line of JSON a step; what they should be: docs/search.md.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from crystalssl.features.features import Features
from crystalssl.features.writer import write_features
from crystalssl.pipeline import duplicates
from crystalssl.search import CrystalIndex

QUERIES = 20


def drawn(rows: int, width: int, seed: int, copies: Path | None = None) -> Iterator[Features]:
    """Features in batches; with ``copies`` some rows are near-copies of rows of that file."""
    random = np.random.default_rng(seed)
    size = (1 / np.sqrt(1 + np.arange(width))).astype(np.float32)
    centres = np.random.default_rng(0).normal(size=(500, width)).astype(np.float32) * size
    for start in range(0, rows, 8192):
        count = min(8192, rows - start)
        values = centres[random.integers(0, 500, count)]
        values += 0.5 * size * random.normal(size=(count, width)).astype(np.float32)
        if copies is not None:
            repeated = next(iter(drawn(count, width, 1))).matrix[::1000]  # the first table's seed
            values[::1000][: len(repeated)] = repeated + 1e-4
        ids = np.array([f"{seed}-{start + row}" for row in range(count)])
        yield Features(ids=ids, blocks={"drawn": values})


def ask(path: Path, asked: str) -> dict[str, float]:
    """Loading an index and asking for the neighbours of one of its crystals."""
    start = time.perf_counter()
    index = CrystalIndex.load(path)
    loaded = time.perf_counter()
    index.query([asked], 10)
    first = time.perf_counter()
    times = []
    for row in range(QUERIES):
        before = time.perf_counter()
        index.query([f"1-{row * 37}"], 10)
        times.append(time.perf_counter() - before)
    return {
        "load_s": loaded - start,
        "with_loading_s": first - start,
        "query_ms": 1000 * statistics.median(times),
        "slowest_query_ms": 1000 * max(times),
    }


def compare(first: Path, second: Path) -> dict[str, float]:
    """Near-duplicates between two tables."""
    start, busy = time.perf_counter(), time.process_time()
    result = duplicates(first, second, threads=1)
    return {
        "wall_s": time.perf_counter() - start,
        "cpu_s": time.process_time() - busy,
        "pairs": len(result.table),
    }


def measured(name: str, call: object, *arguments: object) -> None:
    """Run a step in a fresh process and print what it took."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        figures = pool.apply(_with_memory, (call, *arguments))
    print(json.dumps({"step": name, **figures}), flush=True)


def _with_memory(call: object, *arguments: object) -> dict[str, float]:
    figures: dict[str, float] = call(*arguments)  # type: ignore[operator]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {name: round(value, 3) for name, value in figures.items()} | {"peak_gib": round(peak, 2)}


def main() -> None:
    """Draw two tables, then measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=512)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder) / "first.parquet", Path(folder) / "second.parquet"
        write_features(first, drawn(options.rows, options.width, 1))
        write_features(second, drawn(options.rows, options.width, 2, first))
        index = Path(folder) / "index.safetensors"
        CrystalIndex.load(first).save(index)
        measured("query, from features", ask, first, "1-7")
        measured("query, from a saved index", ask, index, "1-7")
        measured("duplicates", compare, first, second)


if __name__ == "__main__":
    main()
