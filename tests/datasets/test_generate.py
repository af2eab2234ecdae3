"""Made-up corpora: as many as asked for, the same for a seed, and like the crystals they are of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from crystalssl.datasets import generate as made
from crystalssl.datasets.bundled import load_bundled
from crystalssl.errors import InputError
from crystalssl.representation import elemental
from crystalssl.structures.canonical import canonicalize
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.table import iter_tables, read_table


@pytest.fixture(scope="module")
def source() -> Crystals:
    return load_bundled()


@pytest.fixture(scope="module")
def few(source: Crystals) -> Crystals:
    return next(made.generate(source, 600, seed=3))


def test_neighbours_are_alike_and_point_back() -> None:
    near = made.neighbours()
    radius = elemental.WEIGHTS[:, 2]
    for z, (before, after) in enumerate(near.tolist()):
        for other, back in ((before, 1), (after, 0)):
            if other != z:
                assert near[other, back] == z
                assert max(radius[z], radius[other]) <= made.SIMILAR * min(radius[z], radius[other])
    assert (near != np.arange(len(near))[:, None]).any(axis=1).sum() > 60


def test_neighbours_are_close_in_pymatgens_mendeleev_numbers() -> None:
    from pymatgen.core import Element

    apart = [
        abs(Element.from_Z(z).mendeleev_no - Element.from_Z(other).mendeleev_no)
        for z, row in enumerate(made.neighbours().tolist())
        for other in row
        if other != z
    ]
    assert np.median(apart) <= 2
    assert max(apart) <= 18  # Sc stands apart from Lu in his table


def test_the_same_seed_gives_the_same_file_and_a_longer_one_begins_with_it(
    source: Crystals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made, "CHUNK", 64)
    one = made.write_corpus(tmp_path / "a.parquet", source, 100, seed=5)
    two = made.write_corpus(tmp_path / "b.parquet", source, 100, seed=5)
    longer = made.write_corpus(tmp_path / "c.parquet", source, 300, seed=5)
    assert one.read_bytes() == two.read_bytes()
    assert pq.ParquetFile(longer).num_row_groups == 5
    short, long = read_table(one).crystals, read_table(longer).crystals
    np.testing.assert_array_equal(short.frac_coords, long.take(range(100)).frac_coords)
    np.testing.assert_array_equal(short.numbers, long.take(range(100)).numbers)
    assert [len(part.crystals) for part in iter_tables(one)] == [64, 36]
    assert len(set(long.ids.tolist())) == 300


def test_disorder_of_the_source_stays(
    many_crystals: Crystals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made, "CHUNK", 2)
    path = made.write_corpus(tmp_path / "mixed.parquet", many_crystals.take(range(14)), 24)
    crystals = read_table(path).crystals
    mixed = np.array(["disordered" in name for name in crystals.column(made.MADE_FROM)])
    assert 0 < mixed.sum() < 24
    parts = np.bincount(crystals.crystal_of_site, crystals.numbers[:, 1] > 0) > 0
    np.testing.assert_array_equal(parts, mixed)


def test_other_seeds_give_other_crystals(source: Crystals, few: Crystals) -> None:
    other = next(made.generate(source, 600, seed=4))
    assert not np.array_equal(other.site_counts, few.site_counts)


def test_each_keeps_the_sites_and_the_number_of_elements_of_its_source(
    source: Crystals, few: Crystals
) -> None:
    rows = {name: row for row, name in enumerate(source.ids.tolist())}
    origin = source.take([rows[name] for name in few.column(made.MADE_FROM).tolist()])
    np.testing.assert_array_equal(origin.site_counts, few.site_counts)
    np.testing.assert_array_equal(origin.frac_coords, few.frac_coords)
    changed = 0
    for row in range(len(few)):
        part = slice(few.offsets[row], few.offsets[row + 1])
        before, after = origin.numbers[part, 0], few.numbers[part, 0]
        pairs = set(zip(before.tolist(), after.tolist(), strict=True))
        assert len(pairs) == len(set(before.tolist())) == len(set(after.tolist()))
        changed += bool((before != after).any())
    assert 0.3 < changed / len(few) < 0.95
    ratio = (few.volumes / origin.volumes) ** (1 / 3)
    assert 0.75 < ratio.min() < 0.99 < 1.01 < ratio.max() < 1.33


def test_nearly_all_are_valid_and_most_keep_their_symmetry(source: Crystals, few: Crystals) -> None:
    result = canonicalize(few)
    assert len(result.crystals) > 0.99 * len(few)
    rows = {name: row for row, name in enumerate(source.ids.tolist())}
    names = few.take(result.kept).column(made.MADE_FROM).tolist()
    origin = canonicalize(source.take([rows[name] for name in names]))
    assert len(origin.crystals) == len(names)
    same = result.symmetry.space_group == origin.symmetry.space_group
    assert 0.7 < same.mean() < 0.9


def test_the_mean_number_of_sites_can_be_chosen(source: Crystals) -> None:
    counts = next(made.generate(source, 4000, mean_sites=26)).site_counts
    assert abs(counts.mean() - 26) < 1.5


@pytest.mark.parametrize(("count", "mean"), [(0, None), (5, 1000.0)])
def test_impossible_wishes_are_refused(source: Crystals, count: int, mean: float | None) -> None:
    with pytest.raises(InputError, match="expected"):
        next(made.generate(source, count, mean_sites=mean))
