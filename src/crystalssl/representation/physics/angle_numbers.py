"""Pairs of bonds of one atom -> angles, of all atoms and by the kinds of the three elements.

Every pair counts by the product of its bonds' weights. Kinds are metal and non-metal, hydrogen
among these; a mixed site is both, by its shares.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crystalssl.representation._compiled import compiled
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
        out[:] = np.nan
        return
    mean = stats[1] / stats[0]
    out[0] = min(max(mean, stats[3]), stats[4])
    out[1] = np.sqrt(max(stats[2] / stats[0] - mean * mean, 0.0))
    out[2], out[3] = stats[3], stats[4]


@compiled
def _angles_of(
    crystal_sites: Index,
    edge_offsets: Index,
    vector: Array,
    bond: Array,
    metal: Array,
    windows: Array,
    out: Array,
) -> None:
    """Fill (n, 4 + 16 + W): statistics of all angles, of the four kinds, shares of windows.

    ``vector`` (e, 3) has length one; ``metal`` (e, 2) is the share of metal at centre and end.
    """
    stats = np.empty((5, 5))
    for n in range(len(crystal_sites) - 1):
        stats[:, :3] = 0.0
        stats[:, 3], stats[:, 4] = np.inf, -np.inf
        out[n] = 0.0
        for site in range(crystal_sites[n], crystal_sites[n + 1]):
            for i in range(edge_offsets[site], edge_offsets[site + 1]):
                if bond[i] <= 0.0:
                    continue
                centre, first = metal[i, 0], metal[i, 1]
                for j in range(i + 1, edge_offsets[site + 1]):
                    both = bond[i] * bond[j]
                    if both <= 0.0:
                        continue
                    c = 0.0
                    for x in range(3):
                        c += vector[i, x] * vector[j, x]
                    angle = np.degrees(np.arccos(min(max(c, -1.0), 1.0)))
                    _add(stats[0], both, angle)
                    ends, none = first * metal[j, 1], (1.0 - first) * (1.0 - metal[j, 1])
                    shares = (
                        centre * none,
                        (1.0 - centre) * ends,
                        centre * ends,
                        (1.0 - centre) * none,
                    )
                    for kind in range(4):
                        if shares[kind] > _LEAST:
                            _add(stats[1 + kind], both * shares[kind], angle)
                    for w in range(len(windows)):
                        off = (angle - windows[w]) / WIDTH
                        if abs(off) < 4.0:
                            out[n, 20 + w] += both * np.exp(-0.5 * off * off)
        for kind in range(5):
            _write(stats[kind], out[n, 4 * kind : 4 * kind + 4])
        out[n, 20:] /= stats[0, 0] if stats[0, 0] > 0.0 else np.nan


def _angles(environment: Environment) -> Array:
    out = np.empty((len(environment.atoms), 20 + len(WINDOWS)))
    metal = site_mean(environment.crystals, metals())
    _angles_of(
        environment.crystals.offsets, environment.edge_offsets,
        environment.vector / environment.distance[:, None], environment.bond,
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
