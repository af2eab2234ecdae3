"""Labelled crystals and one small model, fitted once for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from crystalssl import pipeline
from crystalssl.structures.table import write_table
from small_properties import TARGET, labelled


@pytest.fixture(scope="session")
def structures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    crystals = labelled(60)
    labels = pa.table({TARGET: pa.array(crystals.column(TARGET))})
    path = tmp_path_factory.mktemp("properties") / "structures.parquet"
    return write_table(crystals.with_columns(labels), path)


@pytest.fixture(scope="session")
def model(structures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fitted") / "model"
    pipeline.fit([structures], folder, target=TARGET, weights="tiny", repeats=1, threads=1)
    return folder
