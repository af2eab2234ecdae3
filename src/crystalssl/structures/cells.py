"""Cell lengths and angles to lattice vectors; for the formats that give a cell that way.

The orientation is pymatgen's: c along z, a in the xz plane. Plain floats, since readers call it
once per file and NumPy would cost more than the arithmetic.
"""

from __future__ import annotations

from math import cos, radians, sqrt


def lattice_from_parameters(
    a: float, b: float, c: float, alpha: float, beta: float, gamma: float
) -> list[list[float]]:
    """Lattice vectors of a cell.

    Args:
        a: length in angstrom, as ``b`` and ``c``.
        b: length.
        c: length.
        alpha: angle between b and c in degrees, as ``beta`` (a, c) and ``gamma`` (a, b).
        beta: angle.
        gamma: angle.

    Returns:
        Rows a, b, c in angstrom. Impossible angles give a cell without volume.
    """
    cos_alpha, cos_beta, cos_gamma = (round(cos(radians(x)), 15) for x in (alpha, beta, gamma))
    sin_alpha, sin_beta = sqrt(1 - cos_alpha**2), sqrt(1 - cos_beta**2)
    if sin_alpha == 0 or sin_beta == 0:
        cos_gamma_star = 1.0
    else:
        raw = (cos_alpha * cos_beta - cos_gamma) / (sin_alpha * sin_beta)
        cos_gamma_star = max(-1.0, min(1.0, raw))
    sin_gamma_star = sqrt(1 - cos_gamma_star**2)
    return [
        [a * sin_beta, 0.0, a * cos_beta],
        [-b * sin_alpha * cos_gamma_star, b * sin_alpha * sin_gamma_star, b * cos_alpha],
        [0.0, 0.0, c],
    ]
