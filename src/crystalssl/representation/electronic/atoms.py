"""Self-consistent atoms in the local density approximation: atomic number -> levels and orbitals.

Free atoms give on-site energies, hardness and spin splitting; atoms in a soft wall (r / r0)^2, r0
twice the covalent radius (Cordero and others, Dalton Trans. 2832, 2008), give the orbitals of the
minimal basis (Koskinen and Makinen, Comput. Mater. Sci. 47, 237, 2009). Hartree units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError
from crystalssl.representation.electronic.exchange import perdew_wang, spin_kernel
from crystalssl.representation.electronic.radial import LIGHT, RadialElements
from crystalssl.representation.electronic.shells import Shell, reference, valence

Array = npt.NDArray[np.float64]
Functional = Callable[[Array], tuple[Array, Array]]

BOHR = 0.529177210903
"""Angstrom in a bohr."""
_TOLERANCE = 1e-7
_STEPS = 150
_HISTORY = 6
_MIX = 0.35
_REMOVED = 0.1
"""Electrons taken away for the finite difference of the hardness."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Atom:
    """A self-consistent atom.

    Attributes:
        elements: the radial finite elements.
        energies: energy of every shell solved for, hartree.
        orbitals: its u = r R, (E + 1, 2) values and slopes at the nodes.
        charge: (E, 6) 4 pi r^2 n.
        potential: (E, 6) Kohn-Sham potential without the wall.
        total: total energy without the wall's, hartree (meaningful without relativity).
    """

    elements: RadialElements
    energies: Mapping[Shell, float]
    orbitals: Mapping[Shell, Array]
    charge: Array
    potential: Array
    total: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """How an atom is solved.

    Attributes:
        wall: radius r0 of the wall (r / r0)^2 in bohr, None for a free atom.
        light: speed of light, infinite without relativity.
        functional: density -> energy per electron and potential.
    """

    wall: float | None = None
    light: float = LIGHT
    functional: Functional = perdew_wang


def solve_atom(
    number: int,
    occupation: Mapping[Shell, float],
    setting: Setting = Setting(),
    *,
    also: Sequence[Shell] = (),
    start: Atom | None = None,
) -> Atom:
    """Solve an atom to self-consistency.

    Args:
        number: nuclear charge.
        occupation: electrons in each shell.
        setting: wall, relativity, functional.
        also: empty shells whose levels are wanted too.
        start: an atom of the same element whose potential to begin with.

    Raises:
        InputError: if it does not converge.
    """
    grid = RadialElements(number) if start is None else start.elements
    r = grid.points
    wall = np.zeros_like(r) if setting.wall is None else (r / setting.wall) ** 2
    if start is None:  # a screened nucleus, near Thomas and Fermi
        screening = 1.0 - 1.0 / (1.0 + 1.1295 * number ** (1 / 3) * r) ** 2
        potential = (-number + (number - 1) * screening) / r
    else:
        potential = start.potential
    counts: dict[int, int] = {}
    for n, l in {*occupation, *also}:  # noqa: E741
        counts[l] = max(counts.get(l, 0), n - l)
    mixer = _Mixer()
    for _ in range(_STEPS):
        energies: dict[Shell, float] = {}
        orbitals: dict[Shell, Array] = {}
        for l, count in counts.items():  # noqa: E741
            levels, vectors = grid.levels(l, potential + wall, count, setting.light)
            for i in range(count):
                energies[i + l + 1, l], orbitals[i + l + 1, l] = float(levels[i]), vectors[i]
        charge = np.zeros_like(r)
        for shell, electrons in occupation.items():
            charge += electrons * grid.at_points(orbitals[shell]) ** 2
        hartree = grid.hartree(charge)
        exchange, kohn_sham = setting.functional(charge / (4.0 * np.pi * r**2))
        wanted = -number / r + hartree + kohn_sham
        residual = wanted - potential
        if np.sqrt(grid.integral(residual**2 * charge) / number) < _TOLERANCE:
            total = sum(energies[shell] * electrons for shell, electrons in occupation.items())
            total -= grid.integral(charge * (hartree / 2 + kohn_sham - exchange + wall))
            return Atom(
                elements=grid, energies=energies, orbitals=orbitals, charge=charge,
                potential=wanted, total=total,
            )  # fmt: skip
        potential = mixer.next(
            potential, residual, (charge + 1e-3 * r**2 * np.exp(-r)) * grid.weights
        )
    raise InputError(
        f"The atom of Z = {number} did not converge in {_STEPS} steps. Check its occupation."
    )


