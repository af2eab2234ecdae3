"""Electrostatics of named physics against Madelung constants and pymatgen."""

from __future__ import annotations

import numpy as np
import pytest

from crystalssl.datasets.bundled import load_bundled
from crystalssl.representation.physics.ewald import COULOMB, potentials
from crystalssl.structures.crystals import Crystals

FCC = np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])


def pair(lattice: np.ndarray, second: list[float]) -> Crystals:
    """A cell with sites at the origin and at ``second``."""
    numbers, occupancy = np.zeros((2, 4), np.int16), np.zeros((2, 4), np.float32)
    numbers[:, 0], occupancy[:, 0] = (11, 17), 1.0
    return Crystals(
        ids=np.array(["pair"]),
        lattice=lattice[None],
        offsets=np.array([0, 2]),
        frac_coords=np.array([[0.0, 0.0, 0.0], second]),
        numbers=numbers,
        occupancy=occupancy,
    )


@pytest.mark.parametrize(
    ("lattice", "second", "distance", "constant"),
    [
        (5.64 * FCC, [0.5, 0.5, 0.5], 2.82, 1.747565),
        (4.12 * np.eye(3), [0.5, 0.5, 0.5], 4.12 * 0.75**0.5, 1.762675),
        (5.41 * FCC, [0.25, 0.25, 0.25], 5.41 * 3**0.5 / 4, 1.638055),
    ],
    ids=["rock salt", "caesium chloride", "zinc blende"],
)
def test_madelung_constants_are_those_of_textbooks(
    lattice: np.ndarray, second: list[float], distance: float, constant: float
) -> None:
    volts = potentials(pair(lattice, second), np.array([[1.0], [-1.0]]))
    assert -volts[0, 0] * distance / COULOMB == pytest.approx(constant, rel=1e-4)
    assert volts[1, 0] == pytest.approx(-volts[0, 0], rel=1e-6)


def test_energies_are_those_of_pymatgen_for_several_sets_at_once() -> None:
    ewald = pytest.importorskip("pymatgen.analysis.ewald")
    crystals = load_bundled().take(np.arange(1, 6)).with_columns(None)
    owner = crystals.crystal_of_site
    charges = np.random.default_rng(0).normal(size=(len(owner), 2))
    for k in range(2):
        charges[:, k] -= (np.bincount(owner, charges[:, k]) / crystals.site_counts)[owner]
    energies = 0.5 * charges * potentials(crystals, charges)
    for row in range(len(crystals)):
        sites = slice(crystals.offsets[row], crystals.offsets[row + 1])
        for k in range(2):
            structure = crystals[row].to_pymatgen()
            structure.add_oxidation_state_by_site(charges[sites, k].tolist())
            expected = ewald.EwaldSummation(structure, acc_factor=14).total_energy
            assert energies[sites, k].sum() == pytest.approx(expected, rel=2e-3, abs=1e-3)


def test_sites_that_exclude_each_other_do_not_see_each_other() -> None:
    split = pair(6.0 * np.eye(3), [0.05, 0.0, 0.0])  # 0.3 angstrom apart
    volts = potentials(split, np.array([[1.0], [-1.0]]))
    assert abs(volts[0, 0]) < 2.0  # 48 V if they did
