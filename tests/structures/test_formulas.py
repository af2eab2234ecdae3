from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymatgen.core import Composition

from crystalssl.structures.elements import SYMBOLS
from crystalssl.structures.formulas import reduced_formulas
from crystalssl.structures.transforms import disguised


@pytest.mark.filterwarnings("ignore:No Pauling electronegativity")
def test_elements_stand_in_pymatgens_order(make_crystals) -> None:
    crystals = make_crystals(1, n=40, disordered=False)
    for row, formula in enumerate(reduced_formulas(crystals)):
        numbers = crystals.take([row]).numbers[:, 0]
        whole = Composition("".join(SYMBOLS[z] for z in numbers))
        amounts = re.findall(r"([A-Z][a-z]?)(\d*)", formula)
        expected = whole.element_composition.formula.split()
        assert [symbol for symbol, _ in amounts] == [re.sub(r"\d", "", w) for w in expected]
        divisor = np.gcd.reduce(np.unique(numbers, return_counts=True)[1])
        assert [int(n or 1) for _, n in amounts] == [
            int(re.sub(r"\D", "", w)) // divisor for w in expected
        ]


@given(seed=st.integers(0, 1000))
@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_formula_does_not_depend_on_the_cell(make_crystals, seed: int) -> None:
    crystals = make_crystals(seed)
    np.testing.assert_array_equal(
        reduced_formulas(crystals), reduced_formulas(disguised(crystals, seed))
    )


def test_half_filled_sites_give_whole_numbers_where_they_can(make_crystals) -> None:
    crystals = make_crystals(0, n=1, disordered=False).take([0])
    numbers = crystals.numbers.copy()
    occupancy = crystals.occupancy.copy()
    numbers[:, 0], occupancy[:, 0] = 8, 1.0
    numbers[0, 0], occupancy[0, 0] = 3, 0.5
    expected = f"LiO{2 * (len(numbers) - 1)}" if len(numbers) > 1 else "Li"
    found = reduced_formulas(replace(crystals, numbers=numbers, occupancy=occupancy))
    assert found.tolist() == [expected]


def test_traces_that_no_formula_unit_can_hold_give_fractions(make_crystals) -> None:
    crystals = make_crystals(5, n=1, disordered=False)
    occupancy = crystals.occupancy.copy()
    occupancy[0, 0] = 0.0005
    numbers = crystals.numbers.copy()
    numbers[:, 0] = np.arange(1, len(numbers) + 1)
    (formula,) = reduced_formulas(replace(crystals, numbers=numbers, occupancy=occupancy))
    assert len(occupancy) > 1
    assert "0." in formula
