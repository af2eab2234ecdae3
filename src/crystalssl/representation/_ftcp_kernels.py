"""Cells and sites into the entries of raw FTCP: the compiled loops behind ``ftcp.encode``.

Nothing is listed and sorted: reciprocal points are visited in the order in which the original
program sorts them, and of the 92 binary properties only the bits that are set are added up.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crystalssl.representation._compiled import compiled
from crystalssl.representation.layout import (
    RAW_CELL_ROW,
    RAW_DISTANCE_ROW,
    RAW_ELEMENTS,
    RAW_KPOINTS,
    RAW_OCCUPANCY_ROW,
    RAW_PROPERTY_ROW,
    RAW_SITE_ROW,
)

RADIUS = 1.297
"""Radius of the sphere of reciprocal points, 1/angstrom."""
WIDER_RADIUS = 1.4
"""Radius when the first sphere holds fewer than 59 points beside the origin."""
_TOLERANCE = 1e-8


@compiled
def _dual(lattice: npt.NDArray[np.float64], dual: npt.NDArray[np.float64]) -> None:
    """Fill the crystallographic reciprocal basis, rows in 1/angstrom."""
    for i in range(3):
        b, c = lattice[(i + 1) % 3], lattice[(i + 2) % 3]
        dual[i, 0] = b[1] * c[2] - b[2] * c[1]
        dual[i, 1] = b[2] * c[0] - b[0] * c[2]
        dual[i, 2] = b[0] * c[1] - b[1] * c[0]
    volume = lattice[0, 0] * dual[0, 0] + lattice[0, 1] * dual[0, 1] + lattice[0, 2] * dual[0, 2]
    for i in range(3):
        for j in range(3):
            dual[i, j] /= volume


@compiled
def _points(
    dual: npt.NDArray[np.float64],
    lengths: npt.NDArray[np.float64],
    radius: float,
    hkl: npt.NDArray[np.int64],
    g: npt.NDArray[np.float64],
) -> int:
    """The first points of the sphere by |h|+|k|+|l|, then -h, -k, -l; returns how many.

    Walking the indices in that very order needs no list and no sorting, and |h| <= R |a| bounds
    it, so the whole sphere is searched when it holds few points.
    """
    reach = radius + _TOLERANCE
    top_h, top_k = int(reach * lengths[0]), int(reach * lengths[1])
    top_l = int(reach * lengths[2])
    total = 0
    for level in range(1, top_h + top_k + top_l + 1):
        for h in range(min(level, top_h), -min(level, top_h) - 1, -1):
            rest = level - abs(h)
            for k in range(min(rest, top_k), -min(rest, top_k) - 1, -1):
                last = rest - abs(k)
                if last > top_l:
                    continue
                for sign in range(1 if last == 0 else 2):
                    m = last if sign == 0 else -last
                    x = h * dual[0, 0] + k * dual[1, 0] + m * dual[2, 0]
                    y = h * dual[0, 1] + k * dual[1, 1] + m * dual[2, 1]
                    z = h * dual[0, 2] + k * dual[1, 2] + m * dual[2, 2]
                    length = np.sqrt(x * x + y * y + z * z)
                    if length <= reach:
                        hkl[total, 0], hkl[total, 1], hkl[total, 2] = h, k, m
                        g[total] = length
                        total += 1
                        if total == len(g):
                            return total
    return total


@compiled
def _angle(lattice: npt.NDArray[np.float64], lengths: npt.NDArray[np.float64], i: int) -> float:
    """Angle opposite to axis ``i``, in degrees."""
    j, k = (i + 1) % 3, (i + 2) % 3
    dot = 0.0
    for x in range(3):
        dot += lattice[j, x] * lattice[k, x]
    cosine = max(-1.0, min(1.0, dot / (lengths[j] * lengths[k])))
    return float(np.arccos(cosine) * 180 / np.pi)


@compiled
def _real_space(
    numbers: npt.NDArray[np.int16],
    occupancy: npt.NDArray[np.float32],
    frac: npt.NDArray[np.float64],
    code: npt.NDArray[np.uint8],
    array: npt.NDArray[np.float32],
    elements: npt.NDArray[np.int64],
    moments: npt.NDArray[np.float64],
) -> int:
    """Fill columns 0:4 below the cell; returns the number of elements.

    ``elements`` are listed in order of first appearance, ``moments`` are their occupancy-weighted
    sums of coordinates.
    """
    kinds = 0
    for site in range(len(frac)):
        for axis in range(3):
            array[RAW_SITE_ROW + site, axis] = frac[site, axis]
        for slot in range(numbers.shape[1]):
            z = numbers[site, slot]
            if z == 0:
                continue
            at = 0
            while at < kinds and elements[at] != z:
                at += 1
            if at == kinds:
                elements[at] = z
                kinds += 1
                array[z - 1, at] = 1.0
                moments[at] = 0.0
                for p in range(code.shape[1]):
                    array[RAW_PROPERTY_ROW + p, at] = code[z, p]
            array[RAW_OCCUPANCY_ROW + site, at] += occupancy[site, slot]
            for axis in range(3):
                moments[at, axis] += occupancy[site, slot] * frac[site, axis]
    return kinds


@compiled
def encode_chunk(
    rows: npt.NDArray[np.int64],
    lattice: npt.NDArray[np.float64],
    offsets: npt.NDArray[np.int64],
    numbers: npt.NDArray[np.int16],
    occupancy: npt.NDArray[np.float32],
    frac: npt.NDArray[np.float64],
    code: npt.NDArray[np.uint8],
    arrays: npt.NDArray[np.float32],
) -> None:
    """Fill the arrays of the crystals ``rows``; the arrays come as zeros."""
    dual, lengths, g = np.empty((3, 3)), np.empty(3), np.empty(RAW_KPOINTS)
    hkl, elements, moments = (
        np.empty((RAW_KPOINTS, 3), np.int64),
        np.empty(RAW_ELEMENTS, np.int64),
        np.empty((RAW_ELEMENTS, 3)),
    )
    for n in range(len(rows)):
        cell, array = lattice[rows[n]], arrays[n]
        first, last = offsets[rows[n]], offsets[rows[n] + 1]
        for i in range(3):
            lengths[i] = np.sqrt(cell[i, 0] ** 2 + cell[i, 1] ** 2 + cell[i, 2] ** 2)
        for i in range(3):
            array[RAW_CELL_ROW, i], array[RAW_CELL_ROW + 1, i] = (
                lengths[i],
                _angle(cell, lengths, i),
            )
        kinds = _real_space(
            numbers[first:last], occupancy[first:last], frac[first:last], code, array,
            elements, moments,
        )  # fmt: skip
        _dual(cell, dual)
        total = _points(dual, lengths, RADIUS, hkl, g)
        if total < RAW_KPOINTS:
            total = _points(dual, lengths, WIDER_RADIUS, hkl, g)
        for m in range(total):
            array[RAW_DISTANCE_ROW, RAW_ELEMENTS + m] = g[m]
        for at in range(kinds):
            wave = np.empty(RAW_KPOINTS, np.float32)
            for m in range(total):
                dot = 0.0
                for axis in range(3):
                    dot += hkl[m, axis] * moments[at, axis]
                wave[m] = np.pi * dot
            for p in range(code.shape[1]):
                if code[elements[at], p]:
                    for m in range(total):
                        array[RAW_PROPERTY_ROW + p, RAW_ELEMENTS + m] += wave[m]
