"""Named physics: what every number must obey, and values known from textbooks."""

from __future__ import annotations

import numpy as np
import pytest

from crystalssl.datasets.bundled import load_bundled
from crystalssl.errors import InputError, UnknownNameError
from crystalssl.representation.physics import Physics, compute_physics, physics_columns
from crystalssl.structures.canonical import CanonicalResult, canonicalize
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.transforms import TRANSFORMS

FCC = np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])


def one(lattice: np.ndarray, frac: list[list[float]], sites: list[dict[int, float]]) -> Crystals:
    """One crystal from a lattice, fractional coordinates and {Z: occupancy} of each site."""
    numbers = np.zeros((len(sites), 4), np.int16)
    occupancy = np.zeros((len(sites), 4), np.float32)
    for row, site in enumerate(sites):
        for slot, (z, amount) in enumerate(site.items()):
            numbers[row, slot], occupancy[row, slot] = z, amount
    return Crystals(
        ids=np.array(["one"]),
        lattice=np.asarray(lattice, float)[None],
        offsets=np.array([0, len(sites)]),
        frac_coords=np.array(frac, float),
        numbers=numbers,
        occupancy=occupancy,
    )


def named(physics: Physics, row: int = 0) -> dict[str, float]:
    return dict(zip(physics.names, physics.values[row].tolist(), strict=True))


@pytest.fixture(scope="module")
def canonical() -> CanonicalResult:
    """Forty bundled crystals."""
    crystals = load_bundled()
    rows = np.linspace(0, len(crystals) - 1, 40).astype(int)
    return canonicalize(crystals.take(rows))


@pytest.fixture(scope="module")
def rock_salt() -> dict[str, float]:
    crystal = one(5.64 * FCC, [[0, 0, 0], [0.5, 0.5, 0.5]], [{11: 1.0}, {17: 1.0}])
    return named(compute_physics(crystal))


def test_every_number_has_one_name_that_ends_in_its_unit() -> None:
    columns = physics_columns()
    names = [column.name for column in columns]
    assert len(set(names)) == len(names)
    assert all(name.replace("_", "").replace(".", "").isalnum() for name in names)
    assert "bond_length_over_radii_min" in names
    assert "electronegativity_pauling_std" in names
    assert "nearest_distance_min_angstrom" in names


def test_there_is_one_row_for_each_crystal_and_nothing_is_infinite(
    canonical: CanonicalResult,
) -> None:
    physics = compute_physics(canonical)
    assert physics.values.shape == (len(canonical.crystals), len(physics_columns()))
    assert physics.values.dtype == np.float32
    assert not np.isinf(physics.values).any()


def test_only_numbers_that_say_so_can_be_missing(canonical: CanonicalResult) -> None:
    physics = compute_physics(canonical)
    absent = np.isnan(physics.values).any(axis=0)
    for column, missing in zip(physics_columns(), absent, strict=True):
        assert not missing or column.missing != "never", column.name


@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_numbers_do_not_notice_how_a_crystal_is_written(
    name: str, canonical: CanonicalResult
) -> None:
    before = compute_physics(canonical).values.astype(float)
    other = canonicalize(TRANSFORMS[name](canonical.crystals, 5))
    after = compute_physics(other).values.astype(float)
    scale = np.nanstd(before, axis=0) + 1e-6
    same = (np.abs(after - before) <= 1e-3 * scale) | (np.isnan(before) & np.isnan(after))
    assert same.all(axis=1).mean() >= 0.97
    assert same.mean() > 0.999


def test_a_crystal_has_the_same_numbers_alone_and_in_company(canonical: CanonicalResult) -> None:
    together = compute_physics(canonical).values
    alone = compute_physics(canonical.crystals.take([7])).values
    np.testing.assert_allclose(alone[0], together[7], rtol=2e-5, atol=1e-5, equal_nan=True)


