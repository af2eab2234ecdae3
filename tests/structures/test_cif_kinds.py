"""Kinds of CIF that are easily misread: settings, lists, tags and labels, formula or none."""

from __future__ import annotations

import gemmi
import numpy as np
import pytest

from crystalssl.structures.assembly import Assembler
from crystalssl.structures.crystals import ReadResult
from crystalssl.structures.elements import SYMBOLS
from crystalssl.structures.formats.cif import read_cif

CELL = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
FRACT = "_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"
TYPED = "_atom_site_label\n_atom_site_type_symbol\n" + FRACT
LABELS = "_atom_site_label\n" + FRACT
SALT = "Na1 Na 0 0 0\nCl1 Cl 0.5 0.5 0.5"
SPINEL = "Mg1 Mg 0.125 0.125 0.125\nAl1 Al 0.5 0.5 0.5\nO1 O 0.2624 0.2624 0.2624"
ANATASE = "Ti1 Ti 0 0.75 0.125\nO1 O 0 0.75 0.333"
CORUNDUM = "Al1 Al 0.352 0.352 0.352\nO1 O 0.556 0.944 0.25"
RHOMB = (5.13, 5.13, 5.13, 55.28, 55.28, 55.28)
BOX = (5, 6, 7, 90, 90, 90)


def cubic(a: float) -> tuple[float, ...]:
    return (a, a, a, 90, 90, 90)


def symbol(text: str) -> str:
    return f"_symmetry_space_group_name_H-M '{text}'\n"


def states(formula: str, units: int) -> str:
    return f"_chemical_formula_sum '{formula}'\n_cell_formula_units_Z {units}\n"


def listed(*operations: str) -> str:
    return "loop_\n_symmetry_equiv_pos_as_xyz\n" + "\n".join(f"'{o}'" for o in operations) + "\n"


def read(cell: tuple[float, ...], said: str, sites: str, head: str = TYPED) -> ReadResult:
    text = "data_x\n" + "".join(f"_cell_{n} {v}\n" for n, v in zip(CELL, cell, strict=True))
    into = Assembler()
    read_cif((text + said + "\nloop_\n" + head + sites + "\n").encode(), "f.cif", "f", into)
    return into.finish()


def content(result: ReadResult) -> str:
    numbers, shares = result.crystals.numbers.ravel(), result.crystals.occupancy.ravel()
    held = np.bincount(numbers, weights=shares)
    return " ".join(f"{SYMBOLS[z]}{held[z]:g}" for z in np.flatnonzero(held) if z)


WITHOUT_CENTRING = listed(
    *(op.triplet() for op in gemmi.find_spacegroup_by_name("F m -3 m").operations().sym_ops)
)


@pytest.mark.parametrize(
    ("cell", "said", "sites", "expected"),
    [
        (cubic(8.08), symbol("F d -3 m") + states("Al2 Mg O4", 8), SPINEL, "O32 Mg8 Al16"),
        (cubic(8.08), symbol("F d -3 m"), SPINEL, "O32 Mg8 Al16"),
        (cubic(8.08), symbol("F 41/d -3 2/m :2"), SPINEL, "O32 Mg8 Al16"),
        (cubic(8.08), "_space_group_name_Hall '-F 4vw 2vw 3'", SPINEL, "O32 Mg8 Al16"),
        ((3.78, 3.78, 9.51, 90, 90, 90), symbol("I41/amdZ"), ANATASE, "O8 Ti4"),
        (RHOMB, "_symmetry_Int_Tables_number 167", CORUNDUM, "O6 Al4"),
        (RHOMB, symbol("R -3 c") + listed("x,y,z", "-y,x-y,z"), CORUNDUM, "O6 Al4"),
        (cubic(5.64), symbol("-F 4 2 3"), SALT, "Na4 Cl4"),
        (cubic(5.64), "_symmetry_space_group_name_Hall 'F m -3 m'", SALT, "Na4 Cl4"),
        (cubic(5.64), "_space_group.name_H-M_alt 'Fm3m'", SALT, "Na4 Cl4"),
        (cubic(5.64), symbol("F m -3 m") + WITHOUT_CENTRING, SALT, "Na4 Cl4"),
        (cubic(5.64), states("Cl Na", 4) + symbol("Fm-3m") + listed("x,y,z"), SALT, "Na4 Cl4"),
        (
            (5, 6, 7, 90, 90, 100),
            symbol("C 2/m") + states("Mn O4", 2),
            "Mn1 Mn 0 0 0\nO1 O 0.2 0.3 0.1",
            "O8 Mn2",
        ),
        (
            (5, 6, 7, 90, 100, 90),
            "loop_\n_symmetry_equiv_pos_as_xyz\nx, y, z\n-x, y + 1/2, -z + 1/2",
            "Ba1 Ba 0.4 0.5 0.5",
            "Ba2",
        ),
    ],
)
def test_symmetry_is_read_as_it_is_meant(
    cell: tuple[float, ...], said: str, sites: str, expected: str
) -> None:
    result = read(cell, said, sites)
    assert not result.skipped, result.skipped
    assert content(result) == expected


