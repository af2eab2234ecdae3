"""Radial Schroedinger equation on cubic Hermite finite elements: potential -> levels and orbitals.

The scalar-relativistic form is ZORA (van Lenthe, Baerends and Snijders, J. Chem. Phys. 101, 9783,
1994): kinetic energy p K p / 2 with K = 1 / (1 - V / 2c^2). Used by atoms.py. Hartree units.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh

Array = npt.NDArray[np.float64]

LIGHT = 137.035999
"""Speed of light in atomic units."""
_GAUSS = 6
"""Quadrature points in an element: exact for products of two cubics with a linear weight."""


class RadialElements:
    """Elements from the nucleus outwards, their lengths in geometric progression.

    Attributes:
        nodes: (E + 1,) ends of the elements, bohr.
        points: (E, 6) quadrature points, bohr.
        weights: (E, 6) quadrature weights.
    """

    def __init__(self, number: int, count: int = 110, reach: float = 45.0) -> None:
        first = (
            1e-2 / number
        )  # smaller ones only lose digits: the largest energy grows as 1 / first^2
        self.nodes: Array = np.concatenate([[0.0], np.geomspace(first, reach, count)])
        x, w = np.polynomial.legendre.leggauss(_GAUSS)
        x, w = (x + 1.0) / 2.0, w / 2.0
        self._lengths = np.diff(self.nodes)[:, None]
        self.points: Array = self.nodes[:-1, None] + self._lengths * x
        self.weights: Array = self._lengths * w
        self._values, self._slopes = _hermite(x, self._lengths)
        elements = len(self.nodes) - 1
        self._index = 2 * np.arange(elements)[:, None] + np.arange(4)  # node i: value, slope
        # u(0) = 0, and value and slope vanish at the outer end
        self._free = np.delete(np.arange(2 * elements + 2), [0, 2 * elements, 2 * elements + 1])
        self._overlap = self._matrix(self._values, np.ones_like(self.points))
        powers = np.arange(1, _GAUSS + 1)
        inverse = np.linalg.inv(np.vander(x, _GAUSS, increasing=True))
        self._running = (x[:, None] ** powers / powers) @ inverse  # (6, 6) integral from 0 to x

    def _matrix(self, functions: Array, weight: Array) -> Array:
        """Matrix of ``weight`` between the free basis functions; ``functions`` is (E, 4, 6)."""
        size = 2 * len(self.nodes)
        whole = np.zeros((size, size))
        blocks = np.einsum("eaq,ebq,eq->eab", functions, functions, weight * self.weights)
        np.add.at(whole, (self._index[:, :, None], self._index[:, None, :]), blocks)
        return whole[np.ix_(self._free, self._free)]

    def levels(
        self,
        l: int,  # noqa: E741
        potential: Array,
        count: int,
        light: float = LIGHT,
    ) -> tuple[Array, Array]:
        """The lowest levels of one angular momentum.

        Args:
            l: angular momentum.
            potential: (E, 6) potential at the quadrature points, hartree.
            count: levels to solve for.
            light: speed of light; infinite for the non-relativistic equation.

        Returns:
            (count,) energies and (count, E + 1, 2) values and slopes of u = r R at the nodes.
        """
        kinetic = 1.0 / (1.0 - potential / (2.0 * light**2))
        radial = self._slopes - self._values / self.points[:, None, :]  # r d/dr (u / r)
        centrifugal = 0.5 * l * (l + 1) * kinetic / self.points**2
        matrix = 0.5 * self._matrix(radial, kinetic)
        matrix += self._matrix(self._values, potential + centrifugal)
        energies, vectors = eigh(matrix, self._overlap, subset_by_index=[0, count - 1])
        whole = np.zeros((2 * len(self.nodes), count))
        whole[self._free] = vectors
        return energies, whole.T.reshape(count, -1, 2)

    def at_points(self, orbital: Array) -> Array:
        """(E, 6) values at the quadrature points of a function (E + 1, 2) on the nodes."""
        values: Array = np.einsum("eaq,ea->eq", self._values, orbital.ravel()[self._index])
        return values

    def evaluate(self, orbital: Array, radii: Array) -> Array:
        """The quotient u / r of a function (E + 1, 2) at ``radii`` (P,); zero past the elements."""
        element = np.clip(np.searchsorted(self.nodes, radii, "right") - 1, 0, len(self.nodes) - 2)
        length = self._lengths[element]
        x = (radii - self.nodes[element]) / length[:, 0]
        basis = np.stack(
            [_hermite(x[i : i + 1], length[i : i + 1])[0][0, :, 0] for i in range(len(x))]
        )
        u = np.einsum("pa,pa->p", basis, orbital.ravel()[self._index[element]])
        u = np.where(radii < self.nodes[-1], u, 0.0)
        values: Array = np.where(radii > 0.0, u / np.maximum(radii, 1e-12), orbital[0, 1])
        return values

    def integral(self, values: Array) -> float:
        """Integral over r of ``values`` (E, 6)."""
        return float((values * self.weights).sum())

    def hartree(self, charge: Array) -> Array:
        """(E, 6) potential of electrons whose 4 pi r^2 n is ``charge`` (E, 6)."""
        inside = self._cumulative(charge)
        outer = self._cumulative(charge / self.points)
        total = self.integral(charge / self.points)
        potential: Array = inside / self.points + total - outer
        return potential

    def _cumulative(self, values: Array) -> Array:
        before = np.concatenate([[0.0], np.cumsum((values * self.weights).sum(1))[:-1]])
        cumulative: Array = before[:, None] + self._lengths * (values @ self._running.T)
        return cumulative


def _hermite(x: Array, lengths: Array) -> tuple[Array, Array]:
    """Cubic Hermite functions (E, 4, Q) and slopes at ``x`` (Q,) in elements of ``lengths``."""
    values = [1 - 3 * x**2 + 2 * x**3, x - 2 * x**2 + x**3, 3 * x**2 - 2 * x**3, x**3 - x**2]
    slopes = [6 * x**2 - 6 * x, 1 - 4 * x + 3 * x**2, 6 * x - 6 * x**2, 3 * x**2 - 2 * x]
    one = np.ones_like(lengths)
    scale = np.stack([one, lengths, one, lengths], axis=1)  # (E, 4, 1): slopes are per bohr
    return scale * np.stack(values), scale * np.stack(slopes) / lengths[:, None]
