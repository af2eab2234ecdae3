import shutil
from dataclasses import replace

import numpy as np
import pytest
from stored_rows import write_ablation, write_few_shot, write_scenarios, write_shap

from crystalssl.blocks.registry import list_blocks
from crystalssl.errors import InputError
from crystalssl.evaluation.ablation import Ablation
from crystalssl.evaluation.few_shot import FewShot
from crystalssl.evaluation.linear_probe import LinearProbe
from crystalssl.evaluation.scenario import ResultTable
from crystalssl.report import projection
from crystalssl.report.ablation_page import ablation_section
from crystalssl.report.block_runs import read_weights
from crystalssl.report.few_shot_page import few_shot_section
from crystalssl.report.html import write_report
from crystalssl.report.page import judged
from crystalssl.report.probe_page import checks, headline, probe_section
from crystalssl.report.probe_tables import comparison_table, margins_of, settings_of
from crystalssl.report.shap_page import shap_section
from crystalssl.report.task_tables import task_row
from crystalssl.report.wording import number, signed, words


@pytest.fixture(scope="module")
def probe(run_folder):
    return LinearProbe.load(run_folder / "linear_probe")


def test_the_best_of_every_column_is_marked_whoever_it_is(probe):
    table = comparison_table(probe, settings_of(probe.table)[0])
    assert [row.label for row in table.rows if row.ours] == ["Pre-trained encoders"]
    for column, head in list(enumerate(table.heads[1:]))[1:5]:
        cells = [row.cells[column] for row in table.rows if row.cells[column].text]
        values = [float(c.text.replace("\N{MINUS SIGN}", "-")) for c in cells]
        wanted = max(values) if head == "R²" else min(values)
        marked = [value for cell, value in zip(cells, values, strict=True) if cell.best]
        assert marked == [wanted]


def test_a_margin_is_marked_as_lost_where_least_squares_loses(probe):
    table = comparison_table(probe, settings_of(probe.table)[0])
    errors = {
        s.key[0]: s.mean for s in probe.table.summarize(["feature_set"], metric="rmse", model="ols")
    }
    labels = probe.table.record.labels
    for name, error in errors.items():
        (row,) = [row for row in table.rows if row.label == labels[name]]
        if name != "ssl":
            assert row.cells[-1].won is (error > errors["ssl"])


def test_a_baseline_that_wins_is_a_failure_that_happened(probe):
    errors = {
        s.key[0]: s.mean
        for s in probe.table.summarize(["feature_set"], metric="rmse", model="ridge")
    }
    found = {check.failure: check.outcome for check in checks(probe)}
    assert len(found) == 4
    for failure, outcome in found.items():
        if "Magpie" in failure:
            assert (outcome == "failed") is (errors["magpie"] <= errors["ssl"])


@pytest.mark.parametrize(
    ("margin", "outcome"),
    [
        ((0.2, 0.1, 0.3), "held"),
        ((0.2, -0.1, 0.5), "open"),
        ((0.2, None, None), "open"),
        ((-0.2, -0.5, 0.1), "open"),
        ((-0.2, -0.3, -0.1), "failed"),
        ((0.0, None, None), "failed"),
    ],
)
def test_a_margin_is_judged_by_its_interval(margin, outcome):
    assert judged(*margin) == outcome


def test_shares_fail_where_features_hold_less_than_their_columns(tmp_path):
    write_shap(tmp_path)
    section = shap_section(ResultTable.load(tmp_path / "shap_share.parquet"))
    outcomes = {check.failure: check.outcome for check in section.checks}
    assert [o for f, o in outcomes.items() if "MLP the features" in f] == ["failed"]
    assert [o for f, o in outcomes.items() if "LightGBM the features" in f] == ["held"]
    assert section.tally().startswith("1 of 4 failures")


def test_few_labels_hold_the_best_head_of_raw_ftcp_against_ours(tmp_path):
    write_few_shot(tmp_path)
    section = few_shot_section(FewShot.load(tmp_path))
    assert "LightGBM" in section.finding
    first = section.checks[0]
    assert "best head (LightGBM)" in first.failure
    assert first.outcome == "held"
    explained = [check for check in section.checks if "leaves over" in check.failure]
    assert len(explained) == 3
    assert all("untrained encoders \N{MINUS SIGN}0.020" in check.detail for check in explained)


