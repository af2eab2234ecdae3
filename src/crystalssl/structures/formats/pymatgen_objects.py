"""pymatgen's structures, as objects or as their dictionaries, to entries and back.

pymatgen itself is imported only for the way back; dictionaries are read without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from crystalssl.errors import InputError
from crystalssl.structures.assembly import Entry
from crystalssl.structures.cells import lattice_from_parameters
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.elements import label_to_number

_PARAMETERS = ("a", "b", "c", "alpha", "beta", "gamma")


def is_structure_dict(value: object) -> bool:
    """Whether a value looks like ``Structure.as_dict()``."""
    return isinstance(value, Mapping) and "lattice" in value and "sites" in value


def from_dict(
    value: Mapping[str, Any], name: str, columns: Mapping[str, Any] | None = None
) -> Entry:
    """Read ``Structure.as_dict()``.

    Raises:
        InputError: if a part is missing or an element is unknown.
    """
    try:
        sites = value["sites"]
        frac = [_triple(site["abc"]) for site in sites]
        entries = [
            (index, label_to_number(str(species["element"])), float(species["occu"]))
            for index, site in enumerate(sites)
            for species in site["species"]
        ]
        lattice = _lattice(value["lattice"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"the structure lacks a part or holds a wrong one: {error!r}") from error
    return Entry(
        id=name,
        lattice=lattice,
        frac_coords=np.array(frac, dtype=np.float64).reshape(-1, 3),
        sites=[entry[0] for entry in entries],
        numbers=[entry[1] for entry in entries],
        amounts=[entry[2] for entry in entries],
        columns=columns,
    )


def _lattice(cell: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(3, 3) rows a, b, c from a matrix, nine numbers in a row, or lengths and angles."""
    if "matrix" in cell:
        matrix = np.asarray(cell["matrix"], dtype=np.float64)
        return matrix.reshape(3, 3) if matrix.shape == (9,) else matrix
    return np.array(lattice_from_parameters(*(float(cell[key]) for key in _PARAMETERS)))


def _triple(coordinates: Any) -> list[float]:
    """Three numbers; anything else is refused, or three sites could pass for one."""
    values = [float(x) for x in coordinates]
    if len(values) != 3:
        raise InputError(f"a site has {len(values)} coordinates, expected 3")
    return values


def from_structure(structure: Any, name: str) -> Entry:
    """Read a pymatgen ``Structure``.

    Raises:
        InputError: if a species is no element, or a site is none.
    """
    entries = [
        (index, label_to_number(str(getattr(species, "symbol", species))), float(amount))
        for index, composition in enumerate(structure.species_and_occu)
        for species, amount in composition.items()
    ]
    if not all(getattr(structure.lattice, "pbc", (True,))):
        raise InputError("it is not periodic in three directions")
    return Entry(
        id=name,
        lattice=structure.lattice.matrix,
        frac_coords=np.array([_triple(site.frac_coords) for site in structure]).reshape(-1, 3),
        sites=[entry[0] for entry in entries],
        numbers=[entry[1] for entry in entries],
        amounts=[entry[2] for entry in entries],
    )


def to_pymatgen(crystals: Crystals) -> Sequence[Any]:
    """Give pymatgen ``Structure`` objects of some crystals, in order.

    Raises:
        MissingExtraError: if pymatgen is not installed.
    """
    return crystals.to_pymatgen()
