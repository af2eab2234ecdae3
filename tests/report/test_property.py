"""The section of a user's property: numbers it says, points it draws, and what it leaves out."""

import json
import re
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from property_results import CLASSES, COUNT, FORMULAS, write_classes, write_property

from crystalssl.maps.crystal_map import columns_of
from crystalssl.pipeline.answers import with_predictions
from crystalssl.report.html import write_report
from crystalssl.report.parity import MOST_POINTS, WORST, Point, chosen_points, hover_parity
from crystalssl.report.sections.property.classes import class_section
from crystalssl.report.sections.property.data import chemistry_of, read_properties
from crystalssl.report.sections.property.judgement import overlap
from crystalssl.report.sections.property.section import property_section
from worlds import make_crystals


@pytest.fixture
def folder(tmp_path):
    write_property(tmp_path)
    (tmp_path / "map.html").write_text("<!doctype html>")
    return tmp_path


@pytest.fixture
def model(folder):
    models, unreadable = read_properties(folder, None)
    assert unreadable == []
    return models[0]


def test_repeats_are_averaged_and_every_crystal_is_there_once(model, folder):
    table = pq.read_table(folder / "models" / "log10_conductivity" / "out_of_fold.parquet")
    assert len(model) == COUNT == len(set(model.ids.tolist()))
    rows = [r for r in table.to_pylist() if r["immutable_id"] == "x-5"]
    at = model.ids.tolist().index("x-5")
    assert model.predicted[at] == pytest.approx(np.mean([r["predicted"] for r in rows]))
    assert model.held[at] == np.mean([r["lower"] <= r["true"] <= r["upper"] for r in rows])
    assert model.nearest[at] == ["x-6", "x-7", "x-8"]
    assert model.formulas[at] == FORMULAS[5]


def test_the_section_says_error_baselines_coverage_and_the_worst_crystal(model):
    section = property_section(model, "map.html")
    assert "error 1.45 log10(S/cm) (1.35 to 1.55), R² 0.77" in section.finding
    assert "1.9 for element statistics and 3 for the mean" in section.finding
    assert "hold 89.3 %" in section.finding
    assert [check.outcome for check in section.checks] == ["held", "held", "held"]
    worst = next(p for p in section.passages if p.title.startswith("The worst crystals"))
    first = worst.tables[0].rows[0]
    assert (first.aside, first.link) == ("x-5", "map.html#x-5")
    assert "Li" in first.cells[-1].text
    assert [passage.title for passage in section.passages] == [
        "Every crystal", "Beside baselines", "Do intervals hold?", "Would more labels help?",
        "Where it is wrong", "The worst crystals and their neighbours",
        "What the encoders had seen",
    ]  # fmt: skip
    families = section.passages[4].tables[0].rows
    errors = [float(row.cells[1].text) for row in families]
    assert errors == sorted(errors, reverse=True)
    assert "every doubling" in section.detail


@pytest.mark.parametrize(("seen", "told"), [(7, False), (COUNT, True)])
def test_it_is_said_where_most_labelled_crystals_were_in_pre_training(model, seen, told):
    counts = {**model.overlap["counts"], "tested structures seen": seen}
    passage = overlap(replace(model, overlap={**model.overlap, "counts": counts}))
    assert ("expect larger errors" in passage.words) is told


@pytest.mark.parametrize(
    ("change", "outcomes"),
    [
        ({"r2": -0.3}, ["failed", "held", "held"]),
        ({"rmse": 2.5}, ["held", "failed", "held"]),
        ({"rmse": 1.85}, ["held", "open", "held"]),
        ({"nested": 0.7}, ["held", "held", "failed"]),
        ({"nested": 0.99}, ["held", "held", "open"]),
    ],
)
def test_a_claim_that_does_not_hold_is_said_not_to(folder, change, outcomes):
    path = folder / "models" / "log10_conductivity" / "card.json"
    card = json.loads(path.read_text())
    for name, value in change.items():
        if name == "nested":
            card["coverage"]["nested"] = value
        else:
            metric = card["metrics"]["model"]["metrics"][name]
            half = metric["high"] - metric["mean"]
            metric |= {"mean": value, "low": value - half, "high": value + half}
    path.write_text(json.dumps(card))
    section = property_section(read_properties(folder, None)[0][0])
    assert [check.outcome for check in section.checks] == outcomes


def test_every_crystal_is_a_point_at_its_place_with_its_name(model, folder):
    page = write_report(folder, umap=False).read_text(encoding="utf-8")
    points = re.findall(
        r'<a href="map\.html#([^"]+)"[^>]*><circle cx="([\d.]+)" cy="([\d.]+)"', page
    )
    assert {name for name, *_ in points} == set(model.ids.tolist())
    at = {name: (float(x), float(y)) for name, x, y in points}
    x = np.array([at[name][0] for name in model.ids.tolist()])
    y = np.array([at[name][1] for name in model.ids.tolist()])
    slope, _ = np.polyfit(model.true, x, 1)
    assert np.corrcoef(model.true, x)[0, 1] > 0.99999
    assert np.corrcoef(model.predicted, y)[0, 1] < -0.99999
    assert np.polyfit(model.predicted, y, 1)[0] == pytest.approx(-slope, rel=1e-3)  # equal axes
    assert f"<title>{FORMULAS[5]}, x-5\nlabel" in page


