"""A corpus in parts on disk, for pre-training on more crystals than fit in memory.

``write_parts`` turns a structure table into ``Corpus`` files of some thousand crystals, rows mixed
across the table; ``PartedCorpus`` gives batches from them with one part in memory at a time. Parts
are gone through in another order in every epoch, and so are the rows within a part.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from crystalssl.datasets.corpus import Corpus, Neighbours, Reader
from crystalssl.errors import InputError, Skip
from crystalssl.files import read_json, write_json
from crystalssl.representation.batch import BlockBatch
from crystalssl.representation.panel import PanelSource
from crystalssl.structures.canonical import SYMPREC, canonicalize
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.formulas import reduced_formulas
from crystalssl.structures.table import from_arrow

PART = 8192
"""Crystals in a part."""
MIX = 4
"""Row groups, from all over the table, that are mixed into parts together."""
INDEX = "parts.json"
"""File that says which parts there are; written last."""
_SITES, _VALUES, _FORMULAS = "sites.npy", "values.npy", "formulas.npy"


@dataclass(frozen=True, kw_only=True, slots=True)
class PartsOutcome:
    """What ``write_parts`` made: ``rows`` is ``written`` and the number of ``skipped``.

    Attributes:
        rows: rows of the table.
        written: crystals in the parts.
        skipped: the others, with reasons.
    """

    rows: int
    written: int
    skipped: list[Skip]


def write_parts(
    table: Path, folder: Path, *, seed: int = 0, symprec: float = SYMPREC
) -> PartsOutcome:
    """Turn a structure table into a corpus in parts.

    Memory is that of ``MIX`` row groups and one part, however long the table is.

    Args:
        table: structure table; its row groups should be of some thousand rows.
        folder: where the parts go.
        seed: seed of the mixing.
        symprec: tolerance of the symmetry search in angstrom.

    Raises:
        InputError: if the file is no structure table, or nothing in it can be used.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / INDEX).unlink(missing_ok=True)
    rng = np.random.default_rng(seed)
    rows = 0
    skipped: list[Skip] = []
    names: list[str] = []
    sites: list[npt.NDArray[np.int16]] = []
    values: list[npt.NDArray[np.float32]] = []
    formulas: list[npt.NDArray[np.int64]] = []
    for crystals, count, skips in _mixed(Path(table), rng):
        rows += count
        skipped += skips
        for start in range(0, len(crystals), PART):
            found = canonicalize(crystals.take(np.arange(start, min(start + PART, len(crystals)))))
            skipped += [replace(skip, file=str(table)) for skip in found.skipped]
            if not len(found.crystals):
                continue
            corpus = Corpus.from_crystals(found)
            names.append(f"part-{len(names):06d}.safetensors")
            corpus.save(folder / names[-1])
            sites.append(corpus.site_counts.astype(np.int16))
            values.append(corpus.values.numpy())
            formulas.append(_numbered(reduced_formulas(found.crystals)))
    if not names:
        raise InputError(f"None of {rows} structures of {table} can be used.")
    for name, arrays in ((_SITES, sites), (_VALUES, values), (_FORMULAS, formulas)):
        np.save(folder / name, np.concatenate(arrays), allow_pickle=False)
    index = {"parts": names, "crystals": [len(part) for part in sites]}
    write_json({**index, "made_from": _origin(Path(table), seed, symprec)}, folder / INDEX)
    return PartsOutcome(rows=rows, written=sum(map(len, sites)), skipped=skipped)


