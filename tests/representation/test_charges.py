"""Charge balance: known compounds, and what cannot balance."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from crystalssl.representation.charges import CHARGE_NAMES, WRONG_WAY, charge_targets, states
from crystalssl.representation.elemental import WEIGHTS
from crystalssl.structures.crystals import Crystals

Build = Callable[[list[Any]], Crystals]


def charges_of(crystals_of: Build, *species: int | dict[int, float]) -> dict[str, float]:
    frac = np.linspace(0, 1, len(species), endpoint=False)[:, None] * np.ones(3)
    crystals = crystals_of([(np.eye(3) * 3 * len(species), frac, list(species))])
    return dict(zip(CHARGE_NAMES, charge_targets(crystals)[0].tolist(), strict=True))


def test_rock_salt_balances_with_one_charge_an_atom(crystals_of: Build) -> None:
    found = charges_of(crystals_of, 11, 17)
    assert found["least charge left over per atom"] == pytest.approx(0, abs=1e-6)
    assert found["whether charges balance"] == pytest.approx(1)
    assert found["mean absolute charge per atom where they balance best"] == pytest.approx(1)


def test_alumina_has_twelve_charges_on_five_atoms(crystals_of: Build) -> None:
    found = charges_of(crystals_of, 13, 13, 8, 8, 8)
    assert found["mean absolute charge per atom where they balance best"] == pytest.approx(12 / 5)
    assert found["highest charge per atom where they balance best"] == pytest.approx(3)


def test_an_alloy_does_not_balance(crystals_of: Build) -> None:
    found = charges_of(crystals_of, 12, 13)  # Mg and Al have positive states only
    assert found["whether charges balance"] < 1e-6
    assert found["least charge left over per atom"] == pytest.approx(2.5)


def test_a_mixed_site_counts_by_occupancy(crystals_of: Build) -> None:
    found = charges_of(crystals_of, {3: 0.5, 11: 0.5}, 17)
    assert found["whether charges balance"] == pytest.approx(1)


def test_the_best_assignment_is_that_of_a_plain_search(crystals_of: Build) -> None:
    numbers = [26, 26, 15, 8, 8]
    found = charges_of(crystals_of, *numbers)
    table, chi = states(), WEIGHTS[:, 1]
    choices = [[s for s in table[z] if s] for z in (26, 15, 8)]

    def cost(assigned: tuple[float, ...]) -> float:
        left = abs(sum(x * s for x, s in zip((0.4, 0.2, 0.4), assigned, strict=True)))
        pairs = list(zip((26, 15, 8), assigned, strict=True))
        cations = [chi[z] for z, s in pairs if s > 0]
        anions = [chi[z] for z, s in pairs if s < 0]
        wrong = bool(cations and anions) and max(cations) > min(anions)
        return float(left + WRONG_WAY * wrong)

    best = min(cost(assigned) for assigned in itertools.product(*choices))
    assert found["least charge left over per atom"] == pytest.approx(best, abs=1e-5)


def test_noble_gases_carry_no_charge(crystals_of: Build) -> None:
    assert charges_of(crystals_of, 18)["whether charges balance"] == pytest.approx(1)
