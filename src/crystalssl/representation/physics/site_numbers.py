"""Sites and their neighbours -> distances, coordination by several rules, local order.

Statistics are over atoms: a site counts by its occupancy, and each with the whole of its
neighbours. Order parameters: Steinhardt, Nelson and Ronchetti, Phys. Rev. B 28, 784 (1983).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crystalssl.representation._compiled import compiled, compiled_sums
from crystalssl.representation.physics.columns import Group, statistics
from crystalssl.representation.physics.environment import Environment
from crystalssl.representation.physics.pooling import pool

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

CUT_OFF = 1.2
"""Neighbours up to this times the nearest distance are counted by the distance rule."""
BONDED = 1.25
"""Neighbours up to this times the sum of covalent radii are counted by the radius rule."""
ORDERS = (2, 4, 6, 8)
"""Degrees of the order parameters."""


@compiled
def _shells(
    edge_offsets: Index, distance: Array, weight: Array, amount: Array, radii: Array, out: Array
) -> None:
    """Fill (s, 8): nearest, shell, second shell, last distance, three counts, gap of shells.

    ``amount`` (e,) is the occupancy of the neighbour, ``radii`` (e,) the sum of covalent radii.
    """
    for site in range(len(edge_offsets) - 1):
        start, stop = edge_offsets[site], edge_offsets[site + 1]
        while start < stop - 1 and weight[start] == 0.0:
            start += 1
        nearest = distance[start]
        hoppe, close, bonded, total, mean = 0.0, 0.0, 0.0, 0.0, 0.0
        second = stop - 1
        for m in range(stop - 1, start - 1, -1):
            near = amount[m] * np.exp(1.0 - (distance[m] / nearest) ** 6)
            total += near
            mean += near * distance[m]
            hoppe += amount[m] * weight[m]
            if distance[m] <= CUT_OFF * nearest:
                close += amount[m]
            else:
                second = m
            if distance[m] <= BONDED * radii[m]:
                bonded += amount[m]
        out[site, 0], out[site, 1] = nearest, mean / total
        out[site, 2], out[site, 3] = distance[second], distance[stop - 1]
        out[site, 4], out[site, 5], out[site, 6] = hoppe, close, bonded
        out[site, 7] = distance[second] / nearest


def _distances(environment: Environment) -> Array:
    radius = environment.of_sites("covalent_radius")
    out = np.empty((len(environment.amount), 8))
    _shells(
        environment.edge_offsets, environment.distance, environment.weight,
        environment.amount[environment.other],
        radius[environment.centre] + radius[environment.other], out,
    )  # fmt: skip
    nearest = out[:, :1]
    return pool(
        environment.crystals.offsets, environment.amount, np.hstack([out, 1.0 / nearest**2])
    )


NEIGHBOURS = Group(
    name="neighbours",
    title="Neighbour distances and coordination, over atoms",
    columns=(
        *statistics("nearest_distance", "angstrom", "the distance to the nearest atom"),
        *statistics("first_shell_distance", "angstrom", "the mean distance in the first shell"),
        *statistics(
            "second_shell_distance", "angstrom",
            f"the distance beyond {CUT_OFF} times the nearest one",
        ),
        *statistics("twelfth_distance", "angstrom", "the distance of the twelfth neighbour"),
        *statistics("coordination_hoppe", "1", "Hoppe's effective coordination number"),
        *statistics(
            "coordination_by_distance", "1",
            f"the number of neighbours within {CUT_OFF} times the nearest distance",
        ),
        *statistics(
            "coordination_by_radii", "1",
            f"the number of neighbours within {BONDED} times the sum of covalent radii",
        ),
        *statistics("shell_gap", "1", "second-shell over nearest distance"),
        *statistics(
            "inverse_square_nearest_distance", "1/angstrom^2", "1 / d^2 of the nearest distance d"
        ),
    ),
    compute=_distances,
)  # fmt: skip
"""How far away neighbours are and how many there are."""


@compiled
def _cosines(
    start: int, stop: int, direction: Array, weight: Array, squares: Array, both: Array
) -> int:
    """Squared cosine and product of weights of every pair of a site's edges; returns how many."""
    found = 0
    for i in range(start, stop):
        if weight[i] > 0.0:
            x, y, z = direction[0, i], direction[1, i], direction[2, i]
            for j in range(i, stop):
                c = x * direction[0, j] + y * direction[1, j] + z * direction[2, j]
                squares[found + j - i] = c * c
                both[found + j - i] = 2.0 * weight[i] * weight[j]
            both[found] *= 0.5  # itself
            found += stop - i
    return found


@compiled_sums
def _legendre(squares: Array, both: Array, n: int) -> tuple[float, float, float, float]:
    """Sums of ``both[:n]`` times the Legendre polynomials of degree 2, 4, 6, 8."""
    q2 = q4 = q6 = q8 = 0.0
    for m in range(n):
        s, w = squares[m], both[m]
        q2 += w * (1.5 * s - 0.5)
        q4 += w * (((35.0 * s - 30.0) * s + 3.0) / 8.0)
        q6 += w * ((((231.0 * s - 315.0) * s + 105.0) * s - 5.0) / 16.0)
        q8 += w * (((((6435.0 * s - 12012.0) * s + 6930.0) * s - 1260.0) * s + 35.0) / 128.0)
    return q2, q4, q6, q8


@compiled
def _order(edge_offsets: Index, direction: Array, weight: Array, out: Array) -> None:
    """Fill (s, 4) order parameters Q_l^2 = sum_ij w_i w_j P_l(cos ij) / (sum w)^2.

    By the addition theorem this equals the sum over m of |<Y_lm>|^2, without any frame of axes.
    ``direction`` (3, e) has length one.
    """
    most = 0
    for site in range(len(edge_offsets) - 1):
        most = max(most, edge_offsets[site + 1] - edge_offsets[site])
    squares, both = np.empty(most * (most + 1) // 2), np.empty(most * (most + 1) // 2)
    for site in range(len(edge_offsets) - 1):
        start, stop = edge_offsets[site], edge_offsets[site + 1]
        n = _cosines(start, stop, direction, weight, squares, both)
        out[site, 0], out[site, 1], out[site, 2], out[site, 3] = _legendre(squares, both, n)
        total = 0.0
        for m in range(start, stop):
            total += weight[m]
        for q in range(4):
            out[site, q] = np.sqrt(max(out[site, q], 0.0)) / max(total, 1e-12)


def _orders(environment: Environment) -> Array:
    out = np.empty((len(environment.amount), len(ORDERS)))
    _order(
        environment.edge_offsets, environment.direction,
        environment.weight * environment.amount[environment.other], out,
    )  # fmt: skip
    return pool(environment.crystals.offsets, environment.amount, out)


ORDER = Group(
    name="order",
    title="Orientational order of the bonds of an atom (Steinhardt), over atoms",
    columns=tuple(
        entry
        for degree in ORDERS
        for entry in statistics(
            f"steinhardt_q{degree}", "1", f"the bond order parameter of degree {degree}"
        )
    ),
    compute=_orders,
)
"""How the neighbours of an atom are arranged, whatever their distances."""

SITE_GROUPS: tuple[Group, ...] = (NEIGHBOURS, ORDER)
"""Groups of this file."""
