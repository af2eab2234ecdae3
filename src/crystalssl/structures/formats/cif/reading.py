"""CIF text to structures: gemmi reads the columns, symmetry is expanded, occupancies are kept.

Blocks in P1 without disorder, which is what databases write by the million, take a short path
without any search. Where gemmi cannot follow (odd syntax, odd operations) pymatgen's reader is
asked. Called by ``reading.py`` for every .cif file or archive member.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite

import numpy as np
import numpy.typing as npt
from gemmi import cif

from crystalssl.errors import InputError
from crystalssl.structures.assembly import Assembler, FoundStructure
from crystalssl.structures.cells import lattice_from_parameters
from crystalssl.structures.elements import label_to_number
from crystalssl.structures.formats.cif_symmetry import expand, operations_of_group, shared_sites

Floats = npt.NDArray[np.float64]

_CELL = tuple(f"_cell_{part}" for part in ("length_a", "length_b", "length_c")) + tuple(
    f"_cell_angle_{part}" for part in ("alpha", "beta", "gamma")
)
_SITE_TAGS = (
    "_atom_site_fract_x",
    "_atom_site_fract_y",
    "_atom_site_fract_z",
    "_atom_site_type_symbol",
    "_atom_site_label",
    "_atom_site_occupancy",
    "_atom_site_calc_flag",
    "_atom_site_symmetry_multiplicity",
)
_OPERATIONS = ("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz")
_NAMES = (
    "_space_group_name_Hall",
    "_symmetry_space_group_name_Hall",
    "_space_group_name_H-M_alt",
    "_symmetry_space_group_name_H-M",
)
_NUMBERS = ("_space_group_IT_number", "_symmetry_Int_Tables_number")
_IDENTITY = {("x,y,z",), ()}
_CHECK_CIF = "correct the file, for instance with the program it came from; checkCIF finds errors"


class _CannotFollowError(Exception):
    """The block holds an operation that gemmi cannot read; pymatgen may."""


def read_cif(data: bytes, name: str, stem: str, into: Assembler) -> None:
    """Read every structure of a CIF file.

    A file with one structure gives it the file's stem as id, one with several the block names.

    Args:
        data: content of the file.
        name: file name used in messages.
        stem: file name without folder and suffix.
        into: receives structures and skips.
    """
    text = data.decode("utf-8", errors="replace").lstrip("\ufeff")
    try:
        document = cif.read_string(text, check_level=0)
    except (ValueError, RuntimeError) as error:
        _after_syntax_error(text, name, stem, str(error), into)
        return
    blocks = [block for block in document if _has_structure(block)]
    if not blocks:
        reason = "it holds no cell and no atom sites" if text.strip() else "the file is empty"
        into.skip(stem, name, reason, _CHECK_CIF)
    for block in blocks:
        label = stem if len(blocks) == 1 else block.name
        try:
            into.add(_read_block(block, label), name)
        except InputError as error:
            into.skip(label, name, str(error), _CHECK_CIF)
        except _CannotFollowError as error:
            _ask_pymatgen(block.as_string(), name, label, str(error), into)


def _has_structure(block: cif.Block) -> bool:
    return bool(block.find_value(_CELL[0])) or bool(block.find_values("_atom_site_fract_x"))


def _after_syntax_error(text: str, name: str, stem: str, error: str, into: Assembler) -> None:
    """A cut-off file must not pass as a smaller crystal; other slips pymatgen may forgive."""
    where = error.removeprefix("string:")
    if "Wrong number" in error or "unterminated" in error:
        into.skip(stem, name, f"the file is cut off or damaged (line {where})", _CHECK_CIF)
    else:
        _ask_pymatgen(text, name, stem, f"line {where}", into)


def _read_block(block: cif.Block, label: str) -> FoundStructure:
    parameters = [_cell_number(block, tag) for tag in _CELL]
    lattice = lattice_from_parameters(*parameters)
    sites = _site_columns(block)
    frac = _coordinates(sites)
    numbers = _elements(sites, len(frac))
    amounts = _occupancies(sites, len(frac))
    operations = _operations(block, parameters)
    if operations in _IDENTITY and amounts is None:
        return FoundStructure(id=label, lattice=lattice, frac_coords=frac, numbers=numbers)
    listed = _Listed(
        frac=frac,
        number=np.array(numbers),
        occupancy=np.ones(len(frac)) if amounts is None else np.array(amounts),
        multiplicity=_multiplicities(sites, len(frac)),
    )
    return _expanded(listed, np.array(lattice), operations, label)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Listed:
    """The sites as the file lists them."""

    frac: Floats
    number: npt.NDArray[np.int64]
    occupancy: Floats
    multiplicity: npt.NDArray[np.int64] | None


def _expanded(
    listed: _Listed, lattice: Floats, operations: tuple[str, ...], label: str
) -> FoundStructure:
    """All sites of the cell, listed rows at one position on one site."""
    real = np.flatnonzero((listed.occupancy > 0) & (listed.number > 0))
    if not len(real):
        raise InputError("no site holds an atom")
    frac, row = listed.frac[real], np.arange(len(real))
    if operations not in _IDENTITY:
        stated = None if listed.multiplicity is None else listed.multiplicity[real].tolist()
        try:
            frac, row = expand(lattice, frac, operations, stated)
        except ValueError as error:
            raise _CannotFollowError(str(error)) from error
    occupancy = listed.occupancy[real][row]
    sites = shared_sites(lattice, frac, occupancy < 1.0)
    return FoundStructure(
        id=label,
        lattice=lattice,
        frac_coords=frac[np.unique(sites, return_index=True)[1]],
        numbers=listed.number[real][row].tolist(),
        sites=sites.tolist(),
        amounts=occupancy.tolist(),
    )


def _cell_number(block: cif.Block, tag: str) -> float:
    text = block.find_value(tag) or "?"
    try:
        return float(text)
    except ValueError:  # a standard uncertainty in brackets, ? or .
        value = float(cif.as_number(text))
    if not isfinite(value):
        raise InputError(f"{tag} is missing or no number")
    return value


def _site_columns(block: cif.Block) -> dict[str, list[str]]:
    """Columns of the atom site list by tag, also when it holds one site outside a loop."""
    loop = block.find_loop("_atom_site_fract_x").get_loop()
    if loop is None:
        columns = {tag: list(block.find_values(tag)) for tag in _SITE_TAGS}
        return {tag: values for tag, values in columns.items() if values}
    tags, values = loop.tags, loop.values
    return {tag.lower(): values[place :: len(tags)] for place, tag in enumerate(tags)}


def _coordinates(sites: dict[str, list[str]]) -> Floats:
    columns = [sites.get(tag, []) for tag in _SITE_TAGS[:3]]
    if not all(columns) or len({len(column) for column in columns}) != 1:
        raise InputError("it has no complete _atom_site_fract_x, _y, _z columns")
    try:
        return np.array([list(map(float, column)) for column in columns]).T
    except ValueError:  # standard uncertainties in brackets, ? or .
        values = np.array([[cif.as_number(text) for text in column] for column in columns])
    missing = np.flatnonzero(~np.isfinite(values).all(axis=0))
    if len(missing):
        names = sites.get("_atom_site_label", [])
        site = names[missing[0]] if names else f"number {missing[0] + 1}"
        raise InputError(f"the coordinates of site {site} are missing ({len(missing)} such sites)")
    return values.T


def _elements(sites: dict[str, list[str]], count: int) -> list[int]:
    """Atomic numbers; dummy atoms and vacancies are 0."""
    for tag in ("_atom_site_type_symbol", "_atom_site_label"):
        names = sites.get(tag, [])
        if len(names) == count and not all(cif.is_null(text) for text in names):
            break
    else:
        raise InputError("it has neither _atom_site_type_symbol nor _atom_site_label")
    known = {text: label_to_number(cif.as_string(text)) for text in set(names)}
    numbers = [known[text] for text in names]
    flags = sites.get("_atom_site_calc_flag", [])
    if "dum" in flags:
        return [0 if flag == "dum" else z for flag, z in zip(flags, numbers, strict=True)]
    return numbers


def _occupancies(sites: dict[str, list[str]], count: int) -> list[float] | None:
    """Occupancies, or None when every site is full; a missing one counts as 1."""
    texts = sites.get("_atom_site_occupancy", [])
    known = {t: 1.0 if cif.is_null(t) else float(cif.as_number(t)) for t in set(texts)}
    for text, value in known.items():
        if not isfinite(value) or value < 0:
            raise InputError(f"an occupancy is {text}, expected a number from 0 to 1")
    if len(texts) != count or all(value == 1.0 for value in known.values()):
        return None
    return [known[text] for text in texts]


def _multiplicities(sites: dict[str, list[str]], count: int) -> npt.NDArray[np.int64] | None:
    """Stated number of images of each site, if every one is given."""
    texts = sites.get("_atom_site_symmetry_multiplicity", [])
    if len(texts) != count or not all(text.isdigit() for text in texts):
        return None
    return np.array([int(text) for text in texts], dtype=np.int64)


def _operations(block: cif.Block, parameters: Sequence[float]) -> tuple[str, ...]:
    for tag in _OPERATIONS:
        listed = block.find_values(tag)
        if len(listed):
            return tuple([_plain_operation(text) for text in listed])
    number = next((n for n in map(block.find_value, _NUMBERS) if n and not cif.is_null(n)), "")
    names = [cif.as_string(n) for n in map(block.find_value, _NAMES) if n and not cif.is_null(n)]
    for name in names or ([""] if number else []):
        found = operations_of_group(name, number, parameters[3], parameters[5])
        if found:
            return found
    if names or number:
        # not a case for pymatgen, which would take the block as P1
        raise InputError(f"space group {(names or [number])[0]!r} is in no table")
    return ()


@lru_cache(maxsize=4096)
def _plain_operation(text: str) -> str:
    return str(cif.as_string(text)).lower().replace(" ", "")


def _ask_pymatgen(text: str, name: str, label: str, problem: str, into: Assembler) -> None:
    from crystalssl.structures.formats.pymatgen_objects import cif_with_pymatgen

    try:
        found = cif_with_pymatgen(text, label)
    except InputError as error:
        into.skip(label, name, f"CIF cannot be read: {problem}; pymatgen: {error}", _CHECK_CIF)
        return
    for structure in found:
        into.add(structure, name)
