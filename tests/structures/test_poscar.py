from __future__ import annotations

import numpy as np
import pytest

from crystalssl.errors import InputError
from crystalssl.structures.formats.poscar import parse_poscar

LATTICE = "4.0 0.0 0.0\n0.0 4.0 0.0\n0.0 0.0 4.0\n"
SITES = "0.0 0.0 0.0\n0.5 0.5 0.5\n"


def poscar(
    head: str = "CsCl",
    scale: str = "1.0",
    names: str = "Cs Cl\n",
    counts: str = "1 1\n",
    mode: str = "Direct\n",
    sites: str = SITES,
) -> str:
    return f"{head}\n{scale}\n{LATTICE}{names}{counts}{mode}{sites}"


@pytest.mark.parametrize(
    ("text", "length"),
    [
        (poscar(), 4.0),
        (poscar(scale="1.5"), 6.0),
        (poscar(scale="-27.0"), 3.0),
        (poscar(scale="1.5 1.5 1.5"), 6.0),
        (poscar(mode="Selective dynamics\nDirect\n"), 4.0),
        (poscar(mode="Cartesian\n", sites="0 0 0\n2 2 2\n"), 4.0),
        (poscar(scale="1.5", mode="cart\n", sites="0 0 0\n2 2 2\n"), 6.0),
        (poscar(names="Cs_sv Cl/abc\n"), 4.0),
        (poscar(names="", head="Cs Cl"), 4.0),
        (poscar(names="", head="old", sites="0 0 0 Cs\n0.5 0.5 0.5 Cl\n"), 4.0),
        (poscar(sites="0 0 0 T T F\n0.5 0.5 0.5 T T T\n\n0 0 0\n0 0 0\n"), 4.0),
    ],
)
def test_all_dialects_give_the_same_crystal(text: str, length: float) -> None:
    found = parse_poscar(text, "x")
    np.testing.assert_allclose(found.lattice, np.eye(3) * length)
    np.testing.assert_allclose(found.frac_coords, [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert list(found.numbers) == [55, 17]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("CsCl\n1.0\n4 0 0\n", "too early"),
        (poscar(sites="0 0 0\n"), "lists 1 sites, expected 2"),
        (poscar(sites="0 0 0\n0.5 ? 0.5\n"), "three numbers"),
        (poscar(scale="one"), "scale factor"),
        (poscar(names="Cs\n"), "1 element names but 2 counts"),
        (poscar(names="Cs Qx\n"), "'Qx'"),
        (poscar(names=""), "names no elements"),
    ],
)
def test_a_bad_file_says_why(text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        parse_poscar(text, "x")


def test_pymatgen_reads_the_same() -> None:
    from pymatgen.io.vasp import Poscar

    text = poscar(head="x", counts="1 2\n", scale="2.0", mode="C\n", sites="0 0 0\n1 2 2\n3 1 1\n")
    expected = Poscar.from_str(text).structure
    found = parse_poscar(text, "x")
    np.testing.assert_allclose(found.frac_coords, expected.frac_coords)
    assert list(found.numbers) == list(expected.atomic_numbers)