def test_the_users_property_stands_before_the_proof_of_the_encoders(run_folder, tmp_path):
    import shutil

    copy = shutil.copytree(run_folder, tmp_path / "run")
    write_property(copy)
    page = write_report(copy, umap=False).read_text(encoding="utf-8")
    titles = re.findall(r"<h2>([^<]+)</h2>", page)
    assert titles[0] == "My property: Log10 of conductivity"
    assert "Linear probe" in titles


def test_classes_are_counted_by_what_they_are_and_what_was_predicted(tmp_path):
    write_classes(tmp_path)
    (model,), unread = read_properties(tmp_path, None)
    assert unread == []
    section = class_section(model, "map.html")
    passages = {passage.title: passage for passage in section.passages}
    confusion = passages["Every class"].tables[0]
    assert confusion.heads == ("labelled", *CLASSES, "found")
    counts = np.array([[int(cell.text) for cell in row.cells[:3]] for row in confusion.rows])
    assert counts.sum() == COUNT
    assert counts.sum(axis=1).tolist() == np.bincount(np.arange(COUNT) % 3).tolist()
    assert np.trace(counts) == COUNT - 12
    assert counts[0, 1] == counts[1, 2] == counts[2, 0] == 4
    worst = passages["Surest and wrong"].tables[0].rows
    assert len(worst) == 12
    assert (worst[0].aside, worst[0].link) == ("x-0", "map.html#x-0")
    assert [cell.text for cell in worst[0].cells[:2]] == ["insulator", "metal"]
    assert "0.91 (0.88 to 0.94)" in section.finding
    assert [check.outcome for check in section.checks] == ["held", "held", "held"]
    assert "whole clusters" in passages["Do probabilities hold?"].notes[0]
    page = write_report(tmp_path, umap=False).read_text(encoding="utf-8")
    assert "My property: Conducts" in page
    assert "Not shown" not in page


def test_probabilities_that_are_not_how_often_it_is_right_are_called_so(tmp_path):
    write_classes(tmp_path, wrong=70)  # each with a probability of 0.8
    section = class_section(read_properties(tmp_path, None)[0][0])
    assert section.checks[-1].outcome == "failed"
    assert "5 fifths" in section.checks[-1].evidence


@pytest.mark.parametrize("write", [write_property, write_classes])
def test_labels_and_predictions_colour_the_map(write, tmp_path):
    model = write(tmp_path)
    crystals = make_crystals(3)
    crystals = crystals.with_ids(np.array(["x-0", "elsewhere", "x-20"]))
    coloured, names, _ = with_predictions(crystals, model)
    label, predicted, error = (coloured.columns[name].to_pylist() for name in names)
    assert label[1] is predicted[1] is error[1] is None
    row = next(r for r in pq.read_table(model / "out_of_fold.parquet").to_pylist()
               if r["immutable_id"] == "x-20")  # fmt: skip
    assert label[2] == row["true"]
    if write is write_classes:
        assert label[0] != predicted[0] and label[2] == predicted[2]
        assert error == [pytest.approx(0.99), None, pytest.approx(0.2)]
    else:
        assert error[2] == pytest.approx(abs(predicted[2] - label[2]))
    shown = columns_of(coloured, None, np.arange(3), names)
    assert [column.name for column in shown[:3]] == names


def test_encoders_trained_on_with_labels_are_called_so(tmp_path):
    folder = write_classes(tmp_path)
    section = class_section(read_properties(tmp_path, None)[0][0])
    (passage,) = [p for p in section.passages if p.title == "Encoders trained on with labels"]
    assert "labels of conducts" in passage.words
    assert "not label-free" in passage.words
    assert [row.cells[0].text for row in passage.tables[0].rows] == ["0.31", "0.35", "0.4"]
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"finetuned": {}}))
    section = class_section(read_properties(tmp_path, None)[0][0])
    assert "Encoders trained on with labels" not in [p.title for p in section.passages]


def test_a_damaged_model_is_named_and_the_page_is_made_all_the_same(folder):
    write_property(folder / "more")
    broken = folder / "models" / "broken"
    broken.mkdir()
    (broken / "card.json").write_text('{"kind": "property model", "target": "x"}')
    page = write_report(folder, umap=False).read_text(encoding="utf-8")
    assert "Not shown:</b> broken" in page
    assert "My property: Log10 of conductivity" in page


def test_of_many_crystals_the_worst_are_points():
    errors = np.random.default_rng(0).exponential(size=20_000)
    chosen = chosen_points(errors)
    assert len(chosen) <= MOST_POINTS
    assert set(np.argsort(-errors)[:WORST]) <= set(chosen.tolist())
    points = [Point(x=e, y=2 * e, title=f"<{i}>") for i, e in enumerate(errors.tolist())]
    svg = hover_parity(points, "x", "parity of many")
    assert svg.count("<circle") == len(chosen)
    assert "<image" in svg
    assert f"<title>&lt;{int(errors.argmax())}&gt;</title>" in svg


def test_formulas_have_a_chemistry():
    texts = ["LiFePO4", "NaCl", "ZnS", "GaN", "LiH", "TiC", "Fe3Al", "LaOF", "Fe", ""]
    assert chemistry_of(texts).tolist() == [
        "oxides", "halides", "chalcogenides", "pnictides", "hydrides",
        "borides, carbides, silicides", "metals and alloys", "oxides with halogens",
        "metals and alloys", "metals and alloys",
    ]  # fmt: skip
