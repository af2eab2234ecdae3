"""Named physics through the extractor, files, streamed tables and the featurizer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crystalssl import pipeline
from crystalssl.adapters.sklearn import CrystalFeaturizer
from crystalssl.datasets.bundled import load_bundled
from crystalssl.errors import InputError, UnknownNameError
from crystalssl.features.extractor import ExtractorConfig
from crystalssl.features.store import load_features
from crystalssl.features.stream import stream_features
from crystalssl.representation.physics import compute_physics, physics_columns
from crystalssl.structures.canonical import canonicalize
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.table import write_table

NAMES = tuple(column.name for column in physics_columns())


@pytest.fixture(scope="module")
def crystals() -> Crystals:
    return load_bundled().take(np.arange(12)).with_columns(None)


@pytest.mark.parametrize("ending", [".parquet", ".npy"])
def test_extract_writes_named_numbers_and_reads_them_back(
    ending: str, crystals: Crystals, tmp_path: Path
) -> None:
    table = write_table(crystals, tmp_path / "structures.parquet")
    features = pipeline.extract([table], tmp_path / f"physics{ending}", output="physics")
    assert features.names == NAMES
    assert features.ids.tolist() == crystals.ids.tolist()
    assert list(load_features(tmp_path / f"physics{ending}").blocks) == ["physics"]
    assert np.isnan(features.matrix).any()  # not every crystal holds hydrogen
    assert not list(tmp_path.glob("*skipped*"))


def test_a_streamed_table_gives_the_same_numbers(crystals: Crystals, tmp_path: Path) -> None:
    table = write_table(crystals, tmp_path / "structures.parquet")
    config = ExtractorConfig.of("default", output="physics")
    outcome = stream_features(table, tmp_path / "streamed.parquet", config)
    streamed = load_features(tmp_path / "streamed.parquet")
    whole = pipeline.extract([table], output="physics")
    assert outcome.written == len(crystals)
    np.testing.assert_array_equal(streamed.matrix, whole.matrix)


def test_the_featurizer_names_its_columns(crystals: Crystals) -> None:
    featurizer = CrystalFeaturizer(output="physics").fit()
    matrix = featurizer.transform(crystals)
    assert tuple(featurizer.get_feature_names_out()) == NAMES
    assert matrix.shape == (len(crystals), len(NAMES))


def test_no_weights_are_looked_for(crystals: Crystals) -> None:
    config = ExtractorConfig.of("no such weights", output="physics")
    assert config.checksums() == ExtractorConfig.of("default", output="physics").checksums()
    assert len(config.extractor().encode(Crystals.empty())) == 0


def test_predicted_and_computed_electrons_stand_under_the_same_names(
    crystals: Crystals, tmp_path: Path
) -> None:
    some, names = crystals.take(np.arange(2)), physics_columns("exact")
    made = {
        way: CrystalFeaturizer(output="physics", electronic=way).fit()
        for way in ("taught", "exact")
    }
    values = {way: featurizer.transform(some) for way, featurizer in made.items()}
    for way, featurizer in made.items():
        assert featurizer.get_feature_names_out().tolist() == [column.name for column in names]
        np.testing.assert_array_equal(
            values[way][:, : len(NAMES)], compute_physics(canonicalize(some)).values
        )
    electrons = {way: matrix[:, len(NAMES) :] for way, matrix in values.items()}
    assert np.isfinite(electrons["taught"]).all()
    assert not np.array_equal(electrons["taught"], electrons["exact"], equal_nan=True)
    table = write_table(some, tmp_path / "structures.parquet")
    config = ExtractorConfig.of("default", output="physics", electronic="taught")
    stream_features(table, tmp_path / "streamed.parquet", config)
    streamed = load_features(tmp_path / "streamed.parquet").matrix
    np.testing.assert_allclose(streamed, values["taught"], rtol=1e-4, atol=1e-4)
    assert len(config.checksums()) > 2  # encoders and student, beside the names
    with pytest.raises(UnknownNameError, match="exact"):
        ExtractorConfig.of("default", output="physics", electronic="exakt")


def test_an_unknown_output_lists_physics() -> None:
    with pytest.raises(UnknownNameError, match="physics"):
        ExtractorConfig.of("tiny", output="fysics").extractor()


def test_an_output_that_is_no_number_is_still_an_error(crystals: Crystals, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        pipeline.extract([tmp_path / "absent.parquet"], output="physics")
