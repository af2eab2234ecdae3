"""Structures to tables, arrays and canonical crystals: convert, raw FTCP, panel, synthetic corpora.

First stages of the flow; nothing here learns. Takes paths, ``Crystals``, or objects of pymatgen
and ASE.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystalssl.files import atomic, write_text
from crystalssl.pipeline.outputs import check_file, forget_skipped, report_notes, report_skipped
from crystalssl.pipeline.progress import SILENT, Progress, counted

if TYPE_CHECKING:
    from crystalssl.datasets.load import Loaded, Structures
    from crystalssl.errors import Skip
    from crystalssl.structures.canonical import CanonicalResult
    from crystalssl.structures.crystals import Crystals

MANY = 20_000
"""Crystals above which the symmetry search uses all cores and tables are streamed."""


def convert(
    structures: Structures,
    out: str | Path | None = None,
    *,
    strict: bool = False,
    progress: Progress = SILENT,
) -> Crystals:
    """Turn crystal files into one structure table (Parquet), cells as given.

    Args:
        structures: paths or objects.
        out: structure table to write; what is left out is listed beside it.
        strict: whether a structure that cannot be used is an error.
        progress: told what is done.

    Returns:
        The valid crystals, in input order.

    Raises:
        InputError: if something cannot be read or written, or nothing is left.
    """
    path = None if out is None else check_file(out, [".parquet"])
    if path is None:
        return _load(structures, path, [], strict, progress).crystals
    return write_valid(structures, path, strict=strict, progress=progress)


def write_valid(
    structures: Structures | Loaded, out: Path, *, strict: bool, progress: Progress
) -> Crystals:
    """Write the structure table of valid crystals; arguments as of :func:`convert`.

    Raises:
        InputError: as :func:`convert`.
    """
    from crystalssl.structures import table

    loaded = _load(structures, out, [], strict, progress)
    table.write_table(loaded.crystals, out)
    progress.note(f"{counted(len(loaded.crystals), 'structure')}: {out}")
    return loaded.crystals


def write_ftcp(
    structures: Structures, out: str | Path, *, strict: bool = False, progress: Progress = SILENT
) -> Path:
    """Encode cells as given into raw FTCP, byte-compatible with the original program.

    Args:
        structures: paths or objects.
        out: array of (n, 400, 63) float32, ``.npy``; ids of its rows go beside it.
        strict: whether a structure that cannot be used is an error.
        progress: told what is done.

    Raises:
        InputError: as ``convert``.
    """
    from crystalssl.datasets.load import load_valid
    from crystalssl.representation.ftcp import encodable, encode_to_file

    path = check_file(out, [".npy"])
    with progress.step("Reading structures"):
        loaded = load_valid(structures)
        kept, unfit = encodable(loaded.crystals)
    _load(loaded, path, unfit, strict, progress)
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
    """Write the panel of canonical crystals: what the encoders read.

    Args:
        structures: paths or objects.
        out: array of (n, 103, 64), ``.npy``; ids of its rows go beside it.
        strict: whether a structure that cannot be used is an error.
        symprec: tolerance of the symmetry search in angstrom.
        progress: told what is done.

    Raises:
        InputError: as ``convert``.
    """
    import numpy as np

    from crystalssl.representation.panel import build_panel, holdable

    path = check_file(out, [".npy"])
    forget_skipped(path)
    canonical = load_canonical(structures, path, strict=strict, symprec=symprec, progress=progress)
    fits, unfit = holdable(canonical.crystals)
    left_out = [*canonical.skipped, *unfit]
    total = len(canonical.crystals) + len(canonical.skipped)
    report_skipped(left_out, total, path, strict=strict, progress=progress)
    crystals = canonical.crystals.take(fits)
    with progress.step("Building the panel"):
        array = build_panel(crystals)
    with atomic(path) as aside, aside.open("wb") as handle:
        np.save(handle, array, allow_pickle=False)
    return _write_ids(crystals.ids, path, progress)


def generate(
    structures: Structures | None = None,
    out: str | Path = "synthetic.parquet",
    *,
    count: int = 129_473,
    mean_sites: float | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Path:
    """Make a synthetic corpus of any size, to measure cost with: strained, elements exchanged.

    Args:
        structures: real crystals to start from; the bundled ones if None.
        out: structure table, ``.parquet``.
        count: crystals to make.
        mean_sites: sites of a cell on average.
        seed: seed of the random generator.
        progress: told what is done.

    Raises:
        InputError: if something cannot be read or written.
    """
    from crystalssl.datasets.bundled import load_bundled
    from crystalssl.datasets.generate import write_corpus
    from crystalssl.datasets.load import read_any

    path = check_file(out, [".parquet"])
    with progress.step("Making crystals"):
        source = read_any(structures).crystals if structures else load_bundled()
        write_corpus(path, source, count, seed=seed, mean_sites=mean_sites)
    number = counted(count, "synthetic crystal")
    progress.note(f"{number}, for measuring cost only: {path}")
    return path


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

    Returns:
        The canonical crystals; ``skipped`` holds all that was left out.

    Raises:
        InputError: if a source is missing or of no known kind, or as ``report_skipped``.
    """
    from crystalssl.datasets.load import read_any
    from crystalssl.processes import usable_cores
    from crystalssl.structures.canonical import canonicalize

    with progress.step("Reading structures"):
        result = read_any(structures)
    with progress.step("Finding canonical cells and symmetry"):
        processes = usable_cores() if len(result.crystals) > MANY else 1
        canonical = canonicalize(result.crystals, symprec=symprec, processes=processes)
    left_out = [*skipped, *result.skipped, *canonical.skipped]
    total = len(canonical.crystals) + len(left_out)
    report_skipped(left_out, total, out, strict=strict, progress=progress)
    report_notes([*result.notes, *canonical.notes], progress)
    number = counted(len(canonical.crystals), "canonical crystal")
    progress.note(f"{number} (symmetry within {symprec:g} angstrom)")
    return replace(canonical, skipped=left_out)


def _load(
    structures: Structures | Loaded,
    out: Path | None,
    unfit: Sequence[Skip],
    strict: bool,
    progress: Progress,
) -> Loaded:
    """Valid crystals, cells as given; what is skipped, and what does not fit, is reported."""
    from crystalssl.datasets.load import Loaded, load_valid

    if out is not None:
        forget_skipped(out)
    if isinstance(structures, Loaded):
        loaded = structures
    else:
        with progress.step("Reading structures"):
            loaded = load_valid(structures)
    total = len(loaded.crystals) + len(loaded.skipped)
    report_skipped([*loaded.skipped, *unfit], total, out, strict=strict, progress=progress)
    report_notes(loaded.notes, progress)
    return loaded


def _write_ids(ids: Any, out: Path, progress: Progress) -> Path:
    """Write ids as ``<stem>_ids.txt`` beside an array, where every reader of arrays looks."""
    from crystalssl.structures.ids import to_line

    sidecar = out.with_name(f"{out.stem}_ids.txt")
    write_text("".join(f"{to_line(str(name))}\n" for name in ids), sidecar)
    progress.note(f"{counted(len(ids), 'row')}: {out}\nIds: {sidecar}")
    return out
