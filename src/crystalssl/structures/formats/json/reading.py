"""JSON bytes to entries, one document or one JSON value a line.

Called by ``structures/reading.py`` for .json, .jsonl and .ndjson.
"""

from __future__ import annotations

import json
from typing import Any

from crystalssl.structures.assembly import Assembler
from crystalssl.structures.formats.json.entries import entry_of
from crystalssl.structures.formats.json.shapes import items

_SHAPES = (
    "give a Structure.as_dict(), a list of them, a dictionary by id, records with a 'structure' "
    "field, a pandas table, or an OPTIMADE answer"
)
_REMEDY = "correct or leave out this structure"
_DIGITS = 400


def read_json(data: bytes, name: str, stem: str, into: Assembler) -> None:
    """Read every structure of a JSON document.

    Args:
        data: content of the file.
        name: file name used in messages.
        stem: id of a single structure without one; several are ``stem-0`` and so on.
        into: receives structures and skips.
    """
    try:
        document = _parsed(data)
    except (ValueError, RecursionError) as error:
        if _read_lines(data, name, stem, into):
            return
        reason = f"it is no JSON: {error}" if data.strip() else "the file is empty"
        into.skip(stem, name, reason, "check that the file is complete")
        return
    if isinstance(document, dict) and {"ids", "nextid"} <= document.keys():
        from crystalssl.structures.formats.ase_files import read_ase_json

        read_ase_json(data, name, stem, into)
        return
    count = 0
    for label, value, columns in items(document, stem):
        count += 1
        into.read(label, name, _REMEDY, entry_of, value, label, columns)
    if not count:
        into.skip(stem, name, "it holds no structure in a known shape", _SHAPES)


def _parsed(data: bytes) -> Any:
    """The document; integers of thousands of digits, which Python refuses, are infinite."""
    try:
        return json.loads(data)
    except ValueError as error:
        if "digits" not in str(error):
            raise
        return json.loads(data, parse_int=lambda s: int(s) if len(s) < _DIGITS else float("inf"))


def _read_lines(data: bytes, name: str, stem: str, into: Assembler) -> bool:
    """Read one JSON value a line; False when the first lines are none."""
    lines = [line for line in data.splitlines() if line.strip()]
    if len(lines) < 2 or not lines[0].lstrip().startswith(b"{"):
        return False
    try:
        json.loads(lines[0])
    except (ValueError, RecursionError):
        return False
    for index, line in enumerate(lines):
        label = f"{stem}-{index}"
        try:
            listed = list(items([json.loads(line)], stem))
        except (ValueError, RecursionError) as error:
            into.skip(label, name, f"line {index + 1} is no JSON: {error}", _REMEDY)
            continue
        for found, value, columns in listed:
            chosen = label if found == f"{stem}-0" else found
            into.read(chosen, name, _REMEDY, entry_of, value, chosen, columns)
    return True
