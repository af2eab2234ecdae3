"""Bloch matrices diagonalised: overlap, Hamiltonian and site potentials -> levels and states.

The overlap is factored once per k-point, S = L L^H; every later solution is a standard problem in
the basis L^-H. Where functions are nearly dependent, the small eigenvalues of S are raised. The
matrices of one crystal are stacks (k, N, N), a real one and a complex one. Hartree units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh, get_lapack_funcs

from crystalssl.representation._compiled import compiled

Array = npt.NDArray[np.float64]
Matrices = npt.NDArray[Any]
"""(k, N, N) real or complex."""

FLOOR = 0.05
"""Eigenvalues of the overlap are raised to this where any pivot of its factor falls below it."""
LARGE = 128
"""Functions from which on LAPACK is called per matrix, in single precision where allowed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """Matrices of some k-points of a crystal.

    Attributes:
        overlap: (k, N, N).
        hamiltonian: (k, N, N) without self-consistent potentials.
        basis: (k, N, N) X with X^H S X = 1.
        dual: (k, N, N) S X.
        plain: (k, N, N) X^H H X.
        weights: (k,) weights of the k-points.
    """

    overlap: Matrices
    hamiltonian: Matrices
    basis: Matrices
    dual: Matrices
    plain: Matrices
    weights: Array


@dataclass(frozen=True, kw_only=True, slots=True)
class States:
    """Solutions of one stack.

    Attributes:
        energies: (k, N) ascending.
        vectors: (k, N, N) columns are states in the orthogonal basis of the stack.
    """

    energies: Array
    vectors: Matrices


def adjoint(matrices: Matrices) -> Matrices:
    """Conjugate transposes of a stack."""
    transposed = np.swapaxes(matrices, -1, -2)
    return transposed.conj() if np.iscomplexobj(matrices) else transposed


def factor(
    overlap: Matrices, hamiltonian: Matrices, weights: Array, *, single: bool = False
) -> Stack:
    """Prepare a stack of matrices for diagonalisation.

    Args:
        overlap: (k, N, N).
        hamiltonian: (k, N, N).
        weights: (k,).
        single: work in single precision from here on where N is large.

    Raises:
        numpy.linalg.LinAlgError: if a matrix holds no finite numbers.
    """
    try:
        dual = np.linalg.cholesky(overlap)
        safe = bool((np.diagonal(dual, axis1=1, axis2=2).real ** 2).min(initial=1.0) > FLOOR)
    except np.linalg.LinAlgError:
        safe = False
    if safe:
        basis = adjoint(_inverse(dual))
    else:
        values, vectors = np.linalg.eigh(overlap)
        roots = np.sqrt(np.maximum(values, FLOOR))[:, None, :]
        basis, dual = vectors / roots, vectors * roots
        overlap = dual @ adjoint(dual)
    if single and overlap.shape[-1] >= LARGE:
        kind = np.complex64 if np.iscomplexobj(overlap) else np.float32
        overlap, hamiltonian = overlap.astype(kind), hamiltonian.astype(kind)
        basis, dual = basis.astype(kind), dual.astype(kind)
    return Stack(
        overlap=overlap,
        hamiltonian=hamiltonian,
        basis=basis,
        dual=dual,
        plain=adjoint(basis) @ (hamiltonian @ basis),
        weights=weights,
    )


def _inverse(lower: Matrices) -> Matrices:
    """Inverses of lower triangular matrices."""
    if lower.shape[-1] < LARGE:
        return np.linalg.inv(lower)
    (invert,) = get_lapack_funcs(("trtri",), (lower,))
    return np.stack([invert(matrix, lower=1)[0] for matrix in lower])


def solve(stack: Stack, potential: Array | None = None) -> States:
    """Diagonalise a stack with a potential on every atomic function.

    Args:
        stack: k-points of one crystal.
        potential: (N,) hartree, entering as S (v_i + v_j) / 2; None for none.
    """
    matrices = stack.plain
    if potential is not None:
        kind = stack.dual.real.dtype
        half = adjoint(stack.basis) @ (potential.astype(kind)[:, None] * stack.dual)
        matrices = matrices + kind.type(0.5) * (half + adjoint(half))
    if matrices.shape[-1] < LARGE:
        energies, vectors = np.linalg.eigh(matrices)
        return States(energies=energies, vectors=vectors)
    solved = [eigh(matrix, driver="evd", check_finite=False) for matrix in matrices]
    return States(
        energies=np.stack([values for values, _ in solved]).astype(np.float64),
        vectors=np.stack([vectors for _, vectors in solved]),
    )


def populations(
    stacks: Sequence[Stack], states: Sequence[States], filling: Sequence[Array]
) -> Array:
    """(N,) Mulliken populations of the atomic functions.

    Args:
        stacks: of one crystal.
        states: solutions of each stack.
        filling: (k, N) electrons in each state of each stack.
    """
    total = np.zeros(states[0].energies.shape[1])
    for stack, solved, electrons in zip(stacks, states, filling, strict=True):
        top = int(np.flatnonzero((electrons > 1e-6).any(axis=0)).max(initial=0)) + 1
        occupied = solved.vectors[..., :top]
        products = ((stack.basis @ occupied).conj() * (stack.dual @ occupied)).real
        share = (stack.weights[:, None] * electrons[:, :top]).astype(products.dtype)
        total += (products @ share[..., None])[..., 0].sum(axis=0)
    return total


@compiled
def fermi_level(energies: Array, weights: Array, electrons: float, width: float) -> float:
    """Level at which Fermi-Dirac filling holds the electrons.

    Args:
        energies: (k, N) of all k-points.
        weights: (k,) electrons that a full state of each k-point holds.
        electrons: electrons of the cell.
        width: kT in hartree.
    """
    low, high = energies.min() - 1.0, energies.max() + 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        total = 0.0
        for k in range(energies.shape[0]):
            for s in range(energies.shape[1]):
                x = (energies[k, s] - middle) / width
                if x < -40.0:
                    total += weights[k]
                elif x < 40.0:
                    total += weights[k] / (1.0 + np.exp(x))
        if total > electrons:
            high = middle
        else:
            low = middle
    return float(0.5 * (low + high))


def filled(energies: Array, level: float, width: float) -> Array:
    """Fermi-Dirac occupation between 0 and 1, in the shape of ``energies``."""
    occupation: Array = 1.0 / (1.0 + np.exp(np.clip((energies - level) / width, -60.0, 60.0)))
    return occupation