def test_a_block_that_nothing_misses_is_named(tmp_path):
    write_ablation(tmp_path)
    section = ablation_section(Ablation.load(tmp_path))
    last = list_blocks()[-1].name.replace("_", " ")
    untrained, left_out = section.checks
    assert untrained.outcome == "open"  # no better, but its interval reaches over zero
    assert left_out.outcome == "failed"
    assert f"not better: {last}".lower() in left_out.detail.lower()


def test_the_first_sentence_tells_the_error_of_the_mixture_too(probe):
    assert "; on the" not in headline(probe)[0]
    entry, *_ = margins_of(probe, "ssl", "ridge")
    mixed = [
        replace(row, feature_set="bottleneck", value=0.5 * row.value)
        for row in probe.table.rows
        if row.feature_set == "ssl"
    ]
    labels = {**probe.table.record.labels, "bottleneck": "Bottleneck of these"}
    table = replace(
        probe.table,
        rows=(*probe.table.rows, *mixed),
        record=replace(probe.table.record, labels=labels),
    )
    first, _ = headline(replace(probe, table=table))
    assert first.endswith(f"; on the bottleneck of these, {0.5 * entry.champion_rmse:.3f}.")


def test_every_section_says_what_was_asked_and_compared(probe):
    section = probe_section(probe)
    assert probe.table.record.protocol in section.protocol
    assert section.question.endswith("?")
    assert section.tally()


def test_evaluations_alone_give_a_report_with_features_from_elsewhere(run_folder, tmp_path):
    write_scenarios(tmp_path / "evaluations")
    elsewhere = shutil.copytree(run_folder, tmp_path / "elsewhere")
    text = write_report(
        tmp_path / "evaluations",
        features=elsewhere / "features.parquet",
        structures=elsewhere / "structures.parquet",
        umap=False,
    ).read_text(encoding="utf-8")
    assert "Map of the features coloured by formation_energy_per_atom" in text
    for anchor in ("shap-share", "few-labels", "ablation", "matbench", "cards", "tasks"):
        assert f'id="{anchor}"' in text
    assert 'id="linear-probe"' not in text
    assert "(11 %)" in text  # test crystals of a formula that the weights have seen
    with pytest.raises(InputError, match="Found no file"):
        write_report(tmp_path / "evaluations", features=tmp_path / "absent.parquet")


def test_the_map_of_neighbours_is_made_once(tmp_path, monkeypatch):
    made = []

    def fake(axes):
        made.append(axes.shape)
        return axes[:, :2].copy()

    monkeypatch.setattr(projection, "has_umap", lambda: True)
    monkeypatch.setattr(projection, "_umap", fake)
    matrix = np.random.default_rng(0).normal(size=(250, 60)).astype(np.float32)
    first = projection.neighbour_map(matrix, tmp_path)
    np.testing.assert_array_equal(projection.neighbour_map(matrix, tmp_path), first)
    assert made == [(250, projection.AXES)]
    projection.neighbour_map(matrix[::-1].copy(), tmp_path)
    assert len(made) == 2
    assert projection.neighbour_map(matrix[:100], tmp_path) is None
    monkeypatch.setattr(projection, "has_umap", lambda: False)
    assert projection.neighbour_map(matrix, tmp_path) is None


@pytest.mark.parametrize(
    ("model", "mark", "verdict"),
    [(0.9, "yes", "better"), (0.5, "partly", "not better than rule"), (0.1, "no", "not better")],
)
def test_a_task_is_better_only_where_it_beats_every_baseline(run_folder, model, mark, verdict):
    block = read_weights(run_folder, []).blocks[0]
    figure = replace(
        block.figures[0], model=model, higher_is_better=True, trivial="majority",
        baselines={"majority": 0.2, "rule": 0.6},
    )  # fmt: skip
    row = task_row(block, figure)
    assert (row.mark, row.verdict) == (mark, verdict)


def test_numbers_rounded_to_zero_have_no_sign_and_logarithms_are_words():
    assert [number(-0.0002), signed(-0.0002), signed(0.0002)] == ["0.000"] * 3
    assert signed(0.5) == "+0.500"
    assert number(-1234.0) == "\N{MINUS SIGN}1,234"
    assert words("log10(bulk_modulus_vrh)") == "Log10 of bulk modulus vrh"
