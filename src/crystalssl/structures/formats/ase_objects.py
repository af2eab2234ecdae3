"""``ase.Atoms`` to entries: what the atoms are now, not what a reader once noted in them.

ASE's CIF reader leaves occupancies in ``info``; they hold for a site only as long as its symbol is
the one that they give. Used by ``ase_files.py`` and ``objects.py``; ASE itself is not imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from crystalssl.errors import InputError
from crystalssl.structures.assembly import Entry
from crystalssl.structures.elements import label_to_number


def from_atoms(atoms: Any, label: str, columns: Mapping[str, Any] | None = None) -> Entry:
    """Read an ``ase.Atoms``, with the partial occupancy that ASE's own readers store.

    Raises:
        InputError: if it is not periodic in three directions.
    """
    if not np.isfinite(atoms.cell.array).all():
        raise InputError("a cell vector is missing or no number")
    if not atoms.cell.rank == 3 or not all(atoms.pbc):
        raise InputError("it is not periodic in three directions")
    return with_occupancy(
        label,
        atoms.cell.array,
        atoms.get_scaled_positions(wrap=False),
        atoms.numbers.tolist(),
        atoms.arrays.get("spacegroup_kinds"),
        atoms.info.get("occupancy"),
        columns,
    )


def with_occupancy(
    label: str,
    lattice: Any,
    frac_coords: Any,
    numbers: list[int],
    kinds: Any,
    occupancy: Any,
    columns: Mapping[str, Any] | None,
) -> Entry:
    """An entry from the parts of an ``Atoms``.

    Args:
        label: id.
        lattice: (3, 3) rows a, b, c.
        frac_coords: (sites, 3).
        numbers: atomic number of each site.
        kinds: kind of each site, if known.
        occupancy: {kind: {symbol: occupancy}}, if known.
        columns: values to carry.
    """
    mixtures = _mixtures(occupancy) if kinds is not None else {}
    sites, listed, amounts = [], [], []
    for site, number in enumerate(numbers):
        mixture = mixtures.get(str(kinds[site]), {}) if mixtures else {}
        if not mixture or max(mixture.values()) > mixture.get(number, 0.0):
            mixture = {number: 1.0}  # nothing noted, or the atom was exchanged since
        for z, amount in mixture.items():
            sites.append(site)
            listed.append(z)
            amounts.append(amount)
    whole = len(listed) == len(numbers) and all(amount == 1.0 for amount in amounts)
    return Entry(
        id=label,
        lattice=lattice,
        frac_coords=frac_coords,
        numbers=listed,
        sites=None if whole else sites,
        amounts=None if whole else amounts,
        columns=columns,
    )


def _mixtures(occupancy: Any) -> dict[str, dict[int, float]]:
    """Occupancies {kind: {atomic number: amount}}; what is not given counts as full."""
    if not isinstance(occupancy, Mapping):
        return {}
    mixtures: dict[str, dict[int, float]] = {}
    for kind, symbols in occupancy.items():
        if not isinstance(symbols, Mapping):
            continue
        mixture: dict[int, float] = {}
        for symbol, amount in symbols.items():
            number = label_to_number(str(symbol))
            mixture[number] = mixture.get(number, 0.0) + _amount(amount)
        mixtures[str(kind)] = mixture
    return mixtures


def _amount(value: Any) -> float:
    """An occupancy; ``.``, ``?`` or nothing leave it at its default, 1."""
    if value is None or (isinstance(value, str) and value.strip() in (".", "?", "")):
        return 1.0
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"an occupancy is {value!r}, expected a number from 0 to 1") from error
