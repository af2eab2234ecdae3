"""Structures to crystals, canonical crystals and arrays: convert, raw FTCP, panel, and splits.

First stages of the flow; nothing here learns. Takes paths, ``Crystals``, or objects of pymatgen
and ASE.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from crystalssl.adapters.inputs import as_list
from crystalssl.datasets.load import load_crystals
from crystalssl.errors import InputError, Skip
from crystalssl.files import atomic, write_text
from crystalssl.pipeline.outputs import check_file, forget_skipped, report_skipped
from crystalssl.pipeline.progress import SILENT, Progress, counted
from crystalssl.structures.canonical import CanonicalResult, canonicalize
from crystalssl.structures.crystals import Crystals, ReadResult
from crystalssl.structures.objects import from_objects
from crystalssl.structures.table import write_table
from crystalssl.structures.validity import MAX_SITES, check

Structures: TypeAlias = Crystals | str | Path | Sequence[Any]
"""Crystals, a path, or a list of paths, pymatgen Structures, ASE Atoms or structure dictionaries."""
MANY = 20_000
"""Crystals above which the symmetry search uses all cores and tables are streamed."""
PARTS = ("train", "val", "test")
"""Values of a split column."""
FRACTIONS = (0.7, 0.1, 0.2)
"""Fractions of the formulas in each when the structures carry no split column."""


def read(structures: Structures, progress: Progress = SILENT) -> ReadResult:
    """Read whatever holds structures.

    Raises:
        InputError: if a path is missing or of no known kind, or the input is no list.
    """
    if isinstance(structures, Crystals):
        return ReadResult(crystals=structures, skipped=[])
    if isinstance(structures, str | Path):
        structures = [structures]
    items = as_list(structures)
    with progress.step("Reading structures"):
        if all(isinstance(item, str | Path) for item in items):
            return load_crystals([os.fspath(item) for item in items])
        return from_objects(items)


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """Structures as they were given, without those that cannot be used.

    Attributes:
        crystals: the valid ones, in input order.
        skipped: the others.
        total: how many there were.
    """

    crystals: Crystals
    skipped: list[Skip]
    total: int


def load(structures: Structures, progress: Progress = SILENT) -> Loaded:
    """Read structures, cells as given, and set aside those that are not valid.

    Raises:
        InputError: as ``read``.
    """
    result = read(structures, progress)
    valid, invalid = check(result.crystals, max_sites=None)
    crystals = result.crystals.take(valid)
    # A large cell is fine if the crystal's reduced cell is small enough.
    large = crystals.site_counts > MAX_SITES
    too_large = canonicalize(crystals.take(large)).skipped if large.any() else []
    gone = {skip.id for skip in too_large}
    return Loaded(
        crystals=crystals.take([name not in gone for name in crystals.ids.tolist()]),
        skipped=[*result.skipped, *invalid, *too_large],
        total=len(result.crystals) + len(result.skipped),
    )


def load_canonical(
    structures: Structures,
    out: Path | None,
    *,
    strict: bool,
    symprec: float,
    progress: Progress,
    skipped: Sequence[Skip] = (),
) -> CanonicalResult:
    """Read structures and bring them to their canonical cells; everything skipped is reported.

    Args:
        structures: what to read, or crystals already read.
        out: output of the command; see ``report_skipped``.
        strict: whether any skipped structure is an error.
        symprec: tolerance of the symmetry search in angstrom.
        progress: told what is done.
        skipped: what could not be read of crystals already read.

    Raises:
        InputError: as ``read`` and ``report_skipped``.
    """
    result = read(structures, progress)
    skipped = [*skipped, *result.skipped]
    crystals = result.crystals
    with progress.step("Finding canonical cells and symmetry"):
        processes = (os.cpu_count() or 1) if len(crystals) > MANY else 1
        canonical = canonicalize(crystals, symprec=symprec, processes=processes)
    total = len(crystals) + len(skipped)
    everything = [*skipped, *canonical.skipped]
    report_skipped(everything, total, out, strict=strict, progress=progress)
    number = counted(len(canonical.crystals), "canonical crystal")
    progress.note(f"{number} (symmetry within {symprec:g} angstrom)")
    return canonical


def convert(
    structures: Structures,
    out: str | Path | None = None,
    *,
    strict: bool = False,
    progress: Progress = SILENT,
) -> Crystals:
    """Turn structures into one table, cells as given.

    Args:
        structures: paths or objects.
        out: structure table to write, ``.parquet``; what is left out is listed beside it.
        strict: whether a structure that cannot be used is an error.
        progress: told what is done.

    Returns:
        The valid crystals, in input order.

    Raises:
        InputError: if something cannot be read or written, or nothing is left.
    """
    path = None if out is None else check_file(out, [".parquet"])
    if path is not None:
        forget_skipped(path)
    loaded = load(structures, progress)
    report_skipped(loaded.skipped, loaded.total, path, strict=strict, progress=progress)
    if path is not None:
        write_table(loaded.crystals, path)
        progress.note(f"{counted(len(loaded.crystals), 'structure')}: {path}")
    return loaded.crystals


def write_ftcp(
    structures: Structures, out: str | Path, *, strict: bool = False, progress: Progress = SILENT
) -> Path:
    """Encode cells as given into raw FTCP, (n, 400, 63) float32, with the ids of its rows beside.

    Raises:
        InputError: as ``convert``.
    """
    from crystalssl.representation.ftcp import encodable, encode_to_file

    path = check_file(out, [".npy"])
    forget_skipped(path)
    loaded = load(structures, progress)
    kept, unfit = encodable(loaded.crystals)
    skipped = [*loaded.skipped, *unfit]
    report_skipped(skipped, loaded.total, path, strict=strict, progress=progress)
    with progress.step("Encoding"):
        encode_to_file(loaded.crystals.take(kept), path)
    return _write_ids(loaded.crystals.ids[kept], path, progress)


def write_panel(
    structures: Structures,
    out: str | Path,
    *,
    strict: bool = False,
    symprec: float = 0.01,
    progress: Progress = SILENT,
) -> Path:
    """Write the panel of canonical crystals, (n, 103, 64), with the ids of its rows beside.

    Raises:
        InputError: as ``convert``.
    """
    from crystalssl.representation.panel import build_panel

    path = check_file(out, [".npy"])
    forget_skipped(path)
    canonical = load_canonical(structures, path, strict=strict, symprec=symprec, progress=progress)
    with progress.step("Building the panel"):
        array = build_panel(canonical.crystals)
    with atomic(path) as aside, aside.open("wb") as handle:
        np.save(handle, array, allow_pickle=False)
    return _write_ids(canonical.crystals.ids, path, progress)


def _write_ids(ids: npt.NDArray[np.str_], out: Path, progress: Progress) -> Path:
    """Write ids as ``<stem>_ids.txt`` beside an array, where every reader of arrays looks."""
    sidecar = out.with_name(f"{out.stem}_ids.txt")
    write_text("".join(f"{name}\n" for name in ids), sidecar)
    progress.note(f"{counted(len(ids), 'row')}: {out}\nIds: {sidecar}")
    return out


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Rows of each part; a reduced formula is in one part only.

    Attributes:
        train: rows that encoders are trained on.
        val: rows that decide when to stop.
        test: rows never seen in pre-training.
    """

    train: npt.NDArray[np.int64]
    val: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]

    def names(self) -> npt.NDArray[np.str_]:
        """(n,) the part of every row."""
        named = np.full(len(self.train) + len(self.val) + len(self.test), "train")
        named[self.val] = "val"
        named[self.test] = "test"
        return named


