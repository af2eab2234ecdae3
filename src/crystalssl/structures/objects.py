"""Python objects to crystals: pymatgen Structures, ASE Atoms, structure dictionaries, paths.

What the scikit-learn and matminer adapters take from users' DataFrames passes through here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from crystalssl.errors import InputError
from crystalssl.structures.assembly import Assembler, Entry
from crystalssl.structures.crystals import Crystals, ReadResult
from crystalssl.structures.formats.ase_objects import from_atoms
from crystalssl.structures.formats.pymatgen_objects import from_dict, from_structure, to_pymatgen
from crystalssl.structures.ids import storable, unique_ids

__all__ = ["from_objects", "to_pymatgen"]


def from_objects(structures: Iterable[Any], ids: Sequence[str] | None = None) -> ReadResult:
    """Turn structure objects into crystals.

    Args:
        structures: pymatgen ``Structure``, ``ase.Atoms`` or ``Structure.as_dict()``, mixed or not.
        ids: one id each; without them ids are row numbers.

    Returns:
        Crystals in order, and one skip for each object that is no usable structure.

    Raises:
        InputError: if there are not as many ids as structures.
    """
    if isinstance(structures, Crystals):
        return ReadResult(crystals=structures, skipped=[])
    items = list(structures)
    names = [str(row) for row in range(len(items))] if ids is None else [str(i) for i in ids]
    if len(names) != len(items):
        raise InputError(f"got {len(names)} ids for {len(items)} structures; give one each")
    into = Assembler()
    for item, name in zip(items, unique_ids([storable(n) for n in names]).tolist(), strict=True):
        into.read(name, "", "give a periodic structure of known elements", _entry, item, name)
    return into.finish()


def _entry(item: Any, name: str) -> Entry:
    if isinstance(item, Mapping):
        return from_dict(item, name)
    if hasattr(item, "species_and_occu") and hasattr(item, "lattice"):
        return from_structure(item, name)
    if hasattr(item, "get_scaled_positions") and hasattr(item, "cell"):
        return from_atoms(item, name)
    raise InputError(
        f"got {type(item).__name__}, expected a pymatgen Structure, ase.Atoms or structure dict"
    )
