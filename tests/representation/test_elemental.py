"""The element tables against known values and the reference arrays."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from crystalssl.representation import elemental, layout

DATA = Path(__file__).parent / "data"
ROOT = Path(__file__).parents[2]


def test_code_equals_rows_306_to_398_of_the_reference(shared: Path) -> None:
    ftcp = np.load(shared / "reference" / "ftcp_pvlab.npz")["ftcp"]
    check_code(ftcp)


def test_code_equals_the_reference_that_ships_with_the_tests() -> None:
    check_code(np.load(DATA / "ftcp_pvlab_small.npz")["ftcp"])


def check_code(ftcp: np.ndarray) -> None:
    crystal, column = np.nonzero(ftcp[:, :103, :4].any(axis=1))
    z = ftcp[crystal, :103, column].argmax(axis=1) + 1
    np.testing.assert_array_equal(ftcp[crystal, 306:398, column], elemental.CGCNN[z])


def test_properties_are_standardised_and_complete() -> None:
    assert elemental.PROPERTIES.shape == (104, len(elemental.PROPERTY_NAMES))
    assert np.isfinite(elemental.PROPERTIES).all()
    assert not elemental.PROPERTIES[0].any()
    np.testing.assert_allclose(elemental.PROPERTIES[1:].mean(axis=0), 0, atol=1e-5)
    assert (elemental.PROPERTIES[1:].std(axis=0) > 0.8).all()


def test_every_element_differs_from_every_other() -> None:
    assert len(np.unique(elemental.PROPERTIES, axis=0)) == layout.ELEMENTS + 1


@pytest.mark.parametrize(
    ("z", "expected"),
    [
        (1, [1, 2.20, 0.31, 1, 13.598, 0.754]),
        (8, [8, 3.44, 0.66, 6, 13.618, 1.461]),
        (26, [26, 1.83, 1.32, 8, 7.902, 0.153]),
        (31, [31, 1.81, 1.22, 3, 5.999, 0.301]),
        (72, [72, 1.30, 1.75, 4, 6.825, 0.178]),
    ],
)
def test_weights_are_the_tabulated_values(z: int, expected: list[float]) -> None:
    np.testing.assert_allclose(elemental.WEIGHTS[z], expected, rtol=2e-3)


def test_weights_are_never_negative_and_only_affinity_may_vanish() -> None:
    assert (elemental.WEIGHTS[1:, :5] > 0).all()
    assert (elemental.WEIGHTS >= 0).all()
    assert elemental.WEIGHTS[2, 5] == 0


def test_tables_cannot_be_changed_by_accident() -> None:
    with pytest.raises(ValueError, match="read-only"):
        elemental.WEIGHTS[1, 1] = 0


def test_an_unknown_table_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="NOTHING"):
        _ = elemental.NOTHING


def listed_states() -> dict[int, list[int]]:
    rows = elemental.read_table("oxidation_states.csv")
    assert rows[0] == ["atomic_number", "oxidation_states"]
    return {int(z): [int(state) for state in text.split()] for z, text in rows[1:]}


def test_oxidation_states_are_those_found_in_crystals() -> None:
    states = listed_states()
    assert list(states) == list(range(1, layout.ELEMENTS + 1))
    assert states[8] == [-2] and states[9] == [-1]
    assert states[11] == [1] and states[12] == [2] and states[13] == [3]
    assert states[22] == [2, 3, 4] and states[26] == [2, 3]
    assert states[17] == [-1, 1, 3, 5, 7] and states[92] == [3, 4, 5, 6]
    assert not any(states[z] for z in (2, 10, 18, 86))
    for found in states.values():
        assert found == sorted(set(found)) and 0 not in found


def test_oxidation_states_are_what_their_script_writes() -> None:
    pytest.importorskip("matminer")
    script = runpy.run_path(str(ROOT / "scripts" / "build_elemental_table.py"))
    for z, found in listed_states().items():
        assert script["oxidation_states"](z) == found, f"Z = {z}: run the script again"
