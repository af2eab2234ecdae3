from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crystalssl.structures import _standardize
from crystalssl.structures.canonical import CRYSTAL_SYSTEMS, canonicalize
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.formulas import reduced_formulas
from crystalssl.structures.objects import from_objects, to_pymatgen
from crystalssl.structures.transforms import TRANSFORMS

pymatgen = pytest.importorskip("pymatgen.core")
PROTOTYPES = {
    "CsCl": ("Pm-3m", 4.1, ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]], 221, 2),
    "NaCl": ("Fm-3m", 5.6, ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]], 225, 2),
    "Fe": ("Im-3m", 2.87, ["Fe"], [[0, 0, 0]], 229, 1),
    "Si": ("Fd-3m", 5.43, ["Si"], [[0, 0, 0]], 227, 2),
    "half": ("Fm-3m", 4.0, [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]], 225, 1),
    "leaky": ("Fm-3m", 5.6, [{"Na": 0.8}, "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]], 225, 2),
}


@pytest.fixture(scope="module", name="prototypes")
def _prototypes() -> Crystals:
    from pymatgen.core import Lattice, Structure

    cubic = [
        Structure.from_spacegroup(group, Lattice.cubic(a), species, coords)
        for group, a, species, coords, _, _ in PROTOTYPES.values()
    ]
    others = [
        Structure.from_spacegroup(
            "P6_3/mmc", Lattice.hexagonal(3.2, 5.2), ["Mg"], [[1 / 3, 2 / 3, 0.25]]
        ),
        Structure.from_spacegroup(
            "P4_2/mnm", Lattice.tetragonal(4.6, 2.96), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
        ),
        Structure.from_spacegroup(
            "P3_121",
            Lattice.hexagonal(4.91, 5.41),
            ["Si", "O"],
            [[0.47, 0, 1 / 3], [0.41, 0.27, 0.21]],
        ),
        Structure(
            Lattice.from_parameters(5, 6, 7, 80, 95, 103),
            ["Li", {"Fe": 0.6, "Mn": 0.4}, "O"],
            [[0.1, 0.2, 0.3], [0.6, 0.6, 0.7], [0.3, 0.8, 0.1]],
        ),
    ]
    return from_objects([*cubic, *others], [*PROTOTYPES, "Mg", "TiO2", "SiO2", "P1"]).crystals


def spectrum(crystals: Crystals) -> np.ndarray:
    """(n, 3) lengths of a, b, c: the shortest vectors of a Niggli cell."""
    return np.linalg.norm(crystals.lattice, axis=2)


def test_symmetry_and_cell_of_prototypes_are_known(prototypes: Crystals) -> None:
    result = canonicalize(prototypes)
    assert result.skipped == []
    assert not result.symmetry.failed.any()
    groups = [row[4] for row in PROTOTYPES.values()] + [194, 136, 152, 1]
    counts = [row[5] for row in PROTOTYPES.values()] + [2, 6, 9, 3]
    assert result.symmetry.space_group.tolist() == groups
    assert result.crystals.site_counts.tolist() == counts
    systems = [CRYSTAL_SYSTEMS[code] for code in result.symmetry.crystal_system]
    assert systems == ["cubic"] * 6 + ["hexagonal", "tetragonal", "trigonal", "triclinic"]


@pytest.mark.parametrize("name", TRANSFORMS)
@given(seed=st.integers(0, 10_000))
@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_description_gives_one_canonical_cell(name, prototypes, distances, seed) -> None:
    expected = canonicalize(prototypes)
    found = canonicalize(TRANSFORMS[name](prototypes, seed))
    np.testing.assert_array_equal(found.symmetry.space_group, expected.symmetry.space_group)
    np.testing.assert_array_equal(found.crystals.site_counts, expected.crystals.site_counts)
    np.testing.assert_allclose(spectrum(found.crystals), spectrum(expected.crystals), atol=1e-6)
    np.testing.assert_array_equal(
        reduced_formulas(found.crystals), reduced_formulas(expected.crystals)
    )
    for row in range(len(prototypes)):
        np.testing.assert_allclose(
            distances(found.crystals, row, 4.97), distances(expected.crystals, row, 4.97), atol=1e-4
        )


def test_pymatgen_sees_the_same_structure(prototypes: Crystals) -> None:
    from pymatgen.analysis.structure_matcher import StructureMatcher

    matcher = StructureMatcher(ltol=0.01, stol=0.01, angle_tol=0.5, scale=False)
    result = canonicalize(TRANSFORMS["disguised"](prototypes, 1))
    pairs = zip(to_pymatgen(prototypes), to_pymatgen(result.crystals), strict=True)
    assert all(matcher.fit(before, after) for before, after in pairs)


def test_handedness_is_kept(prototypes: Crystals) -> None:
    quartz = prototypes.take(prototypes.ids == "SiO2")
    mirrored = replace(quartz, lattice=quartz.lattice * np.array([1.0, 1.0, -1.0]))
    assert canonicalize(mirrored).symmetry.space_group.tolist() == [154]


def test_cells_are_upright_reduced_and_wrapped(make_crystals) -> None:
    from pymatgen.core import Lattice

    cells = canonicalize(TRANSFORMS["disguised"](make_crystals(4, n=20), 2)).crystals
    assert (np.linalg.det(cells.lattice) > 0).all()
    assert np.abs(np.triu(cells.lattice, 1)).max() == 0
    assert ((cells.frac_coords >= 0) & (cells.frac_coords < 1)).all()
    for lattice in cells.lattice:
        niggli = Lattice(lattice).get_niggli_reduced_lattice()
        np.testing.assert_allclose(np.linalg.norm(lattice, axis=1), niggli.abc, atol=1e-6)


def test_noise_below_the_tolerance_is_idealised_away(prototypes: Crystals) -> None:
    rng = np.random.default_rng(0)
    shaken = replace(
        prototypes,
        frac_coords=prototypes.frac_coords + rng.normal(0, 2e-4, prototypes.frac_coords.shape),
    )
    result = canonicalize(shaken).symmetry
    np.testing.assert_array_equal(result.space_group, canonicalize(prototypes).symmetry.space_group)


def test_bad_crystals_are_skipped_in_order_and_rows_are_told(make_crystals) -> None:
    crystals = make_crystals(1, n=5, disordered=False)
    lattice = crystals.lattice.copy()
    lattice[1] = 0.0
    frac = crystals.frac_coords.copy()
    frac[crystals.offsets[3]] = np.nan
    result = canonicalize(replace(crystals, lattice=lattice, frac_coords=frac))
    assert [skip.id for skip in result.skipped] == ["c1", "c3"]
    assert result.kept.tolist() == [0, 2, 4]
    assert result.crystals.ids.tolist() == ["c0", "c2", "c4"]
    assert len(result.symmetry.space_group) == 3


def test_a_large_supercell_of_a_small_crystal_is_no_reason_to_skip(prototypes: Crystals) -> None:
    from crystalssl.structures.transforms import supercell_with

    many = supercell_with(prototypes.take([0]), np.diag([4, 4, 4]))
    assert many.site_counts.tolist() == [128]
    assert canonicalize(many).crystals.site_counts.tolist() == [2]


def test_when_the_search_fails_the_cell_is_reduced_as_given(prototypes, monkeypatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise ValueError("no symmetry today")

    monkeypatch.setattr(_standardize.moyopy, "MoyoDataset", fail)
    result = canonicalize(TRANSFORMS["other_basis"](prototypes, 3))
    assert result.symmetry.failed.all()
    assert (result.symmetry.space_group == 1).all()
    np.testing.assert_array_equal(result.crystals.site_counts, prototypes.site_counts)
    np.testing.assert_allclose(result.crystals.volumes, prototypes.volumes)


def test_a_panic_in_the_search_is_a_failure_too(prototypes, monkeypatch) -> None:
    class PanicException(BaseException):
        pass

    def panic(*args: object, **kwargs: object) -> None:
        raise PanicException("index out of bounds")

    monkeypatch.setattr(_standardize.moyopy, "MoyoDataset", panic)
    assert canonicalize(prototypes.take([0])).symmetry.failed.tolist() == [True]


def test_occupancies_just_above_one_are_scaled_back(prototypes: Crystals) -> None:
    crystals = prototypes.take(prototypes.ids == "half")
    above = canonicalize(replace(crystals, occupancy=crystals.occupancy * np.float32(1.004)))
    assert above.crystals.occupancy.sum(axis=1).tolist() == [1.0]


def test_a_crystal_does_not_depend_on_its_batch(prototypes: Crystals) -> None:
    whole = canonicalize(prototypes).crystals
    for row in range(len(prototypes)):
        alone = canonicalize(prototypes.take([row])).crystals
        np.testing.assert_array_equal(alone.frac_coords, whole.take([row]).frac_coords)
        np.testing.assert_array_equal(alone.occupancy, whole.take([row]).occupancy)


def test_worker_processes_give_the_same(make_crystals) -> None:
    crystals = make_crystals(0, n=600)
    done: list[int] = []
    one = canonicalize(crystals, progress=done.append)
    two = canonicalize(crystals, processes=2, progress=done.append)
    assert sum(done) == 1200
    np.testing.assert_array_equal(one.crystals.frac_coords, two.crystals.frac_coords)
    np.testing.assert_array_equal(one.kept, two.kept)


def test_nothing_gives_nothing() -> None:
    result = canonicalize(Crystals.empty())
    assert len(result.crystals) == 0
    assert result.skipped == []


def test_a_canonical_cell_stays_as_it_is(prototypes: Crystals, distances) -> None:
    once = canonicalize(prototypes)
    twice = canonicalize(once.crystals)
    np.testing.assert_allclose(twice.crystals.lattice, once.crystals.lattice, atol=1e-9)
    np.testing.assert_array_equal(twice.symmetry.space_group, once.symmetry.space_group)
