"""Crystal-level targets from charge balance: can the elements of a crystal balance their charges?

Composition -> how near the known oxidation states of its elements come to neutrality, and what
they are where they come nearest. Insulators balance, most metals do not, so a view that tells
these numbers knows something of bonding that no average of elemental properties holds. States:
``data/oxidation_states.csv`` (pymatgen: those common, and those frequent in ICSD), written by
``scripts/build_elemental_table.py``.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from crystalssl.representation import elemental
from crystalssl.representation._compiled import compiled, run_chunks
from crystalssl.structures.crystals import Crystals

BALANCE = "whether charges balance"
"""Name of the target that is one where they do and falls to zero where they do not."""
CHARGE_NAMES = (
    "least charge left over per atom",
    BALANCE,
    "mean absolute charge per atom where they balance best",
    "highest charge per atom where they balance best",
)
"""Columns of what :func:`charge_targets` gives."""
WRONG_WAY = 0.1
"""Charge per atom that an assignment is set back for a cation more electronegative than an anion;
so that of two balanced assignments the chemical one is taken."""
BALANCED = 0.05
"""Charge left over per atom at which the balance is half lost, as exp(-(x / BALANCED)^2 ln 2)."""
MOST_ELEMENTS = 8
"""Elements beyond these, the rarest, are taken as neutral."""


@cache
def states() -> npt.NDArray[np.float64]:
    """(104, S) oxidation states of each atomic number, 0 where an element has fewer."""
    rows = elemental.read_table("oxidation_states.csv")[1:]
    listed = {int(z): [float(s) for s in text.split()] for z, text in rows}
    table = np.zeros((max(listed) + 1, max(len(s) for s in listed.values())))
    for z, numbers in listed.items():
        table[z, : len(numbers)] = numbers
    return table


@compiled
def _best(
    count: int,
    elements: npt.NDArray[np.int64],
    shares: npt.NDArray[np.float64],
    table: npt.NDArray[np.float64],
    electronegativity: npt.NDArray[np.float64],
    choice: npt.NDArray[np.int64],
    out: npt.NDArray[np.float32],
    best: npt.NDArray[np.float32],
) -> None:
    """Try every assignment of states to ``count`` elements and keep the best, in ``best`` by Z.

    ``choice`` counts through the columns of ``table`` (element, state) like an odometer; the best
    leaves the least charge, cost = |sum_i x_i s_i| and a penalty where a cation is the more
    electronegative one.
    """
    choice[:count] = 0
    least = np.inf
    while True:
        left, cation, anion, size, top = 0.0, -1.0, 10.0, 0.0, 0.0
        for i in range(count):
            state = table[elements[i], choice[i]]
            left += shares[i] * state
            size += shares[i] * abs(state)
            top = max(top, abs(state) if shares[i] > 0 else 0.0)
            if state > 0:
                cation = max(cation, electronegativity[elements[i]])
            elif state < 0:
                anion = min(anion, electronegativity[elements[i]])
        cost = abs(left) + (WRONG_WAY if cation > anion else 0.0)
        if cost < least - 1e-9:
            least = cost
            out[0], out[2], out[3] = cost, size, top
            for i in range(count):
                best[elements[i]] = table[elements[i], choice[i]]
        i = 0  # next assignment: the first wheel with a further state; those before it back to 0
        while i < count:
            choice[i] += 1
            if choice[i] < table.shape[1] and table[elements[i], choice[i]] != 0:
                break
            choice[i] = 0
            i += 1
        if i == count:
            break
    out[1] = np.exp(-np.log(2.0) * (out[0] / BALANCED) ** 2)


@compiled
def _charges_of(
    offsets: npt.NDArray[np.int64],
    numbers: npt.NDArray[np.int16],
    occupancy: npt.NDArray[np.float32],
    table: npt.NDArray[np.float64],
    electronegativity: npt.NDArray[np.float64],
    values: npt.NDArray[np.float32],
    best: npt.NDArray[np.float32],
) -> None:
    """Fill the targets of a chunk of crystals, and the states behind them, ``best`` (n, 104)."""
    amounts = np.empty(len(table))
    elements, choice = np.empty(MOST_ELEMENTS, np.int64), np.empty(MOST_ELEMENTS, np.int64)
    shares = np.empty(MOST_ELEMENTS)
    for n in range(len(offsets) - 1):
        amounts[:] = 0.0
        total = 0.0
        for site in range(offsets[n], offsets[n + 1]):
            for slot in range(numbers.shape[1]):
                if 0 < numbers[site, slot] < len(table):
                    amounts[numbers[site, slot]] += occupancy[site, slot]
                    total += occupancy[site, slot]
        count = 0
        while count < MOST_ELEMENTS:
            element = int(np.argmax(amounts))
            if amounts[element] <= 0:
                break
            elements[count], shares[count] = element, amounts[element] / total
            amounts[element] = 0.0
            count += 1
        _best(count, elements, shares, table, electronegativity, choice, values[n], best[n])


def charge_targets(crystals: Crystals) -> npt.NDArray[np.float32]:
    """Targets of each crystal from charge balance.

    Args:
        crystals: n crystals; only elements and occupancies are read.

    Returns:
        (n, 4) raw values, columns as in ``CHARGE_NAMES``.
    """
    return balanced_charges(crystals)[0]


def balanced_charges(
    crystals: Crystals,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """What :func:`charge_targets` gives, and (n, 104) the state of each Z where they balance best.

    Elements that are absent, have no known state or are beyond ``MOST_ELEMENTS`` have state 0.
    """
    table = states()
    column = elemental.weight_column(elemental.ELECTRONEGATIVITY)
    electronegativity = elemental.WEIGHTS[: len(table), column].astype(np.float64)
    values = np.zeros((len(crystals), len(CHARGE_NAMES)), np.float32)
    best = np.zeros((len(crystals), len(table)), np.float32)

    def work(start: int, stop: int) -> None:
        first, last = crystals.offsets[start], crystals.offsets[stop]
        _charges_of(
            crystals.offsets[start : stop + 1] - first, crystals.numbers[first:last],
            crystals.occupancy[first:last], table, electronegativity, values[start:stop],
            best[start:stop],
        )  # fmt: skip

    run_chunks(work, len(crystals))
    return values, best
