"""Real crystals to as many made-up ones as wanted: strained, and some elements exchanged.

Each comes from one source crystal: elements move to a neighbour in their column of the periodic
table (same usual oxidation state, similar radius), the cell follows the radii and is strained a
little. For measuring cost only: nothing here is a material, and results on it say so. Chunks are
seeded one by one, so a corpus is streamed and a longer one begins with the shorter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from crystalssl.errors import InputError
from crystalssl.files import atomic
from crystalssl.representation import elemental
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.elements import SYMBOLS, symbol_to_number
from crystalssl.structures.table import to_arrow

CHUNK = 8192
"""Crystals made at a time, and rows of a row group."""
MADE_FROM = "made_from"
"""Carried column with the id of the source crystal."""
EXCHANGED = 0.5
"""Chance that an element moves to a neighbour."""
STRAIN = 0.02
"""Standard deviation of the strain."""
DISTORTED = 0.25
"""Share of crystals whose strain breaks the symmetry; that of the others is equal on all sides."""
CHAINS = (
    "He Ne Ar Kr Xe", "Li Na K Rb Cs", "Be Mg Ca Sr Ba", "Sc Lu Tm Y Er Ho Dy Tb Gd Sm Nd Pr Ce La",
    "Th U Np Pu", "Ti Hf Zr", "V Ta Nb", "Cr Mo W", "Mn Tc Re", "Fe Ru Os", "Co Rh Ir", "Ni Pd Pt",
    "Cu Ag Au", "Zn Cd Hg", "Al Ga In Tl", "Si Ge Sn Pb", "P As Sb Bi", "O S Se Te", "F Cl Br I",
)  # fmt: skip
"""Elements that take each other's place, each beside its nearest relatives (Pettifor's order)."""
SIMILAR = 1.2
"""Largest ratio of the covalent radii of neighbours that are exchanged."""

_RADIUS = 2  # column of ``elemental.WEIGHTS``
Floats = npt.NDArray[np.float64]


def neighbours() -> npt.NDArray[np.int64]:
    """(Z, 2) the element before and after each in its chain, or itself where none is similar."""
    table = np.repeat(np.arange(len(SYMBOLS))[:, None], 2, axis=1)
    radius = elemental.WEIGHTS[:, _RADIUS]
    for chain in CHAINS:
        numbers = [symbol_to_number(symbol) for symbol in chain.split()]
        for a, b in pairwise(numbers):
            if max(radius[a], radius[b]) <= SIMILAR * min(radius[a], radius[b]):
                table[a, 1], table[b, 0] = b, a
    return table


def generate(
    source: Crystals, count: int, *, seed: int = 0, mean_sites: float | None = None
) -> Iterator[Crystals]:
    """Make crystals, ``CHUNK`` at a time.

    Args:
        source: real crystals to start from.
        count: how many to make.
        seed: the same seed gives the same crystals.
        mean_sites: sites a cell on average; source crystals are then drawn with a chance that
            grows or falls exponentially with their sites. By default all are drawn alike.

    Yields:
        Crystals with ids ``synthetic-<seed>-<row>`` and the column ``made_from``.

    Raises:
        InputError: if there is nothing to start from, or no draw has so many sites on average.
    """
    if not len(source) or count < 1:
        raise InputError(
            f"Got {len(source)} source crystals and {count} to make, expected at least one each."
        )
    chance = _chances(source.site_counts, mean_sites)
    for number, start in enumerate(range(0, count, CHUNK)):
        rng = np.random.default_rng([seed, number])
        rows = rng.choice(len(source), CHUNK, p=chance)
        ids = np.array([f"synthetic-{seed}-{start + row}" for row in range(CHUNK)])
        made = _varied(source.take(rows).with_columns(None), rng).with_ids(ids)
        names = pa.table({MADE_FROM: pa.array(source.ids[rows].tolist(), pa.string())})
        yield made.with_columns(names).take(np.arange(min(CHUNK, count - start)))


def write_corpus(
    path: Path, source: Crystals, count: int, *, seed: int = 0, mean_sites: float | None = None
) -> Path:
    """Make crystals and stream them to a structure table, one row group a chunk.

    Args:
        path: Parquet file; replaced whole.
        source: as ``generate``.
        count: as ``generate``.
        seed: as ``generate``.
        mean_sites: as ``generate``.

    Raises:
        InputError: as ``generate``.
    """
    names = pa.table({MADE_FROM: pa.array(source.ids.tolist(), pa.string())})
    schema = to_arrow(source.with_columns(names)).schema
    with atomic(path) as aside, pq.ParquetWriter(aside, schema, compression="zstd") as writer:
        for chunk in generate(source, count, seed=seed, mean_sites=mean_sites):
            table = to_arrow(chunk)
            columns = [  # a chunk without disorder has no column of species
                table[field.name]
                if field.name in table.column_names
                else pa.nulls(len(chunk), field.type)
                for field in schema
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
    return Path(path)


def _chances(sites: npt.NDArray[np.int64], mean: float | None) -> Floats:
    """(n,) chance of each source crystal, proportional to exp(tilt x sites)."""
    if mean is None:
        return np.full(len(sites), 1.0 / len(sites))
    if not sites.min() < mean < sites.max():
        raise InputError(
            f"Got mean_sites={mean:g} for source crystals of {sites.min()} to {sites.max()} sites, "
            "expected a number between. Give larger or smaller source crystals."
        )
    low, high = -5.0, 5.0
    for _ in range(60):
        tilt = (low + high) / 2
        chance = np.exp(tilt * sites - (tilt * sites).max())
        chance /= chance.sum()
        low, high = (tilt, high) if chance @ sites < mean else (low, tilt)
    return np.asarray(chance, dtype=np.float64)


def _varied(crystals: Crystals, rng: np.random.Generator) -> Crystals:
    """The same number of crystals, elements exchanged and cells strained."""
    count, owner = len(crystals), crystals.crystal_of_site
    mapping = _exchange(crystals, rng)
    numbers = mapping[owner[:, None], crystals.numbers]
    radius = elemental.WEIGHTS[:, _RADIUS].astype(np.float64)
    before = np.bincount(owner, radius[crystals.numbers[:, 0]], minlength=count)
    after = np.bincount(owner, radius[numbers[:, 0]], minlength=count)
    strain = rng.normal(0, STRAIN, (count, 3, 3))
    strain = (strain + strain.transpose(0, 2, 1)) / 2
    alike = rng.random(count) >= DISTORTED
    strain[alike] = np.eye(3) * strain[alike, 0, 0][:, None, None]
    size = np.where((before > 0) & (after > 0), after / np.where(before > 0, before, 1), 1.0)
    return replace(
        crystals,
        lattice=crystals.lattice @ (np.eye(3) + strain) * size[:, None, None],
        numbers=numbers.astype(np.int16),
    )


def _exchange(crystals: Crystals, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """(n, Z) what each element of each crystal becomes; different elements stay different."""
    count, same = len(crystals), np.arange(len(SYMBOLS))
    present = np.zeros((count, len(SYMBOLS)), bool)
    present[crystals.crystal_of_site[:, None], crystals.numbers] = True
    draw = rng.random((count, len(SYMBOLS)))
    near = neighbours()
    mapping = np.where(draw < EXCHANGED / 2, near[:, 0], same)
    mapping = np.where(draw > 1 - EXCHANGED / 2, near[:, 1], mapping)
    row, element = np.nonzero(present)
    becomes = np.zeros_like(present)
    becomes[row, mapping[row, element]] = True
    merged = becomes.sum(axis=1) < present.sum(axis=1)
    mapping[merged] = same
    return mapping
