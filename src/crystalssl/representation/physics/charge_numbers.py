"""Charges -> electrostatic energies and potentials, bond valences, cost of ionization.

Two sets of charges, neither fitted: the known oxidation states that balance best, what they leave
over spread evenly; and the mean difference of electronegativity to the bonded neighbours (after
Pauling). Both follow from the structure alone.
Bond valences: O'Keeffe and Brese, J. Am. Chem. Soc. 113, 3226 (1991).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crystalssl.representation._compiled import compiled
from crystalssl.representation.physics.columns import Group, number, statistics
from crystalssl.representation.physics.element_table import (
    ELEMENTS,
    bond_valence_radii,
    column,
    ionization_costs,
)
from crystalssl.representation.physics.environment import Environment, site_mean
from crystalssl.representation.physics.ewald import potentials
from crystalssl.representation.physics.pooling import pool, pool_max, pool_mean, pool_min

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

SOFTNESS = 0.37
"""Length in angstrom over which a bond valence falls by e."""
_NO_IONS = "no known oxidation states, as in most elements"
_NO_BOND = "no bond"


def _charges(environment: Environment) -> Array:
    crystals, offsets = environment.crystals, environment.crystals.offsets
    targets, states = environment.charges
    sites = _site_charges(environment, states.astype(np.float64))
    lasting = _last_electrons(environment, states)
    bonded = _bonded_charges(environment)
    both = np.column_stack([_neutral(environment, sites), _neutral(environment, bonded)])
    volts = potentials(crystals, both)
    energies = 0.5 * np.column_stack([
        np.bincount(environment.owner, both[:, q] * volts[:, q], minlength=len(crystals))
        for q in (0, 1)
    ]) / environment.atoms[:, None]  # fmt: skip
    cation, anion = environment.amount * (sites > 0), environment.amount * (sites < 0)
    potential = volts[:, :1]
    positive = pool(offsets, cation, potential)
    negative = pool(offsets, anion, potential)
    # energy of an electron: on an anion -affinity - V, back on a cation -ionization - V
    affinity = environment.of_sites("electron_affinity")
    lowest = pool_min(offsets, cation, (-lasting - volts[:, 0])[:, None])
    highest = pool_max(offsets, anion, (-affinity - volts[:, 0])[:, None])
    cost = _ionization(environment, states)
    return np.column_stack([
        targets, energies[:, 0], cost, energies[:, 0] + cost,
        positive, negative, negative[:, 0] - positive[:, 0], lowest - highest,
        pool(offsets, environment.amount, bonded[:, None]), energies[:, 1],
        pool(offsets, environment.amount, volts[:, 1:])[:, 1:],
    ])  # fmt: skip


def _site_charges(environment: Environment, states: Array) -> Array:
    """(s,) charge of each site, species by occupancy."""
    numbers = np.minimum(environment.crystals.numbers, ELEMENTS)
    of_species = states[environment.owner[:, None], numbers]  # (s, k)
    charges: Array = (of_species * environment.crystals.occupancy).sum(axis=1)
    return charges


def _neutral(environment: Environment, charges: Array) -> Array:
    """Charges less an even background on the atoms, so that each crystal is neutral."""
    rest = np.bincount(environment.owner, charges, minlength=len(environment.atoms))
    even: Array = (rest / environment.atoms)[environment.owner] * environment.amount
    return charges - even


def _bonded_charges(environment: Environment) -> Array:
    """(s,) mean difference of electronegativity to bonded neighbours; 0 without any."""
    x = environment.of_sites("electronegativity_pauling")
    i, j, count = environment.centre, environment.other, len(environment.amount)
    weight = environment.weight * environment.amount[j]
    moved = np.bincount(i, weight * (x[j] - x[i]), minlength=count)
    charges: Array = moved / np.maximum(np.bincount(i, weight, minlength=count), 1e-12)
    return charges * environment.amount


def _last_electrons(environment: Environment, states: npt.NDArray[np.float32]) -> Array:
    """(s,) ionization energy of the last electron that the cations of a site have lost."""
    costs = ionization_costs()
    numbers = np.minimum(environment.crystals.numbers, ELEMENTS)
    state = states[environment.owner[:, None], numbers]
    lost = np.clip(np.round(state), 1, costs.shape[1] - 1).astype(np.int64)
    energy = costs[numbers, lost] - costs[numbers, lost - 1]  # (s, k)
    share = environment.crystals.occupancy * ((state > 0) & np.isfinite(energy))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Array = (share * np.nan_to_num(energy)).sum(axis=1) / share.sum(axis=1)
    return mean


def _ionization(environment: Environment, states: npt.NDArray[np.float32]) -> Array:
    """(n,) eV per atom to ionize the cations, less the affinities of the anions' first electron."""
    costs, affinity = ionization_costs(), np.nan_to_num(column("electron_affinity"))
    z = np.arange(ELEMENTS + 1)
    lost = np.clip(np.round(states), 0, costs.shape[1] - 1).astype(np.int64)
    taken = costs[z, lost]  # (n, 104)
    gained = affinity * np.clip(-states, 0.0, 1.0)
    total: Array = (environment.fractions * np.where(states > 0, taken, -gained)).sum(axis=1)
    return total