@pytest.mark.parametrize(
    ("cell", "said", "reason"),
    [
        ((5, 6, 7, 100, 90, 90), symbol("P 21/c"), "no formula decides"),
        ((5, 5, 6, 90, 90, 90), symbol("P m -3 m"), "do not allow P m -3 m"),
        (BOX, "_cell_modulation_dimension 1", "superspace"),
        (BOX, "_space_group_magn.name_BNS 'P n'", "without operations"),
        (BOX, "_space_group_setting_of_mine 'cubic'", "without operations or a symbol"),
        (BOX, symbol("P 1") + states("Na Cl", 4), "contradicts itself"),
        (BOX, symbol("P 1") + states("Na Cl2", 1), "contradicts itself"),
    ],
)
def test_a_contradiction_is_refused(cell: tuple[float, ...], said: str, reason: str) -> None:
    result = read(cell, said, "Na1 Na 0.1 0.2 0.3\nCl1 Cl 0.6 0.6 0.8")
    assert len(result.crystals) == 0
    assert reason in result.skipped[0].reason


@pytest.mark.parametrize(
    ("formula", "sites", "expected"),
    [
        ("Fe Al O2", "Oin 0.1 0.1 0.1\nOa3 0.3 0.1 0.1\nFea 0 0.5 0\nAla 0 0.5 .5", "O2 Al1 Fe1"),
        ("Na H4 O2", "Na 0 0 0\nWat1 0.3 0.3 0\nWatOW 0.5 0.5 0", "O2 Na1"),
        ("Na H2 O", "Na 0 0 0\nHh 0.3 0.3 0\nDda 0.5 0.5 0\nO1 0.7 0.7 0.1", "H2 O1 Na1"),
        ("Na H O", "Na 0 0 0\nHO1 0.3 0.3 0\nO1 0.7 0.7 0.1", "H1 O1 Na1"),
        ("Na Mg O", "NaA 0 0 0\nM1 0.3 0.3 0\nO1 0.7 0.7 0.1", "O1 Na1 Mg1"),
        ("C2 N", "CA 0 0 0\nCB 0.3 0.3 0\nN1 0.7 0.7 0.1", "C2 N1"),
        ("Ca O2 H4", "Ca1 0 0 0\nH2O1 .3 .3 .3\nH2O2 .6 .6 .6", "O2 Ca1"),
    ],
)
def test_labels_are_read_as_the_formula_confirms(formula: str, sites: str, expected: str) -> None:
    result = read(BOX, symbol("P 1") + states(formula, 1), sites, LABELS)
    assert not result.skipped, result.skipped
    assert content(result) == expected
    assert "formula confirms" in result.notes[0].text


@pytest.mark.parametrize("label", ["HO1", "Wat1", "H2O", "T1", "Oin", "M1"])
def test_labels_without_a_formula_are_refused_where_they_leave_a_doubt(label: str) -> None:
    result = read(BOX, symbol("P 1"), f"{label} 0 0 0\nO1 0.5 0.5 0.5", LABELS)
    assert len(result.crystals) == 0
    assert label in result.skipped[0].reason


def test_a_formula_of_the_whole_cell_is_taken_as_such() -> None:
    result = read(cubic(5.64), symbol("F m -3 m") + states("Na4 Cl4", 4), SALT)
    assert content(result) == "Na4 Cl4"
    assert result.notes == []
