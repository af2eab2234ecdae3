from __future__ import annotations

import numpy as np
import pytest

from crystalssl.structures.assembly import Assembler
from crystalssl.structures.crystals import ReadResult
from crystalssl.structures.formats.cif import read_cif
from crystalssl.structures.objects import to_pymatgen

CELL = """data_x
_cell_length_a {a}
_cell_length_b 5.64(2)
_cell_length_c 5.64
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
{symmetry}
loop_
_atom_site_label
{more}_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
"""
SALT = "Na1 0 0 0 1\nCl1 0.5 0.5 0.5 1.0\n"
FM3M = "_symmetry_space_group_name_H-M 'F m -3 m'"


def read(text: str, stem: str = "file") -> ReadResult:
    into = Assembler()
    read_cif(text.encode(), f"{stem}.cif", stem, into)
    return into.finish()


def cif(sites: str = SALT, symmetry: str = "", a: str = "5.64", more: str = "") -> str:
    return CELL.format(a=a, symmetry=symmetry, more=more) + sites


def listed(*operations: str) -> str:
    return "loop_\n_symmetry_equiv_pos_as_xyz\n" + "\n".join(f"'{op}'" for op in operations)


def test_a_block_in_p1_is_read_as_it_stands() -> None:
    result = read(cif())
    assert result.crystals.ids.tolist() == ["file"]
    assert result.crystals.numbers[:, 0].tolist() == [11, 17]
    np.testing.assert_allclose(result.crystals.lattice[0], np.eye(3) * 5.64, atol=1e-12)
    assert result.crystals.column("source_file").tolist() == ["file.cif"]


@pytest.mark.parametrize(
    "symmetry",
    [
        FM3M,
        "_space_group_name_H-M_alt 'Fm-3m'",
        "_symmetry_Int_Tables_number 225",
        "_symmetry_space_group_name_Hall '-F 4 2 3'",
    ],
)
def test_symmetry_by_name_or_number_is_expanded(symmetry: str) -> None:
    crystals = read(cif(symmetry=symmetry)).crystals
    assert crystals.site_counts.tolist() == [8]
    assert (crystals.numbers[:, 0] == 11).sum() == 4


def test_listed_operations_win_over_the_name() -> None:
    crystals = read(cif(symmetry=FM3M + "\n" + listed("x,y,z", "x+1/2, y+1/2, z"))).crystals
    assert crystals.site_counts.tolist() == [4]


def test_partial_occupancy_and_shared_sites_are_kept() -> None:
    sites = "Na1 0 0 0 0.7\nK1 0 0 0 0.2(1)\nCl1 0.5 0.5 0.5 ?\n"
    crystals = read(cif(sites, FM3M)).crystals
    assert crystals.site_counts.tolist() == [8]
    mixed = crystals.numbers[:, 1] > 0
    assert mixed.sum() == 4
    np.testing.assert_array_equal(crystals.numbers[mixed][0], [11, 19, 0, 0])
    np.testing.assert_allclose(crystals.occupancy[mixed][0], [0.7, 0.2, 0, 0], atol=1e-6)
    assert (crystals.occupancy[~mixed][:, 0] == 1).all()


def test_a_site_may_hold_more_than_four_elements() -> None:
    sites = "".join(f"{s}1 0 0 0 0.2\n" for s in ("Li", "Na", "K", "Rb", "Cs"))
    crystals = read(cif(sites)).crystals
    assert crystals.numbers.tolist() == [[3, 11, 19, 37, 55]]
    np.testing.assert_allclose(crystals.occupancy, 0.2)


def test_rows_that_meet_only_through_symmetry_share_their_site() -> None:
    sites = "Na1 0.25 0.25 0 0.5\nK1 0.75 0.75 0 0.5\n"
    crystals = read(cif(sites, listed("x,y,z", "-x,-y,-z"))).crystals
    assert crystals.site_counts.tolist() == [2]
    assert crystals.numbers[:, :2].tolist() == [[11, 19], [11, 19]]


def test_one_element_listed_twice_on_a_site_is_added_up() -> None:
    crystals = read(cif("Fe2+ 0 0 0 0.25\nFe3+ 0 0 0 0.5\n")).crystals
    assert crystals.occupancy.tolist() == [[0.75, 0, 0, 0]]


def test_rounded_thirds_stay_on_their_special_position() -> None:
    operations = listed("x,y,z", "-y,x-y,z", "-x+y,-x,z")
    text = cif("Mg1 0.3333 0.6667 0.25 1\n", operations).replace("gamma 90", "gamma 120")
    crystals = read(text).crystals
    assert crystals.site_counts.tolist() == [1]
    np.testing.assert_allclose(crystals.frac_coords[0], [1 / 3, 2 / 3, 0.25], atol=1e-9)


