"""CIF bytes to entries: one for each block with a cell and atom sites.

Blocks in P1 without disorder, which is what databases write by the million, take a short path
without any search. Slips of syntax are mended where no site can be lost. Called by
``structures/reading.py`` for every .cif file or archive member.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from math import isfinite

import numpy as np
import numpy.typing as npt
from gemmi import cif

from crystalssl.errors import InputError
from crystalssl.structures.assembly import Assembler, Entry
from crystalssl.structures.cells import lattice_from_parameters
from crystalssl.structures.formats.cif import labels
from crystalssl.structures.formats.cif.choice import Rows, choose, on_sites
from crystalssl.structures.formats.cif.forgiving import repaired
from crystalssl.structures.formats.cif.quick import quick_tags
from crystalssl.structures.formats.cif.settings import is_p1, symmetry_of
from crystalssl.structures.formats.cif.sites import Listed, holds_sites, listed_sites
from crystalssl.structures.formats.cif.stated import Stated, Verdict, compare, stated_by
from crystalssl.structures.formats.cif.tags import Tags, tags_of

Floats = npt.NDArray[np.float64]

LONGEST_CELL = 10_000.0
"""Largest cell length in angstrom that a file may give."""
LONGEST_MENDED = 2_000_000
"""Characters of a text whose syntax is mended."""
MOST_SITES = 50_000
"""Rows of an atom list that are read."""

_LENGTHS = tuple(f"_cell_length_{axis}" for axis in "abc")
_ANGLES = tuple(f"_cell_angle_{angle}" for angle in ("alpha", "beta", "gamma"))
_FARTHEST = 1e4
_MOST = (LONGEST_CELL,) * 3 + (180.0,) * 3
_REMEDY = "correct the file, for instance with the program it came from; checkCIF finds errors"


def read_cif(data: bytes, name: str, stem: str, into: Assembler) -> None:
    """Read every structure of a CIF file.

    A file with one structure gives it the file's stem as id, one with several the block names.

    Args:
        data: content of the file.
        name: file name used in messages.
        stem: file name without folder and suffix.
        into: receives structures and skips.
    """
    quick = quick_tags(data)
    if quick is not None and holds_sites(quick):
        into.read(stem, name, _REMEDY, entry_of, quick, stem)
        return
    text = data.decode("utf-8", errors="replace").lstrip("\ufeff")
    mended = ""
    try:
        document = cif.read_string(text, check_level=0)
    except (ValueError, RuntimeError) as error:
        repair = repaired(text) if len(text) < LONGEST_MENDED else None
        if repair is None:
            into.skip(stem, name, _syntax(str(error), text), _REMEDY)
            return
        document, mended = repair
    blocks = [(block.name, tags) for block in document if holds_sites(tags := tags_of(block))]
    if not blocks:
        reason = "it holds no cell and no atom sites" if text.strip() else "the file is empty"
        into.skip(stem, name, reason, _REMEDY)
    for title, tags in blocks:
        label = stem if len(blocks) == 1 else title
        into.read(label, name, _REMEDY, entry_of, tags, label, mended)


def _syntax(error: str, text: str) -> str:
    """What to say about a text that is no CIF; one that is cut off is named as such."""
    if not text.strip():
        return "the file is empty"
    where = error.removeprefix("string:")
    if "Wrong number" in error or "unterminated" in error:
        return f"the file is cut off or damaged (line {where})"
    return f"CIF cannot be read: line {where}"


def entry_of(tags: Tags, label: str, mended: str = "") -> Entry:
    """One block as an entry.

    Args:
        tags: what the block says.
        label: id.
        mended: note on slips of its syntax.

    Raises:
        InputError: if something is missing, wrong, or contradicts the rest.
    """
    parameters = _cell(tags)
    lattice = lattice_from_parameters(*parameters)
    listed = listed_sites(tags)
    if len(listed.names) > MOST_SITES:
        raise InputError(f"it lists {len(listed.names)} sites, expected at most {MOST_SITES}")
    stated = stated_by(tags, abs(lattice[0][0] * lattice[1][1] * lattice[2][2]))
    sure = labels.sure_type if listed.typed else labels.sure_label
    counts = Counter(listed.names)
    certain = {text: sure(text) for text in counts}
    empty = [str(cif.as_string(text)) for text in counts if certain[text] == 0]
    said = [mended] if mended else []
    said += [f"sites named {', '.join(empty)} are taken as empty"] if empty else []
    whole = listed.occupancy is None and listed.dummy is None
    if whole and None not in certain.values() and is_p1(tags):
        content: dict[int, float] = {}
        for text, count in counts.items():
            if number := certain[text]:
                content[number] = content.get(number, 0) + count
        match = compare(content, stated, partial=False)
        if match.verdict <= Verdict.UNKNOWN:
            notes = _hydrogen_notes(listed, [*said, *([match.text] if match.text else [])])
            return Entry(
                id=label,
                lattice=lattice,
                frac_coords=listed.frac,
                numbers=[certain[text] or 0 for text in listed.names],
                notes=notes,
            )
    entry = _searched(tags, label, np.array(lattice), listed, certain, stated)
    return replace(entry, notes=[*said, *entry.notes]) if said else entry


def _searched(
    tags: Tags,
    label: str,
    lattice: Floats,
    listed: Listed,
    certain: dict[str, int | None],
    stated: Stated,
) -> Entry:
    """A block with symmetry, disorder or doubtful names."""
    if abs(np.linalg.det(lattice)) < 1e-3:
        raise InputError("its cell has no volume; check the cell lengths and angles")
    if not (np.abs(listed.frac) < _FARTHEST).all():
        raise InputError("a coordinate is no number of the cell")
    rows = _rows(listed, certain, stated)
    symmetry = symmetry_of(tags, lattice @ lattice.T)
    reading = choose(rows, lattice, symmetry, stated)
    frac, numbers, sites, amounts = on_sites(reading, rows, lattice)
    return Entry(
        id=label,
        lattice=lattice,
        frac_coords=frac,
        numbers=numbers,
        sites=sites,
        amounts=amounts,
        notes=_hydrogen_notes(listed, reading.notes),
    )


def _rows(listed: Listed, certain: dict[str, int | None], stated: Stated) -> Rows:
    """The listed rows that hold an atom, and the ways to read their names."""
    names = listed.names
    distinct = list(dict.fromkeys(names))
    doubtful = next((text for text in distinct if certain[text] is None), None)
    if doubtful is not None and not stated.formula:
        raise InputError(
            f"{cif.as_string(doubtful)!r} is no element's symbol, and no formula says what it is"
        )
    ways: list[tuple[Mapping[str, int | None], str]] = [(certain, "")]
    if stated.formula and (not listed.typed or doubtful is not None):
        strange = any(z and z not in stated.formula for z in certain.values() if z is not None)
        if doubtful is not None or strange or not listed.typed:
            ways = list(labels.trials(distinct, certain, stated.formula)) or ways
            if doubtful is None:
                ways.append((certain, ""))
    occupancy = np.ones(len(names)) if listed.occupancy is None else np.array(listed.occupancy)
    if listed.dummy is not None:
        occupancy[np.array(listed.dummy)] = 0.0
    numbers = [
        (np.array([way[text] for text in names], dtype=np.int64), note) for way, note in ways
    ]
    real = np.flatnonzero((occupancy > 0) & (numbers[0][0] > 0))
    if not len(real):
        raise InputError("no site holds an atom")
    images = listed.multiplicity
    return Rows(
        frac=listed.frac[real],
        numbers=[(z[real], note) for z, note in numbers],
        occupancy=occupancy[real],
        multiplicity=None if images is None else [images[row] for row in real.tolist()],
    )


def _cell(tags: Tags) -> list[float]:
    """Lengths in angstrom and angles in degrees."""
    pairs = tags.pairs
    try:
        cell = [float(pairs[tag]) for tag in (*_LENGTHS, *_ANGLES)]
    except (KeyError, ValueError):  # a standard uncertainty in brackets, ? or .
        cell = [_cell_number(tags, tag) for tag in (*_LENGTHS, *_ANGLES)]
    if min(cell) >= 0 and max(cell[:3]) <= LONGEST_CELL and max(cell[3:]) < 180:
        return cell
    for tag, value, most in zip((*_LENGTHS, *_ANGLES), cell, _MOST, strict=True):
        if not 0 <= value <= most:
            raise InputError(f"{tag} is {value:g}, expected a number from 0 to {most:g}")
    return cell


def _cell_number(tags: Tags, tag: str) -> float:
    text = tags.pairs.get(tag, "?")
    value = float(cif.as_number(text))
    if not isfinite(value):
        stands = "" if cif.is_null(text) else f" ({cif.as_string(text)!r})"
        raise InputError(f"{tag} is missing or no number{stands}")
    return value


def _hydrogen_notes(listed: Listed, notes: list[str]) -> list[str]:
    if listed.hydrogens and not any("hydrogen" in note for note in notes):
        return [*notes, f"{listed.hydrogens:g} attached hydrogen atoms are stated and not placed"]
    return notes
