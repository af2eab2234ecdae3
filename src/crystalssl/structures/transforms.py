"""The same crystals written differently: the operations that features must not notice.

Each function takes crystals and a seed and gives back the same crystals in another description
(cell, origin, orientation, order of sites). Ids and carried columns stay. The invariance tests of
every later stage are built from :data:`TRANSFORMS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from crystalssl.structures.crystals import Crystals

Transform = Callable[[Crystals, int], Crystals]
"""Crystals and a seed to the same crystals, described differently."""


def supercell(crystals: Crystals, seed: int = 0, max_multiple: int = 4) -> Crystals:
    """Repeat each crystal in a random supercell of 2 to ``max_multiple`` cells, skew ones included.

    The supercell is a random Hermite normal form, so every sublattice of the index can occur.
    """
    rng = np.random.default_rng(seed)
    forms = _hermite_forms(max_multiple)
    chosen = forms[rng.integers(len(forms), size=len(crystals))]
    return supercell_with(crystals, chosen)


def supercell_with(crystals: Crystals, matrices: npt.ArrayLike) -> Crystals:
    """Repeat each crystal by a given integer matrix.

    Args:
        crystals: n crystals.
        matrices: (3, 3) or (n, 3, 3) upper-triangular integers with a positive diagonal; rows are
            the new vectors in the old basis.

    Raises:
        ValueError: if a matrix is not upper triangular with a positive diagonal.
    """
    new_basis = np.broadcast_to(np.asarray(matrices, dtype=np.int64), (len(crystals), 3, 3))
    diagonal = np.diagonal(new_basis, axis1=1, axis2=2)
    if (diagonal < 1).any() or np.tril(new_basis, -1).any():
        raise ValueError("expected upper-triangular matrices with a positive diagonal")
    multiple = diagonal.prod(axis=1)
    copies = multiple[crystals.crystal_of_site]
    first = np.concatenate([[0], np.cumsum(copies)])
    site = np.repeat(np.arange(len(copies)), copies)
    copy = np.arange(first[-1]) - first[site]
    size = diagonal[crystals.crystal_of_site[site]]
    yz = size[:, 1] * size[:, 2]
    shift = np.stack([copy // yz, copy % yz // size[:, 2], copy % size[:, 2]], axis=1)
    inverse = np.linalg.inv(new_basis.astype(np.float64))[crystals.crystal_of_site[site]]
    frac = np.einsum("si,sij->sj", crystals.frac_coords[site] + shift, inverse)
    counts = crystals.site_counts * multiple
    return replace(
        crystals,
        lattice=np.einsum("nij,njk->nik", new_basis.astype(np.float64), crystals.lattice),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        frac_coords=frac,
        numbers=crystals.numbers[site],
        occupancy=crystals.occupancy[site],
    )


def shifted_origin(crystals: Crystals, seed: int = 0) -> Crystals:
    """Move the origin of each cell by a random vector and wrap the sites back."""
    shift = np.random.default_rng(seed).random((len(crystals), 3))
    moved = crystals.frac_coords + shift[crystals.crystal_of_site]
    return replace(crystals, frac_coords=moved % 1.0)


def rotated(crystals: Crystals, seed: int = 0) -> Crystals:
    """Rotate each crystal by a random proper rotation (lattice turns, fractions stay)."""
    quaternion = np.random.default_rng(seed).normal(size=(len(crystals), 4))
    quaternion /= np.linalg.norm(quaternion, axis=1, keepdims=True)
    w, x, y, z = quaternion.T
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    ).transpose(2, 0, 1)
    return replace(crystals, lattice=np.einsum("nij,nkj->nik", crystals.lattice, rotation))


def permuted_sites(crystals: Crystals, seed: int = 0) -> Crystals:
    """List the sites of each crystal in a random order."""
    key = np.random.default_rng(seed).random(len(crystals.frac_coords))
    order = np.lexsort((key, crystals.crystal_of_site))
    return replace(
        crystals,
        frac_coords=crystals.frac_coords[order],
        numbers=crystals.numbers[order],
        occupancy=crystals.occupancy[order],
    )


def unwrapped(crystals: Crystals, seed: int = 0, reach: int = 3) -> Crystals:
    """Move each site by random whole cells, up to ``reach`` along each vector."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(-reach, reach, size=crystals.frac_coords.shape, endpoint=True)
    return replace(crystals, frac_coords=crystals.frac_coords + cells)


def other_basis(crystals: Crystals, seed: int = 0, steps: int = 4) -> Crystals:
    """Describe each lattice by other vectors: a random integer matrix of determinant +1 or -1."""
    rng = np.random.default_rng(seed)
    n = len(crystals)
    matrix = np.broadcast_to(np.eye(3, dtype=np.int64), (n, 3, 3)).copy()
    rows = np.arange(n)
    for _ in range(steps):
        target = rng.integers(3, size=n)
        source = (target + rng.integers(1, 3, size=n)) % 3
        matrix[rows, target] += rng.choice([-1, 1], size=n)[:, None] * matrix[rows, source]
    matrix = matrix[rows[:, None], np.argsort(rng.random((n, 3)), axis=1)]
    matrix *= rng.choice([-1, 1], size=(n, 3, 1))
    inverse = np.round(np.linalg.inv(matrix.astype(np.float64)))[crystals.crystal_of_site]
    return replace(
        crystals,
        lattice=np.einsum("nij,njk->nik", matrix.astype(np.float64), crystals.lattice),
        frac_coords=np.einsum("si,sij->sj", crystals.frac_coords, inverse),
    )


def disguised(crystals: Crystals, seed: int = 0) -> Crystals:
    """All of the others, one after the other."""
    for step, transform in enumerate(TRANSFORMS.values()):
        if transform is not disguised:
            crystals = transform(crystals, seed + step)
    return crystals


TRANSFORMS: Mapping[str, Transform] = {
    "supercell": supercell,
    "shifted_origin": shifted_origin,
    "rotated": rotated,
    "permuted_sites": permuted_sites,
    "unwrapped": unwrapped,
    "other_basis": other_basis,
    "disguised": disguised,
}
"""Every transform by name; ``disguised`` combines the rest."""


def _hermite_forms(max_multiple: int) -> npt.NDArray[np.int64]:
    """(k, 3, 3) all upper-triangular Hermite normal forms with determinant 2..max_multiple."""
    sizes = range(1, max_multiple + 1)
    forms = [
        [[a, ab, ac], [0, b, bc], [0, 0, c]]
        for a in sizes
        for b in sizes
        for c in sizes
        if 2 <= a * b * c <= max_multiple
        for ab in range(b)
        for ac in range(c)
        for bc in range(c)
    ]
    return np.array(forms, dtype=np.int64)
