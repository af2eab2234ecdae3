"""Every step from crystal files to features as a measurement: ours and a peer in the same run.

A step gives crystals per second of CPU time on one core, which other jobs on the machine disturb
least; peers see fewer crystals and are compared per crystal. ``measure.py`` writes the results,
``test_bench_steps.py`` keeps every step running. Table and targets are in ``docs/scale.md``.
"""

from __future__ import annotations

import resource
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from message_passing import layers_of
from peers_ftcp import amplitudes_loop, ftcp_loop, graph_loop, structures_of

from crystalssl.allocator import keep_freed_memory
from crystalssl.blocks.contract import Block
from crystalssl.blocks.registry import build_block, list_blocks
from crystalssl.config import get_preset
from crystalssl.datasets.bundled import load_bundled
from crystalssl.datasets.corpus import Corpus
from crystalssl.datasets.samplers import Index, pack
from crystalssl.features.extract import BATCH_ATOMS, BATCH_CRYSTALS, extract
from crystalssl.features.extractor import ExtractorConfig
from crystalssl.hub.weights import load_run
from crystalssl.pretraining.module import generator_for
from crystalssl.representation.ftcp import encode
from crystalssl.representation.graph import periodic_graph
from crystalssl.representation.panel_source import PanelSource
from crystalssl.structures.canonical import canonicalize
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.elements import SYMBOLS
from crystalssl.structures.reading import read_structures
from crystalssl.structures.table import read_table, write_table

TABLE = Path(__file__).resolve().parents[2] / "shared" / "data" / "mp36k.parquet"
"""33 k Materials Project crystals, where the folder lies beside the repository."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One step.

    Attributes:
        step: what was done.
        rate: crystals per CPU second of one core.
        crystals: how many were done.
        peer: what does the same otherwise, empty where there is none.
        peer_rate: its crystals per CPU second, 0 where there is none.
        target: crystals per second on two cores, 0 where there is none.
        cores: how many of two cores the step can use.
    """

    step: str
    rate: float
    crystals: int
    peer: str = ""
    peer_rate: float = 0.0
    target: float = 0.0
    cores: int = 2


def cpu_seconds() -> float:
    """CPU time of this process and of those that it started and that ended."""
    parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in parts)


def rate_of(work: Callable[[], object], crystals: int, least: float = 0.5) -> float:
    """Crystals per CPU second, over as many repeats as take ``least`` seconds."""
    start, times = cpu_seconds(), 0
    while not times or cpu_seconds() - start < least:
        work()
        times += 1
    return crystals * times / (cpu_seconds() - start)


def sample(count: int, table: Path = TABLE) -> Crystals:
    """Seeded crystals of the shared table if it is there, else of the bundled ones."""
    whole = read_table(table).crystals if table.is_file() else load_bundled()
    whole = whole.take(whole.site_counts <= 100)
    return whole.take(np.random.default_rng(0).permutation(len(whole))[:count])


def cif_of(crystals: Crystals, row: int) -> str:
    """A crystal as databases write it: P1, six digits, no disorder."""
    lengths = np.linalg.norm(crystals.lattice[row], axis=1)
    unit = crystals.lattice[row] / lengths[:, None]
    angles = np.degrees(np.arccos([unit[1] @ unit[2], unit[0] @ unit[2], unit[0] @ unit[1]]))
    lines = [f"data_{crystals.ids[row]}", "_symmetry_space_group_name_H-M   'P 1'"]
    lines += [f"_cell_length_{n}   {v:.8f}" for n, v in zip("abc", lengths, strict=True)]
    names = ("alpha", "beta", "gamma")
    lines += [f"_cell_angle_{n}   {v:.8f}" for n, v in zip(names, angles, strict=True)]
    lines += [
        "loop_",
        " _symmetry_equiv_pos_site_id",
        " _symmetry_equiv_pos_as_xyz",
        "  1  'x, y, z'",
    ]
    tags = ("type_symbol", "label", "symmetry_multiplicity", "fract_x", "fract_y", "fract_z")
    lines += ["loop_", *(f" _atom_site_{tag}" for tag in (*tags, "occupancy"))]
    for site in range(crystals.offsets[row], crystals.offsets[row + 1]):
        symbol = SYMBOLS[crystals.numbers[site, 0]]
        x, y, z = crystals.frac_coords[site] % 1.0
        lines.append(f"  {symbol}  {symbol}{site}  1  {x:.8f}  {y:.8f}  {z:.8f}  1")
    return "\n".join(lines) + "\n"


