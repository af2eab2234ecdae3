from dataclasses import replace

import numpy as np
import pytest
from pymatgen.core import Structure

from crystalssl.datasets.bundled import load_bundled
from crystalssl.representation.fingerprint import REACH, fingerprints
from crystalssl.structures.canonical import canonicalize
from crystalssl.structures.transforms import TRANSFORMS


@pytest.fixture(scope="module")
def some():
    return load_bundled().take(np.arange(0, 6000, 40))


def test_fingerprints_equal_sums_over_neighbours_that_pymatgen_finds(some):
    few = some.take(np.arange(0, len(some), 15))
    expected = []
    for row in range(len(few)):
        one = few.take([row])
        made = Structure(one.lattice[0], one.numbers[:, 0].tolist(), one.frac_coords)
        reach = REACH * (made.volume / len(made)) ** (1 / 3)
        centre, other, _, distance = made.get_neighbor_list(reach)
        nearness = (1 - (distance / reach) ** 2) ** 3
        same = one.numbers[centre, 0] == one.numbers[other, 0]
        sums = np.array([nearness.sum(), nearness[same].sum()]) / len(made)
        expected.append([np.log(made.volume / len(made)), *sums])
    np.testing.assert_allclose(fingerprints(few), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_fingerprints_do_not_depend_on_the_description(some, name):
    np.testing.assert_allclose(
        fingerprints(TRANSFORMS[name](some, 3)), fingerprints(some), atol=1e-6
    )


def test_fingerprints_do_not_need_the_canonical_cell(some):
    np.testing.assert_allclose(
        fingerprints(canonicalize(some).crystals), fingerprints(some), atol=1e-3
    )


def test_pair_sums_do_not_change_with_size(some):
    larger = fingerprints(replace(some, lattice=some.lattice * 1.2))
    np.testing.assert_allclose(larger[:, 1:], fingerprints(some)[:, 1:], atol=1e-9)
    np.testing.assert_allclose(larger[:, 0] - fingerprints(some)[:, 0], 3 * np.log(1.2), rtol=1e-9)


def test_mixed_sites_count_by_their_occupancy(many_crystals):
    mixed = many_crystals.take([6])
    assert (mixed.occupancy[:, 1] > 0).any()
    both = mixed.numbers.copy()
    both[both > 0] = 26
    every, same = fingerprints(mixed)[0, 1:]
    assert 0 < same < every
    assert fingerprints(replace(mixed, numbers=both))[0, 2] == pytest.approx(every)
