import pytest

from crystalssl.errors import InputError
from crystalssl.evaluation.compare import compare
from crystalssl.evaluation.scenario import ResultTable, RunRecord, ScenarioResult, digest


def row(feature_set, value, fold=0, metric="rmse", model="ridge"):
    return ScenarioResult(
        scenario="linear_probe",
        property="band_gap",
        unit="eV",
        split_kind="held-out",
        train_fraction=0.9,
        seed=0,
        fold=fold,
        feature_set=feature_set,
        n_features=8,
        model=model,
        metric=metric,
        value=value,
        n_train=90,
        n_test=10,
    )


@pytest.fixture
def table():
    values = {"ours": (1.0, 2.0, 3.0), "theirs": (2.0, 2.5, 2.0)}
    rows = [row(name, v, fold) for name, folds in values.items() for fold, v in enumerate(folds)]
    record = RunRecord(
        scenario="linear_probe", protocol="words", config={"a": 1}, seeds=[0], data_hash="x"
    )
    return ResultTable(rows=tuple(rows), record=record)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_table_and_its_record_come_back_as_they_were_saved(table, tmp_path, suffix):
    path = table.save(tmp_path / "results" / f"table{suffix}")
    assert ResultTable.load(path) == table
    assert not list(path.parent.glob("*.partial"))


def test_another_suffix_is_refused(table, tmp_path):
    with pytest.raises(InputError, match=r"\.parquet or \.csv"):
        table.save(tmp_path / "table.xlsx")


def test_a_missing_file_and_a_damaged_file_are_named(table, tmp_path):
    with pytest.raises(InputError, match="Found no file"):
        ResultTable.load(tmp_path / "absent.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"not a table")
    with pytest.raises(InputError, match="no readable table"):
        ResultTable.load(tmp_path / "bad.parquet")


def test_summary_gives_mean_and_sample_deviation_over_splits(table):
    ours, _ = table.summarize(["feature_set"], metric="rmse")
    assert ours.key == ("ours",)
    assert (ours.mean, ours.spread, ours.count) == (2.0, 1.0, 3)


def test_margins_are_paired_by_split(table):
    (found,) = compare(table, "ours")
    assert found.baseline == "theirs"
    assert found.margin == pytest.approx((1.0 + 0.5 - 1.0) / 3)
    assert (found.wins, found.splits) == (2, 3)
    assert compare(table, "nobody") == []


def test_digests_differ_where_order_or_shape_differs():
    import numpy as np

    one, two = np.arange(4.0), np.arange(4.0).reshape(2, 2)
    assert digest([one]) == digest([one.copy()])
    assert len({digest([one]), digest([two]), digest([one, "a"]), digest(["a", one])}) == 4