def read_cif(crystals: Crystals, peers: int) -> list[Measured]:
    from pymatgen.io.cif import CifParser

    texts = [cif_of(crystals, row) for row in range(len(crystals))]

    def theirs() -> None:
        for text in texts[:peers]:
            CifParser.from_str(text).parse_structures(primitive=False)

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for row, text in enumerate(texts):
            (Path(folder) / f"{row:06d}.cif").write_text(text, encoding="utf-8")
        read_structures([folder])
        rate = rate_of(lambda: read_structures([folder]), len(texts))
        peer = rate_of(theirs, peers)
    found = _with_peer("read P1 CIF files", rate, crystals, "pymatgen", peer, 10_000)
    return [replace(found, cores=1)]


def canonical_cell(crystals: Crystals, peers: int) -> list[Measured]:
    import spglib

    def theirs() -> None:
        for row in range(peers):
            sites = slice(crystals.offsets[row], crystals.offsets[row + 1])
            cell = (crystals.lattice[row], crystals.frac_coords[sites], crystals.numbers[sites, 0])
            spglib.get_symmetry_dataset(cell, symprec=0.01)
            spglib.standardize_cell(cell, to_primitive=True, symprec=0.01)

    canonicalize(crystals.take(range(8)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = rate_of(theirs, peers)
    rate = rate_of(lambda: canonicalize(crystals), len(crystals))
    return [_with_peer("canonical cell and symmetry", rate, crystals, "spglib", peer, 2_000)]


def raw_ftcp(crystals: Crystals, peers: int) -> list[Measured]:
    fit = crystals.take(encode(crystals).kept)
    part = fit.take(np.arange(min(512, len(fit))))  # memory that is used again, as in a stream
    rate = rate_of(lambda: [encode(part) for _ in range(4)], 4 * len(part))
    structures = structures_of(fit.take(np.arange(peers)))
    peer = rate_of(lambda: ftcp_loop(structures), peers)
    return [_with_peer("raw FTCP", rate, part, "the original program's loop", peer, 10_000)]


def graph_and_panel(crystals: Crystals, peers: int) -> list[Measured]:
    structures = structures_of(crystals.take(np.arange(peers)))
    found = []
    for name, ours, theirs, target in (
        ("periodic graph, 12 neighbours", periodic_graph, graph_loop, 4_000),
        ("panel", PanelSource.from_crystals, amplitudes_loop, 0),
    ):
        ours(crystals)
        rate = rate_of(partial(ours, crystals), len(crystals))
        peer = rate_of(partial(theirs, structures), peers)
        found.append(_with_peer(name, rate, crystals, "pymatgen, a loop", peer, target))
    return found


def encoders(crystals: Crystals, peers: int) -> list[Measured]:
    """Extraction and training step of every block; there is no peer for these."""
    del peers
    corpus = Corpus.from_crystals(canonicalize(crystals))
    found = []
    for name, block in load_run("default").items():
        extract(corpus.take(range(8)), {name: block}, device="cpu")
        rate = rate_of(partial(extract, corpus, {name: block}, device="cpu"), len(corpus))
        found.append(Measured(step=f"extraction, {name}", rate=rate, crystals=len(corpus)))
    quick = get_preset("quick")
    rows = np.random.default_rng(0).permutation(len(corpus))
    plan = pack(rows, corpus.site_counts, quick.batch_size, quick.max_atoms)[:4]
    for kind in list_blocks():
        block = build_block(kind.name, seed=0).train()
        optimizer = torch.optim.AdamW(block.parameters(), lr=1e-4)

        def steps(
            block: torch.nn.Module = block, optimizer: torch.optim.Optimizer = optimizer
        ) -> None:
            for number, batch in enumerate(plan):
                results = block.pretext(corpus.batch(batch, block), generator_for(0, 0, 0, number))
                torch.stack([r.weight * r.loss for r in results]).sum().backward()
                optimizer.step()
                optimizer.zero_grad()

        steps()
        count = sum(map(len, plan))
        rate = rate_of(steps, count)
        found.append(Measured(step=f"training step, {kind.name}", rate=rate, crystals=count))
    return found


def message_passing(crystals: Crystals, peers: int) -> list[Measured]:
    """A layer of graph attention: compiled, in plain torch, PyTorch Geometric's, over all pairs."""
    del peers
    keep_freed_memory()
    corpus = Corpus.from_crystals(canonicalize(crystals.take(range(min(512, len(crystals))))))
    layers, count = layers_of(corpus, len(corpus))
    for layer in layers.values():
        layer()
    rates = {name: rate_of(layer, count) for name, layer in layers.items()}
    step = "one layer of graph attention"
    return [
        _with_peer(step, rates["ours"], corpus, name, rates[name], 0)
        for name in ("plain torch", "PyTorch Geometric", "dense")
    ]


def _train(block: Block, corpus: Corpus, plan: list[Index]) -> None:
    """One optimizer step on each batch."""
    optimizer = torch.optim.AdamW(block.parameters(), lr=1e-4)
    for number, rows in enumerate(plan):
        results = block.pretext(corpus.batch(rows, block), generator_for(0, 0, 0, number))
        torch.stack([r.weight * r.loss for r in results]).sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def table_to_features(crystals: Crystals, peers: int) -> list[Measured]:
    from matminer.featurizers.composition import ElementProperty
    from matminer.featurizers.structure import DensityFeatures, GlobalSymmetryFeatures

    chain = ExtractorConfig(device="cpu").extractor()

    def ours(path: Path) -> None:
        chain.features_of(canonicalize(read_table(path).crystals))

    def theirs() -> None:
        for structure in structures:
            magpie.featurize(structure.composition)
            density.featurize(structure)
            symmetry.featurize(structure)

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = write_table(crystals, Path(folder) / "structures.parquet")
        rate = rate_of(partial(ours, path), len(crystals))
        magpie, density = ElementProperty.from_preset("magpie"), DensityFeatures()
        symmetry, structures = GlobalSymmetryFeatures(), structures_of(crystals.take(range(peers)))
        magpie.featurize(structures[0].composition)
        peer = rate_of(theirs, peers)
    name = "matminer: Magpie, density, symmetry"
    return [_with_peer("structure table to 2,048 features", rate, crystals, name, peer, 1_000)]


STEPS = {
    step.__name__: step
    for step in (
        read_cif,
        canonical_cell,
        raw_ftcp,
        graph_and_panel,
        message_passing,
        encoders,
        table_to_features,
    )
}
"""Every measurement by name."""


def quick_minutes(found: list[Measured], cores: int = 2) -> float:
    """Minutes of preset ``quick`` on the bundled data, from the rates of the training steps."""
    crystals = 0.7 * len(load_bundled())  # validation and monitors come on top, about a tenth
    seconds = [crystals / one.rate for one in found if one.step.startswith("training step")]
    return 1.1 * get_preset("quick").epochs * sum(seconds) / cores / 60


def batch_shape() -> str:
    """How extraction batches crystals on a CPU, for the record."""
    return f"{BATCH_CRYSTALS['cpu']} crystals, {BATCH_ATOMS['cpu']} sites"


def _with_peer(
    step: str, rate: float, crystals: Crystals | Corpus, peer: str, peer_rate: float, target: float
) -> Measured:
    return Measured(
        step=step,
        rate=rate,
        crystals=len(crystals),
        peer=peer,
        peer_rate=peer_rate,
        target=target,
    )