def test_a_stated_multiplicity_decides_about_close_images() -> None:
    more = "_atom_site_symmetry_multiplicity\n"
    operations = listed("x,y,z", "-x,y,z")
    for stated, count in ((1, 1), (2, 2)):
        text = cif(f"Li1 {stated} 0.002 0 0 0.5\n", operations, more=more)
        assert read(text).crystals.site_counts.tolist() == [count]


def test_several_blocks_take_their_names_and_empty_ones_pass() -> None:
    text = "data_global\n_journal_year 2001\n" + cif() + cif().replace("data_x", "data_y")
    assert read(text).crystals.ids.tolist() == ["x", "y"]


def test_heavy_water_and_dummies_are_understood() -> None:
    text = cif("D1 0 0 0 1 ?\nO1 0.5 0 0 1 ?\nXe1 0.5 0.5 0 1 dum\n").replace(
        "_atom_site_occupancy\n", "_atom_site_occupancy\n_atom_site_calc_flag\n"
    )
    assert read(text).crystals.numbers[:, 0].tolist() == [1, 8]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the file is empty"),
        ("data_x\n_cell_length_a 5\n", "_cell_length_b is missing"),
        ("data_x\n_journal_year 2001\n", "no cell and no atom sites"),
        (cif()[:-6], "cut off"),
        (cif() + "Br1 0.1", "cut off"),
        (cif()[:150], ""),
        (cif("Na1 ? 0 0 1\nCl1 0.5 0.5 0.5 1\n"), "coordinates of site Na1 are missing"),
        (cif("Na1 . 0 0 1\nCl1 0.5 ? 0.5 1\n"), "2 such sites"),
        (cif(a="?"), "_cell_length_a is missing"),
        (cif(a="0"), "no volume"),
        (cif("Qq1 0 0 0 1\n"), "'Qq1'"),
        (cif("Na1 0 0 0 nan\n"), "occupancy is nan"),
        (cif("Na1 0 0 0 -1\n"), "occupancy is -1"),
        (cif("Na1 0 0 0 0\n"), "no site holds an atom"),
        (cif(symmetry="_symmetry_space_group_name_H-M 'Q q q q'"), "is in no table"),
        ("this is no cif", "cannot be read"),
    ],
)
def test_a_bad_file_is_one_skip_with_a_reason(text: str, reason: str) -> None:
    result = read(text)
    assert len(result.crystals) == 0
    (skip,) = result.skipped
    assert reason in skip.reason
    assert skip.id == "file"
    assert skip.remedy


@pytest.mark.parametrize(
    "slip",
    [
        ("data_x", "data_x\n_chemical_name_common rock salt"),
        ("data_x", "some words\ndata_x"),
        ("data_x", ""),
        ("5.64(2)", "5.64(2) angstrom"),
    ],
)
def test_a_slip_of_syntax_is_mended_with_a_note(slip: tuple[str, str]) -> None:
    result = read(cif().replace(*slip))
    assert result.crystals.numbers[:, 0].tolist() == [11, 17]
    assert "mended" in result.notes[0].text


def test_a_stray_line_among_the_sites_is_not_left_out() -> None:
    result = read(cif() + "'K1' 0 0 0 'x\n")
    assert len(result.crystals) == 0
    assert len(result.skipped) == 1


def test_repeated_tags_and_block_names_are_forgiven() -> None:
    assert len(read(cif().replace("data_x", "data_x\n_a 1\n_a 2")).crystals) == 1
    assert len(read(cif() + cif()).crystals) == 2


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("group", [2, 14, 62, 88, 141, 148, 166, 194, 205, 227])
def test_expansion_agrees_with_pymatgen(group: int) -> None:
    from pymatgen.core import Lattice, Structure
    from pymatgen.io.cif import CifParser, CifWriter

    cells = {2: (5, 6, 7, 80, 95, 103), 14: (5, 6, 7, 90, 103, 90), 62: (5, 6, 7, 90, 90, 90)}
    cells |= {88: (6, 6, 9, 90, 90, 90), 141: (6, 6, 9, 90, 90, 90)}
    cells |= dict.fromkeys((148, 166, 194), (6, 6, 9, 90, 90, 120))
    lattice = Lattice.from_parameters(*cells.get(group, (8, 8, 8, 90, 90, 90)))
    species = [{"Li": 0.2}, {"Fe": 0.25, "Mn": 0.5}, "O"]
    places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.13, 0.21, 0.34]]
    text = str(CifWriter(Structure.from_spacegroup(group, lattice, species, places), symprec=0.01))
    (expected,) = CifParser.from_str(text).parse_structures(primitive=False)
    (found,) = to_pymatgen(read(text).crystals)
    assert len(found) == len(expected)
    assert found.composition.almost_equals(expected.composition, rtol=1e-4)
    np.testing.assert_allclose(found.lattice.matrix, expected.lattice.matrix, atol=1e-6)
