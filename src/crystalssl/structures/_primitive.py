"""Large supercells to primitive cells by their pure translations, before the symmetry search.

The search takes time with the square of the sites; a supercell of thousands of sites holds few
different ones. Translations are tried from the shortest on, against a periodic k-d tree. Called by
``_standardize.py`` for cells above ``FEW`` sites.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

FEW = 400
"""Sites up to which the symmetry search itself is quick."""
_PROBES = 12
_MOST_TRIALS = 400


@dataclass(frozen=True, slots=True)
class Primitive:
    """A smaller cell of the same crystal.

    Attributes:
        lattice: (3, 3) rows a, b, c.
        frac_coords: (sites, 3) averages of the sites that became one.
        site: (sites,) first site of the large cell that each stands for.
    """

    lattice: Floats
    frac_coords: Floats
    site: Integers


def primitive(
    lattice: Floats, frac_coords: Floats, labels: Integers, symprec: float
) -> Primitive | None:
    """The primitive cell of a large one, or None where it has no pure translation.

    Args:
        lattice: (3, 3) rows a, b, c in angstrom.
        frac_coords: (sites, 3).
        labels: (sites,) equal where two sites are filled alike.
        symprec: tolerance in angstrom.
    """
    match = _Matcher(lattice, frac_coords, labels, symprec)
    rare, counts = np.unique(labels, return_counts=True)
    members = np.flatnonzero(labels == rare[counts.argmin()])
    shifts = frac_coords[members[1:]] - frac_coords[members[0]]
    shifts -= np.rint(shifts)
    shifts = shifts[match.all_near(shifts, _PROBES)]
    order = np.argsort(np.linalg.norm(shifts @ lattice, axis=1), kind="stable")
    basis, multiple = np.eye(3), 1  # of the primitive lattice, in fractions of the large cell
    for shift in shifts[order][:_MOST_TRIALS]:
        within = shift @ np.linalg.inv(basis)
        if np.linalg.norm((within - np.rint(within)) @ basis @ lattice) < 4 * symprec:
            continue
        exact = match.exact(shift)
        if exact is None:
            continue
        finer = _refined(basis, exact, lattice, symprec)
        if finer is None:
            continue
        basis, multiple = finer, round(1 / abs(np.linalg.det(finer)))
    if multiple == 1 or len(frac_coords) % multiple:
        return None
    return _folded(lattice, frac_coords, labels, basis, multiple, symprec)


class _Matcher:
    """Whether a shift takes every site to one that is filled alike."""

    def __init__(
        self, lattice: Floats, frac_coords: Floats, labels: Integers, symprec: float
    ) -> None:
        from scipy.spatial import cKDTree

        self._lattice, self._labels, self._symprec = lattice, labels, symprec
        self._wrapped = frac_coords - np.floor(frac_coords)
        self._wrapped[self._wrapped >= 1.0] = 0.0
        self._tree = cKDTree(self._wrapped, boxsize=1.0)

    def all_near(self, shifts: Floats, probes: int) -> npt.NDArray[np.bool_]:
        """(shifts,) whether each takes a few sites to sites filled alike."""
        good = np.ones(len(shifts), dtype=bool)
        for site in np.linspace(0, len(self._wrapped) - 1, probes).astype(int).tolist():
            index = np.flatnonzero(good)
            moved = self._wrapped[site] + shifts[index]
            other, _, near = self._nearest(moved)
            good[index] = near & (self._labels[other] == self._labels[site])
        return good

    def exact(self, shift: Floats) -> Floats | None:
        """The mean shift between the sites that it takes into one another, or None."""
        other, apart, near = self._nearest(self._wrapped + shift)
        if not near.all() or not (self._labels[other] == self._labels).all():
            return None
        if len(np.unique(other)) < len(other):
            return None
        refined: Floats = shift - apart.mean(axis=0)
        return refined

    def _nearest(self, points: Floats) -> tuple[Integers, Floats, npt.NDArray[np.bool_]]:
        wrapped = points - np.floor(points)
        wrapped[wrapped >= 1.0] = 0.0
        other = self._tree.query(wrapped)[1]
        apart = wrapped - self._wrapped[other]
        apart -= np.rint(apart)
        near = np.linalg.norm(apart @ self._lattice, axis=1) < 2 * self._symprec
        return other, apart, near


def _refined(basis: Floats, shift: Floats, lattice: Floats, symprec: float) -> Floats | None:
    """Basis of the lattice with one more translation, rounded to a whole fraction of the cell."""
    within = shift @ np.linalg.inv(basis)
    for order in range(2, 129):
        steps = np.rint(within * order)
        if np.linalg.norm((within - steps / order) @ basis @ lattice) < symprec:
            rows = np.vstack([order * np.eye(3), steps]).astype(np.int64)
            finer: Floats = (_hermite(rows) / order) @ basis
            return finer
    return None


def _hermite(rows: Integers) -> Integers:
    """(3, 3) basis of the lattice that whole-number rows span."""
    left = [row for row in rows.tolist() if any(row)]
    basis = []
    for column in range(3):
        while True:
            filled = sorted((row for row in left if row[column]), key=lambda row: abs(row[column]))
            if len(filled) < 2:
                break
            pivot = filled[0]
            for row in filled[1:]:
                times = row[column] // pivot[column]
                for k in range(3):
                    row[k] -= times * pivot[k]
        if filled:
            basis.append(filled[0])
            left = [row for row in left if row is not filled[0]]
    return np.array(basis, dtype=np.int64)


def _folded(
    lattice: Floats,
    frac_coords: Floats,
    labels: Integers,
    basis: Floats,
    multiple: int,
    symprec: float,
) -> Primitive | None:
    """All sites in the small cell, those that fall together averaged."""
    from scipy.spatial import cKDTree

    small = basis @ lattice
    frac = frac_coords @ np.linalg.inv(basis)
    frac -= np.floor(frac)
    frac[frac >= 1.0] = 0.0
    reach = 4 * symprec * float(np.linalg.norm(np.linalg.inv(small), 2))
    if reach >= 0.5:
        return None
    tree = cKDTree(frac, boxsize=1.0)
    leader = np.full(len(frac), -1)
    for site in range(len(frac)):
        if leader[site] < 0:
            leader[tree.query_ball_point(frac[site], reach)] = site
    first, index, counts = np.unique(leader, return_inverse=True, return_counts=True)
    if (counts != multiple).any() or (labels[leader] != labels).any():
        return None
    apart = frac - frac[leader]
    apart -= np.rint(apart)
    if np.linalg.norm(apart @ small, axis=1).max() > 4 * symprec:
        return None
    mean = np.stack([np.bincount(index, weights=apart[:, k]) for k in range(3)], axis=1) / multiple
    return Primitive(small, frac[first] + mean, first)
