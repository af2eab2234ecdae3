"""Run the tight binding on every crystal of pre-training: what the student is taught; resumable.

    python scripts/electronic_targets.py TABLE... --out FOLDER

The tables and what is left out of them are those of ``train_default_weights.py``; crystals of
``val`` are computed as well, to score with. FOLDER fills with Parquet files of a thousand crystals
each (``immutable_id``, ``split``, ``electronic``), written whole; the same command goes on where it
was stopped. Crystals of the first table come first, the rest in random order, large cells later.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from train_default_weights import gather

from crystalssl.files import atomic
from crystalssl.representation.electronic import describe
from crystalssl.structures.canonical import canonicalize
from crystalssl.structures.crystals import Crystals

CHUNK = 1000
"""Crystals in a file."""
LARGE = 40.0
"""Sites above which a crystal's turn comes later, in proportion."""


def order(sites: np.ndarray, first: int, seed: int = 0) -> np.ndarray:
    """Rows in the order they are computed: the ``first`` of them, then the others by lot."""
    lot = np.random.default_rng(seed).random(len(sites)) * np.maximum(1.0, sites / LARGE)
    lot[:first] -= sites.max() / LARGE + 1.0  # before all others
    return np.argsort(lot)


def compute(crystals: Crystals, split: np.ndarray, level: str) -> pa.Table:
    """The numbers of some crystals; those that cannot be described are left out."""
    canonical = canonicalize(crystals)
    numbers = describe(canonical.crystals, level)
    values = numbers.values[numbers.valid]
    flat = pa.array(values.ravel(), pa.float32())
    return pa.table(
        {
            "immutable_id": canonical.crystals.ids[numbers.valid],
            "split": split[canonical.kept][numbers.valid],
            "electronic": pa.FixedSizeListArray.from_arrays(flat, values.shape[1]),
        }
    )


def main() -> None:
    """Compute what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="+", type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--level", default="fast")
    parser.add_argument("--minutes", type=float, default=np.inf, help="stop after this long")
    options = parser.parse_args()
    end = time.monotonic() + 60.0 * options.minutes
    crystals, split = gather(options.tables)
    first = len(gather(options.tables[:1])[1])
    rows = order(crystals.site_counts, first)
    options.out.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, len(rows), CHUNK)):
        path = options.out / f"{options.level}-{number:04d}.parquet"
        if path.is_file():
            continue
        if time.monotonic() > end:
            return
        chunk = rows[start : start + CHUNK]
        table = compute(crystals.take(chunk), split[chunk], options.level)
        with atomic(path) as aside:
            pq.write_table(table, aside, compression="zstd")
        print(f"{path.name}: {len(table)} of {len(chunk)} described", flush=True)


if __name__ == "__main__":
    main()
