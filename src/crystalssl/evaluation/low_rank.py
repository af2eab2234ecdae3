"""Symmetric positive matrix -> its principal axes, quickly where its rank is low.

Raw FTCP has thousands of columns but a rank of some hundreds: a pivoted Cholesky factor finds that
rank, and only a matrix of that size is decomposed. Between the Gram matrix and spectrum.py.
Source: Higham, Accuracy and Stability of Numerical Algorithms, section 10.3.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg.lapack import dpstrf

Floats = npt.NDArray[np.float64]

WORTHWHILE = 0.6
"""Share of full rank above which the whole matrix is decomposed at once."""


def principal_axes(gram: Floats, size: int) -> tuple[Floats, Floats]:
    """Eigenvalues above rounding, decreasing, and their eigenvectors.

    Args:
        gram: (m, m) symmetric, no negative eigenvalues; only the upper triangle is read.
        size: the larger side of the matrix that ``gram`` was made from. Eigenvalues below
            ``size`` times the rounding of the largest are dropped.

    Returns:
        (r,) eigenvalues and (m, r) orthonormal eigenvectors.
    """
    factor, pivots, rank, _ = dpstrf(gram, lower=0)
    if rank > WORTHWHILE * len(gram):
        values, vectors = np.linalg.eigh(gram, UPLO="U")
        values, vectors = values[::-1], vectors[:, ::-1]
    else:
        rows = np.empty((len(gram), rank))  # gram = rows @ rows'
        rows[pivots - 1] = np.triu(factor[:rank]).T
        orthonormal, small = np.linalg.qr(rows)
        left, singular, _ = np.linalg.svd(small)
        values, vectors = singular**2, orthonormal @ left
    keep = values > size * np.finfo(np.float64).eps * values[0]
    return values[keep].copy(), vectors[:, keep]
