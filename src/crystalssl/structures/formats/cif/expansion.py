"""Listed CIF sites and symmetry operations to all the sites of the cell.

Images of one row that fall together (a special position) become one site; rows that share a
position share the site. Used by ``cif.py`` for blocks that are not P1 without disorder.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import gemmi
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

IMAGE_TOLERANCES = (0.03, 0.003, 0.1)
"""Images of one row closer than this, in angstrom, are one site on a special position.

The first holds unless the file states how many images there are and another one agrees with it:
0.003 where split sites lie close to a special position, 0.1 where coordinates have two digits.
"""

SHARED_TOLERANCE = 0.01
"""Partially filled rows closer than this, in angstrom, share their site."""

_THIRDS = np.array([1, 2, 4, 5]) / 6.0
_ROUNDING = 1.01e-4


@lru_cache(maxsize=512)
def parse_operations(operations: tuple[str, ...]) -> tuple[Floats, Floats]:
    """Rotations (k, 3, 3) and translations (k, 3) of operations such as ``-x,y+1/2,-z``.

    Raises:
        ValueError: if one cannot be read.
    """
    try:
        parsed = [gemmi.Op(text) for text in operations]
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    rotations = np.array([op.rot for op in parsed], dtype=np.float64) / gemmi.Op.DEN
    return rotations, np.array([op.tran for op in parsed], dtype=np.float64) / gemmi.Op.DEN


@lru_cache(maxsize=512)
def operations_of_group(name: str, number: str, alpha: float, gamma: float) -> tuple[str, ...]:
    """Operations of a space group given by its symbol (Hermann-Mauguin or Hall) or number.

    An empty result means that the group is unknown. A symbol with two origin choices gives the
    first, and a rhombohedral one follows the angles.
    """
    group = gemmi.find_spacegroup_by_name(name, alpha, gamma) if name else None
    if group is None and name:
        group = next((g for g in gemmi.spacegroup_table() if g.hall == name), None)
    if group is None and number.isdigit() and 1 <= int(number) <= 230:
        group = gemmi.find_spacegroup_by_number(int(number))
    return tuple(op.triplet() for op in group.operations()) if group else ()


def expand(
    lattice: Floats,
    frac_coords: Floats,
    operations: tuple[str, ...],
    multiplicity: Sequence[int] | None = None,
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """All sites of the cell.

    Args:
        lattice: (3, 3) rows a, b, c in angstrom.
        frac_coords: (rows, 3) positions listed.
        operations: symmetry operations; one of them is the identity.
        multiplicity: number of images of each row as stated in the file.

    Returns:
        (sites, 3) positions and (sites,) the row that each is an image of.

    Raises:
        ValueError: if an operation cannot be read.
    """
    rotations, translations = parse_operations(operations)
    listed = _complete_thirds(frac_coords)
    images = np.einsum("kij,rj->rki", rotations, listed) + translations
    images -= np.floor(images)
    positions = [
        _merge_images(lattice, image, multiplicity[row] if multiplicity else 0)
        for row, image in enumerate(images)
    ]
    rows = np.repeat(np.arange(len(positions)), [len(part) for part in positions])
    return np.concatenate(positions), rows


def _merge_images(lattice: Floats, image: Floats, stated: int) -> Floats:
    """Average the images of one row that fall together."""
    apart = image[:, None] - image[None]
    apart -= np.rint(apart)
    distance = np.linalg.norm(apart @ lattice, axis=-1)
    groups: dict[int, tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]] = {}
    for tolerance in IMAGE_TOLERANCES:
        same = distance < tolerance
        first = np.unique(same.argmax(axis=1))
        groups[len(first)] = groups.get(len(first), (first, same))
        if not stated or len(first) == stated:
            break
    first, same = groups.get(stated, next(iter(groups.values())))
    return np.array([image[k] - apart[k][same[k]].mean(axis=0) for k in first])


def shared_sites(
    lattice: Floats, frac_coords: Floats, partial: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """(entries,) site of each entry, where partially filled entries at one position share one.

    Sites are numbered from 0 in order of first appearance.
    """
    leader = np.arange(len(frac_coords))
    index = np.flatnonzero(partial)
    for start in range(0, len(index), 512):
        part = index[start : start + 512]
        apart = frac_coords[part][:, None] - frac_coords[index][None]
        apart -= np.rint(apart)
        near = np.linalg.norm(apart @ lattice, axis=-1) < SHARED_TOLERANCE
        leader[part] = index[near.argmax(axis=1)]
    leader = leader[leader]
    sites: npt.NDArray[np.int64] = np.unique(leader, return_inverse=True)[1]
    return sites


def _complete_thirds(frac_coords: Floats) -> Floats:
    """Turn 0.3333 into 1/3 and so on, which only rounding keeps off a special position."""
    whole = np.floor(frac_coords)
    part = (frac_coords - whole)[..., None]
    near = np.abs(part - _THIRDS) < _ROUNDING
    return np.where(near.any(-1), whole + _THIRDS[near.argmax(-1)], frac_coords)
