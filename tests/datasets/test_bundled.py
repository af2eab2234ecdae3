"""The bundled table: distinct valid crystals, labels within bounds, formulas in one part."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from crystalssl.datasets.bundled import BUNDLED_TABLE, UNITS, load_bundled
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.table import read_table
from crystalssl.structures.validity import check


@pytest.fixture(scope="module")
def bundled() -> Crystals:
    return load_bundled()


def test_the_table_is_small_and_nothing_in_it_is_skipped(bundled: Crystals) -> None:
    assert BUNDLED_TABLE.stat().st_size < 4_000_000
    assert read_table(BUNDLED_TABLE).skipped == []
    keep, skipped = check(bundled)
    assert keep.all(), skipped[:3]
    assert len(bundled) > 5000


def test_ids_are_distinct_and_of_the_materials_project(bundled: Crystals) -> None:
    assert len(set(bundled.ids.tolist())) == len(bundled)
    assert all(str(name).startswith(("mp-", "mvc-")) for name in bundled.ids)


def test_every_label_has_a_unit_and_known_values(bundled: Crystals) -> None:
    for name in UNITS:
        values = bundled.column(name)
        assert values.dtype == np.float64
        assert np.isfinite(values).sum() > 900, name


def test_formation_energies_are_per_atom(bundled: Crystals) -> None:
    energies = dict(zip(bundled.ids, bundled.column("formation_energy_per_atom"), strict=True))
    assert energies["mp-10000"] == pytest.approx(-1.247, abs=0.02)  # Hf2S, 6 sites
    assert np.nanmin(bundled.column("formation_energy_per_atom")) > -5


def test_a_formula_is_in_one_part_only(bundled: Crystals) -> None:
    parts = defaultdict(set)
    formulas = bundled.column("chemical_formula_reduced")
    for formula, part in zip(formulas, bundled.column("split"), strict=True):
        parts[formula].add(part)
    assert all(len(found) == 1 for found in parts.values())


def test_parts_are_seventy_ten_twenty(bundled: Crystals) -> None:
    split = bundled.column("split")
    shares = [np.mean(split == part) for part in ("train", "val", "test")]
    assert shares == pytest.approx([0.7, 0.1, 0.2], abs=0.02)


def test_nsites_and_nelements_agree_with_the_structures(bundled: Crystals) -> None:
    assert np.array_equal(bundled.column("nsites"), bundled.site_counts)
    for index in range(0, len(bundled), 500):
        crystal = bundled.take([index])
        assert crystal.column("nelements")[0] == len(np.unique(crystal.numbers[:, 0]))
