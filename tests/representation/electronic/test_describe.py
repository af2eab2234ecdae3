"""Numbers of crystals: the same for the same crystal, finite always, masked with a reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from crystalssl.errors import UnknownNameError
from crystalssl.representation.electronic import columns, describe
from crystalssl.representation.electronic.electronic_numbers import MOST_SITES, REASONS
from crystalssl.structures import transforms
from crystalssl.structures.canonical import canonicalize
from crystalssl.structures.crystals import Crystals

Build = Callable[[list[Any]], Crystals]
FCC = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
HEX = np.array([[1, 0, 0], [-0.5, np.sqrt(0.75), 0], [0, 0, 1.6]])
ZERO, HALF = [0.0] * 3, [0.5] * 3
CELLS = [
    (5.431 * FCC, [ZERO, [0.25] * 3], [14, 14]),
    (5.64 * FCC, [ZERO, HALF], [11, 17]),
    (4.05 * FCC, [ZERO], [13]),
    (
        3.905 * np.eye(3),
        [ZERO, HALF, [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
        [38, 22, 8, 8, 8],
    ),
    (
        3.25 * HEX,
        [[1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0.5], [1 / 3, 2 / 3, 0.38], [2 / 3, 1 / 3, 0.88]],
        [30, 30, 8, 8],
    ),
    (
        [[4.1, 0, 0], [0.3, 5.2, 0], [0.9, -0.6, 4.7]],
        [[0, 0, 0], [0.42, 0.55, 0.48], [0.8, 0.2, 0.5]],
        [26, 16, 57],
    ),
]


@pytest.fixture(scope="module")
def crystals(crystals_of: Build) -> Crystals:
    return canonicalize(crystals_of(CELLS)).crystals


def by_name(crystals: Crystals, level: str = "fast") -> dict[str, Any]:
    numbers = describe(crystals, level)
    return dict(zip(numbers.names, numbers.values.T, strict=True))


def test_names_and_units_are_unique_and_the_same_as_the_values() -> None:
    for level, least in (("fast", 110), ("full", 117)):
        listed = columns(level)
        assert len({column.name for column in listed}) == len(listed) >= least
        assert all(column.low < column.high and column.unit for column in listed)


def test_numbers_tell_metals_from_insulators(crystals: Crystals) -> None:
    found = by_name(crystals)
    silicon, salt, aluminium, titanate = range(4)
    assert found["gap_eV"][salt] > found["gap_eV"][titanate] > found["gap_eV"][aluminium] == 0
    assert found["insulating"][silicon] > 0.9 > 0.6 > found["insulating"][aluminium]
    assert found["odd_electrons"][aluminium] == 1
    assert found["v_p"][salt] > 0.9
    assert found["c_d"][titanate] > 0.9
    assert found["log_dos_at_level"][aluminium] > found["log_dos_at_level"][salt]
    assert np.all(found["binding_eV"] < 0)


@pytest.mark.parametrize(
    "change",
    [
        transforms.supercell,
        transforms.rotated,
        transforms.shifted_origin,
        transforms.permuted_sites,
        transforms.other_basis,
    ],
)
def test_the_same_crystal_in_another_cell_has_the_same_numbers(
    crystals: Crystals, change: Callable[[Crystals], Crystals]
) -> None:
    before = describe(crystals).values
    after = describe(canonicalize(change(crystals)).crystals).values
    width = np.array([column.high - column.low for column in columns()])
    assert np.abs((after - before) / width).max() < 1e-3
    for one, other in zip(before, after, strict=True):
        assert one @ other / np.linalg.norm(one) / np.linalg.norm(other) > 0.999999


def test_numbers_are_bit_identical_whatever_else_is_described(crystals: Crystals) -> None:
    together = describe(crystals).values
    assert np.array_equal(together, describe(crystals).values)
    order = np.array([4, 0, 5, 3])
    assert np.array_equal(together[order], describe(crystals.take(order)).values)


def test_the_full_level_agrees_with_the_fast_one_and_adds_spin(crystals: Crystals) -> None:
    few = crystals.take([0, 1, 2, 5])
    fast, full = by_name(few), by_name(few, "full")
    assert list(full)[: len(fast)] == list(fast)
    assert full["gap_eV"][:2] == pytest.approx(fast["gap_eV"][:2], abs=0.4)
    assert full["spin_gap_eV"][:2] == pytest.approx(full["gap_eV"][:2])
    assert np.all(full["moment_max"][:3] == 0)
    assert full["moment_max"][3] > 1  # the iron in it


def test_what_cannot_be_described_is_masked_with_its_reason(crystals_of: Build) -> None:
    many = np.stack(np.meshgrid(*[np.arange(6) / 6] * 3), -1).reshape(-1, 3)[: MOST_SITES + 1]
    batch = crystals_of(
        [
            (5.4 * FCC, [ZERO, HALF], [96, 8]),
            (5.0 * FCC, [ZERO, HALF], [{12: 0.5, 20: 0.5}, 8]),
            (5.0 * FCC, [ZERO, HALF], [{12: 0.9}, 8]),
            (15.0 * np.eye(3), many, [13] * len(many)),
            (4.05 * FCC, [ZERO], [13]),
        ]
    )
    numbers = describe(batch)
    assert numbers.reasons.tolist() == ["element", "disorder", "disorder", "size", ""]
    assert numbers.valid.tolist() == [False] * 4 + [True]
    assert np.all(numbers.values[:4] == 0)
    assert set(numbers.reasons) <= set(REASONS)


def test_absurd_crystals_give_finite_clipped_numbers_or_a_mask(crystals_of: Build) -> None:
    batch = crystals_of(
        [
            (0.9 * FCC, [ZERO], [92]),  # atoms on top of one another
            (60.0 * np.eye(3), [ZERO], [2]),  # an atom alone
            (3.0 * np.eye(3), [ZERO, [0.01, 0, 0]], [8, 8]),
            (np.zeros((3, 3)), [ZERO], [6]),
            (np.full((3, 3), np.nan), [ZERO], [6]),
        ]
    )
    numbers = describe(batch)
    listed = columns()
    assert np.isfinite(numbers.values).all()
    inside = numbers.values[numbers.valid]
    assert np.all(inside >= np.array([column.low for column in listed], np.float32))
    assert np.all(inside <= np.array([column.high for column in listed], np.float32))
    assert numbers.valid[1]
    assert not numbers.valid[3:].any()


def test_no_crystals_give_no_rows() -> None:
    assert describe(Crystals.empty()).values.shape == (0, len(columns()))


def test_an_unknown_level_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(UnknownNameError, match="fast"):
        describe(Crystals.empty(), "fasst")
