"""Ferromagnetic splitting of d shells: a crystal's problem and charges -> levels of both spins.

A d shell with moment m is split by the atom's own Stoner integral times m, which atoms.py takes
from the spin kernel of the electron gas; charges and moments are made self-consistent together.
Only one order of the moments is tried, all parallel. Hartree units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crystalssl.representation.electronic import basis
from crystalssl.representation.electronic.charges import WIDTH, Anderson, Solution, damping_of
from crystalssl.representation.electronic.levels import (
    States,
    fermi_level,
    filled,
    populations,
    solve,
)
from crystalssl.representation.electronic.problem import Problem

Array = npt.NDArray[np.float64]

ITERATIONS = 14
_TOLERANCE = 0.02
_GONE = 0.05
"""Unpaired electrons of a site below which, on all sites, a crystal is taken as not magnetic."""
_MIX = 0.4
D_BLOCK: npt.NDArray[np.bool_] = np.zeros(95, np.bool_)
"""Elements whose d shell may be magnetic: groups 4 to 11."""
for _first in (22, 40, 72):
    D_BLOCK[_first : _first + 8] = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Spins:
    """Levels of both spins.

    Attributes:
        energies: (2, k, N) hartree.
        moments: (n,) unpaired d electrons of each site.
        electrons: electrons of each spin in the cell.
        residual: largest change that another iteration would make.
    """

    energies: Array
    moments: Array
    electrons: tuple[float, float]
    residual: float


def split(problem: Problem, start: Solution) -> Spins | None:
    """Levels of a crystal whose d shells are split; None where it has no such shell.

    Args:
        problem: the crystal.
        start: its self-consistent solution without spin.
    """
    atoms, numbers = basis.load(), problem.numbers
    magnetic = np.flatnonzero(D_BLOCK[numbers])
    if not len(magnetic):
        return None
    sites = len(numbers)
    neutral, weights = atoms.electrons[numbers], _weights(problem)
    d = problem.shell == 2
    in_d = np.bincount(problem.site[d], start.populations[d], sites)[magnetic]
    damping = _MIX * np.eye(sites + len(magnetic))
    damping[:sites, :sites] = damping_of(problem)
    mixer = Anderson(damping)
    vector = np.concatenate([start.charges, np.minimum(in_d, 10.0 - in_d).clip(0.0)])
    for step in range(ITERATIONS):
        moments = np.zeros(sites)
        moments[magnetic] = vector[sites:]
        half = 0.5 * (atoms.stoner[numbers] * moments)[problem.site] * d
        common = (problem.interaction @ vector[:sites])[problem.site]
        both = [
            [solve(stack, common - sign * half) for stack in problem.stacks] for sign in (1, -1)
        ]
        energies = np.stack([_energies(states) for states in both])  # (2, k, N)
        level = fermi_level(
            np.concatenate(energies), np.concatenate([weights, weights]),
            float(problem.electrons), WIDTH,
        )  # fmt: skip
        up, down = (_populations(problem, states, level) for states in both)
        made = np.bincount(problem.site, up + down, sites) - neutral
        unpaired = np.bincount(problem.site[d], (up - down)[d], sites)
        residual = np.concatenate([made, unpaired[magnetic]]) - vector
        gone = np.abs(unpaired).max() < _GONE
        if np.abs(residual).max() < _TOLERANCE or gone or step == ITERATIONS - 1:
            break
        vector = mixer.next(vector, residual)
        vector[sites:] = vector[sites:].clip(0.0, 5.0)  # no d shell has more
    return Spins(
        energies=energies,
        moments=unpaired.astype(np.float64),
        electrons=(float(up.sum()), float(down.sum())),
        residual=float(np.abs(residual).max()),
    )


def _weights(problem: Problem) -> Array:
    return np.concatenate([stack.weights for stack in problem.stacks])


def _energies(states: list[States]) -> Array:
    return np.concatenate([solved.energies for solved in states])


def _populations(problem: Problem, states: list[States], level: float) -> Array:
    filling = [filled(solved.energies, level, WIDTH) for solved in states]
    return populations(problem.stacks, states, filling)
