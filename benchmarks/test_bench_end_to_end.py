"""Structure table to 2,048 features: canonical cell, graph, panel, six encoders, beside a peer.

``pytest benchmarks/test_bench_end_to_end.py --benchmark-only``. Crystals come from the table in
the folder shared next to the repository if it is there, else the bundled ones (smaller cells).
The peer is what a user would otherwise run: matminer's composition and density featurizers, one
pymatgen structure at a time, on a small part, compared per crystal.
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peers_ftcp import structures_of

from crystalssl.blocks.registry import build_block, list_blocks
from crystalssl.datasets.bundled import load_bundled
from crystalssl.features.extract import extract
from crystalssl.structures.canonical import canonicalize
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.table import read_table, write_table

TABLE = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "mp36k.parquet"
OURS, THEIRS = 3000, 24


@pytest.fixture(scope="module")
def crystals() -> Crystals:
    whole = read_table(TABLE).crystals if TABLE.is_file() else load_bundled()
    return whole.take(np.random.default_rng(0).permutation(len(whole))[:OURS])


def matminer_features(crystals: Crystals) -> float:
    """Crystals per second of Magpie statistics and density features."""
    from matminer.featurizers.composition import ElementProperty
    from matminer.featurizers.structure import DensityFeatures

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        magpie, density = ElementProperty.from_preset("magpie"), DensityFeatures()
        structures = structures_of(crystals)
        start = time.perf_counter()
        for structure in structures:
            magpie.featurize(structure.composition)
            density.featurize(structure)
    return len(crystals) / (time.perf_counter() - start)


def test_structure_table_to_features(benchmark: Any, crystals: Crystals, tmp_path: Path) -> None:
    table = write_table(crystals, tmp_path / "structures.parquet")
    encoders = {block.name: build_block(block.name) for block in list_blocks()}

    def run() -> int:
        features = extract(canonicalize(read_table(table).crystals), encoders)
        return len(features)

    run()
    made = benchmark.pedantic(run, rounds=3)
    rate = made / benchmark.stats.stats.median
    peer = matminer_features(crystals.take(np.arange(THEIRS)))
    benchmark.extra_info.update(
        {
            "crystals per second": round(rate),
            "sites per crystal": round(float(crystals.site_counts.mean()), 1),
            "matminer, crystals per second": round(peer),
            "ratio": round(rate / peer, 1),
        }
    )
    print(f"\n{rate:.0f} crystals/s, matminer {peer:.0f}/s, ratio {rate / peer:.1f}")
    assert made > 0.9 * len(crystals)
