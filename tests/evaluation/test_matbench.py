"""Matbench: matminer's file, ids and folds as published, a record that matbench reads."""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from sklearn import metrics

from crystalssl.datasets.bundled import load_bundled
from crystalssl.errors import InputError, UnknownNameError
from crystalssl.evaluation.cache import Cache
from crystalssl.evaluation.matbench import record as record_file
from crystalssl.evaluation.matbench.folds import fold_scores, folds_of
from crystalssl.evaluation.matbench.record import benchmark_record, record_hash, save_record
from crystalssl.evaluation.matbench.run import matbench, task_features
from crystalssl.evaluation.matbench.task import TASKS, prefix_ids, read_task, split_table
from crystalssl.evaluation.results import MEAN, Results, select
from crystalssl.features.features import Features
from crystalssl.models.registry import build_head
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
    matrix = matrix[valid].astype(np.float32)
    return task_features(task, Features(ids=task.mbids[valid], blocks={"any": matrix}))


@pytest.fixture
def result(task, features):
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
    monkeypatch.setattr("crystalssl.evaluation.matbench.task.CHUNK", 7)
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
    true, predicted = rng.normal(size=(2, 50))
    true[3] = 0.0
    found = fold_scores(true, predicted, "regression")
    kept = true != 0
    assert found == pytest.approx(
        {
            "mae": metrics.mean_absolute_error(true, predicted),
            "rmse": metrics.root_mean_squared_error(true, predicted),
            "mape": metrics.mean_absolute_percentage_error(true[kept], predicted[kept]),
            "max_error": metrics.max_error(true, predicted),
        }
    )


def test_rocauc_is_that_of_matbench_and_of_the_probabilities_beside_it():
    truth = np.array([0.0, 0, 1, 1])
    found = fold_scores(truth, np.array([0.1, 0.6, 0.4, 0.9]), "classification")
    assert found["rocauc"] == found["balanced_accuracy"] == found["accuracy"] == 0.5
    assert found["rocauc_probability"] == 0.75
    assert found["f1"] == 0.5


def test_the_record_has_the_fields_that_matbench_demands(result, task):
    record = benchmark_record(result)
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
    save_record(result, tmp_path)
    stored = json.loads((tmp_path / "results.json").read_text())
    claimed = stored.pop("hash")

    def ordered(value):  # matbench.util.immutify_dictionary
        if not isinstance(value, dict):
            return value
        return {key: ordered(value[key]) for key in sorted(value)}

    assert hashlib.sha256(json.dumps(ordered(stored)).encode()).hexdigest() == claimed
    assert record_hash({**stored, "seed": 1}) != claimed


def test_features_that_hold_the_answer_beat_the_mean(result):
    entries = {entry.head: entry for entry in select(result.summary, metric="mae")}
    assert entries["ridge"].mean < 0.5 * entries[MEAN].mean
    assert entries["ridge"].low < entries["ridge"].mean < entries["ridge"].high
    assert all(entry.repeats == 5 for entry in entries.values())
    assert [verdict.failed for verdict in result.record.verdicts] == [False]


def test_a_row_without_features_is_predicted_by_the_training_mean(result, task, features):
    (fold,) = [(train, test) for train, test in folds_of(task.labels, task.kind) if BROKEN in test]
    table = result.predictions.filter(pc.field("head") == "ridge")
    columns = (table[name].to_pylist() for name in ("immutable_id", "predicted"))
    said = dict(zip(*columns, strict=True))
    assert said[task.mbids[BROKEN]] == pytest.approx(task.labels[fold[0]].mean())
    assert len(said) == N
    assert result.record.counts["predicted by the training mean"] == 1
    counted = [
        entry["parameters"]["test_rows_predicted_by_training_mean"]
        for entry in benchmark_record(result)["tasks"]["matbench_tiny"]["results"].values()
    ]
    assert sum(counted) == 1


def test_test_labels_do_not_reach_the_head(task, features):
    (_, test), *_ = folds_of(task.labels, task.kind)
    other = task.labels.copy()
    other[test] += 100.0
    said = [
        matbench(replace(task, labels=labels), features, build_head("ridge")).predictions.filter(
            (pc.field("fold") == 0) & (pc.field("head") == "ridge")
        )["predicted"]
        for labels in (task.labels, other)
    ]
    assert said[0].equals(said[1])


def test_a_stopped_run_goes_on_and_a_finished_one_changes_nothing(
    task, features, tmp_path, monkeypatch
):
    class StoppedError(Exception):
        pass

    def stop(done, _total, _text):
        if done == 3:
            raise StoppedError

    cache, head = Cache(tmp_path / "cache"), build_head("ridge")
    with pytest.raises(StoppedError):
        matbench(task, features, head, cache=cache, progress=stop)
    again = Cache(tmp_path / "cache")
    first = matbench(task, features, head, cache=again)
    assert (again.reused, again.computed) == (3, 2)
    path = save_record(first, tmp_path)
    before = path.read_bytes()
    second = matbench(task, features, head, cache=again)
    assert (again.reused, again.computed) == (8, 2)
    monkeypatch.setattr(record_file, "DATESTAMP", "later")
    assert save_record(second, tmp_path).read_bytes() == before
    second.save(tmp_path)
    assert Results.load(tmp_path, "matbench").rows == first.rows
    changed = replace(second, record=replace(second.record, data_hash="other"))
    assert save_record(changed, tmp_path).read_bytes() != before


def test_the_results_say_what_was_run(result, task):
    assert {row.metric for row in result.rows} == {
        "mae", "rmse", "mape", "max_error", "fit_seconds", "strength",
    }  # fmt: skip
    assert {row.fold for row in result.rows} == set(range(5))
    assert {row.n_train + row.n_test for row in result.rows} == {N}
    record = result.record
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
    part = task_features(task, Features(ids=task.mbids, blocks={"x": matrix}))
    head = build_head(name, kind=task.kind, threads=1)
    if name == "mlp":
        head = replace(head, epochs=3, steps=30)
    result = matbench(task, part, head)
    said = np.array(result.predictions["predicted"].to_pylist())
    assert ((said >= 0) & (said <= 1)).all()
    entry = benchmark_record(result)["tasks"]["t"]["results"]["fold_0"]
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
