"""Crystals into raw FTCP arrays (400, 63), equal to those of PV-Lab's program number by number.

Real space (elements, cell, sites, occupancies) beside 59 reciprocal points with 92 properties
times pi k.r. There is no Fourier sum in it: the last part is linear in the coordinates and moves
with the origin, so encoders never read it; the cell is taken as given. Source: Z. Ren et al.,
Matter 5, 314 (2022). ``ftcp_decode.py`` turns arrays back into crystals.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crystalssl.errors import Skip
from crystalssl.files import atomic
from crystalssl.representation import elemental, layout
from crystalssl.representation._compiled import run_chunks
from crystalssl.representation._ftcp_kernels import encode_chunk
from crystalssl.representation.ftcp_decode import decode
from crystalssl.representation.ftcp_files import RawArray, load_array
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.validity import skip

__all__ = [
    "EncodeResult",
    "RawArray",
    "decode",
    "encodable",
    "encode",
    "encode_to_file",
    "load_array",
]

HIGHEST_ELEMENT = 100
"""The 92 properties stop at fermium."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodeResult:
    """Raw FTCP of the crystals that fit into it.

    Attributes:
        array: (m, 400, 63) float32.
        kept: (m,) int64, index of each array in the input; increasing.
        skipped: the other crystals, with reasons.
    """

    array: npt.NDArray[np.float32]
    kept: npt.NDArray[np.int64]
    skipped: list[Skip]


def _misfit(crystals: Crystals) -> npt.NDArray[np.int64]:
    """(n,) 0 where a crystal fits, else the number of its reason in ``_REASONS``."""
    n, owner = len(crystals), crystals.crystal_of_site
    present = np.zeros((n, np.iinfo(np.uint8).max), np.bool_)
    filled = crystals.numbers > 0
    known = np.clip(crystals.numbers, 0, present.shape[1] - 1)
    present[np.repeat(owner, filled.sum(axis=1)), known[filled]] = True
    finite = np.bincount(owner, ~np.isfinite(crystals.frac_coords).all(axis=1), minlength=n) == 0
    scale = np.prod(np.linalg.norm(crystals.lattice, axis=2), axis=1)
    reason = np.zeros(n, np.int64)
    reason[~present.any(axis=1)] = 5
    reason[~(finite & (crystals.volumes > 1e-12 * scale))] = 4
    reason[present[:, HIGHEST_ELEMENT + 1 :].any(axis=1)] = 3
    reason[crystals.site_counts > layout.MAX_SITES] = 2
    reason[present.sum(axis=1) > layout.RAW_ELEMENTS] = 1
    return reason


_REASONS = {
    1: (f"more than {layout.RAW_ELEMENTS} elements", "Use the panel, which holds any number."),
    2: (f"more than {layout.MAX_SITES} sites", "Canonicalize first; it finds smaller cells."),
    3: (f"an element beyond Z = {HIGHEST_ELEMENT}", "Use the panel, which goes to Z = 103."),
    4: ("a coordinate that is no number or a cell without volume", "Check the file."),
    5: ("no atom", "Check the file."),
}


def encode(crystals: Crystals) -> EncodeResult:
    """Raw FTCP of crystals, on their cells as given.

    Cells so small that fewer than 59 reciprocal points lie within the wider sphere, on which the
    original program stops, get zeros in the remaining columns. Partial occupancies enter as
    fractions.

    Args:
        crystals: any cells with 1..100 sites, at most 4 elements, Z <= 100; the others are
            skipped.

    Example:
        >>> from crystalssl.structures.crystals import Crystals
        >>> encode(Crystals.empty()).array.shape
        (0, 400, 63)
    """
    kept, skipped = encodable(crystals)
    array = np.zeros((len(kept), *layout.RAW_SHAPE), np.float32)
    _fill(crystals, kept, array)
    return EncodeResult(array=array, kept=kept, skipped=skipped)


def encode_to_file(crystals: Crystals, path: str | Path) -> EncodeResult:
    """As ``encode``, straight into an ``.npy`` file, for arrays larger than memory.

    A crystal takes 101 kB, so 129,473 take 13 GB.

    Args:
        crystals: as for ``encode``.
        path: file to write; it appears when it is complete.

    Returns:
        The result with its array memory-mapped from the file, read-only.
    """
    path = Path(path)
    kept, skipped = encodable(crystals)
    shape = (len(kept), *layout.RAW_SHAPE)
    with atomic(path) as aside:
        stored = np.lib.format.open_memmap(aside, mode="w+", dtype=np.float32, shape=shape)
        _fill(crystals, kept, np.asarray(stored))
        stored.flush()
        del stored
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    return EncodeResult(array=array, kept=kept, skipped=skipped)


def encodable(crystals: Crystals) -> tuple[npt.NDArray[np.int64], list[Skip]]:
    """Which crystals raw FTCP can hold, before any is encoded.

    Returns:
        (m,) indices of those that fit, increasing, and a skip for each of the others.
    """
    misfit = _misfit(crystals)
    skipped = []
    for row in np.flatnonzero(misfit).tolist():
        reason, remedy = _REASONS[int(misfit[row])]
        skipped.append(skip(crystals, row, f"Got {reason}; raw FTCP cannot hold it.", remedy))
    return np.flatnonzero(misfit == 0).astype(np.int64), skipped


def _fill(crystals: Crystals, kept: npt.NDArray[np.int64], array: npt.NDArray[np.float32]) -> None:
    """Write the crystals ``kept`` into an array of zeros."""
    code = elemental.CGCNN

    def work(start: int, stop: int) -> None:
        encode_chunk(
            kept[start:stop], crystals.lattice, crystals.offsets, crystals.numbers,
            crystals.occupancy, crystals.frac_coords, code, array[start:stop],
        )  # fmt: skip

    run_chunks(work, len(kept))
