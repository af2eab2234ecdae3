"""Features of sites: which atom each row is, invariance, pooling against loops, tables on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.worlds import crystals_of, reference_crystals

from crystalssl import CrystalFeaturizer
from crystalssl.errors import InputError, UnknownNameError
from crystalssl.features.extractor import ExtractorConfig
from crystalssl.features.sites import POOLS, SiteRows, pooled
from crystalssl.features.store import load_features
from crystalssl.pipeline import extract_to, extraction
from crystalssl.structures.canonical import canonicalize
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.table import write_table
from crystalssl.structures.transforms import disguised


def encoded(crystals: Crystals) -> SiteRows:
    config = ExtractorConfig.of("tiny", level="site", device="cpu")
    return config.extractor().sites_of(canonicalize(crystals))


@pytest.fixture(scope="module")
def crystals() -> Crystals:
    return reference_crystals().take(range(14))


@pytest.fixture(scope="module")
def rows(crystals: Crystals) -> SiteRows:
    return encoded(crystals)


def test_a_row_is_a_site_of_the_primitive_cell_with_its_element(
    crystals: Crystals, rows: SiteRows
) -> None:
    cells = canonicalize(crystals).crystals
    assert rows.crystals.ids[rows.crystal].tolist() == cells.ids[cells.crystal_of_site].tolist()
    assert rows.site[cells.offsets[:-1]].tolist() == [0] * len(cells)
    symbols = [s.specie.symbol for crystal in cells.to_pymatgen() for s in crystal]
    assert rows.elements == symbols
    wrapped = cells.frac_coords - np.floor(cells.frac_coords)
    distance = np.abs(rows.crystals.frac_coords - wrapped)
    assert np.minimum(distance, 1 - distance).max() < 1e-6
    assert list(rows.blocks) == ["sites", "occupancy"]
    assert rows.matrix.shape == (len(symbols), 256 + 128)


def test_sites_are_alike_in_every_description_of_a_crystal(
    crystals: Crystals, rows: SiteRows
) -> None:
    other = encoded(disguised(crystals))
    deviation = rows.matrix.std(axis=0)
    for number in range(len(crystals)):
        here, there = rows.crystal == number, other.crystal == number
        assert here.sum() == there.sum()
        mine = zip(np.array(rows.elements)[here], rows.matrix[here] / deviation, strict=True)
        theirs = sorted(
            zip(np.array(other.elements)[there], other.matrix[there] / deviation, strict=True),
            key=lambda pair: str(pair[0]),
        )
        for element, states in mine:
            rest = [s for e, s in theirs if e == element]
            assert min(np.abs(states - s).max() for s in rest) < 0.02


def disordered() -> Crystals:
    cube = 4.2 * np.eye(3)
    places = [[0, 0, 0], [0.5, 0.5, 0.5]]
    salt = (cube, places, [11, 17])
    five = (np.diag([4.2, 4.2, 9.0]), [[0, 0, 0], [0.5, 0.5, 0.5]], [{3: 0.5, 11: 0.3}, 17])
    many = (
        np.diag([5.0, 5.5, 9.0]),
        [[0, 0, 0], [0.5, 0.5, 0.1], [0.5, 0, 0.4], [0, 0.5, 0.6], [0.2, 0.2, 0.8]],
        [55, 3, 12, 8, 9],
    )
    return crystals_of([salt, five, many])


def test_pooled_features_are_those_of_plain_loops() -> None:
    rows = encoded(disordered())
    assert "Li0.5 Na0.3" in rows.elements
    states = rows.blocks["sites"].astype(float)
    mean = pooled(rows, "mean").blocks["sites"]
    moments = pooled(rows, "cumulants").blocks["sites"]
    slots = pooled(rows, "by-element").blocks["sites"].reshape(3, 4, -1)
    # by Pauling electronegativity: Cs 0.79, Na 0.93, Li 0.98, Mg 1.31, Cl 3.16, O 3.44, F 3.98
    kinds = [[[11], [17]], [[11], [3], [17]], [[55], [3], [12], [8, 9]]]
    for number in range(3):
        here = states[rows.crystal == number]
        numbers = rows.crystals.numbers[rows.crystal == number]
        shares = rows.crystals.occupancy[rows.crystal == number]
        centred = here - here.mean(0)
        expected = [here.mean(0), here.std(0), np.cbrt((centred**3).mean(0))]
        np.testing.assert_allclose(mean[number], here.mean(0), atol=1e-5)
        np.testing.assert_allclose(moments[number], np.concatenate(expected), atol=1e-5)
        for slot in range(4):
            weights = np.zeros(len(here))
            for z in kinds[number][slot] if slot < len(kinds[number]) else []:
                weights += (shares * (numbers == z)).sum(axis=1)
            average = weights @ here / max(weights.sum(), 1e-9)
            np.testing.assert_allclose(slots[number, slot], average, atol=1e-5)


def test_the_table_holds_the_same_streamed_and_in_memory(
    crystals: Crystals, rows: SiteRows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_table(crystals, tmp_path / "structures.parquet")
    settings = {"weights": "tiny", "level": "site", "threads": 1}
    done = extract_to([source], tmp_path / "memory.parquet", **settings)  # type: ignore[arg-type]
    assert (done.rows, done.width) == rows.matrix.shape
    monkeypatch.setattr(extraction, "MANY", 3)
    extract_to([source], tmp_path / "streamed.parquet", **settings)  # type: ignore[arg-type]
    memory, streamed = (pq.read_table(tmp_path / f"{n}.parquet") for n in ("memory", "streamed"))
    assert memory.equals(streamed)
    assert memory["elements"].to_pylist() == rows.elements
    states = np.stack(memory["sites"].to_numpy())
    np.testing.assert_allclose(states, rows.blocks["sites"], atol=1e-4)


@pytest.mark.parametrize("pool", POOLS)
def test_pooled_features_are_a_features_file_of_fixed_columns(
    pool: str, crystals: Crystals, rows: SiteRows, tmp_path: Path
) -> None:
    path = tmp_path / "pooled.parquet"
    source = write_table(crystals, tmp_path / "structures.parquet")
    extract_to([source], path, weights="tiny", pool=pool, threads=1)
    features = load_features(path)
    expected = pooled(rows, pool)
    assert features.names == expected.names
    np.testing.assert_allclose(features.matrix, expected.matrix, atol=1e-3)


def test_the_featurizer_gives_rows_of_sites_and_says_which(
    crystals: Crystals, rows: SiteRows
) -> None:
    featurizer = CrystalFeaturizer("tiny", level="site", device="cpu").fit()
    assert np.array_equal(featurizer.transform(crystals), rows.matrix)
    assert featurizer.sites_.elements == rows.elements
    assert len(featurizer.get_feature_names_out()) == rows.matrix.shape[1]
    few = CrystalFeaturizer("tiny", blocks="sites", pool="mean", device="cpu").fit()
    assert few.transform(crystals).shape == (len(crystals), 256)
    assert few.get_feature_names_out()[-1] == "sites_mean_255"


def test_what_cannot_be_is_said(crystals: Crystals, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="pooling"):
        ExtractorConfig.of("tiny", pool="median")
    with pytest.raises(UnknownNameError, match="level"):
        ExtractorConfig.of("tiny", level="atom")
    with pytest.raises(InputError, match="pooled features are of crystals"):
        ExtractorConfig.of("tiny", level="site", pool="mean")
    with pytest.raises(InputError, match="no block has states of sites"):
        ExtractorConfig.of("tiny", block="lattice", level="site")
    with pytest.raises(InputError, match="blocks alone"):
        ExtractorConfig.of("tiny", output="bottleneck", level="site")
    with pytest.raises(InputError, match="ending"):
        extract_to(crystals, tmp_path / "sites.npy", weights="tiny", level="site")
    with pytest.raises(InputError, match="not compressed"):
        extract_to(crystals, tmp_path / "s.parquet", weights="tiny", level="site", dtype="int8")
