"""Charges that agree with the levels they make: a crystal's problem -> its solution.

Site potentials from Gaussian charges shift the levels, the levels' populations are the charges
(SCC-DFTB, Elstner and others, Phys. Rev. B 58, 7260, 1998); Anderson's mixing. Hartree units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from crystalssl.representation.electronic import basis
from crystalssl.representation.electronic.levels import (
    States,
    fermi_level,
    filled,
    populations,
    solve,
)
from crystalssl.representation.electronic.problem import Problem

Array = npt.NDArray[np.float64]

WIDTH = 0.006
"""kT of the Fermi-Dirac filling in hartree, 0.16 eV."""
_NEUTRAL = 1e6
"""Stiffness in hartree that keeps steps of the charges neutral."""
_HISTORY = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Solution:
    """Levels, filling and charges of a crystal.

    Attributes:
        states: solutions of each stack of the problem.
        filling: (k, N) electrons in each state, 0 to 2, for each stack.
        level: Fermi level, hartree.
        populations: (N,) electrons of each atomic function.
        charges: (n,) electrons of each site beyond the neutral atom's.
        potential: (n,) potential of the sites that the states were solved in, hartree.
        residual: largest change of a charge that another iteration would make.
    """

    states: tuple[States, ...]
    filling: tuple[Array, ...]
    level: float
    populations: Array
    charges: Array
    potential: Array
    residual: float


def solution(problem: Problem, charges: Array | None) -> Solution:
    """Solve a crystal in the potential of ``charges`` (n,), or in none."""
    sites = len(problem.numbers)
    potential = np.zeros(sites) if charges is None else problem.interaction @ charges
    of_function = None if charges is None else potential[problem.site]
    states = tuple(solve(stack, of_function) for stack in problem.stacks)
    energies = np.concatenate([solved.energies for solved in states])
    weights = np.concatenate([stack.weights for stack in problem.stacks])
    level = fermi_level(energies, 2.0 * weights, float(problem.electrons), WIDTH)
    filling = tuple(2.0 * filled(solved.energies, level, WIDTH) for solved in states)
    electrons = populations(problem.stacks, states, filling)
    neutral = basis.load().electrons[problem.numbers]
    made = np.bincount(problem.site, electrons, sites) - neutral
    before = np.zeros(sites) if charges is None else charges
    return Solution(
        states=states,
        filling=filling,
        level=level,
        populations=electrons,
        charges=made,
        potential=potential,
        residual=float(np.abs(made - before).max(initial=0.0)),
    )


def converge(problem: Problem, iterations: int, tolerance: float) -> tuple[Solution, Solution]:
    """Make the charges of a crystal self-consistent.

    Args:
        problem: the crystal.
        iterations: solutions with potentials at most, at least one.
        tolerance: largest change of a charge at which to stop.

    Returns:
        The solution without potentials and the last one with them, whose charges are replaced by
        the best estimate of the self-consistent ones.
    """
    plain = last = solution(problem, None)
    damping = damping_of(problem)
    charges = damping @ plain.charges
    mixer = Anderson(damping)
    for _ in range(iterations):
        last = solution(problem, charges)
        charges = mixer.next(charges, last.charges - charges)
        if last.residual < tolerance:
            break
    return plain, replace(last, charges=charges)


def damping_of(problem: Problem) -> Array:
    """(n, n) charges that remain of a unit charge once its potential has driven others away.

    Every site is taken to answer a potential with as many electrons as it has functions, over its
    hardness. That is near enough to the truth for two iterations to do the work of ten.
    """
    atoms = basis.load()
    answer: Array = atoms.orbitals[problem.numbers] / atoms.hardness[problem.numbers]
    stiff = problem.interaction + _NEUTRAL
    matrix: Array = np.eye(len(answer)) + answer[:, None] * stiff
    return np.asarray(np.linalg.inv(matrix), np.float64)


class Anderson:
    """Anderson's extrapolation of vectors whose map should leave them as they are.

    Args:
        damping: matrix or factor that a step is taken with.
    """

    def __init__(self, damping: Array | float) -> None:
        self._damping = damping
        self._inputs: list[Array] = []
        self._residuals: list[Array] = []

    def next(self, vector: Array, residual: Array) -> Array:
        """The vector to try after ``vector`` changed by ``residual``."""
        self._inputs = [*self._inputs, vector][-_HISTORY:]
        self._residuals = [*self._residuals, residual][-_HISTORY:]
        changes, steps = _differences(self._residuals), _differences(self._inputs)
        if changes is not None and steps is not None:
            factors = np.linalg.lstsq(changes, residual, rcond=1e-4)[0]
            vector, residual = vector - steps @ factors, residual - changes @ factors
        following: Array = vector + np.dot(self._damping, residual)
        return following


def _differences(history: Sequence[Array]) -> Array | None:
    """(n, h) columns: the last vector less each one before it; None where it is alone."""
    if len(history) < 2:
        return None
    return np.stack([history[-1] - old for old in history[:-1]], axis=1)
