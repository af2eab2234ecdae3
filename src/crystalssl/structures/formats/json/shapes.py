"""A JSON document to its entries: where the structures are, what they are called, what is beside.

Knows one structure, lists, dictionaries by id, records, pandas tables in every orientation,
OPTIMADE answers and computed entries. An entry without a structure is passed on, so that it can be
named as left out. Called by ``reading.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from crystalssl.structures.columns import is_scalar
from crystalssl.structures.formats.id_keys import ID_KEYS, id_of
from crystalssl.structures.formats.json.entries import is_structure

Item = tuple[str, Any, Mapping[str, Any]]
"""Id, structure and other values of an entry."""

FIELDS = ("structure", "final_structure", "relaxed_structure", "output_structure", "atoms", "cif")
"""Fields that hold the structure of a record, first match first."""
_BEFORE = ("initial_structure", "input_structure", "unrelaxed_structure", "primitive_structure")
_FIELDS = frozenset((*FIELDS, *_BEFORE))


def items(document: Any, stem: str) -> Iterator[Item]:
    """The entries of a document, in order."""
    if is_structure(document):
        yield stem, document, {}
    elif isinstance(document, list):
        yield from _list(document, stem)
    elif isinstance(document, Mapping):
        yield from _mapping(document, stem)


def _mapping(document: Mapping[str, Any], stem: str) -> Iterator[Item]:
    data = document.get("data")
    if {"columns", "data"} <= document.keys():
        yield from _split_table(document, stem)
    elif {"schema", "data"} <= document.keys() and isinstance(data, list):
        yield from _list(data, stem)
    elif _is_optimade(data):
        for index, entry in enumerate(data if isinstance(data, list) else [data]):
            yield _resource(entry, f"{stem}-{index}" if isinstance(data, list) else stem)
    elif _is_record(document):
        yield _record(document, stem)
    elif _is_by_column(document):
        yield from _by_column(document, stem)
    elif any(map(_holds, document.values())):
        for key, entry in document.items():
            if isinstance(entry, Mapping) or entry is None or is_structure(entry):
                yield _record(entry, str(key))
    else:  # lists of entries under names of their own, as in dumps of computed entries
        for entries in document.values():
            if isinstance(entries, list) and any(map(_holds, entries)):
                yield from _list(entries, stem)


def _list(entries: list[Any], stem: str) -> Iterator[Item]:
    if not any(map(_holds, entries)) and any(isinstance(e, list) for e in entries):
        for index, row in enumerate(entries):  # pandas "values": rows without names
            cells = row if isinstance(row, list) else [row]
            structure = next(filter(is_structure, cells), None)
            others = {f"column_{i}": v for i, v in enumerate(cells) if _is_label(v)}
            yield f"{stem}-{index}", structure, others
        return
    for index, entry in enumerate(entries):
        label = f"{stem}-{index}"
        if isinstance(entry, Mapping) and "attributes" in entry:
            yield _resource(entry, label)
        else:
            yield _record(entry, label)


def _resource(entry: Any, label: str) -> Item:
    """One OPTIMADE entry."""
    if not isinstance(entry, Mapping):
        return label, entry, {}
    attributes = entry.get("attributes")
    name = entry.get("id")
    return str(name) if is_scalar(name) else label, attributes, {}


def _record(entry: Any, label: str) -> Item:
    """One entry of a list: a structure, or a record with a structure among its fields."""
    if is_structure(entry):
        return id_of(entry, label) if _names_itself(entry) else label, entry, {}
    if not isinstance(entry, Mapping):
        return label, entry, {}
    if isinstance(entry.get("attributes"), Mapping):
        return _resource(entry, label)
    field = _structure_field(entry)
    others = {str(k): v for k, v in entry.items() if k != field and _is_label(v)}
    inner = entry.get("data")
    if isinstance(inner, Mapping) and field != "data":
        others.update({str(k): v for k, v in inner.items() if is_scalar(v) and k not in others})
    return id_of(others, label), entry.get(field) if field else entry, others


def _names_itself(entry: Any) -> bool:
    return (
        isinstance(entry, Mapping)
        and "lattice_vectors" in entry
        and bool(entry.keys() & {"immutable_id", "id"})
    )


def _structure_field(record: Mapping[str, Any]) -> str:
    """Name of the field that holds the structure of a record, or an empty text."""
    for name in FIELDS:
        if name in record and (record[name] is None or is_structure(record[name])):
            return name
    held = [str(key) for key, value in record.items() if is_structure(value)]
    return next((key for key in held if key not in _BEFORE), held[0] if held else "")


def _is_record(document: Mapping[str, Any]) -> bool:
    """Whether a dictionary is one record rather than structures by id."""
    if any(name in document and is_structure(document[name]) for name in _FIELDS):
        return True
    held = sum(map(is_structure, document.values()))
    return held == 1 and any(is_scalar(document.get(key)) for key in ID_KEYS)


def _is_by_column(document: Mapping[str, Any]) -> bool:
    """Whether a dictionary is columns of values by row, as pandas writes by default."""
    columns = [value for value in document.values() if isinstance(value, Mapping)]
    if len(columns) < len(document) or not columns:
        return False
    if any(key in _FIELDS for column in columns for key in column):
        return False
    whole = [c for c in columns if c and all(v is None or is_structure(v) for v in c.values())]
    if not any(any(map(is_structure, column.values())) for column in whole):
        return False
    rows = set(columns[0])
    same = all(set(column) == rows for column in columns)
    return same and (
        bool(_FIELDS & document.keys()) or len(columns) > len(whole) or len(whole) == 1
    )


def _by_column(document: Mapping[str, Any], stem: str) -> Iterator[Item]:
    rows = list(next(iter(document.values())))
    for row in rows:
        values = {str(name): column.get(row) for name, column in document.items()}
        label, structure, others = _record(_with_field(values, document), _row_name(row, stem))
        yield label, structure, others


def _with_field(values: dict[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a row; a null in the only column of structures stands for its structure."""
    if _structure_field(values):
        return values
    columns = [
        str(name) for name, column in document.items() if any(map(is_structure, column.values()))
    ]
    rest = {name: value for name, value in values.items() if name not in columns}
    return {**rest, FIELDS[0]: None}