class _Mixer:
    """Anderson's extrapolation of potentials (J. ACM 12, 547, 1965)."""

    def __init__(self) -> None:
        self._inputs: list[Array] = []
        self._residuals: list[Array] = []

    def next(self, potential: Array, residual: Array, weight: Array) -> Array:
        """The potential to try after ``potential`` missed by ``residual``."""
        self._inputs = [*self._inputs, potential][-_HISTORY:]
        self._residuals = [*self._residuals, residual][-_HISTORY:]
        changes = [residual - old for old in self._residuals[:-1]]
        if changes:
            gram = np.array([[(a * b * weight).sum() for b in changes] for a in changes])
            right = np.array([(a * residual * weight).sum() for a in changes])
            gram += 1e-12 * np.trace(gram) * np.eye(len(gram))
            factors = np.linalg.lstsq(gram, right, rcond=None)[0]
            steps = [potential - old for old in self._inputs[:-1]]
            potential = potential - sum(f * s for f, s in zip(factors, steps, strict=True))
            residual = residual - sum(f * c for f, c in zip(factors, changes, strict=True))
        return potential + _MIX * residual


@dataclass(frozen=True, kw_only=True, slots=True)
class Element:
    """What the tight binding takes from the atoms of one element; hartree and bohr.

    Attributes:
        free: energy of each valence shell of the free atom: on-site energies.
        confined: the same of the confined atom.
        hardness: derivative of each occupied shell's energy with respect to its electrons.
        stoner: splitting of the d levels per unpaired electron, 0 without d electrons.
        orbitals: R(r) of each valence shell of the confined atom at the radii asked for.
        potential: r V(r) of the confined atom, without the wall, at these radii.
    """

    free: Mapping[Shell, float]
    confined: Mapping[Shell, float]
    hardness: Mapping[Shell, float]
    stoner: float
    orbitals: Mapping[Shell, Array]
    potential: Array


def solve_element(number: int, covalent_radius: float, radii: Array) -> Element:
    """Solve the free and the confined atom of an element.

    Args:
        number: Z, 1 to 94.
        covalent_radius: bohr.
        radii: (R,) where the functions are wanted, bohr, the first of them 0.
    """
    occupation, shells = reference(number), list(valence(number))
    free = solve_atom(number, occupation, also=shells)
    wall = Setting(wall=2.0 * covalent_radius)
    confined = solve_atom(number, occupation, wall, also=shells, start=free)
    hardness = {}
    for shell in (shell for shell in shells if occupation.get(shell, 0) > 0):
        ion = solve_atom(
            number, {**occupation, shell: occupation[shell] - _REMOVED}, also=shells, start=free
        )
        hardness[shell] = (free.energies[shell] - ion.energies[shell]) / _REMOVED
    orbitals = {}
    for shell in shells:
        values = confined.elements.evaluate(confined.orbitals[shell], radii)
        tail = np.flatnonzero(np.abs(values * radii) > 1e-3 * np.abs(values * radii).max())[-1]
        orbitals[shell] = values * np.sign(values[tail])  # positive outside
    return Element(
        free={shell: free.energies[shell] for shell in shells},
        confined={shell: confined.energies[shell] for shell in shells},
        hardness=hardness,
        stoner=_stoner(free, shells, occupation),
        orbitals=orbitals,
        potential=_times_radius(confined, number, radii),
    )


def _stoner(atom: Atom, shells: Sequence[Shell], occupation: Mapping[Shell, float]) -> float:
    """Splitting of the d shell per unpaired electron: -2 times the spin kernel between densities.

    O. Gunnarsson, J. Phys. F 6, 587 (1976), eq. 18, with the orbital of the free atom.
    """
    for shell in shells:
        if shell[1] == 2 and occupation.get(shell, 0) > 0:
            grid = atom.elements
            sphere = 4.0 * np.pi * grid.points**2
            kernel = spin_kernel(atom.charge / sphere)
            density = grid.at_points(atom.orbitals[shell]) ** 2
            return -2.0 * grid.integral(density**2 / sphere * kernel)
    return 0.0


def _times_radius(atom: Atom, number: int, radii: Array) -> Array:
    """R V(r) at ``radii``; -Z at the nucleus."""
    r = np.concatenate([[0.0], atom.elements.points.ravel()])
    values = np.concatenate([[-float(number)], (atom.potential * atom.elements.points).ravel()])
    interpolated: Array = np.interp(np.log1p(radii / 1e-4), np.log1p(r / 1e-4), values)
    return interpolated
