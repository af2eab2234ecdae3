"""One crystal of many: what ``crystals[i]`` and a loop over ``Crystals`` give.

A light record with views of the arrays, to look at, to print and to turn into the objects of
pymatgen and ASE, neither of which is imported before; every stage works on ``Crystals``. The way
back from such objects is ``objects.from_objects``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from crystalssl.errors import missing_extra
from crystalssl.structures.elements import SYMBOLS


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Crystal:
    """A crystal.

    Attributes:
        id: its identifier.
        lattice: (3, 3) float64, rows are a, b, c in angstrom.
        frac_coords: (sites, 3) float64 fractional coordinates.
        numbers: (sites, k) int16 atomic numbers, 0 in empty slots.
        occupancy: (sites, k) float32 occupancies, 0 in empty slots.
        columns: carried columns (labels, splits, file names) by name.
    """

    id: str
    lattice: npt.NDArray[np.float64]
    frac_coords: npt.NDArray[np.float64]
    numbers: npt.NDArray[np.int16]
    occupancy: npt.NDArray[np.float32]
    columns: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.frac_coords)

    def __repr__(self) -> str:
        formula = "".join(
            symbol if amount == 1 else f"{symbol}{amount:.4g}"
            for symbol, amount in self.composition.items()
        )
        return f"Crystal({self.id!r}, {formula}, {len(self)} sites)"

    @property
    def species(self) -> list[dict[str, float]]:
        """Occupancy of each site by element symbol."""
        return [
            {SYMBOLS[z]: float(x) for z, x in zip(numbers, amounts, strict=True) if z}
            for numbers, amounts in zip(self.numbers.tolist(), self.occupancy.tolist(), strict=True)
        ]

    @property
    def composition(self) -> dict[str, float]:
        """Atoms of each element in the cell, in order of first appearance."""
        amounts: dict[str, float] = {}
        for site in self.species:
            for symbol, amount in site.items():
                amounts[symbol] = amounts.get(symbol, 0.0) + amount
        return amounts

    def to_pymatgen(self) -> Any:
        """The crystal as a pymatgen ``Structure``; its carried columns become properties.

        Raises:
            MissingExtraError: if pymatgen is not installed.
        """
        try:
            from pymatgen.core import Structure
        except ImportError as error:
            raise missing_extra("pymatgen", "pymatgen", "Crystals as pymatgen objects") from error
        # pymatgen refuses a total of 1.0000001, which single precision makes of 0.333 + 0.667
        total = self.occupancy.sum(axis=1, dtype=np.float64, keepdims=True)
        amounts = np.round(self.occupancy / np.maximum(total, 1.0), 7)
        species = [
            {SYMBOLS[z]: x for z, x in zip(number, amount, strict=True) if z}
            for number, amount in zip(self.numbers.tolist(), amounts.tolist(), strict=True)
        ]
        return Structure(self.lattice, species, self.frac_coords, properties=dict(self.columns))

    def to_ase(self) -> Any:
        """The crystal as ``ase.Atoms``; id and carried columns go to ``info``.

        ASE has one element a site: a mixed site gets its main one, and its occupancies go where
        ASE's CIF reader puts them, ``info["occupancy"]`` by the kind of site in ``arrays``.

        Raises:
            MissingExtraError: if ASE is not installed.
        """
        try:
            from ase import Atoms
        except ImportError as error:
            raise missing_extra("ase", "formats", "Crystals as ASE objects") from error
        atoms = Atoms(
            numbers=self.numbers[:, 0],
            cell=self.lattice,
            scaled_positions=self.frac_coords,
            pbc=True,
            info={"id": self.id, **self.columns},
        )
        if (self.occupancy[:, 0] < 1).any():
            kinds: dict[tuple[tuple[str, float], ...], int] = {}
            of_site = [kinds.setdefault(tuple(site.items()), len(kinds)) for site in self.species]
            atoms.info["occupancy"] = {str(kind): dict(site) for site, kind in kinds.items()}
            atoms.set_array("spacegroup_kinds", np.array(of_site))
        return atoms
