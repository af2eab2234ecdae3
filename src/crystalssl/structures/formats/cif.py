"""CIF text to structures: gemmi reads the columns, symmetry is expanded, occupancies are kept.

Blocks in P1 without disorder, which is what databases write by the million, take a short path
without any search. Where gemmi cannot follow (odd syntax, odd operations) pymatgen's reader is
asked. Called by ``reading.py`` for every .cif file or archive member.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from gemmi import cif

from crystalssl.errors import InputError
from crystalssl.structures.assembly import Assembler, FoundStructure
from crystalssl.structures.cells import lattice_from_parameters
from crystalssl.structures.elements import label_to_number
from crystalssl.structures.formats.cif_symmetry import expand, operations_of_group, shared_sites

_CELL = tuple(f"_cell_{part}" for part in ("length_a", "length_b", "length_c")) + tuple(
    f"_cell_angle_{part}" for part in ("alpha", "beta", "gamma")
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
    """The block holds something that gemmi's tables do not cover; pymatgen may."""


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
    return bool(block.find_value(_CELL[0]) or block.find_loop("_atom_site_fract_x"))


def _after_syntax_error(text: str, name: str, stem: str, error: str, into: Assembler) -> None:
    """A cut-off file must not pass as a smaller crystal; other slips pymatgen may forgive."""
    where = error.removeprefix("string:")
    if "Wrong number" in error or "unterminated" in error:
        into.skip(stem, name, f"the file is cut off or damaged (line {where})", _CHECK_CIF)
    else:
        _ask_pymatgen(text, name, stem, f"line {where}", into)


def _read_block(block: cif.Block, label: str) -> FoundStructure:
    parameters = [cif.as_number(block.find_value(tag) or "?") for tag in _CELL]
    for tag, value in zip(_CELL, parameters, strict=True):
        if not np.isfinite(value):
            raise InputError(f"{tag} is missing or no number")
    lattice = lattice_from_parameters(parameters)[0]
    if abs(np.linalg.det(lattice)) < 1e-3:
        raise InputError(f"the cell {parameters} has no volume")
    frac = _coordinates(block)
    numbers = _elements(block, len(frac))
    amounts = _occupancies(block, len(frac))
    operations = _operations(block, parameters)
    if operations in _IDENTITY and amounts is None:
        return FoundStructure(id=label, lattice=lattice, frac_coords=frac, numbers=numbers)
    occupancy = np.ones(len(frac)) if amounts is None else np.array(amounts)
    real = (occupancy > 0) & (np.array(numbers) > 0)
    if not real.any():
        raise InputError("no site holds an atom")
    frac, number, occupancy = frac[real], np.array(numbers)[real], occupancy[real]
    row = np.arange(len(frac))
    if operations not in _IDENTITY:
        try:
            frac, row = expand(lattice, frac, operations, _multiplicities(block, real))
        except ValueError as error:
            raise _CannotFollowError(str(error)) from error
    sites = shared_sites(lattice, frac, occupancy[row] < 1.0)
    return FoundStructure(
        id=label,
        lattice=lattice,
        frac_coords=frac[np.unique(sites, return_index=True)[1]],
        numbers=number[row].tolist(),
        sites=sites.tolist(),
        amounts=occupancy[row].tolist(),
    )


def _coordinates(block: cif.Block) -> npt.NDArray[np.float64]:
    columns = [list(block.find_values(f"_atom_site_fract_{axis}")) for axis in "xyz"]
    if not all(columns) or len({len(column) for column in columns}) != 1:
        raise InputError("it has no complete _atom_site_fract_x, _y, _z columns")
    try:
        values = np.array([[float(text) for text in column] for column in columns])
    except ValueError:  # standard uncertainties in brackets, ? or .
        values = np.array([[cif.as_number(text) for text in column] for column in columns])
    missing = np.flatnonzero(~np.isfinite(values).all(axis=0))
    if len(missing):
        names = list(block.find_values("_atom_site_label")) or [f"number {missing[0] + 1}"]
        site = names[missing[0]] if len(names) > missing[0] else names[0]
        raise InputError(f"the coordinates of site {site} are missing ({len(missing)} such sites)")
    return values.T


def _elements(block: cif.Block, count: int) -> list[int]:
    """Atomic numbers; dummy atoms and vacancies are 0."""
    for tag in ("_atom_site_type_symbol", "_atom_site_label"):
        names = list(block.find_values(tag))
        if len(names) == count and not all(cif.is_null(text) for text in names):
            break
    else:
        raise InputError("it has neither _atom_site_type_symbol nor _atom_site_label")
    numbers = [label_to_number(cif.as_string(text)) for text in names]
    flags = list(block.find_values("_atom_site_calc_flag"))
    if "dum" in flags and len(flags) == count:
        return [0 if flag == "dum" else z for flag, z in zip(flags, numbers, strict=True)]
    return numbers


def _occupancies(block: cif.Block, count: int) -> list[float] | None:
    """Occupancies, or None when every site is full; a missing one counts as 1."""
    texts = list(block.find_values("_atom_site_occupancy"))
    if len(texts) != count:
        return None
    values = [
        cif.as_number(text, 1.0) if cif.is_null(text) else cif.as_number(text) for text in texts
    ]
    if all(value == 1.0 for value in values):
        return None
    for text, value in zip(texts, values, strict=True):
        if not np.isfinite(value) or value < 0:
            raise InputError(f"an occupancy is {text}, expected a number from 0 to 1")
    return values


def _multiplicities(block: cif.Block, real: npt.NDArray[np.bool_]) -> list[int] | None:
    """Stated number of images of each real site, if every one is given."""
    texts = list(block.find_values("_atom_site_symmetry_multiplicity"))
    if len(texts) != len(real) or not all(text.isdigit() for text in texts):
        return None
    return [int(text) for text, is_real in zip(texts, real, strict=True) if is_real]


def _operations(block: cif.Block, parameters: Sequence[float]) -> tuple[str, ...]:
    for tag in _OPERATIONS:
        listed = block.find_values(tag)
        if len(listed):
            texts = (cif.as_string(text).lower().replace(" ", "") for text in listed)
            return tuple(texts)
    number = next((n for n in map(block.find_value, _NUMBERS) if n and not cif.is_null(n)), "")
    names = [cif.as_string(n) for n in map(block.find_value, _NAMES) if n and not cif.is_null(n)]
    for name in names or ([""] if number else []):
        found = operations_of_group(name, number, parameters[3], parameters[5])
        if found:
            return found
    if names or number:
        raise _CannotFollowError(f"space group {(names or [number])[0]!r} is in no table")
    return ()


def _ask_pymatgen(text: str, name: str, label: str, problem: str, into: Assembler) -> None:
    from crystalssl.structures.formats.pymatgen_objects import cif_with_pymatgen

    try:
        found = cif_with_pymatgen(text, label)
    except InputError as error:
        into.skip(label, name, f"CIF cannot be read: {problem}; pymatgen: {error}", _CHECK_CIF)
        return
    for structure in found:
        into.add(structure, name)
