"""Arrays -> compressed text that a page can hold, and crystals -> chunks of such text.

The counterpart of ``templates/blocks.js``, which reads what is written here. Little-endian arrays,
deflated, in base64; structures lie in chunks that are unpacked when one of their crystals is looked
at.
"""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from crystalssl.structures.crystals import Crystals
from crystalssl.structures.species import mixture_codes

CHUNK = 256
"""Crystals in a chunk."""
STEPS = 65536
"""Steps of a fractional coordinate: below 0.001 angstrom in cells of 60 angstrom."""
DECIMALS = 3
"""Decimals of occupancies that agree."""


def packed(content: bytes) -> str:
    """Bytes as compressed text."""
    return base64.b64encode(zlib.compress(content, 9)).decode("ascii")


def packed_array(values: npt.ArrayLike, kind: str) -> str:
    """An array as compressed text.

    Args:
        values: any shape; written row after row.
        kind: NumPy's name of the type, such as ``<f4``.
    """
    return packed(np.ascontiguousarray(values, dtype=kind).tobytes())


def packed_lines(texts: npt.NDArray[np.str_]) -> str:
    """Texts as lines; line ends inside them become blanks."""
    lines = (" ".join(text.splitlines()) for text in texts.tolist())
    return packed("\n".join(lines).encode("utf-8"))


def packed_structures(crystals: Crystals) -> tuple[dict[str, str], list[list[list[Any]]]]:
    """Structures in chunks, and the fillings of their sites.

    Args:
        crystals: m crystals in any cell.

    Returns:
        One text a chunk by the name of its block; and for each kind of site, its species as
        [atomic number, occupancy], by decreasing occupancy.
    """
    codes, mixtures = mixture_codes(crystals, DECIMALS)
    present, kind = np.unique(codes, return_inverse=True)
    slots = mixtures.shape[1] // 2
    kinds = [
        [[int(z), float(x)] for z, x in zip(row[:slots], row[slots:], strict=True) if z > 0]
        for row in mixtures[present].tolist()
    ]
    steps = np.rint(np.mod(crystals.frac_coords, 1.0) * STEPS).astype(np.int64) % STEPS
    chunks = {}
    for number, start in enumerate(range(0, len(crystals), CHUNK)):
        rows = slice(start, min(start + CHUNK, len(crystals)))
        sites = slice(int(crystals.offsets[rows.start]), int(crystals.offsets[rows.stop]))
        arrays = (
            (crystals.lattice[rows], "<f4"),  # (c, 3, 3), rows are a, b, c
            (crystals.site_counts[rows], "<u4"),
            (kind.reshape(-1)[sites], "<u4"),
            (steps[sites], "<u2"),  # (s, 3)
        )
        content = b"".join(np.ascontiguousarray(a, dtype=k).tobytes() for a, k in arrays)
        chunks[f"structures-{number}"] = packed(content)
    return chunks, kinds
