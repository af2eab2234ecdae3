"""Symmetric positive matrix -> its principal axes, quickly where its rank is low.

Raw FTCP has thousands of columns but a rank of some hundreds: a pivoted Cholesky factor finds that
rank, and only a matrix of that size is decomposed. Between the Gram matrix and spectrum.py.
Source: Higham, Accuracy and Stability of Numerical Algorithms, section 10.3.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh
from scipy.linalg.lapack import dpstrf

Floats = npt.NDArray[np.float64]

WORTHWHILE = 0.6
"""Share of full rank above which the whole matrix is decomposed at once."""
STEP = 512
"""Columns that are moved at a time."""


def principal_axes(gram: Floats, size: int) -> tuple[Floats, Floats]:
    """Eigenvalues above rounding, decreasing, and their eigenvectors.

    Args:
        gram: (m, m) column-major, symmetric, no negative eigenvalues; only the upper triangle is
            read. It is written over: a copy of a few thousand columns is half a gigabyte.
        size: the larger side of the matrix that ``gram`` was made from. Eigenvalues below
            ``size`` times the rounding of the largest are dropped.

    Returns:
        (r,) eigenvalues and (m, r) orthonormal eigenvectors.
    """
    diagonal = gram.diagonal().copy()
    _mirror(gram)
    factor, pivots, rank, _ = dpstrf(gram, lower=0, overwrite_a=1)  # leaves the lower triangle
    if rank > WORTHWHILE * len(gram):
        np.fill_diagonal(factor, diagonal)
        values, vectors = eigh(
            factor, lower=True, overwrite_a=True, check_finite=False, driver="evd"
        )
        values, vectors = values[::-1], vectors[:, ::-1]
    else:
        rows = np.empty((len(gram), rank))  # gram = rows @ rows'
        for start in range(0, len(gram), STEP):
            part = slice(start, start + STEP)
            rows[pivots[part] - 1] = np.triu(factor[:rank, part], -start).T
        orthonormal, small = np.linalg.qr(rows)
        # as exact as the whole matrix would be: what it cannot tell is below the cut anyway
        values, left = eigh(small @ small.T, overwrite_a=True, check_finite=False, driver="evd")
        values, vectors = values[::-1], orthonormal @ left[:, ::-1]
    keep = values > size * np.finfo(np.float64).eps * values[0]
    return values[keep].copy(), vectors[:, keep]


def _mirror(gram: Floats) -> None:
    """Copy the upper triangle into the lower one, in place."""
    for start in range(0, len(gram), STEP):
        stop = start + STEP
        gram[stop:, start:stop] = gram[start:stop, stop:].T
        corner = gram[start:stop, start:stop]
        corner[...] = np.triu(corner) + np.triu(corner, 1).T
