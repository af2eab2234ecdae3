"""Structures and trained weights to a table of sites: one row an atom, streamed.

What ``extract --level site`` does; pooled features of sites are features of crystals and go the
way of all others (``extraction.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from crystalssl.errors import Skip
from crystalssl.pipeline.outputs import report_skipped
from crystalssl.pipeline.progress import Progress, counted
from crystalssl.pipeline.structures import load_canonical

if TYPE_CHECKING:
    from crystalssl.datasets.corpus import Corpus
    from crystalssl.datasets.load import Structures
    from crystalssl.features.extractor import ExtractorConfig


def extract_sites(
    structures: Structures,
    out: Path,
    config: ExtractorConfig,
    *,
    table: Path | None,
    strict: bool,
    progress: Progress,
) -> tuple[int, int]:
    """Write the features of every site.

    Args:
        structures: paths or objects.
        out: ``.parquet``.
        config: weights and settings, of level ``site``.
        table: structure table to stream, where the structures are one of many rows.
        strict: whether a structure that cannot be used is an error.
        progress: told what is done.

    Returns:
        The number of sites, and of features of each.

    Raises:
        InputError: if structures or weights cannot be used, or ``out`` cannot be written.
    """
    from crystalssl.features.site_table import encoded_sites, write_sites

    extractor = config.extractor()
    if table is None:
        corpora = _in_memory(structures, out, config.symprec, strict, progress)
    else:
        corpora = _streamed(table, out, config.symprec, strict, progress)
    sites = write_sites(out, encoded_sites(corpora, extractor))
    channels = sum(block.site_channels for block in extractor.encoders.values())
    progress.note(f"{counted(sites, 'site')} x {counted(channels, 'feature')}: {out}")
    return sites, channels


def _in_memory(
    structures: Structures, out: Path, symprec: float, strict: bool, progress: Progress
) -> Iterator[Corpus]:
    """Corpora of structures that fit in memory."""
    import numpy as np

    from crystalssl.datasets.corpus import Corpus
    from crystalssl.features.stream import PIECE

    canonical = load_canonical(structures, out, strict=strict, symprec=symprec, progress=progress)
    crystals = canonical.crystals
    with progress.step("Features") as advance:
        for start in range(0, max(len(crystals), 1), PIECE):
            rows = np.arange(start, min(start + PIECE, len(crystals)))
            yield Corpus.from_crystals(crystals.take(rows), targets=False)
            advance(start + len(rows), len(crystals))


def _streamed(
    table: Path, out: Path, symprec: float, strict: bool, progress: Progress
) -> Iterator[Corpus]:
    """Corpora of a structure table, some rows at a time."""
    from crystalssl.features.stream import count_rows, pieces, prepare

    total, seen = count_rows(table), 0
    skipped: list[Skip] = []
    with progress.step("Features") as advance:
        for piece in pieces(table):
            prepared = prepare(piece, symprec)
            skipped += prepared.skipped
            seen += prepared.rows
            if strict and skipped:
                break
            if prepared.corpus is not None:
                yield prepared.corpus
            advance(seen, total)
        report_skipped(skipped, total, out, strict=strict, progress=progress)
