"""Crystals made by seeded rules, a small corpus of them, and a tiny block to train."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from crystalssl.blocks.contract import Block, Encoded, PretextResult, TaskInfo
from crystalssl.datasets.corpus import Corpus
from crystalssl.structures.canonical import CanonicalResult, canonicalize
from crystalssl.structures.crystals import SLOTS, Crystals

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


@dataclass(frozen=True, kw_only=True)
class ToyConfig:
    hidden: int = 8


class Toy(Block):
    """A linear encoder of site rows that guesses noise added to the first coordinate."""

    name: ClassVar[str] = "toy"
    number: ClassVar[int] = 7
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

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.layer = nn.Sequential(nn.Linear(24, config.hidden), nn.Tanh(), nn.Dropout(0.1))
        self.head = nn.Linear(config.hidden, 1)

    def encode(self, batch):
        crystal, row = batch.valid.nonzero(as_tuple=True)
        tokens = self.layer(batch.rows[crystal, row])
        total = tokens.new_zeros(len(batch.rows), tokens.shape[1]).index_add(0, crystal, tokens)
        mean = total / batch.valid.sum(1, keepdim=True)
        return Encoded(tokens=tokens, crystal=crystal, features=torch.cat([mean, total], 1))

    def pretext(self, batch, generator):
        noise = torch.rand(batch.rows.shape[:2], generator=generator).to(batch.rows)
        rows = batch.rows.clone()
        rows[..., 6] += noise
        crystal, row = batch.valid.nonzero(as_tuple=True)
        answer = self.head(self.layer(rows[crystal, row])).squeeze(1)
        truth = noise[crystal, row]
        return [
            PretextResult(
                task="toy_noise",
                loss=(answer - truth).square().mean(),
                weight=1.0,
                sums={
                    "model": (answer - truth).abs().sum().detach().reshape(1),
                    "zero": truth.abs().sum().reshape(1),
                },
                count=answer.new_ones(1) * len(answer),
            )
        ]


@pytest.fixture(scope="session")
def many_crystals() -> Crystals:
    return make_crystals(70)


@pytest.fixture(scope="session")
def canonical(many_crystals: Crystals) -> CanonicalResult:
    return canonicalize(many_crystals)


@pytest.fixture(scope="session")
def made_corpus(canonical: CanonicalResult) -> Corpus:
    return Corpus.from_crystals(canonical)


@pytest.fixture(scope="session")
def toy_class() -> type[Block]:
    return Toy


@pytest.fixture
def registered_toy():
    """The toy as a block of this process, taken back afterwards."""
    from crystalssl.blocks import registry

    registry.register_block(Toy)
    yield Toy
    registry._REGISTERED.remove(Toy)