def _row_name(row: Any, stem: str) -> str:
    """Id of a row of a table: its index where that is text, else its number behind the stem."""
    text = str(row) if is_scalar(row) else ""
    return text if isinstance(row, str) and not text.isdecimal() else f"{stem}-{text}"


def _split_table(document: Mapping[str, Any], stem: str) -> Iterator[Item]:
    names, rows = document["columns"], document["data"]
    if not isinstance(names, list) or not isinstance(rows, list):
        return
    names = [str(name) for name in names]
    places = _structure_places(names, rows)
    index = document.get("index")
    labels: Sequence[Any] = index if isinstance(index, list) else range(len(rows))
    for number, row in enumerate(rows):
        label = labels[number] if number < len(labels) else number
        fallback = str(label) if isinstance(label, str) else _row_name(label, stem)
        cells = row if isinstance(row, list) else []
        others = {
            name: value
            for i, (name, value) in enumerate(zip(names, cells, strict=False))
            if i not in places and _is_label(value)
        }
        structure = next(
            (cells[i] for i in places if i < len(cells) and cells[i] is not None), None
        )
        yield id_of(others, fallback), structure, others


def _structure_places(names: list[str], rows: list[Any]) -> list[int]:
    """Columns that hold structures, the one to read first."""
    held = [
        i
        for i in range(len(names))
        if any(isinstance(row, list) and i < len(row) and is_structure(row[i]) for row in rows)
    ]
    order = {name: place for place, name in enumerate(FIELDS)}
    late = [i for i in held if names[i] in _BEFORE]
    first = sorted(
        (i for i in held if i not in late), key=lambda i: order.get(names[i], len(order))
    )
    return first[:1] or late[:1]


def _is_optimade(data: Any) -> bool:
    entries = data if isinstance(data, list) else [data]
    return any(isinstance(entry, Mapping) and "attributes" in entry for entry in entries)


def _holds(value: Any) -> bool:
    """Whether a value is a structure or a record with one."""
    if is_structure(value):
        return True
    if not isinstance(value, Mapping):
        return False
    return isinstance(value.get("attributes"), Mapping) or bool(_structure_field(value))


def _is_label(value: Any) -> bool:
    return (value is None or is_scalar(value)) and not is_structure(value)
