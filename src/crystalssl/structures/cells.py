"""Cell lengths and angles to lattice vectors; for the formats that give a cell that way.

The orientation is pymatgen's: c along z, a in the xz plane.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def lattice_from_parameters(parameters: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Lattice vectors of some cells.

    Args:
        parameters: (n, 6) a, b, c in angstrom and alpha, beta, gamma in degrees.

    Returns:
        (n, 3, 3) rows a, b, c in angstrom. Impossible angles give a cell without volume.
    """
    cells = np.asarray(parameters, dtype=np.float64).reshape(-1, 6)
    a, b, c = cells[:, :3].T
    cosines = np.round(np.cos(np.radians(cells[:, 3:])), 15)
    cos_alpha, cos_beta, cos_gamma = cosines.T
    sin_alpha, sin_beta = np.sqrt(1 - cos_alpha**2), np.sqrt(1 - cos_beta**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        raw = (cos_alpha * cos_beta - cos_gamma) / (sin_alpha * sin_beta)
    cos_gamma_star = np.where(np.isfinite(raw), np.clip(raw, -1.0, 1.0), 1.0)
    sin_gamma_star = np.sqrt(1 - cos_gamma_star**2)
    lattice = np.zeros((len(cells), 3, 3))
    lattice[:, 0, 0] = a * sin_beta
    lattice[:, 0, 2] = a * cos_beta
    lattice[:, 1, 0] = -b * sin_alpha * cos_gamma_star
    lattice[:, 1, 1] = b * sin_alpha * sin_gamma_star
    lattice[:, 1, 2] = b * cos_alpha
    lattice[:, 2, 2] = c
    return lattice
