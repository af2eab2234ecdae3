"""Matbench: matminer's file, ids and folds as published, a record that matbench reads."""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn import metrics

from crystalssl.datasets.bundled import load_bundled
from crystalssl.errors import InputError, UnknownNameError
from crystalssl.evaluation.feature_sets import FeatureSet
from crystalssl.evaluation.matbench import Matbench, matbench
from crystalssl.evaluation.matbench_file import read_task, split_table
from crystalssl.evaluation.matbench_record import record_hash
from crystalssl.evaluation.matbench_tasks import TASKS, fold_scores, folds_of, prefix_ids
from crystalssl.evaluation.scenario import ResultTable
from crystalssl.evaluation.scoring import MEAN
from crystalssl.evaluation.store import Store
from crystalssl.models import build_head
from crystalssl.structures.objects import to_pymatgen
from crystalssl.structures.table import to_arrow

N = 40
BROKEN = 7
"""Row whose structure has no cell."""


def document(labels, column="e_form", order=("index", "columns", "data")):
    crystals = load_bundled().take(range(len(labels)))
    rows = [[s.as_dict(), y] for s, y in zip(to_pymatgen(crystals), labels, strict=True)]
    if len(rows) > BROKEN:
        rows[BROKEN][0]["lattice"]["matrix"][2] = [0.0, 0.0, 0.0]
    table = {"index": list(range(len(rows))), "columns": ["structure", column], "data": rows}
    return {key: table[key] for key in order}


def write(path, table):
    text = json.dumps(table)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.fixture(scope="module")
def labels():
    return np.random.default_rng(0).normal(size=N).round(3).tolist()


@pytest.fixture(scope="module")
def file(labels, tmp_path_factory):
    return write(tmp_path_factory.mktemp("task") / "matbench_tiny.json.gz", document(labels))


@pytest.fixture
def task(file):
    return read_task(file)


@pytest.fixture
def features(task):
    rng = np.random.default_rng(1)
    matrix = np.concatenate([task.labels[:, None], rng.normal(size=(N, 4))], axis=1)
    valid = np.isin(np.arange(N), task.rows)
    matrix[~valid] = 0.0
    return FeatureSet(
        name="ours", label="Ours", matrix=matrix.astype(np.float32), valid=valid, width=5
    )


@pytest.fixture
def result(task, features) -> Matbench:
    return matbench(task, features, build_head("ridge"), details={"weights": "none"})


def test_a_task_keeps_every_row_and_says_which_structure_is_of_no_use(task, labels):
    assert task.labels.tolist() == labels
    assert task.rows.tolist() == [row for row in range(N) if row != BROKEN]
    assert task.crystals.ids.tolist() == task.mbids[task.rows].tolist()
    assert [skip.id for skip in task.skipped] == [task.mbids[BROKEN]]
    assert (task.name, task.target, task.kind) == ("matbench_tiny", "e_form", "regression")


def test_structures_are_those_of_the_file(task):
    given = load_bundled().take(task.rows)
    np.testing.assert_allclose(task.crystals.lattice, given.lattice)
    np.testing.assert_array_equal(task.crystals.numbers, given.numbers)


def test_keys_may_come_in_any_order_and_batches_of_any_size(labels, tmp_path, monkeypatch, task):
    monkeypatch.setattr("crystalssl.evaluation.matbench_file.CHUNK", 7)
    path = write(tmp_path / "matbench_tiny.json", document(labels, order=("data", "columns")))
    again = read_task(path)
    assert again.crystals.ids.tolist() == task.crystals.ids.tolist()
    assert again.labels.tolist() == labels
    np.testing.assert_array_equal(again.crystals.lattice, task.crystals.lattice)


def test_a_split_table_is_decoded_as_json_decodes_it():
    table = {"columns": ["a", "b"], "index": [], "data": [[{"x": [1, 2]}, "],"], [None, True]]}
    for indent in (None, 2):
        found = list(split_table(json.dumps(table, indent=indent)))
        assert found == [
            ("columns", ["a", "b"]),
            ("index", []),
            ("data", [{"x": [1, 2]}, "],"]),
            ("data", [None, True]),
        ]
    assert list(split_table('{"data": []}')) == []


def test_a_structure_table_gives_the_same_task(task, labels, tmp_path):
    crystals = load_bundled().take(range(N))
    table = to_arrow(crystals.with_columns(pa.table({"e_form": labels})))
    lattice = table["lattice_vectors"].to_pylist()
    lattice[BROKEN] = [[1.0, 0, 0]] * 3
    place = table.column_names.index("lattice_vectors")
    kind = table.schema.field("lattice_vectors").type
    path = tmp_path / "matbench_tiny.parquet"
    table = table.set_column(place, "lattice_vectors", pa.array(lattice, kind))
    pq.write_table(table, path)
    again = read_task(path)
    assert again.mbids.tolist() == task.mbids.tolist()
    assert again.rows.tolist() == task.rows.tolist()
    assert again.crystals.ids.tolist() == task.crystals.ids.tolist()
    assert again.labels.tolist() == labels


