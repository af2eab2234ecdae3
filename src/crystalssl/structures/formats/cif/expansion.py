"""Listed CIF sites and symmetry operations to all the sites of the cell.

Images of one row that fall together (a special position) become one site; rows that share a
position share the site. Used by ``settings.py`` for blocks that are not P1 without disorder.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError
from crystalssl.structures.formats.cif.operations import Group, matrices

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

IMAGE_TOLERANCES = (0.03, 0.003, 0.1)
"""Images of one row closer than this, in angstrom, are one site on a special position.

The first holds unless the file states how many images there are and another one agrees with it:
0.003 where split sites lie close to a special position, 0.1 where coordinates have two digits.
"""

SHARED_TOLERANCE = 0.01
"""Partially filled rows closer than this, in angstrom, share their site."""

MOST_PAIRS = 30_000_000
"""Pairs of images compared; a list of operations and sites beyond is damaged or hostile."""

_THIRDS = np.array([1, 2, 4, 5]) / 6.0
_ROUNDING = 1.01e-4
_NEAREST = 16


def expand(
    lattice: Floats,
    frac_coords: Floats,
    group: Group,
    tolerance: float = IMAGE_TOLERANCES[0],
    multiplicity: Sequence[int] | None = None,
) -> tuple[Floats, Integers]:
    """All sites of the cell.

    Args:
        lattice: (3, 3) rows a, b, c in angstrom.
        frac_coords: (rows, 3) positions listed.
        group: symmetry operations; one of them is the identity.
        tolerance: distance in angstrom below which images of one row are one site.
        multiplicity: number of images of each row as stated in the file; decides where another
            of ``IMAGE_TOLERANCES`` gives it.

    Returns:
        (sites, 3) positions and (sites,) the row that each is an image of.

    Raises:
        InputError: if there are too many images.
    """
    rotations, translations = matrices(group)
    if len(frac_coords) * len(group) ** 2 > MOST_PAIRS:
        raise InputError(f"{len(frac_coords)} sites times {len(group)} operations are too many")
    listed = _complete_thirds(frac_coords)
    images = np.einsum("kij,rj->rki", rotations, listed) + translations  # (rows, group, 3)
    images -= np.floor(images)
    tolerances = (tolerance, *(t for t in IMAGE_TOLERANCES if t != tolerance))
    positions = [
        _merge_images(lattice, image, multiplicity[row] if multiplicity else 0, tolerances)
        for row, image in enumerate(images)
    ]
    rows = np.repeat(np.arange(len(positions)), [len(row) for row in positions])
    return np.concatenate(positions), rows


def _merge_images(
    lattice: Floats, image: Floats, stated: int, tolerances: Sequence[float]
) -> Floats:
    """Average the images of one row that fall together."""
    apart = image[:, None] - image[None]  # (group, group, 3)
    apart -= np.rint(apart)
    cartesian = apart @ lattice
    square = np.einsum("ijk,ijk->ij", cartesian, cartesian)
    merged: dict[int, tuple[Integers, npt.NDArray[np.bool_]]] = {}
    for tolerance in tolerances:
        same = square < tolerance**2
        first = np.unique(same.argmax(axis=1))
        merged.setdefault(len(first), (first, same))
        if not stated or len(first) == stated:
            break
    first, same = merged.get(stated, next(iter(merged.values())))
    if len(first) == len(image):  # a general position
        return image
    return np.array([image[k] - apart[k][same[k]].mean(axis=0) for k in first])


def shared_sites(lattice: Floats, frac_coords: Floats, partial: npt.NDArray[np.bool_]) -> Integers:
    """(entries,) site of each entry, where partially filled entries at one position share one.

    Sites are numbered from 0 in order of first appearance.
    """
    leader = np.arange(len(frac_coords))
    index = np.flatnonzero(partial)
    if len(index) > 512:
        leader[index] = index[_first_near(lattice, frac_coords[index])]
    elif len(index):
        apart = frac_coords[index][:, None] - frac_coords[index][None]
        apart -= np.rint(apart)
        near = np.linalg.norm(apart @ lattice, axis=-1) < SHARED_TOLERANCE
        leader[index] = index[near.argmax(axis=1)]
    leader = leader[leader]
    sites: Integers = np.unique(leader, return_inverse=True)[1]
    return sites


def _first_near(lattice: Floats, frac_coords: Floats) -> Integers:
    """(entries,) first of the nearest entries within the tolerance, by a periodic k-d tree."""
    from scipy.spatial import cKDTree

    wrapped = frac_coords - np.floor(frac_coords)
    wrapped[wrapped >= 1.0] = 0.0
    # a distance in fractions is at most the distance in angstrom times this
    steepest = float(np.linalg.norm(np.linalg.inv(lattice), 2))
    nearest = min(_NEAREST, len(wrapped))
    reach = min(SHARED_TOLERANCE * steepest, 0.49)
    other = cKDTree(wrapped, boxsize=1.0).query(wrapped, nearest, distance_upper_bound=reach)[1]
    known = np.minimum(other, len(wrapped) - 1)
    apart = wrapped[:, None] - wrapped[known]
    apart -= np.rint(apart)
    near = (np.linalg.norm(apart @ lattice, axis=-1) < SHARED_TOLERANCE) & (other == known)
    leader: Integers = np.where(near, known, np.arange(len(wrapped))[:, None]).min(axis=1)
    for _ in range(4):
        leader = leader[leader]
    return leader


def clash(lattice: Floats, frac_coords: Floats, filled: Floats) -> bool:
    """Whether two sites are closer than half an angstrom and cannot be alternatives."""
    from crystalssl.structures.validity import MIN_DISTANCE, shortest_distance

    if len(frac_coords) > 5000:
        return False
    offsets = np.array([0, len(frac_coords)], dtype=np.int64)
    shortest = shortest_distance(lattice[None], offsets, frac_coords, filled.astype(np.float64))
    return bool(shortest[0] < MIN_DISTANCE)


def _complete_thirds(frac_coords: Floats) -> Floats:
    """Turn 0.3333 into 1/3 and so on, which only rounding keeps off a special position."""
    whole = np.floor(frac_coords)
    rest = (frac_coords - whole)[..., None]
    near = np.abs(rest - _THIRDS) < _ROUNDING
    return np.where(near.any(-1), whole + _THIRDS[near.argmax(-1)], frac_coords)