def test_rock_salt_has_six_neighbours_at_right_angles(rock_salt: dict[str, float]) -> None:
    assert rock_salt["nearest_distance_min_angstrom"] == pytest.approx(2.82, abs=1e-4)
    assert rock_salt["coordination_by_distance_mean"] == 6
    assert rock_salt["coordination_hoppe_mean"] == pytest.approx(6, abs=0.05)
    assert rock_salt["bond_angle_min_degrees"] == pytest.approx(90, abs=0.01)
    assert rock_salt["bond_angle_max_degrees"] == pytest.approx(180, abs=0.05)
    assert rock_salt["density_g_per_cm3"] == pytest.approx(2.163, abs=0.01)
    assert rock_salt["space_group"] == 225
    assert rock_salt["steinhardt_q4_mean"] == pytest.approx(0.7638, abs=5e-3)
    assert rock_salt["steinhardt_q6_mean"] == pytest.approx(0.3536, abs=5e-3)
    assert np.isnan(rock_salt["shortest_metal_hydrogen_angstrom"])
    assert rock_salt["shortest_metal_nonmetal_angstrom"] == pytest.approx(2.82, abs=1e-4)
    reduced = 22.98977 * 35.453 / (22.98977 + 35.453)
    assert rock_salt["bond_reduced_mass_mean_u"] == pytest.approx(reduced, rel=1e-4)
    assert rock_salt["bond_vibration_max_per_sqrtu_angstrom2"] == pytest.approx(
        reduced**-0.5 / 2.82**2, rel=1e-4
    )


def test_a_close_packed_metal_has_the_known_order_parameters() -> None:
    copper = named(compute_physics(one(3.61 * FCC, [[0, 0, 0]], [{29: 1.0}])))
    assert copper["coordination_by_distance_mean"] == 12
    assert copper["steinhardt_q4_mean"] == pytest.approx(0.1909, abs=1e-3)
    assert copper["steinhardt_q6_mean"] == pytest.approx(0.5745, abs=1e-3)
    assert copper["elements_present"] == 1
    assert copper["electronegativity_pauling_std"] == 0


def test_a_mixed_site_is_the_mean_of_its_species() -> None:
    mixed = named(compute_physics(one(3.7 * FCC, [[0, 0, 0]], [{29: 0.5, 79: 0.5}])))
    assert mixed["atomic_mass_mean_u"] == pytest.approx((63.546 + 196.96657) / 2, rel=1e-4)
    assert mixed["bond_reduced_mass_mean_u"] == pytest.approx((63.546 + 196.96657) / 4, rel=1e-4)
    assert mixed["elements_present"] == 2
    assert mixed["vacant_fraction"] == 0


def test_a_vacancy_lowers_density_and_coordination() -> None:
    full = named(compute_physics(one(3.61 * FCC, [[0, 0, 0]], [{29: 1.0}])))
    half = named(compute_physics(one(3.61 * FCC, [[0, 0, 0]], [{29: 0.5}])))
    assert half["density_g_per_cm3"] == pytest.approx(full["density_g_per_cm3"] / 2, rel=1e-5)
    assert half["coordination_by_distance_mean"] == 6
    assert half["vacant_fraction"] == 0.5


def test_crystals_that_cannot_be_used_are_an_error() -> None:
    with pytest.raises(InputError, match="1 of 1 crystals cannot be used"):
        compute_physics(one(np.eye(3), [[0, 0, 0], [0.1, 0, 0]], [{29: 1.0}, {29: 1.0}]))


def test_rock_salt_is_bound_by_its_charges(rock_salt: dict[str, float]) -> None:
    assert rock_salt["formal_charge_max_e"] == 1
    energy = -1.747565 * 14.399645 / 2.82 / 2  # two atoms a pair
    assert rock_salt["madelung_energy_eV_per_atom"] == pytest.approx(energy, rel=1e-4)
    assert rock_salt["ionization_cost_eV_per_atom"] == pytest.approx((5.139 - 3.613) / 2, abs=0.01)
    assert rock_salt["cation_potential_mean_V"] == pytest.approx(energy * 2, rel=1e-4)
    assert rock_salt["bond_valence_sum_mean"] == pytest.approx(1.0, abs=0.2)
    assert rock_salt["bond_angle_metal_nonmetal_metal_min_degrees"] == pytest.approx(90, abs=0.01)


