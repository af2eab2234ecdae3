"""Small worlds for the tests: crystals by rule, by hand and from references, a corpus, a block.

Everything is seeded or a table, so that a test names what it needs and no folder builds its own.
``conftest.py`` binds the ones that are used again and again to fixtures; scripts that tests start
as processes of their own import this module from this folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from crystalssl.blocks.contract import Block, BlockBatch, Encoded, PretextResult, TaskInfo
from crystalssl.datasets.bundled import load_bundled
from crystalssl.datasets.corpus import Corpus
from crystalssl.representation.layout import group
from crystalssl.structures.canonical import canonicalize
from crystalssl.structures.crystals import SLOTS, Crystals

Cell = tuple[npt.ArrayLike, npt.ArrayLike, Sequence[int | Mapping[int, float]]]
"""Lattice (3, 3) in angstrom, fractional coordinates, and a species of each site: Z, or the
occupancy of each Z."""
REFERENCE = Path(__file__).parent / "representation" / "data"
"""Small arrays of the original program, with the crystals they were made of."""

FCC = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
CUBE, BCC = np.eye(3), np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]) / 2
HEX = np.array([[1, 0, 0], [-0.5, np.sqrt(0.75), 0], [0, 0, 1.633]])
HALF, QUARTER = [0.5] * 3, [0.25] * 3
FACES = [[0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
PROTOTYPES = {
    "rocksalt": (FCC, [[0, 0, 0], HALF], "ab", 5.0),
    "fluorite": (FCC, [[0, 0, 0], QUARTER, [0.75] * 3], "abb", 5.4),
    "perovskite": (
        CUBE,
        [[0, 0, 0], HALF, [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
        "abccc",
        4,
    ),
    "bcc": (BCC, [[0, 0, 0]], "a", 3.2),
    "hcp": (HEX, [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]], "aa", 3.1),
    "distorted": (FCC, [[0, 0, 0], HALF], "ab", 5.0),
    "disordered": (FCC, [[0, 0, 0], HALF], "mb", 4.8),
}
CATIONS, HIGH, ANIONS = [3, 11, 12, 19, 20, 26], [22, 40, 72], [8, 9, 16, 17]


def make_crystals(count: int, seed: int = 0) -> Crystals:
    """Crystals of all prototypes in turn, with seeded elements, sizes and distortions."""
    rng = np.random.default_rng(seed)
    lattices, coords, numbers, occupancy, names = [], [], [], [], []
    for row in range(count):
        name = list(PROTOTYPES)[row % len(PROTOTYPES)]
        cell, sites, kinds, size = PROTOTYPES[name]
        cell, sites = cell * size * rng.uniform(0.95, 1.1), np.array(sites)
        if name == "distorted":
            cell, sites = cell @ (np.eye(3) + rng.normal(0, 0.05, (3, 3))), sites.copy()
            sites = sites + rng.normal(0, 0.02, sites.shape)
        a, b, c = rng.choice(CATIONS), rng.choice(HIGH), rng.choice(ANIONS)
        table = {"a": {a: 1.0}, "b": {c if "c" not in kinds else b: 1.0}, "c": {c: 1.0}}
        share = float(rng.choice([0.5, 0.75]))
        table["m"] = {a: share, b: 1 - share}
        for kind in kinds:
            mixture = sorted(table[kind].items(), key=lambda item: -item[1])
            numbers.append([z for z, _ in mixture] + [0] * (SLOTS - len(mixture)))
            occupancy.append([x for _, x in mixture] + [0.0] * (SLOTS - len(mixture)))
        lattices.append(cell)
        coords.append(sites)
        names.append(f"{name}-{row}")
    return Crystals(
        ids=np.array(names),
        lattice=np.array(lattices),
        offsets=np.cumsum([0, *map(len, coords)]).astype(np.int64),
        frac_coords=np.concatenate(coords),
        numbers=np.array(numbers, dtype=np.int16),
        occupancy=np.array(occupancy, dtype=np.float32),
    )


def crystals_of(cells: Sequence[Cell]) -> Crystals:
    """Crystals from (lattice, frac_coords, species); a species is Z or {Z: occupancy}."""
    counts = [len(np.atleast_2d(frac)) for _, frac, _ in cells]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    mixed = (len(kind) for *_, species in cells for kind in species if isinstance(kind, dict))
    slots = max([SLOTS, *mixed])
    numbers = np.zeros((offsets[-1], slots), np.int16)
    occupancy = np.zeros((offsets[-1], slots), np.float32)
    site = 0
    for _, _, species in cells:
        for kind in species:
            mixture = kind if isinstance(kind, dict) else {kind: 1.0}
            for slot, (z, x) in enumerate(sorted(mixture.items(), key=lambda item: -item[1])):
                numbers[site, slot], occupancy[site, slot] = z, x
            site += 1
    return Crystals(
        ids=np.array([f"c{i}" for i in range(len(cells))]),
        lattice=np.array([np.asarray(lattice, float) for lattice, _, _ in cells]).reshape(-1, 3, 3),
        offsets=offsets,
        frac_coords=np.concatenate([np.atleast_2d(np.asarray(f, float)) for _, f, _ in cells]),
        numbers=numbers,
        occupancy=occupancy,
    )


def large_crystals(count: int = 1, sites: int = 130) -> Crystals:
    """Crystals of carbon without symmetry, of more sites than those of training have."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(6)] * 3), -1).reshape(-1, 3) / 6
    cells: list[Cell] = []
    for _ in range(count):
        frac = rng.permutation(grid)[:sites] + rng.random((sites, 3)) * 0.02
        cells.append((np.eye(3) * 18, frac, [6] * sites))
    return crystals_of(cells)