CHARGES = Group(
    name="charges",
    title="Charges, electrostatics and ionization",
    columns=(
        number("charge_imbalance", "e", "charge per atom that known oxidation states leave over"),
        number("charge_balanced", "1", "1 where they balance, falling to 0 where they do not"),
        number("formal_charge_mean", "e", "mean absolute charge where they balance best"),
        number("formal_charge_max", "e", "highest absolute charge there"),
        number("madelung_energy", "eV/atom", "electrostatic energy of these charges"),
        number(
            "ionization_cost", "eV/atom",
            "energy to ionize the cations, less the affinities for the first electron of anions",
            "an ionization energy is unknown",
        ),
        number(
            "ionic_energy", "eV/atom", "the sum of both", "an ionization energy is unknown"
        ),
        *statistics("cation_potential", "V", "the electrostatic potential at cations", _NO_IONS),
        *statistics("anion_potential", "V", "the electrostatic potential at anions", _NO_IONS),
        number(
            "madelung_potential_difference", "V", "mean potential at anions less that at cations",
            _NO_IONS,
        ),
        number(
            "charge_transfer_energy", "eV",
            "lowest level of a cation's last electron less the highest one of an anion's",
            f"{_NO_IONS}, or an unknown ionization energy",
        ),
        *statistics(
            "bond_charge", "1", "the mean electronegativity difference to bonded neighbours"
        ),
        number("bond_charge_energy", "eV/atom", "electrostatic energy of these as charges in e"),
        *statistics("bond_charge_potential", "V", "their potential at the atoms")[1:],
    ),
    compute=_charges,
)  # fmt: skip
"""Charges of the two kinds and what they do."""


@compiled
def _valence_sums(
    edge_offsets: Index,
    other: Index,
    distance: Array,
    weight: Array,
    amount: Array,
    of_sites: Array,
    out: Array,
) -> None:
    """Fill (s, 2): sum of the valences of bonds, and with the sign of the charge they move.

    ``of_sites`` (s, 4) is radius, softness, its square root, and electronegativity.
    """
    for site in range(len(edge_offsets) - 1):
        total = signed = 0.0
        here = of_sites[site]
        for m in range(edge_offsets[site], edge_offsets[site + 1]):
            there = of_sites[other[m]]
            off = here[2] - there[2]
            shorter = here[0] * there[0] * off * off / (here[1] * here[0] + there[1] * there[0])
            length = here[0] + there[0] - shorter
            valence = np.exp((length - distance[m]) / SOFTNESS) * amount[other[m]]
            valence *= min(weight[m], 1.0)  # ions of the next shell are no bonds
            total += valence
            signed += valence * np.sign(there[3] - here[3])
        out[site, 0], out[site, 1] = total, signed


def _valences(environment: Environment) -> Array:
    crystals = environment.crystals
    radius, soft = (site_mean(crystals, table) for table in bond_valence_radii())
    x = environment.of_sites("electronegativity_pauling")
    sums = np.empty((len(x), 2))
    _valence_sums(
        environment.edge_offsets, environment.other, environment.distance, environment.weight,
        environment.amount, np.column_stack([radius, soft, np.sqrt(soft), x]), sums,
    )  # fmt: skip
    total, signed = sums.T
    states = environment.charges[1].astype(np.float64)
    formal = _site_charges(environment, states) / environment.amount
    off = np.where(formal == 0, np.nan, np.abs(signed) - np.abs(formal))
    values = np.column_stack([total, np.abs(signed), off])
    square = pool_mean(crystals.offsets, environment.amount, (off**2)[:, None])
    return np.column_stack([pool(crystals.offsets, environment.amount, values), np.sqrt(square)])


_UNKNOWN = "an element without bond valence parameters (noble gases, beyond Cm)"
VALENCES = Group(
    name="valences",
    title="Bond valence sums, over atoms",
    columns=(
        *statistics("bond_valence_sum", "1", "the sum of valences of all bonds", _UNKNOWN),
        *statistics(
            "bond_valence_charge", "1",
            "its size where bonds to less electronegative atoms count negative", _UNKNOWN,
        ),
        *statistics(
            "bond_valence_mismatch", "1", "this less the formal charge's size",
            f"{_UNKNOWN}, or no oxidation state",
        ),
        number(
            "global_instability_index", "1", "root mean square of the mismatch",
            f"{_UNKNOWN}, or no oxidation state",
        ),
    ),
    compute=_valences,
)  # fmt: skip
"""How well bond lengths fit the charges."""

CHARGE_GROUPS: tuple[Group, ...] = (CHARGES, VALENCES)
"""Groups of this file."""
