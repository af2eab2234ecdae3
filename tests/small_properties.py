"""Labelled crystals of the bundled table, and tables of labels, for tests of property models."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from crystalssl.datasets.bundled import load_bundled
from crystalssl.structures.crystals import Crystals

TARGET = "formation_energy_per_atom"


def labelled(count: int, seed: int = 0) -> Crystals:
    """Bundled crystals with a label, small cells first."""
    crystals = load_bundled()
    known = np.flatnonzero(np.isfinite(crystals.column(TARGET)) & (crystals.site_counts <= 6))
    return crystals.take(np.random.default_rng(seed).permutation(known)[:count])


def write_labels(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(header)
        writer.writerows(rows)
    return path
