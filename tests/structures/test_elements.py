from __future__ import annotations

import pytest

from crystalssl.errors import InputError
from crystalssl.structures.elements import (
    MAX_NUMBER,
    SYMBOLS,
    is_vacancy,
    label_to_number,
    symbol_to_number,
)


def test_symbols_agree_with_pymatgen() -> None:
    from pymatgen.core import Element

    assert len(SYMBOLS) == 119
    assert [Element.from_Z(z).symbol for z in range(1, 119)] == list(SYMBOLS[1:])
    assert SYMBOLS[MAX_NUMBER] == "Lr"


def test_heavy_hydrogen_reads_as_hydrogen() -> None:
    assert symbol_to_number("D") == symbol_to_number("T") == symbol_to_number("H") == 1


def test_an_unknown_symbol_names_the_closest_one() -> None:
    with pytest.raises(InputError, match=r"'Lii'.*Did you mean 'Li'"):
        symbol_to_number("Lii")


@pytest.mark.parametrize(
    ("label", "number"),
    [
        ("Fe3+", 26),
        ("LI1", 3),
        ("O2-", 8),
        ("Ow", 8),
        ("Hw1", 1),
        ("OH1", 8),
        ("D4", 1),
        ("Na", 11),
        ("Cs1A", 55),
        ("CL", 17),
        ("X0+", 0),
        ("Vac", 0),
    ],
)
def test_a_decorated_label_gives_its_element(label: str, number: int) -> None:
    assert label_to_number(label) == number


@pytest.mark.parametrize("label", ["Wat", "Qq", "", "?", "123"])
def test_a_label_without_an_element_is_refused(label: str) -> None:
    with pytest.raises(InputError, match="element"):
        label_to_number(label)


def test_vacancy_has_several_names_and_vanadium_is_none_of_them() -> None:
    assert is_vacancy("vacancy")
    assert is_vacancy("X")
    assert not is_vacancy("V")