def test_truth_values_make_a_classification(tmp_path):
    truths = [bool(i % 3) for i in range(30)]
    task = read_task(write(tmp_path / "t.json", document(truths, "is_metal")))
    assert task.kind == "classification"
    assert task.labels.tolist() == [float(value) for value in truths]


@pytest.mark.parametrize(
    ("name", "digest"),
    [  # SHA-256 of the test ids of folds 0 to 4, one a line, in the file matbench 0.6 ships
        ("matbench_jdft2d", "204feaa3ea0e5ff7"),
        ("matbench_phonons", "06f2f7ca76b751a1"),
        ("matbench_dielectric", "c96878d903c75d77"),
        ("matbench_log_gvrh", "93606e468a82f6ed"),
        ("matbench_log_kvrh", "0bf10a546b4aa418"),
        ("matbench_perovskites", "9537e5a8e4e694d1"),
        ("matbench_mp_gap", "51f31a4c27f6fad8"),
        ("matbench_mp_e_form", "b9af295577cd26d9"),
    ],
)
def test_ids_and_folds_are_the_official_ones(name, digest):
    rows = TASKS[name].rows
    mbids = prefix_ids(name, rows)
    tests = np.concatenate([test for _, test in folds_of(np.zeros(rows), "regression")])
    assert hashlib.sha256("\n".join(mbids[tests]).encode()).hexdigest()[:16] == digest


def test_classes_are_dealt_in_equal_shares():
    labels = (np.random.default_rng(0).random(101) < 0.3).astype(float)
    folds = folds_of(labels, "classification")
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(101))
    for train, test in folds:
        assert not set(train) & set(test)
        assert labels[test].mean() == pytest.approx(labels.mean(), abs=0.05)


def test_scores_are_those_of_scikit_learn_and_mape_leaves_zeros_out():
    rng = np.random.default_rng(0)
    truth, guess = rng.normal(size=(2, 50))
    truth[3] = 0.0
    found = fold_scores(truth, guess, "regression")
    kept = truth != 0
    assert found == pytest.approx(
        {
            "mae": metrics.mean_absolute_error(truth, guess),
            "rmse": metrics.root_mean_squared_error(truth, guess),
            "mape": metrics.mean_absolute_percentage_error(truth[kept], guess[kept]),
            "max_error": metrics.max_error(truth, guess),
        }
    )


def test_rocauc_is_that_of_matbench_and_of_the_probabilities_beside_it():
    truth = np.array([0.0, 0, 1, 1])
    found = fold_scores(truth, np.array([0.1, 0.6, 0.4, 0.9]), "classification")
    assert found["rocauc"] == found["balanced_accuracy"] == found["accuracy"] == 0.5
    assert found["rocauc_probability"] == 0.75
    assert found["f1"] == 0.5


def test_the_record_has_the_fields_that_matbench_demands(result, task):
    record = result.record
    assert set(record) == {
        "@module", "@class", "version", "benchmark_name", "tasks", "user_metadata", "datestamp",
        "hash",
    }  # fmt: skip
    assert (record["@module"], record["@class"]) == ("matbench.bench", "MatbenchBenchmark")
    assert record["benchmark_name"] == "matbench_v0.1"
    (entry,) = record["tasks"].values()
    assert list(record["tasks"]) == [entry["dataset_name"]] == ["matbench_tiny"]
    assert set(entry) == {"@module", "@class", "benchmark_name", "dataset_name", "results"}
    assert (entry["@module"], entry["@class"]) == ("matbench.task", "MatbenchTask")
    assert list(entry["results"]) == [f"fold_{fold}" for fold in range(5)]
    folds = folds_of(task.labels, task.kind)
    for fold, (_, test) in zip(entry["results"].values(), folds, strict=True):
        assert set(fold) == {"data", "parameters", "scores", "uncertainty"}
        assert list(fold["data"]) == task.mbids[test].tolist()
        assert all(type(value) is float for value in fold["data"].values())
        assert list(fold["scores"]) == ["mae", "rmse", "mape", "max_error"]
        assert all(type(value) is float for value in fold["scores"].values())


def test_the_hash_is_the_one_matbench_computes_on_reading(result, tmp_path):
    result.save(tmp_path)
    stored = json.loads((tmp_path / "results.json").read_text())
    claimed = stored.pop("hash")

    def ordered(value):  # matbench.util.immutify_dictionary
        if not isinstance(value, dict):
            return value
        return {key: ordered(value[key]) for key in sorted(value)}

    assert hashlib.sha256(json.dumps(ordered(stored)).encode()).hexdigest() == claimed
    assert record_hash({**stored, "seed": 1}) != claimed


def test_features_that_hold_the_answer_beat_the_mean(result):
    own = result.table.summarize(["model"], metric="mae")
    errors = {summary.key[0]: summary.mean for summary in own}
    assert errors["ridge"] < 0.5 * errors[MEAN]
    assert all(summary.count == 5 for summary in own)