class PartedCorpus:
    """A corpus in parts; gives batches as ``Corpus`` does, best from one part at a time.

    Attributes:
        folder: where the parts are.
        site_counts: (n,) sites of each crystal.
        part_of_row: (n,) part of each crystal.
        formulas: (n,) number that stands for the reduced formula, to keep formulas together.
        values: (n, T) raw crystal-level targets, read from disk as needed.
    """

    def __init__(self, folder: Path) -> None:
        """Open what ``write_parts`` made; nothing large is read.

        Raises:
            InputError: if it is not there or its files do not belong together.
        """
        self.folder = Path(folder)
        if not (self.folder / INDEX).is_file():
            raise InputError(f"{folder} holds no corpus in parts ({INDEX} is missing).")
        found = read_json(self.folder / INDEX)
        self._names: list[str] = list(found["parts"])
        counts = np.array(found["crystals"], dtype=np.int64)
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        self.part_of_row = np.repeat(np.arange(len(counts)), counts)
        self.site_counts = np.load(self.folder / _SITES, allow_pickle=False).astype(np.int64)
        self.formulas = np.load(self.folder / _FORMULAS, allow_pickle=False)
        self.values = np.load(self.folder / _VALUES, allow_pickle=False, mmap_mode="r")
        if not len(self.site_counts) == len(self.formulas) == len(self.values) == counts.sum():
            raise InputError(f"The files of {folder} do not belong together. Write it anew.")
        self._mean = torch.zeros(self.values.shape[1])
        self._std = torch.ones(self.values.shape[1])
        self._device = torch.device("cpu")
        self._held: tuple[int, Corpus] | None = None

    def __len__(self) -> int:
        return len(self.site_counts)

    @property
    def has_symmetry(self) -> bool:
        """Always: parts are written with it."""
        return True

    @property
    def has_targets(self) -> bool:
        """Always: parts are written with them."""
        return True

    def identity(self) -> Iterator[bytes]:
        """What tells this corpus from another, piece by piece."""
        yield from (name.encode() for name in self._names)
        for name in (_SITES, _VALUES, _FORMULAS):
            yield hashlib.sha256((self.folder / name).read_bytes()).digest()

    def to(self, device: torch.device | str) -> PartedCorpus:
        """The same corpus, its batches on another device."""
        return self._like(self._mean, self._std, torch.device(device))

    def fit_targets(self, index: npt.ArrayLike) -> PartedCorpus:
        """As ``Corpus.fit_targets``, some thousand rows at a time.

        Raises:
            InputError: if there is no row.
        """
        rows = np.sort(np.asarray(index, dtype=np.int64))
        if not len(rows):
            raise InputError("Got no crystals to standardise targets with, expected at least one.")
        pieces = np.array_split(rows, -(-len(rows) // PART))
        total = sum(self.values[piece].sum(axis=0, dtype=np.float64) for piece in pieces)
        mean = np.asarray(total) / len(rows)
        square = sum(np.square(self.values[piece] - mean).sum(axis=0) for piece in pieces)
        std = np.sqrt(np.asarray(square) / len(rows))
        std[std <= 1e-6] = 1.0
        return self._like(
            torch.from_numpy(mean).float(), torch.from_numpy(std).float(), self._device
        )

    def batch(self, index: Tensor | npt.ArrayLike, block: Reader) -> BlockBatch:
        """As ``Corpus.batch``; rows of one part need no other part in memory."""
        rows = np.asarray(index, dtype=np.int64)
        part = self.part_of_row[rows]
        first = int(part[0]) if len(rows) else 0
        if (part == first).all():
            return self._part(first).batch(rows - self._starts[first], block)
        order = np.argsort(part, kind="stable")
        found = [
            self._part(number).take(rows[part == number] - self._starts[number])
            for number in np.unique(part).tolist()
        ]
        return joined(found).batch(np.argsort(order), block)

    def crystals(self, index: npt.ArrayLike) -> Iterator[Crystals]:
        """As ``Corpus.crystals``, part by part; in the order of the parts."""
        rows = np.asarray(index, dtype=np.int64)
        part = self.part_of_row[rows]
        for number in np.unique(part).tolist():
            yield from self._part(number).crystals(rows[part == number] - self._starts[number])

    def _part(self, number: int) -> Corpus:
        if self._held is None or self._held[0] != number:
            self._held = None  # the old part goes before the new one comes
            corpus = Corpus.load(self.folder / self._names[number])
            corpus = replace(corpus, target_mean=self._mean, target_std=self._std)
            self._held = (number, corpus.to(self._device))
        return self._held[1]

    def _like(self, mean: Tensor, std: Tensor, device: torch.device) -> PartedCorpus:
        other = PartedCorpus(self.folder)
        other._mean, other._std, other._device = mean, std, device
        return other


def joined(parts: Sequence[Corpus]) -> Corpus:
    """Several corpora as one, in order; the statistics of the targets are those of the first."""
    first = parts[0]
    panel = {
        f.name: torch.cat([getattr(part.panel, f.name) for part in parts])
        for f in fields(PanelSource)
        if f.name != "offsets"
    }
    near = {
        f.name: torch.cat([getattr(part.neighbours, f.name) for part in parts])
        for f in fields(Neighbours)
        if f.name != "offsets"
    }
    return replace(
        first,
        ids=np.concatenate([part.ids for part in parts]),
        panel=PanelSource(offsets=_chained([part.panel.offsets for part in parts]), **panel),
        neighbours=Neighbours(
            offsets=_chained([part.neighbours.offsets for part in parts]), **near
        ),
        values=torch.cat([part.values for part in parts]),
        histogram=torch.cat([part.histogram for part in parts]),
        crystal_system=torch.cat([part.crystal_system for part in parts]),
    )


def parts_fit(table: Path, folder: Path, *, seed: int = 0, symprec: float = SYMPREC) -> bool:
    """Whether ``write_parts`` has already done this, with the table as it is now."""
    path = Path(folder) / INDEX
    if not path.is_file():
        return False
    return bool(read_json(path).get("made_from") == _origin(Path(table), seed, symprec))


def split_by_formula(formulas: npt.NDArray[np.int64], share: float) -> npt.NDArray[np.bool_]:
    """(n,) rows held out: those whose formula's number falls into the share."""
    return np.asarray((formulas % 10_000) < share * 10_000)


def _origin(table: Path, seed: int, symprec: float) -> dict[str, float]:
    """What parts depend on."""
    try:
        state = table.stat()
    except OSError as error:
        raise InputError(f"No file {table}. Give the path of a structure table.") from error
    return {
        "bytes": state.st_size, "modified": state.st_mtime, "seed": seed, "symprec": symprec,
        "rows_in_a_part": PART, "row_groups_mixed": MIX,
    }  # fmt: skip


def _chained(offsets: Sequence[Tensor]) -> Tensor:
    """Offsets of parts that lie one after the other."""
    counts = torch.cat([part.diff() for part in offsets])
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def _numbered(formulas: npt.NDArray[np.str_]) -> npt.NDArray[np.int64]:
    """A number for each formula that is the same everywhere."""
    return np.array([zlib.crc32(name.encode()) for name in formulas.tolist()], dtype=np.int64)


def _mixed(table: Path, rng: np.random.Generator) -> Iterator[tuple[Crystals, int, list[Skip]]]:
    """Crystals of a few row groups at a time in random order, rows read, and what is skipped."""
    try:
        file = pq.ParquetFile(table)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{table} cannot be read as Parquet ({error}).") from error
    with file:
        counts = [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)]
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        order = rng.permutation(len(counts))
        for at in range(0, len(order), MIX):
            groups = order[at : at + MIX].tolist()
            read = [
                from_arrow(file.read_row_group(group), str(table), int(starts[group]))
                for group in groups
            ]
            found = [part.crystals.with_columns(None) for part in read]
            crystals = Crystals.concatenate(found)
            yield (
                crystals.take(rng.permutation(len(crystals))),
                sum(counts[group] for group in groups),
                [skip for part in read for skip in part.skipped],
            )
