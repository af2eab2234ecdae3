"""Extended XYZ text to structures, one frame at a time (optional extra ``formats``).

A frame is a line with the number of atoms, a comment of key=value pairs, and the atoms. A frame
that cannot be read is one skip, and reading goes on with the next. Scalars of a frame become
columns. Called by ``reading.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError, missing_extra
from crystalssl.structures.assembly import MOST_SITES, Assembler, Entry
from crystalssl.structures.columns import is_scalar
from crystalssl.structures.elements import is_vacancy, label_to_number, symbol_to_number
from crystalssl.structures.formats.ase_objects import with_occupancy
from crystalssl.structures.formats.id_keys import id_of

Floats = npt.NDArray[np.float64]

_DEFAULT = "species:S:1:pos:R:3"
_MOST_COLUMNS = 500
_REMEDY = "check that the file opens in ASE; periodic crystals need a Lattice"
_COMMENT = re.compile(r"(Lattice|Properties)\s*=", re.IGNORECASE)
_PAIR = re.compile(r"([\w-]+)\s*=\s*(?:\"([^\"]*)\"|(\S+))")
_RESERVED = frozenset({"Lattice", "Properties", "pbc", "occupancy", "spacegroup", "unit_cell"})


@dataclass(frozen=True, slots=True)
class _Frame:
    """Lines of one frame, or why they are none."""

    comment: str
    atoms: Sequence[str]
    problem: str = ""


def read_extxyz(data: bytes, name: str, stem: str, into: Assembler) -> None:
    """Read every frame of an extended XYZ file.

    Args:
        data: content of the file.
        name: file name used in messages.
        stem: id of a single frame; several are ``stem-0``, ``stem-1`` and so on.
        into: receives structures and skips.

    Raises:
        MissingExtraError: if ASE is not installed.
    """
    try:
        from ase.io.extxyz import key_val_str_to_dict
    except ImportError:
        raise missing_extra("ase", "formats", "Reading extended XYZ") from None
    lines = data.decode("utf-8", errors="replace").lstrip("\ufeff").splitlines()
    frames = list(_frames(lines))
    if not frames:
        into.skip(stem, name, "the file is empty", _REMEDY)
    for index, frame in enumerate(frames):
        label = stem if len(frames) == 1 else f"{stem}-{index}"
        if frame.problem:
            into.skip(label, name, f"frame {index} cannot be read: {frame.problem}", _REMEDY)
        else:
            into.read(label, name, _REMEDY, _entry, frame, label, key_val_str_to_dict)


def _frames(lines: list[str]) -> Iterator[_Frame]:
    """Frames in order; lines that belong to none make the frame before them a broken one."""
    at, last = 0, len(lines)
    ready: _Frame | None = None
    while at < last:
        if not lines[at].strip():
            if ready:
                yield ready
                ready = None
            at += 1
            continue
        count = _count(lines[at])
        if count is None:
            after = _next_frame(lines, at + 1)
            problem = f"line {at + 1} is {lines[at].strip()[:40]!r}, expected a number of atoms"
            if ready and at + 1 < last and _COMMENT.search(lines[at + 1]):
                yield ready  # the line opens a frame of its own
            yield _Frame("", (), problem)
            ready, at = None, after
            continue
        if ready:
            yield ready
        stop = min(at + 2 + count, last)
        early = _next_frame(lines, at + 2, stop)
        comment = lines[at + 1] if at + 1 < last else ""
        if early < stop or stop < at + 2 + count:
            rows = max(min(early, stop) - at - 2, 0)
            ready = _Frame("", (), f"it has {rows} atoms, expected {count}")
            at = min(early, stop)
        else:
            ready, at = _Frame(comment, lines[at + 2 : stop]), stop
    if ready:
        yield ready


def _count(line: str) -> int | None:
    word = line.strip()
    return int(word) if word.isdecimal() and word.isascii() and len(word) <= 9 else None


def _next_frame(lines: list[str], start: int, stop: int | None = None) -> int:
    """First line from ``start`` on that opens a frame: a number with a comment behind it."""
    last = len(lines) if stop is None else stop
    for row in range(start, last):
        if _count(lines[row]) is not None and (
            row + 1 < len(lines) and (_COMMENT.search(lines[row + 1]) or "=" in lines[row + 1])
        ):
            return row
    return last


def _entry(frame: _Frame, label: str, parse: Any) -> Entry:
    """One frame as an entry.

    Raises:
        InputError: if it has no cell, or a line is not what the header says.
    """
    if not frame.atoms:
        raise InputError("no atoms in it")
    if len(frame.atoms) > MOST_SITES:
        raise InputError(f"it has {len(frame.atoms)} sites, expected at most {MOST_SITES}")
    info = _comment(frame.comment, parse)
    lattice = _lattice(info)
    table = _table(str(info.get("Properties", _DEFAULT)), frame.atoms)
    values = {str(k): v for k, v in info.items() if is_scalar(v) and k not in _RESERVED}
    occupancy = info.get("occupancy")
    return with_occupancy(
        id_of(values, label),
        lattice,
        _positions(table) @ np.linalg.inv(lattice),
        _numbers(table),
        table.get("spacegroup_kinds", [None])[0],
        occupancy,
        values,
    )


def _comment(text: str, parse: Any) -> dict[str, Any]:
    """Keys and values of a comment; plain pairs where ASE refuses one of them."""
    try:
        return dict(parse(text))
    except Exception:  # a stress of six numbers, an open bracket
        pairs = _PAIR.findall(text)
        return {key: quoted or bare for key, quoted, bare in pairs}


def _lattice(info: dict[str, Any]) -> Floats:
    """(3, 3) rows a, b, c; ASE gives nine numbers as a transposed array."""
    lattice = info.get("Lattice", info.get("lattice"))
    if lattice is None:
        raise InputError("it is not periodic in three directions (no Lattice)")
    if isinstance(lattice, str):
        lattice = [float(word) for word in re.split(r"[\s,;\[\](){}]+", lattice) if word]
    cell = np.asarray(lattice, dtype=np.float64)
    if cell.size != 9:
        raise InputError(f"its Lattice has {cell.size} numbers, expected 9")
    cell = cell.reshape(3, 3).T if cell.ndim == 2 else cell.reshape(3, 3)
    if not np.isfinite(cell).all() or not abs(np.linalg.det(cell)) > 1e-9:
        raise InputError("it is not periodic in three directions (its Lattice has no volume)")
    pbc = info.get("pbc", True)
    periodic = pbc.split() if isinstance(pbc, str) else np.asarray(pbc).ravel().tolist()
    if not all(str(value) in ("1", "T", "True") for value in periodic):
        raise InputError("it is not periodic in three directions")
    return cell


def _table(properties: str, atoms: Sequence[str]) -> dict[str, list[Any]]:
    """Columns of the atoms by name: a list of text columns for each property."""
    words = properties.split(":")
    if len(words) % 3 or len(words) > 3 * _MOST_COLUMNS:
        raise InputError(f"its Properties are {properties[:50]!r}, expected name:kind:count")
    places: dict[str, tuple[int, int]] = {}
    width = 0
    for name, _, count in zip(words[0::3], words[1::3], words[2::3], strict=True):
        if not count.isdecimal() or len(count) > 3:
            raise InputError(f"its Properties give {name[:40]!r} {count[:20]!r} columns")
        places[name] = width, width + int(count)
        width += int(count)
    rows = [line.split(maxsplit=width) for line in atoms]
    short = next((row for row in rows if len(row) < width), None)
    if short is not None:
        raise InputError(f"a line has {len(short)} columns, expected {width}")
    columns = list(zip(*(row[:width] for row in rows), strict=True))
    return {name: columns[start:stop] for name, (start, stop) in places.items()}


def _positions(table: dict[str, list[Any]]) -> Floats:
    columns = table.get("pos", table.get("positions", []))
    if len(columns) != 3:
        raise InputError("its Properties name no pos of three columns")
    try:
        return np.array([list(map(float, column)) for column in columns]).T
    except ValueError as error:
        raise InputError(f"a position is no number ({error})") from error


def _numbers(table: dict[str, list[Any]]) -> list[int]:
    for name in ("species", "symbols", "element", "Z", "numbers", "atomic_numbers"):
        if table.get(name):
            texts = table[name][0]
            known = {text: _number(text) for text in set(texts)}
            return [known[text] for text in texts]
    raise InputError("its Properties name no species")


def _number(text: str) -> int:
    if text.isdecimal():
        return int(text[:9])
    if is_vacancy(text):
        return 0
    try:
        return symbol_to_number(text)
    except InputError:
        return label_to_number(text)
