"""Crystals beyond 100 sites, and sites of more than four species: trained on, described, marked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crystalssl import pipeline
from crystalssl.features.store import load_features
from crystalssl.hub.card import ModelCard
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.table import write_table
from worlds import crystals_of, large_crystals

HIGH_ENTROPY = {27: 0.2, 24: 0.2, 26: 0.2, 25: 0.2, 28: 0.2}


@pytest.fixture(scope="module", name="table")
def _table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four crystals of 130 sites, and eight small ones with five species on a site."""
    cells = [(np.eye(3) * (3 + row / 10), [[0, 0, 0]], [HIGH_ENTROPY]) for row in range(8)]
    crystals = Crystals.concatenate([large_crystals(4), crystals_of(cells)])
    path = tmp_path_factory.mktemp("large") / "structures.parquet"
    labelled = replace(crystals, ids=np.arange(12).astype(np.str_))
    split = pa.table({"split": ["train", "val"] * 6})
    return write_table(labelled.with_columns(split), path)


@pytest.mark.filterwarnings("ignore")
def test_crystals_beyond_100_sites_are_trained_on_described_and_marked(
    table: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    made = pipeline.pretrain(table, run, block="1,3,4,6", epochs=1, threads=1)
    assert made is not None
    for name in ("composition", "sites", "occupancy", "structure_factors"):
        data = ModelCard.load(run / "blocks" / name).data
        assert data["train_crystals"] + data["val_crystals"] == 12
    described = pipeline.extract_to(table, tmp_path / "f.parquet", weights=run, output="blocks")
    assert described is not None
    features = load_features(tmp_path / "f.parquet")
    assert np.isfinite(features.matrix).all()
    assert features.beyond_training is not None
    assert features.beyond_training.tolist() == [True] * 4 + [False] * 8
    marks = pq.read_table(tmp_path / "f.parquet", columns=["beyond_training"])
    assert marks["beyond_training"].to_pylist() == [True] * 4 + [False] * 8