def has_split(crystals: Crystals) -> bool:
    """Whether crystals carry a column that says what to train on."""
    return crystals.columns is not None and "split" in crystals.columns.column_names


def find_split(crystals: Crystals, seed: int) -> Split:
    """The split column if there is one, else a split with formulas kept together.

    Raises:
        InputError: if the split column holds other words than train, val and test, or if nothing
            would be left to train on or to validate with.
    """
    if has_split(crystals):
        names = crystals.column("split")
        unknown = sorted({str(name) for name in names} - set(PARTS))
        if unknown:
            raise InputError(
                f"Column 'split' holds {', '.join(unknown)}; expected only {', '.join(PARTS)}."
            )
        rows = [np.flatnonzero(names == name) for name in PARTS]
    else:
        from crystalssl.datasets.splits import grouped_split
        from crystalssl.structures.formulas import reduced_formulas

        formulas = reduced_formulas(crystals)
        rows = [np.arange(len(crystals))] + [np.zeros(0, np.int64)] * 2
        if len(np.unique(formulas)) >= len(PARTS):
            rows = list(grouped_split(formulas, FRACTIONS, seed))
    split = Split(train=rows[0], val=rows[1], test=rows[2])
    if not len(split.train) or not len(split.val):
        raise InputError(
            f"Pre-training needs crystals to train on and to validate with; got {len(split.train)} "
            f"and {len(split.val)} from {counted(len(crystals), 'structure')}. Give more "
            "structures of different formulas."
        )
    return split


def with_split(crystals: Crystals, seed: int) -> Crystals:
    """The same crystals with a split column; one that is there is kept.

    Raises:
        InputError: as ``find_split``.
    """
    split = find_split(crystals, seed)
    names = pa.array(split.names().tolist())
    if crystals.columns is None:
        return crystals.with_columns(pa.table({"split": names}))
    if has_split(crystals):
        return crystals
    return crystals.with_columns(crystals.columns.append_column("split", names))
