"""Time the tight binding on one core: CPU milliseconds a crystal, by level and size.

python scripts/measure_electronic.py structures.parquet --rows 300 --split train
python scripts/measure_electronic.py structures.parquet --rows 300 --split train --sites 30
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np

from crystalssl.representation.electronic import describe
from crystalssl.structures.canonical import canonicalize
from crystalssl.structures.table import read_table


def main() -> None:
    """Describe a random sample twice and time the second pass."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("--level", default="fast")
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--sites", type=int, default=10**6, help="sites of a crystal at most")
    parser.add_argument("--split", default="", help="value of the column split")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    crystals = read_table(options.table).crystals
    chosen = crystals.site_counts <= options.sites
    if options.split:
        chosen &= crystals.column("split").astype(str) == options.split
    rows = np.random.default_rng(options.seed).permutation(np.flatnonzero(chosen))[: options.rows]
    sample = canonicalize(crystals.take(rows)).crystals
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    describe(sample, options.level)  # compiles, and makes the pair tables
    start = time.process_time()
    numbers = describe(sample, options.level)
    mean = (time.process_time() - start) / len(sample) * 1e3
    print(f"{len(sample)} crystals, {sample.site_counts.mean():.1f} sites on average")
    print(f"level {options.level}: {mean:.1f} ms a crystal, {numbers.valid.mean():.1%} described")


if __name__ == "__main__":
    main()
