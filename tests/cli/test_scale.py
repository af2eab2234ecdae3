"""The commands for large corpora, on small ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crystalssl.features.store import load_features
from crystalssl.pipeline import extraction
from crystalssl.structures.table import read_table

Invoke = Callable[..., Any]


def test_generate_makes_as_many_crystals_as_asked_for(tmp_path: Path, invoke: Invoke) -> None:
    out = tmp_path / "made.parquet"
    result = invoke("generate", "-n", 30, "-o", out, "--seed", 2)
    assert result.exit_code == 0
    assert "synthetic" in result.output
    assert read_table(out).crystals.ids[-1] == "synthetic-2-29"


@pytest.fixture
def made(tmp_path: Path, invoke: Invoke) -> Path:
    out = tmp_path / "structures.parquet"
    assert invoke("generate", "-n", 12, "-o", out).exit_code == 0
    return out


def test_a_large_table_is_streamed_to_the_same_features(
    made: Path, tmp_path: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = invoke("extract", made, "-o", tmp_path / "whole.npy", "--threads", 1)
    monkeypatch.setattr(extraction, "MANY", 1)
    streamed = invoke("extract", made, "-o", tmp_path / "streamed.npy", "--threads", 1)
    assert whole.exit_code == streamed.exit_code == 0, streamed.output
    assert "12 x 2,048 features" in streamed.output
    one, two = (load_features(tmp_path / f"{name}.npy") for name in ("whole", "streamed"))
    assert one.ids.tolist() == two.ids.tolist()
    np.testing.assert_allclose(one.matrix, two.matrix, rtol=1e-3, atol=1e-4)


def test_only_one_table_of_many_rows_is_streamed(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert extraction._large_table([made]) is None
    monkeypatch.setattr(extraction, "MANY", 11)
    assert extraction._large_table([made]) == extraction._large_table(str(made)) == made
    assert extraction._large_table([made, made]) is None
    assert extraction._large_table([made.parent]) is None
    assert extraction._large_table([made.with_name("none.parquet")]) is None


def test_features_can_be_stored_as_int8(made: Path, tmp_path: Path, invoke: Invoke) -> None:
    for dtype in ("float32", "int8"):
        result = invoke(
            "extract", made, "-w", "tiny", "-o", tmp_path / f"{dtype}.npy", "--dtype", dtype
        )
        assert result.exit_code == 0, result.output
    full, small = (load_features(tmp_path / f"{d}.npy").matrix for d in ("float32", "int8"))
    assert (np.abs(full - small) <= np.ptp(full, axis=0) / 253 + 1e-5).all()
    wrong = invoke("extract", made, "-o", tmp_path / "f.npy", "--dtype", "int16")
    assert wrong.exit_code == 2 and "int8" in wrong.output


def test_strict_stops_a_stream_at_the_first_skipped_row(
    made: Path, tmp_path: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(made)
    names = table["immutable_id"].to_pylist()
    names[4] = None
    column = table.column_names.index("immutable_id")
    pq.write_table(table.set_column(column, "immutable_id", [names]), made)
    monkeypatch.setattr(extraction, "MANY", 1)
    out = tmp_path / "f.npy"
    words = ("extract", made, "-w", "tiny", "-o", out, "--threads", 1)
    strict = invoke(*words, "--strict")
    assert strict.exit_code == 2 and "allows none" in strict.output
    assert not out.exists()
    plain = invoke(*words)
    assert plain.exit_code == 0 and "Skipped 1 of 12" in plain.output
    assert len(load_features(out)) == 11


def test_pretraining_can_stream_its_corpus_from_disk(
    tmp_path: Path, invoke: Invoke, registered_toy: object
) -> None:
    table = tmp_path / "structures.parquet"
    assert invoke("generate", "-n", 150, "-o", table).exit_code == 0
    words = ["pretrain", table, "--stream", "--block", "toy", "--epochs", 1, "--threads", 1]
    first = invoke(*words, "--out", tmp_path / "run")
    assert first.exit_code == 0, first.output
    assert "canonical crystals in shards" in first.output
    assert (tmp_path / "run" / "blocks" / "toy" / "weights.safetensors").is_file()
    again = invoke(*words, "--out", tmp_path / "run", "--resume")
    assert again.exit_code == 0 and "in shards" not in again.output
    wrong = invoke("pretrain", tmp_path, "--stream", "--out", tmp_path / "other")
    assert wrong.exit_code == 2 and "reads one structure table" in wrong.output
