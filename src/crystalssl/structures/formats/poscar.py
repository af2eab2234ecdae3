"""POSCAR and CONTCAR text to structures (VASP 4 to 6, selective dynamics, all scale factors).

Symbols and counts may run over several lines, numbers may touch where a minus sign stands, and
words may follow. VASP 4 files name no elements; they are then taken from the comment line or from
the symbols behind the coordinates. Source: https://www.vasp.at/wiki/index.php/POSCAR. Called by
``reading.py``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError
from crystalssl.structures.assembly import MOST_SITES, Assembler, Entry
from crystalssl.structures.elements import symbol_to_number

Floats = npt.NDArray[np.float64]

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eEdD][+-]?\d+)?"
_TRIPLE = re.compile(rf"\s*({_NUMBER})(?:[\s,]+|(?=[+-]))({_NUMBER})(?:[\s,]+|(?=[+-]))({_NUMBER})"
                     r"(?![\w.])")  # fmt: skip
_FLAGS = frozenset({"T", "F", ".T.", ".F.", ".TRUE.", ".FALSE.", "TRUE", "FALSE"})
_SYMBOL = re.compile(r"([A-Za-z]{1,2})(?:[_/.\d].*)?$")
_NAMED = re.compile(r"([A-Z][a-z]?)\d*$")
_COMMENT = re.compile(r"[!#].*")


def read_poscar(data: bytes, name: str, stem: str, into: Assembler) -> None:
    """Read one POSCAR.

    Args:
        data: content of the file.
        name: file name used in messages.
        stem: id to give; for a file called POSCAR or CONTCAR the name of its folder.
        into: receives the structure or a skip.
    """
    text = data.decode("utf-8", errors="replace")
    into.read(stem, name, "correct the file", _read, text, stem)


def _read(text: str, label: str) -> Entry:
    try:
        return parse_poscar(text, label)
    except InputError as error:
        raise InputError(f"POSCAR cannot be read: {error}") from error


def parse_poscar(text: str, label: str) -> Entry:
    """Read POSCAR text.

    Raises:
        InputError: if a line is missing or holds something else than it should.
    """
    lines = text.lstrip("\ufeff").splitlines()
    if not text.strip():
        raise InputError("the file is empty")
    try:
        return _parse(lines, label)
    except IndexError:
        raise InputError(f"the file ends after {len(lines)} lines, too early") from None
    except (ValueError, np.linalg.LinAlgError) as error:
        raise InputError(str(error)) from error


def _parse(lines: list[str], label: str) -> Entry:
    if len(lines) < 8:
        raise IndexError
    vectors = np.array([_triple(line) for line in lines[2:5]])
    factor = _factor(vectors, _scale(lines[1]))
    lattice = np.asarray(vectors * factor)
    names, row = _names(lines, 5)
    counts, row = _counts(lines, row, len(names))
    total = sum(counts)
    if total > MOST_SITES:
        raise InputError(f"it counts {total} sites, expected at most {MOST_SITES}")
    if lines[row].strip()[:1] in ("s", "S"):
        row += 1
    mode = lines[row].strip()[:1]
    if not mode.isalpha():
        raise InputError(f"line {lines[row].strip()[:40]!r} should say Direct or Cartesian")
    listed = lines[row + 1 : row + 1 + total]
    if len(listed) < total:
        raise InputError(f"it lists {len(listed)} sites, expected {total}")
    positions = np.array([_triple(line) for line in listed]).reshape(-1, 3)
    if mode in "cCkK":
        positions = (positions * factor) @ np.linalg.inv(lattice)
    numbers, notes = _elements(names, lines[0], counts, listed)
    return Entry(id=label, lattice=lattice, frac_coords=positions, numbers=numbers, notes=notes)


def _triple(line: str) -> list[float]:
    """The three numbers that a line opens with, also where a minus sign parts them."""
    match = _TRIPLE.match(line)
    if match is None:
        raise InputError(f"line {line.strip()[:60]!r} should open with three numbers")
    return [float(word.replace("d", "e").replace("D", "e")) for word in match.groups()]


def _scale(line: str) -> list[float]:
    """One factor or three, whatever words follow."""
    scale: list[float] = []
    for word in _COMMENT.sub("", line).split()[:3]:
        if not re.fullmatch(_NUMBER, word):
            break
        scale.append(float(re.sub("[dD]", "e", word)))
    if len(scale) not in (1, 3) or not all(np.isfinite(scale)) or 0.0 in scale:
        raise InputError(f"the second line is {line.strip()[:40]!r}, expected a scale factor")
    return scale


def _factor(vectors: Floats, scale: list[float]) -> Floats:
    """Factor of each Cartesian direction; a negative scale is the cell volume wanted."""
    volume = abs(float(np.linalg.det(vectors)))
    if not volume > 0:
        raise InputError("its cell has no volume")
    if len(scale) == 1 and scale[0] < 0:
        return np.full(3, (-scale[0] / volume) ** (1 / 3))
    return np.full(3, scale[0]) if len(scale) == 1 else np.array(scale)


def _names(lines: list[str], row: int) -> tuple[list[str], int]:
    """Element names from as many lines as hold them, and the line behind."""
    names: list[str] = []
    while words := _COMMENT.sub("", lines[row]).split():
        if words[0][:1].isdigit() or words[0][:1] in "+-.":
            break
        names += words
        row += 1
    if not names and not lines[row].strip():
        raise InputError(f"line {row + 1} is empty, expected element names or counts")
    return names, row


def _counts(lines: list[str], row: int, wanted: int) -> tuple[list[int], int]:
    """Counts from as many lines as hold them, and the line behind.

    Words behind the counts are a comment; a line goes on where all of it is counts.
    """
    counts: list[int] = []
    while row < len(lines):
        words = _COMMENT.sub("", lines[row]).split()
        whole = [int(word) for word in _leading_counts(words)]
        if not whole:
            break
        counts += whole
        row += 1
        if len(whole) < len(words) or (wanted and len(counts) >= wanted):
            break
    if wanted and len(counts) != wanted:
        raise InputError(f"{wanted} element names but {len(counts)} counts")
    if not counts or not sum(counts):
        raise InputError("it counts no sites")
    return counts, row


def _leading_counts(words: Sequence[str]) -> list[str]:
    """The words up to the first that is no count."""
    counts = []
    for word in words:
        if not word.isdecimal() or len(word) > 9:
            break
        counts.append(word)
    return counts


def _elements(
    names: list[str], comment: str, counts: list[int], listed: list[str]
) -> tuple[list[int], list[str]]:
    """Atomic number of each site, from the first of the three places that names them all."""
    behind = _behind(listed)
    if names:
        numbers = _repeat([_number(name) for name in names], counts)
        if behind and behind != numbers:
            note = "the symbols behind its coordinates are others than those of the line of names"
            return numbers, [note]
        return numbers, []
    named = [_NAMED.match(word) for word in comment.split()]
    if len(named) == len(counts):
        symbols = [_known(match.group(1)) if match else 0 for match in named]
        if all(symbols):
            return _repeat(symbols, counts), []
    if behind:
        return behind, []
    raise InputError("it names no elements: add a line with their symbols above the counts")


def _behind(listed: list[str]) -> list[int]:
    """Elements named behind the coordinates of every site, else nothing."""
    numbers = []
    for line in listed:
        match = _TRIPLE.match(line)
        words = line[match.end() :].split() if match else []
        if len(words) >= 3 and all(word.upper() in _FLAGS for word in words[:3]):
            words = words[3:]
        symbol = _NAMED.match(words[0]) if words else None
        number = _known(symbol.group(1)) if symbol else 0
        if not number:
            return []
        numbers.append(number)
    return numbers


def _repeat(numbers: Sequence[int], counts: Sequence[int]) -> list[int]:
    return [z for z, count in zip(numbers, counts, strict=True) for _ in range(count)]


def _known(symbol: str) -> int:
    """Atomic number of a symbol, 0 for anything else; T marks an atom that may move."""
    try:
        return 0 if symbol == "T" else symbol_to_number(symbol)
    except InputError:
        return 0


def _number(name: str) -> int:
    """Atomic number of a name of the list, such as ``Fe``, ``fe``, ``Fe_pv`` or ``Fe/1a2b``."""
    match = _SYMBOL.match(name)
    if match is None:
        raise InputError(f"{name[:40]!r} is no element's symbol")
    return symbol_to_number(match.group(1).capitalize())
