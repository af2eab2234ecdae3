"""Pairs of bonds of one atom -> angles, of all atoms and by the kinds of the three elements.

Every pair counts by the product of its bonds' weights. Kinds are metal and non-metal, hydrogen
among these; a mixed site is both, by its shares.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from crystalssl.representation._compiled import compiled, compiled_sums
from crystalssl.representation.physics.columns import Group, number, statistics
from crystalssl.representation.physics.element_table import metals
from crystalssl.representation.physics.environment import Environment, site_mean

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

WINDOWS = (60.0, 75.0, 90.0, 109.47, 120.0, 150.0, 180.0)
"""Angles in degrees about which the share of bond angles is taken."""
WIDTH = 8.0
"""Standard deviation of these windows, degrees."""
_LEAST = 0.5
"""Share of a kind that an angle must have to enter its minimum and maximum."""
_ROOM = 512  # angles whose windows are taken together


@compiled
def _add(stats: Array, weight: float, angle: float) -> None:
    """Add an angle to (total, sum, sum of squares, low, high)."""
    stats[0] += weight
    stats[1] += weight * angle
    stats[2] += weight * angle * angle
    stats[3], stats[4] = min(stats[3], angle), max(stats[4], angle)


@compiled
def _write(stats: Array, out: Array) -> None:
    """Mean, standard deviation, minimum, maximum; NaN without any angle."""
    if stats[0] <= 0.0 or stats[4] < stats[3]:
        for x in range(4):
            out[x] = np.nan
        return
    mean = stats[1] / stats[0]
    out[0] = min(max(mean, stats[3]), stats[4])
    out[1] = np.sqrt(max(stats[2] / stats[0] - mean * mean, 0.0))
    out[2], out[3] = stats[3], stats[4]


@compiled_sums
def _near_window(angles: Array, both: Array, n: int, window: float) -> float:
    """Sum of ``both`` times the Gaussian about ``window``, which ends at four widths.

    exp(-x) is (exp(-x / 16))^16, here of the series about 1 / 4, to 1e-11: this vectorises.
    """
    total = 0.0
    for m in range(n):
        off = (angles[m] - window) / WIDTH
        square = off * off
        x = 0.25 - square / 32.0 if square < 16.0 else 0.0
        term = 1.0 + x / 8.0 * (1.0 + x / 9.0)
        term = 1.0 + x / 5.0 * (1.0 + x / 6.0 * (1.0 + x / 7.0 * term))
        term = 1.0 + x * (1.0 + x / 2.0 * (1.0 + x / 3.0 * (1.0 + x / 4.0 * term)))
        term *= term
        term *= term
        term *= term
        term *= term
        total += both[m] * term if square < 16.0 else 0.0
    return float(total * math.exp(-4.0))


@compiled
def _angles_at(
    start: int, stop: int, direction: Array, bond: Array, angles: Array, both: Array, found: int
) -> int:
    """Put the angles of a site's edges and their weights behind ``found``; returns how many then.

    Edges without a bond are left out.
    """
    for i in range(start, stop):
        if bond[i] <= 0.0:
            continue
        x, y, z = direction[0, i], direction[1, i], direction[2, i]
        for j in range(i + 1, stop):
            if bond[j] > 0.0:
                c = x * direction[0, j] + y * direction[1, j] + z * direction[2, j]
                angles[found] = math.degrees(math.acos(min(max(c, -1.0), 1.0)))
                both[found] = bond[i] * bond[j]
                found += 1
    return found


@compiled
def _add_kinds(
    start: int, stop: int, bond: Array, metal: Array, angles: Array, both: Array, stats: Array
) -> None:
    """Add a site's angles, in the order of ``_angles_at``, to the statistics of all and kinds."""
    m = 0
    for i in range(start, stop):
        if bond[i] <= 0.0:
            continue
        centre, first = metal[i, 0], metal[i, 1]
        for j in range(i + 1, stop):
            if bond[j] > 0.0:
                _add(stats[0], both[m], angles[m])
                ends, none = first * metal[j, 1], (1.0 - first) * (1.0 - metal[j, 1])
                shares = (
                    centre * none,
                    (1.0 - centre) * ends,
                    centre * ends,
                    (1.0 - centre) * none,
                )
                for kind in range(4):
                    if shares[kind] > _LEAST:
                        _add(stats[1 + kind], both[m] * shares[kind], angles[m])
                m += 1


@compiled
def _angles_of(
    crystal_sites: Index,
    edge_offsets: Index,
    direction: Array,
    bond: Array,
    metal: Array,
    windows: Array,
    out: Array,
) -> None:
    """Fill (n, 4 + 16 + W): statistics of all angles, of the four kinds, shares of windows.

    ``direction`` (3, e) has length one; ``metal`` (e, 2) is the share of metal at centre and end.
    """
    stats = np.empty((5, 5))
    most = 0
    for site in range(len(edge_offsets) - 1):
        most = max(most, edge_offsets[site + 1] - edge_offsets[site])
    room = _ROOM + most * (most - 1) // 2
    angles, both = np.empty(room), np.empty(room)
    for n in range(len(crystal_sites) - 1):
        for kind in range(5):
            stats[kind, 0] = stats[kind, 1] = stats[kind, 2] = 0.0
            stats[kind, 3], stats[kind, 4] = np.inf, -np.inf
        for w in range(len(windows)):
            out[n, 20 + w] = 0.0
        found = 0
        for site in range(crystal_sites[n], crystal_sites[n + 1]):
            start, stop = edge_offsets[site], edge_offsets[site + 1]
            before = found
            found = _angles_at(start, stop, direction, bond, angles, both, found)
            _add_kinds(start, stop, bond, metal, angles[before:], both[before:], stats)
            if found >= _ROOM or site + 1 == crystal_sites[n + 1]:
                for w in range(len(windows)):
                    out[n, 20 + w] += _near_window(angles, both, found, windows[w])
                found = 0
        for kind in range(5):
            _write(stats[kind], out[n, 4 * kind : 4 * kind + 4])
        for w in range(len(windows)):
            out[n, 20 + w] /= stats[0, 0] if stats[0, 0] > 0.0 else np.nan


def _angles(environment: Environment) -> Array:
    out = np.empty((len(environment.atoms), 20 + len(WINDOWS)))
    metal = site_mean(environment.crystals, metals())
    _angles_of(
        environment.crystals.offsets, environment.edge_offsets,
        environment.direction, environment.bond,
        np.column_stack([metal[environment.centre], metal[environment.other]]),
        np.array(WINDOWS), out,
    )  # fmt: skip
    return out


_ONE_BOND = "no atom has two bonds"
_KINDS = {
    "nonmetal_metal_nonmetal": "at a metal between two non-metals",
    "metal_nonmetal_metal": "at a non-metal between two metals",
    "metal_metal_metal": "between metals",
    "nonmetal_nonmetal_nonmetal": "between non-metals",
}
ANGLES = Group(
    name="angles",
    title="Angles between the bonds of an atom",
    columns=(
        *statistics("bond_angle", "degrees", "the angle between two bonds of an atom", _ONE_BOND),
        *(
            entry
            for kind, where in _KINDS.items()
            for entry in statistics(
                f"bond_angle_{kind}", "degrees", f"the angle {where}", "no such angle"
            )
        ),
        *(
            number(
                f"bond_angles_near_{angle:.0f}_degrees", "1",
                f"share of angles about {angle:g} degrees (Gaussian of {WIDTH:g})", _ONE_BOND,
            )
            for angle in WINDOWS
        ),
    ),
    compute=_angles,
)  # fmt: skip
"""Angles of all atoms, and by kinds of elements."""
