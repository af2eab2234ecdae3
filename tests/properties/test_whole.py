"""From structures to a folder and from the folder to predictions."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from crystalssl import pipeline
from crystalssl.properties.property_model import PropertyModel
from small_properties import TARGET


def test_a_folder_holds_a_card_predictions_of_every_crystal_and_no_cache(model: Path) -> None:
    loaded = PropertyModel.load(model)
    assert loaded.card.target == TARGET
    assert loaded.card.unit == "eV/atom"
    table = pq.read_table(model / "out_of_fold.parquet")
    repeats = loaded.card.plan["repeats"]
    assert len(table) == 60 * repeats
    assert np.isfinite(table["predicted"].to_numpy()).all()
    assert not (model / ".cache").exists()
    assert (
        loaded.card.metrics["model"].metrics["rmse"].mean
        < loaded.card.metrics["mean"].metrics["rmse"].mean
    )


def test_predictions_in_memory_parquet_and_csv_are_the_same(
    model: Path, structures: Path, tmp_path: Path
) -> None:
    table = pipeline.predict(model, [structures], threads=1)
    assert table.column_names[:6] == [
        "immutable_id", TARGET, f"{TARGET}_lower", f"{TARGET}_upper", "in_domain", "nearest",
    ]  # fmt: skip
    pipeline.predict(model, [structures], tmp_path / "p.parquet", threads=1)
    assert pq.read_table(tmp_path / "p.parquet").equals(table)
    pipeline.predict(model, [structures], tmp_path / "p.csv", threads=1)
    with (tmp_path / "p.csv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert [float(row[TARGET]) for row in rows] == table[TARGET].to_pylist()