def test_the_electrons_come_behind_under_names_with_units(canonical: CanonicalResult) -> None:
    plain = compute_physics(canonical.crystals.take([3]))
    exact = compute_physics(canonical.crystals.take([3]), electronic="exact")
    assert exact.names[: len(plain.names)] == plain.names
    assert "gap_tight_binding_eV" in exact.names
    assert len(exact.names) == len(physics_columns("exact")) > len(plain.names) + 100
    np.testing.assert_array_equal(exact.values[:, : len(plain.names)], plain.values)
    assert np.isfinite(exact.values[:, len(plain.names) :]).all()


def test_a_disordered_crystal_has_no_electrons() -> None:
    mixed = one(3.7 * FCC, [[0, 0, 0]], [{29: 0.5, 79: 0.5}])
    values = compute_physics(mixed, electronic="exact").values
    assert np.isnan(values[0, len(physics_columns()) :]).all()


def test_an_unknown_way_to_the_electrons_is_refused(canonical: CanonicalResult) -> None:
    with pytest.raises(UnknownNameError, match="exact"):
        compute_physics(canonical, electronic="exakt")


GRAPHITE = np.array([[2.46, 0, 0], [-1.23, 2.46 * 0.75**0.5, 0], [0, 0, 6.7]])
SHEETS = [[0, 0, 0.25], [1 / 3, 2 / 3, 0.25], [0, 0, 0.75], [2 / 3, 1 / 3, 0.75]]


@pytest.mark.parametrize(
    ("lattice", "frac", "number", "dimension"),
    [
        (GRAPHITE, SHEETS, 6, 2),
        (np.diag([2.76, 8.0, 8.0]), [[0, 0, 0]], 52, 1),
        (6 * np.eye(3), [[0, 0, 0], [0.12, 0, 0]], 1, 0),
        (3.61 * FCC, [[0, 0, 0]], 29, 3),
        (5.43 * FCC, [[0, 0, 0], [0.25, 0.25, 0.25]], 14, 3),
    ],
    ids=["graphite", "chain", "hydrogen molecules", "copper", "silicon"],
)
def test_networks_of_bonds_have_the_right_dimension(
    lattice: np.ndarray, frac: list[list[float]], number: int, dimension: int
) -> None:
    numbers = named(compute_physics(one(lattice, frac, [{number: 1.0}] * len(frac))))
    assert numbers["network_dimension_at_125_percent"] == dimension
    assert numbers["molecular_fraction_at_125_percent"] == (dimension == 0)


def test_a_layered_crystal_has_a_network_for_each_layer() -> None:
    graphite = named(compute_physics(one(GRAPHITE, SHEETS, [{6: 1.0}] * 4)))
    assert graphite["networks_per_site_at_125_percent"] == 0.5


def test_symmetry_follows_the_space_group(rock_salt: dict[str, float]) -> None:
    assert rock_salt["point_group_order"] == 48
    assert rock_salt["centrosymmetric"] == 1
    blende = one(5.41 * FCC, [[0, 0, 0], [0.25, 0.25, 0.25]], [{30: 1.0}, {16: 1.0}])
    numbers = named(compute_physics(blende))
    assert (numbers["point_group_order"], numbers["centrosymmetric"], numbers["polar"]) == (
        24,
        0,
        0,
    )


def test_all_space_groups_have_the_class_that_pymatgen_gives() -> None:
    groups = pytest.importorskip("pymatgen.symmetry.groups")
    from crystalssl.representation.physics.cell_numbers import crystal_class

    classes = crystal_class(np.arange(1, 231))
    for number, (order, inversion, _) in enumerate(classes, start=1):
        group = groups.SpaceGroup(groups.sg_symbol_from_int_number(number))
        rotations = {tuple(op.rotation_matrix.round().ravel()) for op in group.symmetry_ops}
        assert len(rotations) == order, number
        assert (tuple(-np.eye(3).ravel()) in rotations) == bool(inversion), number
