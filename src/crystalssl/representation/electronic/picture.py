"""What the electrons of a crystal look like: its solution -> numbers per state, site and channel.

States become energies about the middle of the gap or the Fermi level, with the shares of shells,
their electronegativity, how many sites they cover and what bonds them. quantities.py sums these up.
Energies in eV from here on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crystalssl.representation import elemental
from crystalssl.representation._compiled import compiled
from crystalssl.representation.electronic import basis
from crystalssl.representation.electronic.charges import WIDTH, Solution
from crystalssl.representation.electronic.levels import adjoint
from crystalssl.representation.electronic.problem import Problem

Array = npt.NDArray[np.float64]

EV = 27.211386245988
"""eV in a hartree."""
HIGHEST = 12.0
"""eV above the Fermi level up to which states are looked at."""
_INSULATOR = 0.02
"""Gap in eV above which the zero of energy is the middle of the gap."""
_EQUAL = 0.05
"""eV within which states are taken together to count the sites they cover."""
SHARES = ("s", "p", "d", "electronegativity", "localisation", "bonding")
"""Columns of ``Picture.shares``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gaps:
    """Distances between the highest filled and the lowest empty band, eV.

    Attributes:
        indirect: between band edges at any k-points; negative where bands overlap, 0 where an odd
            number of electrons leaves a band half filled.
        direct: least at one k-point.
        mean: average over k-points.
        middle: middle of the indirect gap.
        odd: whether the cell has an odd number of electrons.
        widths: ranges over k-points of the highest filled and the lowest empty band.
    """

    indirect: float
    direct: float
    mean: float
    middle: float
    odd: bool
    widths: tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A crystal's electrons, T states at all k-points with energies up to ``HIGHEST``.

    Attributes:
        gaps: with self-consistent charges.
        plain_gap: indirect gap without them, eV.
        zero: middle of the gap or Fermi level, eV.
        energies: (T,) above ``zero``, eV.
        weights: (T,) weight of the state's k-point over the number of sites.
        filling: (T,) 0 to 1.
        shares: (T, 6) columns as in ``SHARES``: weight on each shell; electronegativity (Pauling);
            sum of squared weights on sites; energy from bonds, eV.
        bond_energy: (3, 3) energy of bonds between shells, eV per site.
        bond_population: (3, 3) overlap populations between shells per site.
        site_bonds: (n,) energy of each site's bonds, eV.
        shells: (n, 3) electrons in the shells of each site.
        change: (n, 3) these beyond the neutral atom's.
        charges: (n,) electrons beyond the neutral atom's.
        plain_charges: (n,) the same without self-consistent potentials.
        potential: (n,) eV.
        hopping: (n,) root of the summed squared Hamiltonian elements of each site's bonds, eV.
        hardness: (n,) eV.
        electrons: valence electrons of the cell.
        functions: atomic functions of the cell.
        volume: cubic angstrom.
        energy: binding of electrons per site against free atoms in eV: all; of the bands alone;
            electrostatic; and without self-consistent potentials.
    """

    gaps: Gaps
    plain_gap: float
    zero: float
    energies: Array
    weights: Array
    filling: Array
    shares: Array
    bond_energy: Array
    bond_population: Array
    site_bonds: Array
    shells: Array
    change: Array
    charges: Array
    plain_charges: Array
    potential: Array
    hopping: Array
    hardness: Array
    electrons: int
    functions: int
    volume: float
    energy: tuple[float, float, float, float]


def gaps_of(energies: Array, weights: Array, electrons: int) -> Gaps:
    """Gaps of bands that hold two electrons each.

    Args:
        energies: (k, N) ascending, hartree.
        weights: (k,) of the k-points.
        electrons: electrons of the cell.
    """
    filled = electrons // 2
    if electrons % 2 or filled == 0 or filled >= energies.shape[1]:
        band = energies[:, min(filled, energies.shape[1] - 1)]
        width = float(np.ptp(band)) * EV
        return Gaps(
            indirect=0.0, direct=0.0, mean=0.0, middle=0.0, odd=bool(electrons % 2),
            widths=(width, width),
        )  # fmt: skip
    top, bottom = energies[:, filled - 1], energies[:, filled]
    return Gaps(
        indirect=float(bottom.min() - top.max()) * EV,
        direct=float((bottom - top).min()) * EV,
        mean=float(weights @ (bottom - top)) * EV,
        middle=float(bottom.min() + top.max()) * EV / 2.0,
        odd=False,
        widths=(float(np.ptp(top)) * EV, float(np.ptp(bottom)) * EV),
    )


def picture(problem: Problem, plain: Solution, solved: Solution) -> Picture:
    """Look at a solved crystal.

    Args:
        problem: the crystal.
        plain: its solution without self-consistent potentials.
        solved: the one with them.
    """
    atoms, numbers, sites = basis.load(), problem.numbers, len(problem.numbers)
    weights = np.concatenate([stack.weights for stack in problem.stacks])
    energies = np.concatenate([states.energies for states in solved.states])
    plain_energies = np.concatenate([states.energies for states in plain.states])
    gaps = gaps_of(energies, weights, problem.electrons)
    insulator = gaps.indirect > _INSULATOR
    zero = gaps.middle if insulator else solved.level * EV
    seen = int((energies * EV < zero + HIGHEST).any(axis=0).sum())
    shares, bond_energy, bond_population, site_bonds = _states(problem, solved, seen)
    x = (energies[:, :seen] * EV - zero).ravel()
    filling = (
        (x < 0).astype(np.float64)
        if insulator
        else 1 / (1 + np.exp(np.clip(x / (WIDTH * EV), -60, 60)))
    )
    shells = np.bincount(3 * problem.site + problem.shell, solved.populations, 3 * sites)
    shells_of_site = shells.astype(np.float64).reshape(sites, 3)
    return Picture(
        gaps=gaps,
        plain_gap=gaps_of(plain_energies, weights, problem.electrons).indirect,
        zero=zero,
        energies=x,
        weights=np.repeat(weights, seen) / sites,
        filling=filling,
        shares=shares,
        bond_energy=bond_energy * EV / sites,
        bond_population=bond_population / sites,
        site_bonds=site_bonds * EV,
        shells=shells_of_site,
        change=shells_of_site - atoms.occupation[numbers],
        charges=solved.charges,
        plain_charges=plain.charges,
        potential=solved.potential * EV,
        hopping=np.sqrt(problem.strength) * EV,
        hardness=atoms.hardness[numbers] * EV,
        electrons=problem.electrons,
        functions=len(problem.site),
        volume=problem.volume * BOHR3,
        energy=_energies(problem, plain, solved),
    )


BOHR3 = 0.529177210903**3
"""Cubic angstrom in a cubic bohr."""


def _energies(
    problem: Problem, plain: Solution, solved: Solution
) -> tuple[float, float, float, float]:
    """Binding energies per site against free atoms, eV; see ``Picture.energy``."""
    atoms, numbers = basis.load(), problem.numbers
    free = float((atoms.occupation[numbers] * atoms.onsite[numbers]).sum())
    electrostatic = 0.5 * float(solved.charges @ problem.interaction @ solved.charges)
    electrons = np.bincount(problem.site, solved.populations, len(numbers))
    bands = _band_energy(problem, solved) - float(solved.potential @ electrons) - free
    alone = _band_energy(problem, plain) - free
    scale = EV / len(numbers)
    return (bands + electrostatic) * scale, bands * scale, electrostatic * scale, alone * scale


def _band_energy(problem: Problem, solved: Solution) -> float:
    total = 0.0
    for stack, states, filling in zip(problem.stacks, solved.states, solved.filling, strict=True):
        total += float(stack.weights @ (states.energies * filling).sum(axis=1))
    return total


@compiled
def _localisation(energies: Array, of_site: Array, participation: Array) -> None:
    """Sum over sites of squared weights, which are first averaged over states of equal energy.

    Which states make up a degenerate level is left to rounding; their average is not. The window
    is smooth, so that nearly equal energies count as much as they are equal.

    Args:
        energies: (k, T) ascending, eV.
        of_site: (k, T, n) weights of the states on sites.
        participation: (k, T), filled.
    """
    mean = np.empty(of_site.shape[2])
    for k in range(energies.shape[0]):
        for s in range(energies.shape[1]):
            mean[:] = 0.0
            total = 0.0
            for step in (-1, 1):
                other = s if step > 0 else s - 1
                while 0 <= other < energies.shape[1]:
                    distance = (energies[k, other] - energies[k, s]) / _EQUAL
                    if abs(distance) >= 1.0:
                        break
                    window = (1.0 - distance * distance) ** 3
                    total += window
                    for i in range(len(mean)):
                        mean[i] += window * of_site[k, other, i]
                    other += step
            square = 0.0
            for i in range(len(mean)):
                square += mean[i] * mean[i]
            participation[k, s] = square / (total * total)


def _states(problem: Problem, solved: Solution, seen: int) -> tuple[Array, Array, Array, Array]:
    """Shares (T, 6) of the lowest ``seen`` states, and bonds by shells (3, 3) twice and by site."""
    sites, size = len(problem.numbers), len(problem.site)
    column = elemental.WEIGHT_NAMES.index("electronegativity_pauling")
    scale = elemental.WEIGHTS[problem.numbers, column].astype(np.float64)
    level = problem.onsite + solved.potential[problem.site]
    by_shell, by_site = np.zeros((size, 3)), np.zeros((size, sites))
    by_shell[np.arange(size), problem.shell] = 1.0
    by_site[np.arange(size), problem.site] = 1.0
    read = np.concatenate([by_shell, scale[problem.site, None], level[:, None]], axis=1)
    shares, energy, population, bonds = [], np.zeros((3, 3)), np.zeros((3, 3)), np.zeros(size)
    for stack, states, filling in zip(problem.stacks, solved.states, solved.filling, strict=True):
        kind = stack.dual.real.dtype
        lowest = states.vectors[..., :seen]
        vectors = stack.basis @ lowest  # (k, N, seen)
        weight = np.swapaxes((vectors.conj() * (stack.dual @ lowest)).real, 1, 2)  # (k, seen, N)
        sums = (weight @ read.astype(kind)).astype(np.float64)  # (k, seen, 5)
        of_site = (weight @ by_site.astype(kind)).astype(np.float64)  # (k, seen, n)
        participation = np.zeros(of_site.shape[:2])
        _localisation(states.energies[:, :seen] * EV, of_site, participation)
        bonding = (states.energies[:, :seen] - sums[..., 4]) * EV
        row = np.concatenate([sums[..., :4], participation[..., None], bonding[..., None]], axis=2)
        shares.append(row.reshape(-1, len(SHARES)))
        top = int(np.flatnonzero((filling > 1e-6).any(axis=0)).max(initial=0)) + 1
        occupied = vectors[..., :top]
        share = (stack.weights[:, None] * filling[:, :top]).astype(kind)
        density = (occupied * share[:, None, :]) @ adjoint(occupied)
        mean = (0.5 * (problem.onsite[:, None] + problem.onsite[None, :])).astype(kind)
        # an atom's own elements drop out; those with its images in other cells are bonds
        between = stack.overlap - np.eye(size, dtype=kind)
        overlap = (density.conj() * between).real.sum(axis=0)
        bond = (density.conj() * (stack.hamiltonian - mean * stack.overlap)).real.sum(axis=0)
        energy += by_shell.T @ bond @ by_shell
        population += by_shell.T @ overlap @ by_shell
        bonds += bond.sum(axis=1)
    site_bonds = np.bincount(problem.site, bonds, sites).astype(np.float64)
    return np.concatenate(shares), energy, population, site_bonds
