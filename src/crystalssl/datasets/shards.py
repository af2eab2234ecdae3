"""A corpus in shards on disk, for pre-training on more crystals than fit in memory.

``write_shards`` turns a structure table into ``Corpus`` files of some thousand crystals, rows mixed
across the table; ``ShardedCorpus`` gives batches from them with one shard in memory at a time.
Shards are gone through in another order in every epoch, and so are the rows within a shard.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor
from torch.nn import functional

from crystalssl.config import SYMPREC
from crystalssl.datasets.corpus import Corpus, Reader
from crystalssl.datasets.neighbours import Neighbours
from crystalssl.errors import InputError, Skip
from crystalssl.files import atomic, check, check_version, describe, exclusive, make_folder

from crystalssl.files import read_json, remove, write_json  # isort: skip
from crystalssl.representation.batch import BlockBatch
from crystalssl.representation.panel_source import PanelSource
from crystalssl.structures.canonical import canonicalize
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.formulas import reduced_formulas
from crystalssl.structures.table import from_arrow

SHARD = 8192
"""Crystals in a shard."""
MIX = 4
"""Row groups, from all over the table, that are mixed into shards together."""
INDEX, FORMER_INDEX = "shards.json", "parts.json"
"""File that says which shards there are, written last; and its name before format 1."""
SHARDS_FORMAT = 1
"""Version of the index that this package writes."""
_SITES, _VALUES, _FORMULAS = "sites.npy", "values.npy", "formulas.npy"
_REMEDY = "Remove the folder, and the same command writes it again."


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardsOutcome:
    """What ``write_shards`` made: ``rows`` is ``written`` and the number of ``skipped``.

    Attributes:
        rows: rows of the table.
        written: crystals in the shards.
        skipped: the others, with reasons.
    """

    rows: int
    written: int
    skipped: list[Skip]


def write_shards(
    table: Path, folder: Path, *, seed: int = 0, symprec: float = SYMPREC
) -> ShardsOutcome:
    """Turn a structure table into a corpus in shards; nothing is done where they are there already.

    Memory is that of ``MIX`` row groups and one shard, however long the table is.

    Args:
        table: structure table; its row groups should be of some thousand rows.
        folder: where the shards go.
        seed: seed of the mixing.
        symprec: tolerance of the symmetry search in angstrom.

    Raises:
        InputError: if the file is no structure table, nothing in it can be used, or another
            process writes to the folder.
    """
    table, folder = Path(table), make_folder(folder)
    with exclusive(folder):
        if shards_fit(table, folder, seed=seed, symprec=symprec):
            index = read_json(folder / INDEX)
            skipped = [Skip(**skip) for skip in index["skipped"]]
            written = sum(index["crystals"])
            return ShardsOutcome(rows=index["rows"], written=written, skipped=skipped)
        remove(folder / INDEX)
        rows = 0
        skipped = []
        names: list[str] = []
        sites: list[npt.NDArray[np.int16]] = []
        values: list[npt.NDArray[np.float32]] = []
        formulas: list[npt.NDArray[np.int64]] = []
        for crystals, count, skips in _mixed(table, np.random.default_rng(seed)):
            rows += count
            skipped += skips
            for start in range(0, len(crystals), SHARD):
                some = crystals.take(np.arange(start, min(start + SHARD, len(crystals))))
                canonical = canonicalize(some, symprec=symprec)
                skipped += [replace(skip, file=str(table)) for skip in canonical.skipped]
                if not len(canonical.crystals):
                    continue
                corpus = Corpus.from_crystals(canonical)
                names.append(f"shard-{len(names):06d}.safetensors")
                corpus.save(folder / names[-1])
                sites.append(corpus.site_counts.astype(np.int16))
                values.append(corpus.values.numpy())
                formulas.append(_numbered(reduced_formulas(canonical.crystals)))
        if not names:
            raise InputError(f"None of {rows} structures of {table} can be used.")
        for name, arrays in ((_SITES, sites), (_VALUES, values), (_FORMULAS, formulas)):
            with atomic(folder / name) as aside, aside.open("wb") as handle:
                np.save(handle, np.concatenate(arrays), allow_pickle=False)
        needed = [*names, _SITES, _VALUES, _FORMULAS]
        former = [*folder.glob("shard-*"), *folder.glob("part-*"), folder / FORMER_INDEX]
        remove(*sorted(path for path in former if path.name not in needed))
        index = {
            "version": SHARDS_FORMAT,
            "shards": names,
            "crystals": [len(shard) for shard in sites],
            "rows": rows,
            "skipped": [asdict(skip) for skip in skipped],
            "made_from": _origin(table, seed, symprec),
            "files": describe({name: folder / name for name in needed}),
        }
        write_json(index, folder / INDEX)
    return ShardsOutcome(rows=rows, written=sum(map(len, sites)), skipped=skipped)


class ShardedCorpus:
    """A corpus in shards; gives batches as ``Corpus`` does, best from one shard at a time.

    Attributes:
        folder: where the shards are.
        site_counts: (n,) sites of each crystal.
        shard_of_row: (n,) shard of each crystal.
        formulas: (n,) number that stands for the reduced formula, to keep formulas together.
        values: (n, T) raw crystal-level targets, read from disk as needed.
    """

    def __init__(self, folder: Path) -> None:
        """Open what ``write_shards`` made; nothing large is read.

        Raises:
            InputError: if it is not there or its files do not belong together.
        """
        self.folder = Path(folder)
        index = _read_index(self.folder)
        files = dict(index.get("files", {}))  # indices of older versions do not describe files
        small = {name: files[name] for name in (_SITES, _VALUES, _FORMULAS) if name in files}
        check(files, self.folder, _REMEDY, content=False)
        check(small, self.folder, _REMEDY)
        self._names: list[str] = list(index.get("shards", index.get("parts", [])))
        counts = np.array(index["crystals"], dtype=np.int64)
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        self.shard_of_row = np.repeat(np.arange(len(counts)), counts)
        self.site_counts = np.load(self.folder / _SITES, allow_pickle=False).astype(np.int64)
        self.formulas = np.load(self.folder / _FORMULAS, allow_pickle=False)
        self.values = np.load(self.folder / _VALUES, allow_pickle=False, mmap_mode="r")
        if not len(self.site_counts) == len(self.formulas) == len(self.values) == counts.sum():
            raise InputError(f"The files of {folder} do not belong together. {_REMEDY}")
        self._mean = torch.zeros(self.values.shape[1])
        self._std = torch.ones(self.values.shape[1])
        self._device = torch.device("cpu")
        self._held: tuple[int, Corpus] | None = None

    def __len__(self) -> int:
        return len(self.site_counts)

    @property
    def has_symmetry(self) -> bool:
        """Always: shards are written with it."""
        return True

    @property
    def has_targets(self) -> bool:
        """Always: shards are written with them."""
        return True

    def identity(self) -> Iterator[bytes]:
        """What distinguishes this corpus from another, piece by piece."""
        yield from (name.encode() for name in self._names)
        for name in (_SITES, _VALUES, _FORMULAS):
            yield hashlib.sha256((self.folder / name).read_bytes()).digest()

    def to(self, device: torch.device | str) -> ShardedCorpus:
        """The same corpus, its batches on another device."""
        return self._like(self._mean, self._std, torch.device(device))

    def has_finite_targets(self, index: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """(row,) whether the targets of some crystals can be learnt."""
        rows = np.asarray(index, dtype=np.int64)
        groups = np.array_split(rows, max(1, -(-len(rows) // SHARD)))
        return np.concatenate([np.isfinite(self.values[some]).all(axis=1) for some in groups])

    def fit_targets(self, index: npt.ArrayLike) -> ShardedCorpus:
        """As ``Corpus.fit_targets``, some thousand rows at a time.

        Raises:
            InputError: if there is no row.
        """
        rows = np.sort(np.asarray(index, dtype=np.int64))
        rows = rows[self.has_finite_targets(rows)]
        if not len(rows):
            raise InputError("Got no crystals to standardise targets with, expected at least one.")
        groups = np.array_split(rows, -(-len(rows) // SHARD))
        total = sum(self.values[some].sum(axis=0, dtype=np.float64) for some in groups)
        mean = np.asarray(total) / len(rows)  # (T,)
        square = sum(np.square(self.values[some] - mean).sum(axis=0) for some in groups)
        std = np.sqrt(np.asarray(square) / len(rows))
        std[std <= 1e-6] = 1.0
        return self._like(
            torch.from_numpy(mean).float(), torch.from_numpy(std).float(), self._device
        )

    def batch(self, index: Tensor | npt.ArrayLike, block: Reader) -> BlockBatch:
        """As ``Corpus.batch``; rows of one shard need no other shard in memory."""
        rows = np.asarray(index, dtype=np.int64)
        shard = self.shard_of_row[rows]  # (row,)
        first = int(shard[0]) if len(rows) else 0
        if (shard == first).all():
            return self._shard(first).batch(rows - self._starts[first], block)
        order = np.argsort(shard, kind="stable")
        taken = [
            self._shard(number).take(rows[shard == number] - self._starts[number])
            for number in np.unique(shard).tolist()
        ]
        return joined(taken).batch(np.argsort(order), block)

    def crystals(self, index: npt.ArrayLike) -> Iterator[Crystals]:
        """As ``Corpus.crystals``, shard by shard; in the order of the shards."""
        rows = np.asarray(index, dtype=np.int64)
        shard = self.shard_of_row[rows]
        for number in np.unique(shard).tolist():
            yield from self._shard(number).crystals(rows[shard == number] - self._starts[number])

    def _shard(self, number: int) -> Corpus:
        if self._held is None or self._held[0] != number:
            self._held = None  # the old shard goes before the new one comes
            corpus = Corpus.load(self.folder / self._names[number])
            corpus = replace(corpus, target_mean=self._mean, target_std=self._std)
            self._held = (number, corpus.to(self._device))
        return self._held[1]

    def _like(self, mean: Tensor, std: Tensor, device: torch.device) -> ShardedCorpus:
        other = ShardedCorpus(self.folder)
        other._mean, other._std, other._device = mean, std, device
        return other


def joined(corpora: Sequence[Corpus]) -> Corpus:
    """Several corpora as one, in order; the statistics of the targets are those of the first."""
    first = corpora[0]
    panel = {
        f.name: _stacked([getattr(each.panel, f.name) for each in corpora])
        for f in fields(PanelSource)
        if f.name != "offsets"
    }
    near = {
        f.name: torch.cat([getattr(each.neighbours, f.name) for each in corpora])
        for f in fields(Neighbours)
        if f.name != "offsets"
    }
    electrons = [each.electrons for each in corpora if each.electrons is not None]
    return replace(
        first,
        ids=np.concatenate([each.ids for each in corpora]),
        panel=PanelSource(offsets=_chained([each.panel.offsets for each in corpora]), **panel),
        neighbours=Neighbours(
            offsets=_chained([each.neighbours.offsets for each in corpora]), **near
        ),
        values=torch.cat([each.values for each in corpora]),
        histogram=torch.cat([each.histogram for each in corpora]),
        crystal_system=torch.cat([each.crystal_system for each in corpora]),
        electrons=torch.cat(electrons) if len(electrons) == len(corpora) else None,
    )


def shards_fit(table: Path, folder: Path, *, seed: int = 0, symprec: float = SYMPREC) -> bool:
    """Whether ``write_shards`` has already done this, with the table as it is now."""
    try:
        index = read_json(Path(folder) / INDEX)
        check(dict(index["files"]), Path(folder), _REMEDY, content=False)
    except (InputError, KeyError, TypeError, ValueError):
        return False
    return bool(index.get("made_from") == _origin(Path(table), seed, symprec))


def _read_index(folder: Path) -> dict[str, Any]:
    for name in (INDEX, FORMER_INDEX):
        if (folder / name).is_file():
            index = read_json(folder / name)
            check_version(index.get("version"), SHARDS_FORMAT, folder / name)
            return index
    raise InputError(f"{folder} holds no corpus in shards ({INDEX} is missing).")


def split_by_formula(formulas: npt.NDArray[np.int64], share: float) -> npt.NDArray[np.bool_]:
    """(n,) rows held out: those whose formula's number falls into the share."""
    return np.asarray((formulas % 10_000) < share * 10_000)


def _origin(table: Path, seed: int, symprec: float) -> dict[str, float]:
    """What shards depend on."""
    try:
        state = table.stat()
    except OSError as error:
        raise InputError(f"No file {table}. Give the path of a structure table.") from error
    return {
        "bytes": state.st_size, "modified": state.st_mtime, "seed": seed, "symprec": symprec,
        "rows_in_a_shard": SHARD, "row_groups_mixed": MIX,
    }  # fmt: skip


def _stacked(arrays: Sequence[Tensor]) -> Tensor:
    """Tensors one after the other; those with fewer slots a site get empty ones."""
    if arrays[0].ndim < 2:
        return torch.cat(list(arrays))
    width = max(array.shape[-1] for array in arrays)
    return torch.cat([functional.pad(array, (0, width - array.shape[-1])) for array in arrays])


def _chained(offsets: Sequence[Tensor]) -> Tensor:
    """Offsets of corpora that lie one after the other."""
    counts = torch.cat([each.diff() for each in offsets])
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
            crystals = Crystals.concatenate([one.crystals.with_columns(None) for one in read])
            yield (
                crystals.take(rng.permutation(len(crystals))),
                sum(counts[group] for group in groups),
                [skip for one in read for skip in one.skipped],
            )
