"""Site positions and weights into scattering amplitudes at reciprocal lattice points.

|sum_j w_j exp(2 pi i h.r_j)| / sum_j w_j for seven weights per site: the fraction of the site
that is occupied, and the six elemental weights of ``elemental.WEIGHTS`` averaged over the site's
species. The panel stores the result as 16-bit steps of its range 0..1.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crystalssl.representation import elemental
from crystalssl.representation._compiled import compiled, run_chunks
from crystalssl.structures.crystals import Crystals

AMPLITUDES = 1 + len(elemental.WEIGHT_NAMES)
"""Amplitudes per reciprocal point: geometric, then the six elemental ones."""
STEPS = 65535
"""Steps of the stored range: amplitude = (stored + ZERO) / STEPS."""
ZERO = 32768
"""Stored number of amplitude 0, negated."""


def site_weights(crystals: Crystals) -> npt.NDArray[np.float64]:
    """(sites, 7) occupied fraction of each site, then its six mixed elemental weights."""
    mixed = np.einsum(
        "sj,sjw->sw", crystals.occupancy, elemental.WEIGHTS[crystals.numbers], dtype=np.float64
    )
    occupied = crystals.occupancy.sum(axis=1, dtype=np.float64)
    return np.concatenate([occupied[:, None], mixed], axis=1)


@compiled
def _phases(
    position: npt.NDArray[np.float64], highest: int, table: npt.NDArray[np.float64]
) -> None:
    """Fill cosines and sines of 2 pi m x for m = 0..highest along each axis."""
    for axis in range(3):
        for m in range(highest + 1):
            angle = 2 * np.pi * m * position[axis]
            table[axis, m, 0], table[axis, m, 1] = np.cos(angle), np.sin(angle)


@compiled
def _amplitudes_of(
    offsets: npt.NDArray[np.int64],
    coords: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    hkl: npt.NDArray[np.int16],
    used: npt.NDArray[np.int16],
    stored: npt.NDArray[np.int16],
) -> None:
    """Fill the stored amplitudes of a chunk of crystals.

    exp(2 pi i h.r) is a product over the axes of exp(2 pi i h_i x_i), from a table by |h_i|: no
    sine or cosine is taken for a point. ``real`` and ``imag`` are (point, weight) sums over
    sites, ``stored`` (crystal, point, weight).
    """
    kinds = weights.shape[1]
    real, imag = np.empty((hkl.shape[1], kinds)), np.empty((hkl.shape[1], kinds))
    total = np.empty(kinds)
    for n in range(len(hkl)):
        highest = 0
        for w in range(kinds):
            total[w] = 0.0
        for m in range(used[n]):
            for w in range(kinds):
                real[m, w], imag[m, w] = 0.0, 0.0
            for axis in range(3):
                highest = max(highest, abs(hkl[n, m, axis]))
        table = np.empty((3, highest + 1, 2))
        for site in range(offsets[n], offsets[n + 1]):
            _phases(coords[site], highest, table)
            for w in range(kinds):
                total[w] += weights[site, w]
            for m in range(used[n]):
                c, s = 1.0, 0.0
                for axis in range(3):
                    step = hkl[n, m, axis]  # (c + i s) times (p + i q); -h turns the sign of q
                    p = table[axis, abs(step), 0]
                    q = table[axis, abs(step), 1] if step >= 0 else -table[axis, -step, 1]
                    c, s = c * p - s * q, c * q + s * p
                for w in range(kinds):
                    real[m, w] += weights[site, w] * c
                    imag[m, w] += weights[site, w] * s
        for m in range(used[n]):
            for w in range(kinds):
                size = np.sqrt(real[m, w] ** 2 + imag[m, w] ** 2)
                amplitude = min(size / total[w], 1.0) if total[w] > 0 else 0.0
                stored[n, m, w] = int(amplitude * STEPS + 0.5) - ZERO


def amplitudes(
    crystals: Crystals, hkl: npt.NDArray[np.int16], used: npt.NDArray[np.int16]
) -> npt.NDArray[np.int16]:
    """Normalised amplitudes at each crystal's reciprocal points, as stored 16-bit steps.

    Args:
        crystals: n crystals.
        hkl: (n, count, 3) Miller indices.
        used: (n,) how many of them count; the others are stored as amplitude 0.

    Returns:
        (n, count, 7) int16. A weight that is 0 for all the crystal's elements gives 0.
    """
    weights = site_weights(crystals)
    stored = np.full((*hkl.shape[:2], AMPLITUDES), -ZERO, np.int16)

    def work(start: int, stop: int) -> None:
        rows = slice(start, stop)
        first, last = crystals.offsets[start], crystals.offsets[stop]
        _amplitudes_of(
            crystals.offsets[start : stop + 1] - first,
            crystals.frac_coords[first:last],
            weights[first:last],
            hkl[rows],
            used[rows],
            stored[rows],
        )

    run_chunks(work, len(crystals))
    return stored