def reference_crystals() -> Crystals:
    """The 40 real crystals that come with the reference arrays."""
    data = np.load(REFERENCE / "ftcp_pvlab_small.npz")
    sites = len(data["frac_coords"])
    numbers, occupancy = np.zeros((sites, SLOTS), np.int16), np.zeros((sites, SLOTS), np.float32)
    numbers[:, 0], occupancy[:, 0] = data["atomic_numbers"], 1.0
    return Crystals(
        ids=data["material_id"],
        lattice=data["lattice"],
        offsets=data["site_offsets"].astype(np.int64),
        frac_coords=data["frac_coords"],
        numbers=numbers,
        occupancy=occupancy,
    )


def rewritten(crystals: Crystals, seed: int) -> Crystals:
    """The same crystals in another basis, origin, orientation, site order and cell."""
    rng = np.random.default_rng(seed)
    lattice = crystals.lattice.copy()
    frac = crystals.frac_coords.copy()
    order = np.arange(len(frac))
    for n in range(len(crystals)):
        rows = slice(crystals.offsets[n], crystals.offsets[n + 1])
        steps = np.eye(3)
        for _ in range(3):
            i, j = rng.permutation(3)[:2]
            steps[i] += rng.integers(-1, 2) * steps[j]
        rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        lattice[n] = steps @ lattice[n] @ rotation
        moved = frac[rows] @ np.linalg.inv(steps) + rng.normal(size=3)
        moved += rng.integers(-1, 2, moved.shape)
        shuffle = rng.permutation(len(moved))
        frac[rows] = moved[shuffle]
        order[rows] = order[rows][shuffle]
    return Crystals(
        ids=crystals.ids,
        lattice=lattice,
        offsets=crystals.offsets,
        frac_coords=frac,
        numbers=crystals.numbers[order],
        occupancy=crystals.occupancy[order],
    )


def bundled_corpus(several: int = 34, lone: int = 6) -> Corpus:
    """Bundled crystals with several sites and elements, and some with one site."""
    crystals = load_bundled()
    size = crystals.site_counts
    rng = np.random.default_rng(0)
    chosen = rng.permutation(np.flatnonzero((size > 3) & (size < 24)))[:several]
    rows = np.concatenate([chosen, np.flatnonzero(size == 1)[:lone]])
    return Corpus.from_crystals(canonicalize(crystals.take(rows)))


@dataclass(frozen=True, kw_only=True)
class ToyConfig:
    hidden: int = 8


class Toy(Block):
    """A linear encoder of site rows that predicts noise added to the first coordinate."""

    name: ClassVar[str] = "toy"
    number: ClassVar[int] = 8
    group: ClassVar[str] = "sites"
    width: ClassVar[int] = 16
    uses_graph: ClassVar[bool] = True
    summary: ClassVar[str] = "a toy"
    Config: ClassVar[type] = ToyConfig
    tasks: ClassVar[tuple[TaskInfo, ...]] = (
        TaskInfo(
            name="toy_noise",
            number=None,
            figure="mean absolute error",
            higher_is_better=False,
            trivial="zero",
            teaches="Nothing much.",
        ),
    )

    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.config = config
        self.layer = nn.Sequential(
            nn.Linear(group("sites").width, config.hidden), nn.Tanh(), nn.Dropout(0.1)
        )
        self.head = nn.Linear(config.hidden, 1)

    def encode(self, batch: BlockBatch) -> Encoded:
        crystal, row = batch.valid.nonzero(as_tuple=True)
        tokens = self.layer(batch.rows[crystal, row])
        total = tokens.new_zeros(len(batch.rows), tokens.shape[1]).index_add(0, crystal, tokens)
        mean = total / batch.valid.sum(1, keepdim=True)
        return Encoded(tokens=tokens, crystal=crystal, features=torch.cat([mean, total], 1))

    def pretext(self, batch: BlockBatch, generator: torch.Generator) -> Sequence[PretextResult]:
        noise = torch.rand(batch.rows.shape[:2], generator=generator).to(batch.rows)
        rows = batch.rows.clone()
        rows[..., 6] += noise
        crystal, row = batch.valid.nonzero(as_tuple=True)
        predicted = self.head(self.layer(rows[crystal, row])).squeeze(1)
        truth = noise[crystal, row]
        return [
            PretextResult(
                task="toy_noise",
                loss=(predicted - truth).square().mean(),
                weight=1.0,
                sums={
                    "model": (predicted - truth).abs().sum().detach().reshape(1),
                    "zero": truth.abs().sum().reshape(1),
                },
                count=predicted.new_ones(1) * len(predicted),
            )
        ]
