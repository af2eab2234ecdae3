"""Rates of raw FTCP, graph and panel beside their peers, measured in the same run.

``pytest benchmarks/test_bench_representation.py --benchmark-only``. Crystals come from the table
in the folder shared next to the repository if it is there, else from the 40 of the tests. The
peers see a small part and are compared per crystal.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peers_ftcp import amplitudes_loop, ftcp_loop, graph_loop, structures_of

from crystalssl.representation.ftcp import encode
from crystalssl.representation.graph import periodic_graph
from crystalssl.representation.panel_groups import group_rows
from crystalssl.representation.panel_source import PanelSource
from crystalssl.representation.targets import crystal_targets
from crystalssl.structures.crystals import SLOTS, Crystals

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT.parent / "shared" / "data" / "mp36k.parquet"
SMALL = ROOT / "tests" / "representation" / "data" / "ftcp_pvlab_small.npz"
OURS, THEIRS = 4096, 64


@pytest.fixture(scope="module")
def crystals() -> Crystals:
    if TABLE.is_file():
        from crystalssl.structures.table import read_table

        whole = read_table(TABLE).crystals
        whole = whole.take(whole.site_counts <= 100)
        return whole.take(np.random.default_rng(0).permutation(len(whole))[:OURS])
    data = np.load(SMALL)
    numbers = np.zeros((len(data["frac_coords"]), SLOTS), np.int16)
    occupancy = np.zeros(numbers.shape, np.float32)
    numbers[:, 0], occupancy[:, 0] = data["atomic_numbers"], 1
    few = Crystals(
        ids=data["material_id"],
        lattice=data["lattice"],
        offsets=data["site_offsets"].astype(np.int64),
        frac_coords=data["frac_coords"],
        numbers=numbers,
        occupancy=occupancy,
    )
    return few.take(np.arange(OURS) % len(few))


@pytest.fixture(scope="module")
def encodable(crystals: Crystals) -> Crystals:
    return crystals.take(encode(crystals).kept)


def measure(
    benchmark: Any,
    ours: Callable[[], object],
    n: int,
    theirs: Callable[[], object] | None = None,
    m: int = THEIRS,
) -> float:
    """Run both; record crystals per second and their ratio; returns the ratio."""
    ours()
    benchmark.pedantic(ours, rounds=5)
    rate = n / benchmark.stats.stats.median
    benchmark.extra_info["crystals per second"] = round(rate)
    if theirs is None:
        return 1.0
    start = time.perf_counter()
    theirs()
    peer = m / (time.perf_counter() - start)
    benchmark.extra_info["peer, crystals per second"] = round(peer)
    benchmark.extra_info["ratio"] = round(rate / peer, 1)
    return float(rate / peer)


def test_raw_ftcp_is_twenty_times_the_loop(benchmark: Any, encodable: Crystals) -> None:
    structures = structures_of(encodable.take(np.arange(THEIRS)))
    part = encodable.take(np.arange(min(1024, len(encodable))))
    expected = ftcp_loop(structures)
    np.testing.assert_allclose(encode(part).array[:THEIRS], expected, rtol=1e-4, atol=1e-4)
    ratio = measure(benchmark, lambda: encode(part), len(part), lambda: ftcp_loop(structures))
    assert ratio > 20


def test_graph_is_faster_than_a_loop_over_structures(benchmark: Any, crystals: Crystals) -> None:
    structures = structures_of(crystals.take(np.arange(THEIRS)))
    ratio = measure(
        benchmark,
        lambda: periodic_graph(crystals),
        len(crystals),
        lambda: graph_loop(structures),
    )
    assert ratio > 5


def test_panel_source_is_faster_than_a_loop_over_structures(
    benchmark: Any, crystals: Crystals
) -> None:
    structures = structures_of(crystals.take(np.arange(THEIRS)))
    ratio = measure(
        benchmark,
        lambda: PanelSource.from_crystals(crystals),
        len(crystals),
        lambda: amplitudes_loop(structures),
    )
    assert ratio > 5


def test_targets(benchmark: Any, crystals: Crystals) -> None:
    graph = periodic_graph(crystals)
    measure(benchmark, lambda: crystal_targets(crystals, graph), len(crystals))


def test_gathering_a_batch_of_panel_rows(benchmark: Any, crystals: Crystals) -> None:
    import torch

    from crystalssl.representation import layout

    torch.set_num_threads(1)  # busy cores make torch's own threads wait for each other
    source = PanelSource.from_crystals(crystals)
    index = np.random.default_rng(0).permutation(len(crystals))[:256]

    def batch() -> None:
        part = source.take(index)
        for name in layout.GROUPS:
            group_rows(part, name)

    measure(benchmark, batch, len(index))