def test_a_row_without_features_is_predicted_by_the_training_mean(result, task, features):
    (fold,) = [(train, test) for train, test in folds_of(task.labels, task.kind) if BROKEN in test]
    said = dict(
        zip(
            result.predictions["immutable_id"].to_pylist(),
            result.predictions["y_pred"].to_pylist(),
            strict=True,
        )
    )
    assert said[task.mbids[BROKEN]] == pytest.approx(task.labels[fold[0]].mean())
    assert len(said) == N
    assert result.table.record.counts["predicted by the training mean"] == 1
    counted = [
        entry["parameters"]["test_rows_predicted_by_training_mean"]
        for entry in result.record["tasks"]["matbench_tiny"]["results"].values()
    ]
    assert sum(counted) == 1


def test_test_labels_do_not_reach_the_head(task, features):
    (_, test), *_ = folds_of(task.labels, task.kind)
    other = task.labels.copy()
    other[test] += 100.0
    said = [
        matbench(replace(task, labels=labels), features, build_head("ridge")).record["tasks"][
            "matbench_tiny"
        ]["results"]["fold_0"]["data"]
        for labels in (task.labels, other)
    ]
    assert said[0] == said[1]


def test_a_stopped_run_goes_on_and_a_finished_one_changes_nothing(
    task, features, tmp_path, monkeypatch
):
    class StoppedError(Exception):
        pass

    def stop(done, _total, _text):
        if done == 3:
            raise StoppedError

    store = Store(tmp_path / ".parts")
    head = build_head("ridge")
    with pytest.raises(StoppedError):
        matbench(task, features, head, store=store, progress=stop)
    again = Store(tmp_path / ".parts")
    first = matbench(task, features, head, store=again)
    assert (again.reused, again.computed) == (3, 2)
    first.save(tmp_path)
    before = (tmp_path / "results.json").read_bytes()
    second = matbench(task, features, head, store=again)
    assert (again.reused, again.computed) == (8, 2)
    monkeypatch.setattr("crystalssl.evaluation.matbench_record.DATESTAMP", "later")
    second.save(tmp_path)
    assert (tmp_path / "results.json").read_bytes() == before
    assert ResultTable.load(tmp_path / "matbench.parquet") == first.table


def test_the_table_says_what_was_run(result, task):
    rows = result.table.rows
    assert {row.metric for row in rows} == {"mae", "rmse", "mape", "max_error", "fit_seconds"}
    assert {row.fold for row in rows} == set(range(5))
    record = result.table.record
    assert record.config["weights"] == "none"
    assert record.config["official"] is False
    assert record.seeds == [18012019, 0]


@pytest.mark.parametrize("name", ["lightgbm", "mlp", "ridge"])
def test_every_head_gives_probabilities_of_classes(name, tmp_path):
    pytest.importorskip("lightgbm")
    truths = [bool(i % 2) for i in range(40)]
    task = read_task(write(tmp_path / "t.json", document(truths, "is_metal")))
    matrix = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    matrix[:, 0] += 3 * task.labels
    part = FeatureSet(name="x", label="X", matrix=matrix, valid=np.ones(40, bool), width=3)
    head = build_head(name, kind=task.kind, threads=1)
    if name == "mlp":
        head = replace(head, epochs=3, steps=30)
    result = matbench(task, part, head)
    said = np.array(result.predictions["y_pred"].to_pylist())
    assert ((said >= 0) & (said <= 1)).all()
    entry = result.record["tasks"]["t"]["results"]["fold_0"]
    assert list(entry["scores"]) == ["accuracy", "balanced_accuracy", "f1", "rocauc"]


def test_bad_files_are_named(tmp_path, labels, task, features):
    for text in ("", "[1]", '{"columns": ["a"]', '{"data": 1}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(InputError, match="no matminer-format table"):
            read_task(tmp_path / "bad.json")
    (tmp_path / "bad.json.gz").write_bytes(b"\x1f\x8b damaged")
    with pytest.raises(InputError, match="no matminer-format table"):
        read_task(tmp_path / "bad.json.gz")
    with pytest.raises(InputError, match="Found no file"):
        read_task(tmp_path / "absent.json")
    with pytest.raises(InputError, match="gives compositions"):
        read_task(tmp_path / "matbench_steels.json.gz")
    lacking = write(tmp_path / "lacking.json", document([*labels[:-1], None]))
    with pytest.raises(InputError, match=r"no label in 1 of 40 rows .row 39 first"):
        read_task(lacking)
    two = document(labels[:2])
    two["columns"].append("other")
    for row in two["data"]:
        row.append(1.0)
    with pytest.raises(InputError, match="2 columns that could be labels"):
        read_task(write(tmp_path / "two.json", two))
    with pytest.raises(UnknownNameError, match="Did you mean 'other'"):
        read_task(tmp_path / "two.json", target="othre")
    assert read_task(tmp_path / "two.json", target="other").labels.tolist() == [1.0, 1.0]
    with pytest.raises(InputError, match="for 5 folds"):
        folds_of(np.zeros(6), "regression")
    with pytest.raises(InputError, match="features of 39 rows"):
        short = replace(features, matrix=features.matrix[1:])
        matbench(task, short, build_head("ridge"))
