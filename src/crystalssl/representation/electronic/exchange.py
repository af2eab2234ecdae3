"""Exchange and correlation of the uniform electron gas: density -> energy and potential.

Slater exchange and the correlation of Perdew and Wang, Phys. Rev. B 45, 13244 (1992), without
spin, and the second derivative with respect to spin that splits atomic levels. Hartree units.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_EXCHANGE = -0.75 * (9.0 / (4.0 * np.pi**2)) ** (1.0 / 3.0)
"""Exchange energy per electron times the radius r_s: -0.458165."""
_UNPOLARISED = (0.0310907, 0.21370, 7.5957, 3.5876, 1.6382, 0.49294)
_STIFFNESS = (0.0168869, 0.11125, 10.357, 3.6231, 0.88026, 0.49671)
"""Parameters A, alpha1, beta1..beta4 of eq. 10, from Table I."""
_LEAST = 1e-30


def _correlation(radius: Array, parameters: tuple[float, ...]) -> tuple[Array, Array]:
    """G of eq. 10 and its derivative with respect to r_s."""
    a, alpha, b1, b2, b3, b4 = parameters
    root = np.sqrt(radius)
    front = -2.0 * a * (1.0 + alpha * radius)
    below = 2.0 * a * (b1 * root + b2 * radius + b3 * radius * root + b4 * radius**2)
    slope = a * (b1 / root + 2.0 * b2 + 3.0 * b3 * root + 4.0 * b4 * radius)
    logarithm = np.log1p(1.0 / below)
    return front * logarithm, -2.0 * a * alpha * logarithm - front * slope / (below * (below + 1.0))


def perdew_wang(density: Array) -> tuple[Array, Array]:
    """Energy per electron and potential of an electron density without spin.

    Args:
        density: electrons per cubic bohr, any shape.

    Returns:
        Exchange-correlation energy per electron and potential, hartree, in the same shape.
    """
    radius = (3.0 / (4.0 * np.pi * np.maximum(density, _LEAST))) ** (1.0 / 3.0)
    exchange = _EXCHANGE / radius
    correlation, slope = _correlation(radius, _UNPOLARISED)
    energy = exchange + correlation
    return energy, energy + exchange / 3.0 - radius / 3.0 * slope


def spin_kernel(density: Array) -> Array:
    """Second derivative of the energy density with respect to the spin density, at no spin.

    Exchange gives 4/9 of its energy per electron, correlation its spin stiffness, both over the
    density.

    Args:
        density: electrons per cubic bohr, any shape.

    Returns:
        d2(n e_xc) / dm2 in hartree cubic bohr, in the same shape; negative where spins align.
    """
    density = np.maximum(density, _LEAST)
    radius = (3.0 / (4.0 * np.pi * density)) ** (1.0 / 3.0)
    stiffness = -_correlation(radius, _STIFFNESS)[0]
    kernel: Array = (4.0 / 9.0 * _EXCHANGE / radius + stiffness) / density
    return kernel
