import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from crystalssl.errors import InputError
from crystalssl.evaluation.results import ResultRow, Results, Summary, prediction_table, select
from crystalssl.evaluation.tables import records_of, table_of, write_table
from small_results import cell, difference, small_results, summary


@pytest.fixture
def results():
    return replace(small_results(), tables={"explained": pa.table({"section": ["raw", "ssl"]})})


def test_results_come_back_as_they_were_saved_and_nothing_else_lies_about(results, tmp_path):
    written = results.save(tmp_path / "out")
    again = Results.load(tmp_path / "out", "linear_probe")
    assert again.record == results.record
    assert (again.rows, again.summary) == (results.rows, results.summary)
    assert again.differences == results.differences
    assert again.predictions.to_pylist() == results.predictions.to_pylist()
    assert again.tables["explained"].equals(results.tables["explained"])
    assert sorted(written) == sorted((tmp_path / "out").iterdir())


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_rows_come_back_from_parquet_and_from_csv(results, tmp_path, suffix):
    path = write_table(table_of(results.rows, ResultRow), tmp_path / f"rows{suffix}")
    assert records_of(path, ResultRow) == results.rows


def test_every_prediction_names_its_cell(results):
    frame = results.predictions.to_pandas()
    assert frame.columns.tolist() == [
        "immutable_id", "group", "target", "unit", "split", "train_fraction", "repeat", "fold",
        "feature_set", "head", "true", "predicted",
    ]  # fmt: skip
    assert len(frame) == 3 * 2 * 3
    part = frame[(frame.feature_set == "ssl") & (frame.repeat == 1)]
    assert part.immutable_id.tolist() == ["mp-0", "mp-1", "mp-2"]
    assert part.group.tolist() == ["A0B", "A1B", "A2B"]
    assert part.predicted.tolist() == [0.2, 1.2, 1.8]
    assert part["true"].tolist() == [0.0, 1.0, 2.0]


def test_cells_of_different_lengths_do_not_mix(tmp_path):
    cells = [cell("a", [1.0], [2.0]), cell("b", [3.0, 4.0], [5.0, 6.0], head="mlp", fold=2)]
    table = prediction_table(cells).to_pylist()
    assert [(r["feature_set"], r["head"], r["fold"], r["true"]) for r in table] == [
        ("a", "ridge", 0, 1.0),
        ("b", "mlp", 2, 3.0),
        ("b", "mlp", 2, 4.0),
    ]
    assert len(prediction_table([])) == 0


def test_an_interval_that_is_not_known_is_empty_on_disk_and_nan_in_memory(tmp_path):
    entry = summary("ssl", "fit_seconds", 1.0, low=np.nan, high=np.nan)
    path = write_table(table_of([entry], Summary), tmp_path / "summary.parquet")
    (again,) = records_of(path, Summary)
    assert np.isnan(again.low) and np.isnan(again.high)
    assert table_of([entry], Summary)["low"].null_count == 1


def test_results_of_another_format_are_refused_by_their_version(results, tmp_path):
    results.save(tmp_path)
    path = tmp_path / "linear_probe.json"
    stored = json.loads(path.read_text())
    del stored["format_version"]  # as the first format was written
    path.write_text(json.dumps(stored))
    with pytest.raises(InputError, match="is of format 1; expected 2"):
        Results.load(tmp_path, "linear_probe")


def test_missing_damaged_and_foreign_files_are_named(results, tmp_path):
    with pytest.raises(InputError, match="Found no file"):
        Results.load(tmp_path, "linear_probe")
    results.save(tmp_path)
    (tmp_path / "linear_probe.parquet").write_bytes(b"not a table")
    with pytest.raises(InputError, match="no readable table"):
        Results.load(tmp_path, "linear_probe")
    write_table(pa.table({"value": [1.0]}), tmp_path / "linear_probe.parquet")
    with pytest.raises(InputError, match="lacks the columns"):
        Results.load(tmp_path, "linear_probe")
    with pytest.raises(InputError, match=r"\.parquet or \.csv"):
        write_table(pa.table({"a": [1]}), tmp_path / "table.xlsx")


def test_rows_are_selected_by_the_values_of_their_attributes(results):
    found = select(results.rows, feature_set="ssl", repeat=1)
    assert [(row.feature_set, row.repeat) for row in found] == [("ssl", 1)]
    assert select(results.rows, feature_set="nobody") == []


def test_a_gain_is_positive_where_the_proposed_features_are_better():
    lower, higher = difference("a", "b", "rmse", -0.2), difference("a", "b", "r2", 0.2)
    assert lower.gain == higher.gain == 0.2
    assert lower.significant and not difference("a", "b", "rmse", -0.2, reach=0.3).significant
