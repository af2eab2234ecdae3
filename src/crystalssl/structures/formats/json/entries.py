"""One JSON value to one structure: pymatgen, OPTIMADE or JARVIS dictionary, or text of a CIF.

Called by ``reading.py`` for each entry that ``shapes.py`` finds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from crystalssl.errors import InputError
from crystalssl.structures.assembly import Assembler, Entry
from crystalssl.structures.columns import is_scalar
from crystalssl.structures.elements import SYMBOLS, is_vacancy, label_to_number
from crystalssl.structures.formats.pymatgen_objects import from_dict, is_structure_dict


def is_structure(value: Any) -> bool:
    """Whether a value looks like a structure of any known kind."""
    if isinstance(value, Mapping):
        return (
            is_structure_dict(value)
            or "lattice_vectors" in value
            or {"lattice_mat"} <= value.keys()
        )
    return isinstance(value, str) and ("_cell_length_a" in value or value.startswith('{"@module"'))


def entry_of(value: Any, label: str, columns: Mapping[str, Any]) -> Entry:
    """A structure as an entry.

    Raises:
        InputError: if it is none, or lacks a part.
    """
    if isinstance(value, str) and is_structure(value):
        return _from_text(value, label, columns)
    if value is None:
        raise InputError("its structure is null")
    if not isinstance(value, Mapping):
        raise InputError(f"expected a structure, got {type(value).__name__}")
    if "lattice_vectors" in value:
        return _from_optimade(value, label, columns)
    if "lattice_mat" in value:
        return _from_jarvis(value, label, columns)
    if not is_structure_dict(value):
        raise InputError("expected a structure with 'lattice' and 'sites'")
    return from_dict(value, label, columns)


def _from_text(text: str, label: str, columns: Mapping[str, Any]) -> Entry:
    """A structure written as JSON or CIF text into a field."""
    if text.startswith("{"):
        return entry_of(json.loads(text), label, columns)
    from crystalssl.structures.formats.cif import read_cif

    into = Assembler()
    read_cif(text.encode("utf-8", "replace"), label, label, into)
    entries = into.entries
    if len(entries) != 1:
        reason = into.skipped[0].reason if into.skipped else f"it holds {len(entries)} structures"
        raise InputError(f"its CIF text cannot be read: {reason}")
    return replace(entries[0], columns=columns)


def _from_optimade(attributes: Mapping[str, Any], label: str, columns: Mapping[str, Any]) -> Entry:
    """One OPTIMADE structure resource, Cartesian positions to fractions."""
    try:
        lattice = _matrix(attributes["lattice_vectors"])
        positions = np.asarray(attributes["cartesian_site_positions"], dtype=np.float64)
        cart = positions.reshape(-1, 3) if positions.ndim == 1 else positions
        names = attributes["species_at_sites"]
        if len(names) != len(cart):
            raise InputError(f"{len(cart)} positions but {len(names)} species_at_sites")
        listed = {str(s["name"]): s for s in attributes.get("species") or []}
        entries = [
            (site, label_to_number(str(symbol)), float(amount))
            for site, name in enumerate(names)
            for symbol, amount in _mixture(str(name), listed)
        ]
        frac = cart @ np.linalg.inv(lattice)
    except (
        KeyError, TypeError, ValueError, AttributeError, OverflowError, np.linalg.LinAlgError
    ) as error:  # fmt: skip
        raise InputError(
            f"the OPTIMADE entry lacks a part or has a wrong one: {error!r}"
        ) from error
    carried = {k: v for k, v in attributes.items() if is_scalar(v)}
    return _assembled(label, lattice, frac, entries, {**carried, **columns})


def _from_jarvis(atoms: Mapping[str, Any], label: str, columns: Mapping[str, Any]) -> Entry:
    """One ``Atoms.to_dict()`` of JARVIS."""
    try:
        lattice = _matrix(atoms["lattice_mat"])
        coords = np.asarray(atoms["coords"], dtype=np.float64)
        elements = [str(name) for name in atoms["elements"]]
        if coords.ndim != 2 or len(coords) != len(elements):
            raise InputError(f"{len(coords)} coordinates but {len(elements)} elements")
        cartesian = str(atoms.get("cartesian", False)).lower()  # some programs write a text
        if cartesian not in ("true", "false", "1", "0", "none"):
            raise InputError(f"its field cartesian is {cartesian[:20]!r}, expected true or false")
        frac = coords @ np.linalg.inv(lattice) if cartesian in ("true", "1") else coords
    except (
        KeyError, TypeError, ValueError, OverflowError, np.linalg.LinAlgError
    ) as error:  # fmt: skip
        raise InputError(f"the entry lacks a part or has a wrong one: {error!r}") from error
    entries = [(site, label_to_number(name), 1.0) for site, name in enumerate(elements)]
    return _assembled(label, lattice, frac, entries, columns)


def _assembled(
    label: str,
    lattice: Any,
    frac: Any,
    entries: list[tuple[int, int, float]],
    columns: Mapping[str, Any],
) -> Entry:
    return Entry(
        id=label,
        lattice=lattice,
        frac_coords=frac,
        sites=[entry[0] for entry in entries],
        numbers=[entry[1] for entry in entries],
        amounts=[entry[2] for entry in entries],
        columns=columns,
    )


def _matrix(rows: Any) -> Any:
    """(3, 3) rows a, b, c; nine numbers in a row are three rows."""
    matrix = np.asarray(rows, dtype=np.float64)
    if matrix.shape == (9,):
        return matrix.reshape(3, 3)
    if matrix.shape != (3, 3):
        raise InputError(f"its lattice vectors are of shape {matrix.shape}, expected (3, 3)")
    return matrix


def _mixture(name: str, listed: Mapping[str, Any]) -> list[tuple[str, float]]:
    if name in listed:
        symbols, amounts = listed[name]["chemical_symbols"], listed[name]["concentration"]
        return list(zip(symbols, amounts, strict=True))
    if name in SYMBOLS or name in ("D", "T") or is_vacancy(name):
        return [(name, 1.0)]
    raise InputError(f"species {name!r} is neither an element nor listed in 'species'")
