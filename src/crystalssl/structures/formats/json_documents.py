"""JSON documents to structures: pymatgen, matminer and Materials Project shapes, and OPTIMADE.

Reads one ``Structure.as_dict()``, lists of them, dictionaries by id, records with a structure
among their fields, pandas "split" tables (matminer, matbench) and OPTIMADE answers. Nothing is
unpickled and no class named in the file is imported. Called by ``reading.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from crystalssl.errors import InputError
from crystalssl.structures.assembly import Assembler, Entry
from crystalssl.structures.elements import SYMBOLS, label_to_number
from crystalssl.structures.formats.ase_files import ID_KEYS
from crystalssl.structures.formats.pymatgen_objects import from_dict, is_structure_dict

_SHAPES = (
    "give a Structure.as_dict(), a list of them, a dictionary by id, records with a 'structure' "
    "field, a pandas table written with orient='split', or an OPTIMADE answer"
)
_Item = tuple[str, Any, Mapping[str, Any]]


def read_json(data: bytes, name: str, stem: str, into: Assembler) -> None:
    """Read every structure of a JSON document.

    Args:
        data: content of the file.
        name: file name used in messages.
        stem: id of a single structure without one; several are ``stem-0`` and so on.
        into: receives structures and skips.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        reason = f"it is no JSON: {error}" if data.strip() else "the file is empty"
        into.skip(stem, name, reason, "check that the file is complete")
        return
    count = 0
    for label, value, columns in _items(document, stem):
        count += 1
        try:
            into.add(_entry(value, label, columns), name)
        except InputError as error:
            into.skip(label, name, str(error), "correct or leave out this structure")
    if not count:
        into.skip(stem, name, "it holds no structure in a known shape", _SHAPES)


def _items(document: Any, stem: str) -> Iterator[_Item]:
    """(id, structure, other values) of each entry of a document."""
    if _is_structure(document):
        yield stem, document, {}
    elif isinstance(document, list):
        for index, entry in enumerate(document):
            yield _record(entry, f"{stem}-{index}")
    elif isinstance(document, Mapping) and {"columns", "data"} <= set(document):
        yield from _split_table(document, stem)
    elif isinstance(document, Mapping) and _is_optimade(document):
        entries = document["data"] if isinstance(document["data"], list) else [document["data"]]
        for entry in entries:
            yield str(entry.get("id", stem)), entry["attributes"], {}
    elif isinstance(document, Mapping) and _is_record(document):
        yield _record(document, stem)
    elif isinstance(document, Mapping):
        for key, entry in document.items():
            if isinstance(entry, Mapping) and (_is_structure(entry) or _structure_field(entry)):
                label, value, columns = _record(entry, str(key))
                yield str(key) if _is_structure(entry) else label, value, columns


def _record(entry: Any, label: str) -> _Item:
    """One entry of a list: a structure, or a record with a structure among its fields."""
    if _is_structure(entry) or not isinstance(entry, Mapping):
        return label, entry, {}
    field = _structure_field(entry)
    if not field:
        return label, entry, {}
    others = {k: v for k, v in entry.items() if k != field and _is_scalar(v)}
    name = next((str(entry[key]) for key in ID_KEYS if _is_scalar(entry.get(key, []))), label)
    return name, entry[field], others


def _split_table(document: Mapping[str, Any], stem: str) -> Iterator[_Item]:
    names, rows = [str(name) for name in document["columns"]], document["data"]
    first = next((row for row in rows if any(map(_is_structure, row))), None)
    if first is None:
        return
    place = next(i for i, value in enumerate(first) if _is_structure(value))
    index = document.get("index") or range(len(rows))
    for label, row in zip(index, rows, strict=False):
        others = {
            name: value
            for i, (name, value) in enumerate(zip(names, row, strict=False))
            if i != place and (value is None or _is_scalar(value))
        }
        known = next((str(others[key]) for key in ID_KEYS if others.get(key)), None)
        fallback = str(label) if isinstance(label, str) else f"{stem}-{label}"
        yield known or fallback, row[place] if len(row) > place else None, others


def _entry(value: Any, label: str, columns: Mapping[str, Any]) -> Entry:
    if not isinstance(value, Mapping):
        raise InputError(f"expected a structure, got {type(value).__name__}")
    return (
        _from_optimade(value, label)
        if "lattice_vectors" in value
        else _checked(value, label, columns)
    )


def _checked(value: Mapping[str, Any], label: str, columns: Mapping[str, Any]) -> Entry:
    if not is_structure_dict(value):
        raise InputError("expected a structure with 'lattice' and 'sites'")
    return from_dict(value, label, columns)


def _from_optimade(attributes: Mapping[str, Any], label: str) -> Entry:
    """One OPTIMADE structure resource, Cartesian positions to fractions."""
    import numpy as np

    try:
        lattice = np.array(attributes["lattice_vectors"], dtype=np.float64)
        cart = np.array(attributes["cartesian_site_positions"], dtype=np.float64).reshape(-1, 3)
        listed = {s["name"]: s for s in attributes.get("species") or []}
        entries = [
            (site, symbol, float(amount))
            for site, species in enumerate(attributes["species_at_sites"])
            for symbol, amount in _mixture(species, listed)
        ]
        frac = cart @ np.linalg.inv(lattice)
    except (KeyError, TypeError, ValueError, np.linalg.LinAlgError) as error:
        raise InputError(
            f"the OPTIMADE entry lacks a part or has a wrong one: {error!r}"
        ) from error
    return Entry(
        id=label,
        lattice=lattice,
        frac_coords=frac,
        sites=[entry[0] for entry in entries],
        numbers=[label_to_number(entry[1]) for entry in entries],
        amounts=[entry[2] for entry in entries],
        columns={k: v for k, v in attributes.items() if _is_scalar(v)},
    )


def _mixture(name: str, listed: Mapping[str, Any]) -> list[tuple[str, float]]:
    if name in listed:
        symbols, amounts = listed[name]["chemical_symbols"], listed[name]["concentration"]
        return list(zip(symbols, amounts, strict=True))
    if name in SYMBOLS:
        return [(name, 1.0)]
    raise InputError(f"species {name!r} is neither an element nor listed in 'species'")


def _is_structure(value: Any) -> bool:
    return is_structure_dict(value) or (isinstance(value, Mapping) and "lattice_vectors" in value)


def _is_optimade(document: Mapping[str, Any]) -> bool:
    data = document.get("data")
    first = data[0] if isinstance(data, list) and data else data
    return isinstance(first, Mapping) and "attributes" in first


def _is_record(document: Mapping[str, Any]) -> bool:
    """Whether a dictionary is one record rather than structures by id."""
    field = _structure_field(document)
    return bool(field) and (field == "structure" or any(map(_is_scalar, document.values())))


def _structure_field(record: Mapping[str, Any]) -> str:
    """Name of the field that holds a structure, or an empty text."""
    return next((str(key) for key, value in record.items() if is_structure_dict(value)), "")


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | bool | int | float)
