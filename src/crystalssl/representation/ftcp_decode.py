"""Raw FTCP arrays back into crystals, for people who have the arrays and not the structures.

Arrays come from ``ftcp_files.load_array`` or memory and are read piece by piece. Elements, cell,
coordinates and occupancies are in them as plain numbers (``layout.py``), so the inverse is exact
to float32; the orientation of the cell is not in them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError, Skip
from crystalssl.representation import layout
from crystalssl.structures.crystals import SLOTS, Crystals, ReadResult

FLAT_WIDTH = layout.RAW_SHAPE[0] * layout.RAW_SHAPE[1]
"""Width of a flattened array."""
_CHUNK = 1024
_SMALLEST_SHARE = 1e-3
_MOST_OCCUPIED = 1.01


def as_raw(array: npt.NDArray[np.generic], source: str = "the array") -> npt.NDArray[np.generic]:
    """See an array of either shape as (n, 400, 63), without copying.

    Raises:
        InputError: if it is neither (n, 400, 63) nor (n, 25200) numbers.
    """
    expected = f"(n, {layout.RAW_SHAPE[0]}, {layout.RAW_SHAPE[1]}) or (n, {FLAT_WIDTH})"
    if array.dtype.kind not in "fiu":
        raise InputError(
            f"{source} holds {array.dtype}, expected numbers of shape {expected}. "
            "Save it with numpy.save after array.astype('float32')."
        )
    if array.ndim == 2 and array.shape[1] == FLAT_WIDTH:
        array = array.reshape(-1, *layout.RAW_SHAPE)
    if array.ndim != 3 or array.shape[1:] != layout.RAW_SHAPE:
        raise InputError(
            f"{source} has shape {array.shape}, expected {expected}. Raw FTCP is made with "
            "max_elms=4, max_sites=100 and two zero rows; re-encode the structures if it was not."
        )
    return array


def _lattice(cell: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(n, 3, 3) vectors from (n, 2, 3) lengths and angles: c along z, a in the xz plane."""
    (a, b, c), (ca, cb, cg) = cell[:, 0].T, np.cos(np.deg2rad(cell[:, 1])).T
    sa, sb = np.sqrt(np.maximum(1 - ca**2, 0)), np.sqrt(np.maximum(1 - cb**2, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        star = (ca * cb - cg) / (sa * sb)
        height = np.sqrt(1 - star**2)
    zero = np.zeros_like(a)
    rows = [[a * sb, zero, a * cb], [-b * sa * star, b * sa * height, b * ca], [zero, zero, c]]
    return np.moveaxis(np.array(rows), 2, 0)


def _fault(raw: npt.NDArray[np.float64], lattice: npt.NDArray[np.float64]) -> list[str]:
    """For each array, what makes it senseless, or an empty text."""
    onehot, share = raw[:, : layout.ELEMENTS], _shares(raw)
    named = (onehot > 0.5).sum(axis=1)
    lengths = raw[:, layout.RAW_CELL_ROW, :3]
    angles = raw[:, layout.RAW_CELL_ROW + 1, :3]
    with np.errstate(invalid="ignore"):
        faults = [
            (~np.isfinite(raw).all(axis=(1, 2)), "NaN or inf"),
            ((named > 1).any(axis=1), "several elements in one element column"),
            (~(share > 0).any(axis=(1, 2)), "no occupied site"),
            (((share > 0).any(axis=1) & (named == 0)).any(axis=1), "a site without an element"),
            (share.sum(axis=2).max(axis=1) > _MOST_OCCUPIED, "a site more than fully occupied"),
            ((lengths <= 0).any(axis=1), "a cell length that is not positive"),
            (((angles <= 0) | (angles >= 180)).any(axis=1), "a cell angle outside 0..180 degrees"),
            (~np.isfinite(lattice).all(axis=(1, 2)), "cell angles that no cell has"),
        ]
    texts = [""] * len(raw)
    for broken, text in faults:
        for row in np.flatnonzero(broken).tolist():
            texts[row] = texts[row] or text
    return texts


def _shares(raw: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(n, 100, 4) occupancy of each site by each element column, traces set to zero."""
    share = raw[:, layout.RAW_OCCUPANCY_ROW :]
    return np.where(share > _SMALLEST_SHARE, share, 0.0)


def _decode_chunk(raw: npt.NDArray[np.float64], ids: npt.NDArray[np.str_]) -> ReadResult:
    """Crystals from the real-space rows and columns (m, 305, 4) of a piece of the array."""
    lattice = _lattice(raw[:, layout.RAW_CELL_ROW : layout.RAW_SITE_ROW, :3])
    texts = _fault(raw, lattice)
    good = np.array([not text for text in texts], dtype=bool)
    skipped = [
        Skip(
            id=str(name),
            file="",
            reason=f"Got {text}; expected a raw FTCP array.",
            remedy="Encode the structure again (crystalssl ftcp), or leave the row out.",
        )
        for name, text in zip(ids, texts, strict=True)
        if text
    ]
    raw, lattice, share = raw[good], lattice[good], _shares(raw[good])
    held = (share > 0).any(axis=2)
    z = raw[:, : layout.ELEMENTS].argmax(axis=1) + 1
    numbers = np.repeat(z[:, None, :], layout.MAX_SITES, axis=1)[held]
    occupancy = share[held]
    order = np.argsort(-occupancy, axis=1, kind="stable")
    occupancy = np.take_along_axis(occupancy, order, axis=1)
    numbers = np.where(occupancy > 0, np.take_along_axis(numbers, order, axis=1), 0)
    coords = raw[:, layout.RAW_SITE_ROW : layout.RAW_OCCUPANCY_ROW, :3][held]
    crystals = Crystals(
        ids=ids[good],
        lattice=lattice,
        offsets=np.concatenate([[0], np.cumsum(held.sum(axis=1))]).astype(np.int64),
        frac_coords=np.ascontiguousarray(coords),
        numbers=numbers.astype(np.int16),
        occupancy=occupancy.astype(np.float32),
    )
    return ReadResult(crystals=crystals, skipped=skipped)


def decode(
    array: npt.NDArray[np.generic], ids: Sequence[str] | npt.NDArray[np.str_] | None = None
) -> ReadResult:
    """Crystals from raw FTCP arrays; senseless arrays are skipped with a reason.

    Args:
        array: (n, 400, 63) or (n, 25200), in memory or memory-mapped; only 1,024 rows are held
            as numbers at a time.
        ids: n identifiers, or row numbers.

    Raises:
        InputError: if the shape is another, or the number of ids differs.
    """
    raw = as_raw(array)
    names = np.arange(len(raw)).astype(np.str_) if ids is None else np.asarray(ids, dtype=np.str_)
    if len(names) != len(raw):
        raise InputError(
            f"Got {len(names)} ids for {len(raw)} arrays, expected as many. Give one id a row, in "
            "the order of the rows."
        )
    batches = [
        _decode_chunk(
            np.asarray(raw[start : start + _CHUNK, : layout.RAW_DISTANCE_ROW, :SLOTS], np.float64),
            names[start : start + _CHUNK],
        )
        for start in range(0, len(raw), _CHUNK)
    ]
    if not batches:
        return ReadResult(crystals=Crystals.empty(), skipped=[])
    return ReadResult(
        crystals=Crystals.concatenate([batch.crystals for batch in batches]),
        skipped=[skip for batch in batches for skip in batch.skipped],
    )
