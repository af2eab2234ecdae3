"""POSCAR and CONTCAR text to structures (VASP 4 and 5, selective dynamics, all scale factors).

VASP 4 files name no elements; they are then taken from the comment line or from the symbols
behind the coordinates. Source: https://www.vasp.at/wiki/index.php/POSCAR. Called by ``reading.py``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError
from crystalssl.structures.assembly import Assembler, Entry
from crystalssl.structures.elements import label_to_number

Floats = npt.NDArray[np.float64]


def read_poscar(data: bytes, name: str, stem: str, into: Assembler) -> None:
    """Read one POSCAR.

    Args:
        data: content of the file.
        name: file name used in messages.
        stem: id to give; for a file called POSCAR or CONTCAR the name of its folder.
        into: receives the structure or a skip.
    """
    try:
        found = parse_poscar(data.decode("utf-8", errors="replace"), stem)
    except InputError as error:
        into.skip(stem, name, f"POSCAR cannot be read: {error}", "correct the file")
        return
    into.add(found, name)


def parse_poscar(text: str, label: str) -> Entry:
    """Read POSCAR text.

    Raises:
        InputError: if a line is missing or holds something else than it should.
    """
    lines = text.splitlines()
    if not text.strip():
        raise InputError("the file is empty")
    try:
        return _parse(lines, label)
    except IndexError:
        raise InputError(f"the file ends after {len(lines)} lines, too early") from None
    except ValueError as error:
        raise InputError(str(error)) from error


def _parse(lines: list[str], label: str) -> Entry:
    if len(lines) < 8:
        raise IndexError
    scale = [float(word) for word in lines[1].split()[:3] if _is_number(word)]
    lattice = _scaled(np.array([_triple(line) for line in lines[2:5]]), scale)
    names = [] if lines[5].split()[0].isdigit() else lines[5].split()
    row = 6 if names else 5
    counts = [int(word) for word in lines[row].split() if word.isdigit()]
    row += 1
    if lines[row].strip()[:1] in "sS" and lines[row].strip():
        row += 1
    cartesian = lines[row].strip()[:1] in ("c", "C", "k", "K")
    listed = lines[row + 1 : row + 1 + sum(counts)]
    if len(listed) < sum(counts):
        raise InputError(f"it lists {len(listed)} sites, expected {sum(counts)}")
    positions = np.array([_triple(line) for line in listed]).reshape(-1, 3)
    if cartesian:
        factor = _factor(np.array([_triple(line) for line in lines[2:5]]), scale)
        positions = (positions * factor) @ np.linalg.inv(lattice)
    return Entry(
        id=label,
        lattice=lattice,
        frac_coords=positions,
        numbers=_elements(names, lines[0], counts, listed),
    )


def _triple(line: str) -> list[float]:
    words = line.split()[:3]
    if len(words) < 3 or not all(map(_is_number, words)):
        raise InputError(f"line {line.strip()!r} should open with three numbers")
    return [float(word) for word in words]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _factor(vectors: Floats, scale: list[float]) -> Floats:
    """Factor of each Cartesian direction; a negative scale is the cell volume wanted."""
    volume = abs(float(np.linalg.det(vectors)))
    if not scale or len(scale) == 2 or volume == 0:
        raise InputError("the second line should hold a scale factor, and the cell a volume")
    if len(scale) == 1 and scale[0] < 0:
        return np.full(3, (-scale[0] / volume) ** (1 / 3))
    return np.full(3, scale[0]) if len(scale) == 1 else np.array(scale)


def _scaled(vectors: Floats, scale: list[float]) -> Floats:
    return np.asarray(vectors * _factor(vectors, scale))


def _elements(names: list[str], comment: str, counts: list[int], listed: list[str]) -> list[int]:
    """Atomic number of each site, from the first of the three places that names them all."""
    last_words = [line.split()[-1] for line in listed]
    comment_words = comment.split()
    if names:
        if len(names) != len(counts):
            raise InputError(f"{len(names)} element names but {len(counts)} counts")
        return _repeat(names, counts)
    if len(comment_words) == len(counts) and _all_elements(comment_words):
        return _repeat(comment_words, counts)
    if _all_elements(last_words):
        return [label_to_number(word) for word in last_words]
    raise InputError("it names no elements: add a line with their symbols above the counts")


def _repeat(names: list[str], counts: list[int]) -> list[int]:
    plain = [label_to_number(name.split("_")[0].split("/")[0]) for name in names]
    return [z for z, count in zip(plain, counts, strict=True) for _ in range(count)]


def _all_elements(words: list[str]) -> bool:
    try:
        return bool(words) and all(label_to_number(word) > 0 for word in words)
    except InputError:
        return False
