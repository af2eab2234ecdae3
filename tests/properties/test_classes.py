"""Labels that name classes: what is taken for them, calibrated probabilities, folders, metrics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score

from crystalssl import pipeline
from crystalssl.errors import InputError, UnknownNameError
from crystalssl.properties.calibration import fit_calibration, probabilities
from crystalssl.properties.classes import are_classes, class_columns, read_classes
from crystalssl.properties.labels import LabelSource, read_labels
from crystalssl.properties.metrics import calibration_error, class_scores, metrics_of
from crystalssl.properties.property_model import PropertyModel
from crystalssl.structures.table import write_table
from small_properties import TARGET, labelled

CLASS = "stability (class)"


@pytest.fixture(scope="module")
def structures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    crystals = labelled(45)
    energy = crystals.column(TARGET)
    names = np.array(["low", "middle", "high"])[
        np.digitize(energy, np.quantile(energy, [0.4, 0.7]))
    ]
    path = tmp_path_factory.mktemp("classes") / "structures.parquet"
    return write_table(crystals.with_columns(pa.table({CLASS: names})), path)


@pytest.fixture(scope="module")
def model(structures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fitted") / "classes"
    pipeline.fit([structures], folder, target=CLASS, weights="tiny", repeats=1, threads=1)
    return folder


@pytest.mark.parametrize(
    ("texts", "classes"),
    [
        (["metal", "oxide"] * 10, True),
        (["True", "False"] * 3, True),
        (["0", "1", "1.0", "0"], True),
        (["1", "2", "3"] * 10, False),
        (["1e-3", "<1e-10", "n/a"], False),
        ([f"name {number}" for number in range(40)], False),
    ],
)
def test_words_and_zero_and_one_are_classes_and_numbers_are_not(
    texts: list[str], classes: bool
) -> None:
    assert are_classes(texts, "auto") is classes
    assert are_classes(texts, "classification")
    assert not are_classes(texts, "regression")


def test_rare_and_contradictory_classes_are_refused_and_others_ordered_by_value() -> None:
    cells = {row: [text] for row, text in enumerate(["10"] * 6 + ["2"] * 5 + ["7"] * 2)}
    cells[13] = ["2", "10"]
    cells[14] = ["n/a"]
    read = read_classes(cells, 16)
    assert read.names == ("2", "10")
    assert [row for row, _, _ in read.refused] == [11, 12, 13, 14]
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(read.codes)), [11, 12, 13, 14, 15])
    with pytest.raises(InputError, match="expected 2 to"):
        read_classes({row: ["a"] for row in range(9)}, 9)


@pytest.mark.parametrize("count", [2, 3])
def test_metrics_are_those_of_scikit_learn(count: int) -> None:
    rng = np.random.default_rng(count)
    codes = rng.integers(0, count, 200)
    codes[:20] = 0
    scores = rng.dirichlet(np.ones(count), 200).round(1) + 0.02
    shares = scores / scores.sum(axis=1, keepdims=True)
    columns = shares[:, 1:] if count == 2 else shares
    shares = probabilities(columns)  # ties are those of these numbers
    truth = class_columns(codes.astype(float), count)
    ours = class_scores(truth, columns)
    area = roc_auc_score(codes, shares[:, 1] if count == 2 else shares, multi_class="ovr")
    assert ours["auc"] == pytest.approx(area)
    assert ours["log_loss"] == pytest.approx(log_loss(codes, shares))
    chosen = shares.argmax(axis=1)
    assert ours["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(codes, chosen))
    groups = np.arange(200).astype(str)
    table = metrics_of(truth, [columns], groups, 0, "classification")
    assert all(entry.low < ours[name] < entry.high for name, entry in table.items())


@pytest.mark.parametrize("count", [2, 3])
def test_calibration_mends_scores_that_are_too_sure_and_leaves_right_ones(count: int) -> None:
    rng = np.random.default_rng(7)
    logits = rng.normal(size=(3000, count)) * 1.5
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    codes = np.array([rng.choice(count, p=row) for row in shares])
    truth = class_columns(codes.astype(float), count)
    sure = shares**3 / (shares**3).sum(axis=1, keepdims=True)
    columns, right = (x[:, 1:] if count == 2 else x for x in (sure, shares))
    fitted = fit_calibration(columns[:2000], truth[:2000])
    assert fitted.slope == pytest.approx(1 / 3, abs=0.06)
    mended = fitted.apply(columns[2000:])
    assert calibration_error(truth[2000:], mended) < 0.05
    assert calibration_error(truth[2000:], columns[2000:]) > 0.08
    assert fit_calibration(right, truth).slope == pytest.approx(1, abs=0.1)
    np.testing.assert_allclose(probabilities(mended).sum(axis=1), 1)


def test_a_folder_of_classes_has_probabilities_and_metrics_of_unseen_formulas(
    model: Path, structures: Path, tmp_path: Path
) -> None:
    card = PropertyModel.load(model).card
    assert (card.task, card.classes) == ("classification", ["high", "low", "middle"])
    metrics = {name: score.metrics for name, score in card.metrics.items()}
    assert set(metrics["model"]) == {"accuracy", "balanced_accuracy", "auc", "log_loss"}
    assert metrics["model"]["log_loss"].mean < metrics["mean"]["log_loss"].mean
    assert metrics["model"]["auc"].mean > 0.6  # chance is 0.5
    assert 0 <= card.coverage["calibration_error"] < 0.5
    judged = pq.read_table(model / "out_of_fold.parquet").to_pandas()
    assert (judged["true"] == judged["predicted"]).mean() == pytest.approx(
        metrics["model"]["accuracy"].mean
    )
    pipeline.predict(model, [structures], tmp_path / "p.parquet", threads=1)
    table = pq.read_table(tmp_path / "p.parquet").to_pandas()
    shares = table[[f"{CLASS}_probability_{name}" for name in card.classes]].to_numpy()
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert table[CLASS].tolist() == [card.classes[at] for at in shares.argmax(axis=1)]


def test_contributions_add_up_to_the_probability_of_the_predicted_class(
    model: Path, structures: Path
) -> None:
    some = labelled(45).take(np.arange(2))
    table = pipeline.explain(model, some, threads=1).to_pandas()
    predicted = pipeline.predict(model, some, threads=1).to_pandas().set_index("immutable_id")
    for name, rows in table[table["immutable_id"].notna()].groupby("immutable_id"):
        chosen = predicted.loc[name, CLASS]
        assert set(rows["of"]) == {chosen}
        views = rows[(rows["kind"] == "view") | (rows["name"] == "views")]
        expected = predicted.loc[name, f"{CLASS}_probability_{chosen}"]
        assert views["contribution"].sum() == pytest.approx(expected, abs=2e-4)


def test_two_classes_of_booleans_are_recognised_and_have_one_column() -> None:
    crystals = labelled(20)
    columns = pa.table({"oxide": np.arange(20) % 3 == 0})
    labels = read_labels(crystals.with_columns(columns), LabelSource(target="oxide"))
    assert labels.classes == ("False", "True")
    assert class_columns(labels.values, 2).sum() == 7
    assert "False 13, True 7" in labels.notes[-1]
    forced = LabelSource(target="oxide", task="classes")
    with pytest.raises(UnknownNameError, match="classification"):
        read_labels(crystals.with_columns(columns), forced)
