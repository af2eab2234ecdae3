"""Two-centre integrals: Slater orbitals in closed form, brute-force quadrature, symmetry."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.interpolate import CubicSpline

from crystalssl.representation.electronic import basis, pairs

Array = npt.NDArray[np.float64]
DISTANCE: Array = pairs.FIRST + pairs.STEP * np.arange(pairs.DISTANCES)
CHANNEL = {channel: i for i, channel in enumerate(pairs.CHANNELS)}


def slater(level: float) -> Array:
    """(28 by distance) integrals of two hydrogen atoms with functions 1s and 2p of exponent 1."""
    radial = np.zeros((2, 4, len(basis.RADII)))
    radial[:, 0] = 2 * np.exp(-basis.RADII)
    radial[:, 1] = np.sqrt(2.0**5 / 24) * basis.RADII * np.exp(-basis.RADII)
    radial[:, 3] = -1.0  # r V(r)
    points, out = pairs.grid(), np.zeros((pairs.DISTANCES, 28), np.float32)
    levels = np.full((2, 3), level)
    pairs._pair(
        radial, np.full(2, 1e9), levels, points.index, points.weights, points.radius,
        points.mirror, points.angular, np.array(pairs.CHANNELS), out,
    )  # fmt: skip
    return out.astype(np.float64)


def test_overlaps_of_slater_orbitals_are_mullikens() -> None:
    table, r = slater(-0.5), DISTANCE
    decay = np.exp(-r)
    expected = {
        (0, 0, 0): decay * (1 + r + r**2 / 3),
        (1, 1, 0): decay * (1 + r + r**2 / 5 - 2 * r**3 / 15 - r**4 / 15),
        (1, 1, 1): decay * (1 + r + 2 * r**2 / 5 + r**3 / 15),
    }
    for channel, overlap in expected.items():
        assert table[:, CHANNEL[channel]] == pytest.approx(overlap, abs=3e-5), channel


def test_the_hydrogen_molecule_ion_has_its_resonance_integral() -> None:
    table, r = slater(-0.5), DISTANCE
    overlap = np.exp(-r) * (1 + r + r**2 / 3)
    expected = -0.5 * overlap - (1 + r) * np.exp(-r)
    assert table[:, 14] == pytest.approx(expected, abs=3e-5)


def shape(l: int, m: int, x: Array, z: Array, r: Array) -> Array:  # noqa: E741
    """Real spherical harmonic in the xz plane, by Cartesian formulas."""
    x, z = x / r, z / r
    norms = {
        (0, 0): 1 / 4,
        (1, 0): 3 / 4,
        (1, 1): 3 / 4,
        (2, 0): 5 / 16,
        (2, 1): 15 / 4,
        (2, 2): 15 / 16,
    }
    shapes = {
        (0, 0): x**0,
        (1, 0): z,
        (1, 1): x,
        (2, 0): 3 * z * z - 1,
        (2, 1): x * z,
        (2, 2): x * x,
    }
    return np.sqrt(norms[l, m] / np.pi) * shapes[l, m]


@pytest.mark.parametrize("pair", [(8, 22), (22, 22), (14, 14)])
def test_overlaps_agree_with_quadrature_on_a_cylinder(pair: tuple[int, int]) -> None:
    table, index = basis.load(), 10
    distance = DISTANCE[index]
    x, wx = np.polynomial.legendre.leggauss(400)
    z, wz = np.polynomial.legendre.leggauss(800)
    rho, z = 7 * (x[:, None] + 1), 14 * z[None, :] + distance / 2
    weight = 7 * wx[:, None] * 14 * wz[None, :] * rho
    ra, rb = np.hypot(rho, z), np.hypot(rho, z - distance)
    values = pairs.integrals(*pair)[index]
    for channel, (a, b, m) in enumerate(pairs.CHANNELS):
        first = CubicSpline(basis.RADII, table.radial[pair[0], a])(ra) * shape(a, m, rho, z, ra)
        second = CubicSpline(basis.RADII, table.radial[pair[1], b])(rb)
        second = second * shape(b, m, rho, z - distance, rb)
        around = 2 * np.pi if m == 0 else np.pi
        expected = around * (weight * first * second).sum()
        assert values[channel] == pytest.approx(expected, abs=2e-4), (a, b, m)


def test_either_atom_may_come_first() -> None:
    forth, back = pairs.integrals(8, 26), pairs.integrals(26, 8)
    for (a, b, m), channel in CHANNEL.items():
        other = CHANNEL[b, a, m]
        sign = (-1) ** (a + b)
        assert forth[:, channel] == pytest.approx(sign * back[:, other], abs=1e-5)
        assert forth[:, 14 + channel] == pytest.approx(sign * back[:, 14 + other], abs=1e-5)


def test_twice_the_quadrature_points_change_nothing() -> None:
    fine = pairs.grid(72, 48)
    for pair in ((1, 8), (29, 29), (8, 56)):
        assert pairs.integrals(*pair) == pytest.approx(pairs.integrals(*pair, fine), abs=1e-4)


def test_integrals_fade_to_zero_where_a_pair_ends() -> None:
    values, end = pairs.faded(pairs.integrals(14, 14))
    assert np.all(values[end <= DISTANCE] == 0)
    assert 7 < end < 13
    assert np.abs(np.diff(values[end - 2 < DISTANCE], axis=0)).max() < 5e-3


def test_tables_hold_every_pair_of_the_elements_asked_for() -> None:
    tables = pairs.tables(np.array([26, 8, 8, 3]))
    for first, second in ((3, 3), (3, 8), (8, 26), (26, 26), (3, 26), (8, 8)):
        row = tables.slot[first, second]
        expected = pairs.faded(pairs.integrals(first, second))
        assert np.array_equal(tables.values[row], expected[0])
        assert tables.ends[second, first] == expected[1]
