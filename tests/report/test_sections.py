import csv
import shutil
from dataclasses import replace

import numpy as np
import pytest
from stored_results import (
    ERRORS,
    NAMES,
    ablation,
    few_shot,
    linear_probe,
    matbench,
    shap_share,
    write_scenarios,
)

from crystalssl.blocks.registry import list_blocks
from crystalssl.errors import InputError
from crystalssl.evaluation.results import MEAN, Results
from crystalssl.hub.seen import FALSE_POSITIVE_RATE
from crystalssl.report import projection
from crystalssl.report.html import write_report
from crystalssl.report.page import Check, Section, counted, judged, number, signed, words
from crystalssl.report.read import read_run
from crystalssl.report.sections.comparison import comparison_section, headline
from crystalssl.report.sections.overlap import DataCounts, data_section
from crystalssl.report.sections.pretraining import (
    BlockRun,
    card_section,
    rank_passage,
    read_weights,
    task_row,
)
from crystalssl.report.sections.scenarios import ALL
from crystalssl.report.sections.setting import outcome_of, setting_table, settings_of, tally
from small_results import difference


def section_of(results):
    return comparison_section(ALL[results.record.scenario], [results])


def first_setting(results):
    return settings_of(results, ALL[results.record.scenario].metrics)[0]


def texts_of(section):
    """Everything that the tables of a section say, by row label."""
    return {
        row.label: [f"{cell.text} {cell.aside}".strip() for cell in row.cells]
        for passage in section.passages
        for table in passage.tables
        for row in table.rows
    }


def test_the_best_of_every_column_is_marked_whoever_it_is():
    table = setting_table(first_setting(linear_probe()))
    assert [row.label for row in table.rows if row.proposed] == [NAMES["ssl"], NAMES["bottleneck"]]
    for column, head in list(enumerate(table.heads[1:]))[1:5]:
        cells = [row.cells[column] for row in table.rows if row.cells[column].text]
        values = [float(c.text.replace("\N{MINUS SIGN}", "-")) for c in cells]
        wanted = max(values) if head == "R²" else min(values)
        marked = [value for cell, value in zip(cells, values, strict=True) if cell.best]
        assert marked == [wanted]


def test_a_difference_is_ticked_only_where_its_interval_excludes_zero():
    table = setting_table(first_setting(linear_probe()))
    outcomes = {row.label: row.cells[-1].outcome for row in table.rows}
    assert outcomes[NAMES["magpie"]] == "open"  # a little worse, with zero in its interval
    for name in ("raw_ftcp", "raw_ftcp_pca", "untrained"):
        assert outcomes[NAMES[name]] == "held"


@pytest.mark.parametrize(
    ("metric", "value", "outcome"),
    [
        ("rmse", -0.1, "held"), ("rmse", 0.1, "failed"), ("rmse", -0.02, "open"),
        ("r2", 0.1, "held"), ("r2", -0.1, "failed"), ("r2", 0.02, "open"),
    ],
)  # fmt: skip
def test_the_outcome_of_a_difference_follows_the_direction_of_its_metric(metric, value, outcome):
    assert outcome_of(difference("ssl", "raw_ftcp", metric, value)) == outcome


def test_a_tally_says_how_often_and_how_often_significantly():
    lost = [difference("ssl", "magpie", "rmse", value) for value in (0.01, 0.02, 0.1)]
    told = "Lower error in 0 of 3 comparisons, significant in 0; significantly higher in 1."
    assert tally(lost) == told
    assert tally(lost[:1]) == "Lower error in 0 of 1 comparison, significant in 0."
    assert tally([difference("ssl", "magpie", "r2", 0.1)]) == (
        "Higher R² in 1 of 1 comparison, significant in 1."
    )


def test_a_claim_holds_only_where_no_interval_behind_it_includes_zero():
    results = linear_probe()
    outcomes = {check.claim: check.outcome for check in section_of(results).checks}
    assert len(outcomes) == 4
    for claim, outcome in outcomes.items():
        assert outcome == ("failed" if "Magpie" in claim else "held")
    unsure = [
        replace(v, significant=v.significant and "Untrained" not in v.claim)
        for v in results.record.verdicts
    ]
    section = section_of(replace(results, record=replace(results.record, verdicts=unsure)))
    outcomes = {check.claim: check.outcome for check in section.checks}
    assert [o for claim, o in outcomes.items() if "Untrained" in claim] == ["open"]
    assert section.tally() == "1 of 4 claims fails; 1 uncertain"


def test_a_claim_without_a_stored_interval_gets_no_tick():
    checks = section_of(shap_share()).checks + section_of(matbench()).checks
    assert [check.outcome for check in checks] == ["failed", "open"]


@pytest.mark.parametrize(
    ("gain", "outcome"),
    [
        ((0.2, 0.1, 0.3), "held"),
        ((0.2, -0.1, 0.5), "open"),
        ((0.2, np.nan, np.nan), "open"),
        ((-0.2, -0.5, 0.1), "open"),
        ((-0.2, -0.3, -0.1), "failed"),
        ((0.0, np.nan, np.nan), "failed"),
    ],
)
def test_a_gain_is_judged_by_its_interval(gain, outcome):
    assert judged(*gain) == outcome


def test_the_section_on_shares_tells_share_and_enrichment_of_every_head():
    section = section_of(shap_share())
    assert "20 % of the absolute SHAP values with MLP (0.90 times" in section.finding
    assert "70 % of the absolute SHAP values with LightGBM (3.00 times" in section.finding
    notes = [note for passage in section.passages for note in passage.notes]
    assert any(note.startswith("MLP: 1 crystal explained") for note in notes)


def test_few_shot_compares_with_the_best_head_of_raw_ftcp():
    section = section_of(few_shot())
    assert "LightGBM on pre-trained encoders and 14 labels has an R²" in section.finding
    assert "raw FTCP with its best head, LightGBM" in section.finding
    assert ": higher R² in 3 of 3 comparisons, significant in 3." in section.detail
    assert "Raw FTCP, its best head" in texts_of(section)


def test_the_residual_protocol_shows_contribution_and_both_steps():
    rows = texts_of(section_of(few_shot()))
    assert rows["Pre-trained encoders, 5 %, MLP"] == [
        "0.120 (0.090 to 0.150)", "0.700 (0.670 to 0.730)", "0.730 (0.700 to 0.760)",
    ]  # fmt: skip
    assert rows["Untrained encoders, 100 %, MLP"][0].startswith("\N{MINUS SIGN}0.020")


def test_tallies_count_the_metric_that_figures_show():
    results = linear_probe(fractions=(0.9, 0.7))
    other = [replace(d, metric="r2", difference=-1.0) for d in results.differences]
    both = replace(results, differences=(*other, *results.differences))  # R² stored first
    tallies = section_of(both).passages[0]
    assert tallies.title == "Differences to baselines, RMSE"
    cell = tallies.tables[0].rows[0].cells[0]
    assert (cell.text, cell.outcome) == ("2 of 2", "held")


def test_ablation_names_the_best_block_and_the_one_missed_most():
    section = section_of(ablation())
    blocks = [words(block.name).lower() for block in list_blocks()]
    assert f"the best alone is {blocks[0]} (0.400)" in section.finding
    assert "(+0.060 without it)" in section.finding
    rows = texts_of(section)
    last = list_blocks()[-1].name
    label = f"Pre-trained encoders, without {last}, less Pre-trained encoders, all"
    assert rows[label][0].startswith("+0.050")  # the error is lower without it
    assert f"Pre-trained encoders, only {last}, less Untrained encoders, only {last}" in rows


def test_ablation_of_features_of_any_name_has_them_first(tmp_path):
    results = ablation()
    renamed = {
        "rows": tuple(replace(r, feature_set=f"z{r.feature_set}") for r in results.rows),
        "summary": tuple(
            replace(s, feature_set=s.feature_set.replace("ssl", "zssl")) for s in results.summary
        ),
        "differences": (),
        "record": replace(
            results.record,
            proposed=[name.replace("ssl", "zssl") for name in results.record.proposed],
            config={"blocks": {
                name.replace("ssl", "zssl"): own
                for name, own in results.record.config["blocks"].items()
            }},
        ),
    }  # fmt: skip
    replace(results, **renamed).save(tmp_path)  # sorts the names
    section = section_of(Results.load(tmp_path, "ablation"))
    svg = section.passages[0].drawings[0].svg
    assert svg.index("Zssl") < svg.index("Untrained encoders")


def test_a_benchmark_shows_each_fold_and_what_had_no_features():
    section = section_of(matbench())
    assert section.finding.startswith("matbench_jdft2d, Exfoliation en: ridge")
    assert "on 500 test crystals" in section.finding
    assert "mean of training labels, 67.000" in section.finding
    notes = [note for passage in section.passages for note in passage.notes]
    assert any(note.startswith("636 rows in all; 0 rows without features") for note in notes)


def test_the_first_sentence_tells_the_error_of_the_bottleneck_and_of_the_mean_too():
    text = headline(first_setting(linear_probe()))
    assert "RMSE of 0.413 (0.383 to 0.443) eV/atom on 116 test crystals" in text
    assert text.endswith("; bottleneck of these, 0.400; mean of training labels, 0.988.")


def test_every_section_says_what_was_asked_and_compared():
    for results in (linear_probe(), few_shot(), ablation(), shap_share(), matbench()):
        section = section_of(results)
        assert section.question == results.record.question
        assert section.protocol == results.record.protocol
        assert section.failure == results.record.failure
        assert section.tally()
        assert section.passages


def test_a_mean_has_no_row_of_dots_and_stands_last_in_the_table():
    setting = first_setting(linear_probe())
    assert MEAN not in ERRORS
    assert setting_table(setting).rows[-1].label == NAMES[MEAN]


@pytest.mark.parametrize(
    ("outcomes", "text"),
    [
        (["held"], "the claim holds"),
        (["open"], "the claim is uncertain"),
        (["held"] * 3, "none of 3 claims fails"),
        (["failed", "failed", "open"], "2 of 3 claims fail; 1 uncertain"),
    ],
)
def test_claims_are_counted_in_words(outcomes, text):
    checks = tuple(Check(claim="x", outcome=outcome, evidence="") for outcome in outcomes)
    assert Section(anchor="a", title="A", checks=checks).tally() == text


def test_a_hashed_count_stands_with_what_chance_makes_of_it(run_folder):
    section = data_section(DataCounts(), (), [linear_probe()])
    (row,) = [texts for label, texts in texts_of(section).items() if label == "Linear probe"]
    assert row[2] == f"7 (9 %, {80 * FALSE_POSITIVE_RATE:.2g} by chance)"
    assert row[4] == "0 (0 %)"
    notes = " ".join(note for passage in section.passages for note in passage.notes)
    assert f"probability of {FALSE_POSITIVE_RATE:.4f}" in notes


def write_skips(path, *reasons):
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["id", "file", "reason", "remedy"])
        writer.writerows([f"x{i}", "a.cif", text, "Look."] for i, text in enumerate(reasons))


def test_structures_that_the_conversion_left_out_are_counted(run_folder, tmp_path):
    copy = shutil.copytree(run_folder, tmp_path / "run")
    table = shutil.copy(copy / "structures.parquet", tmp_path / "mine.parquet")
    write_skips(tmp_path / "mine.parquet.skipped.csv", "No cell.", "No cell.", "Got <no> cell.")
    skipped = read_run(copy, structures=table, umap=False).data.skipped
    assert sum(count for _, _, count in skipped) == 4 + 3
    assert ("No cell.", "Look.", 2) in skipped
    write_skips(copy / "features.parquet.skipped.csv", "No cell.")  # the first of those above
    again = read_run(copy, structures=table, umap=False).data
    assert again.skipped == skipped
    assert len(again.lists) == 3


def test_effective_rank_is_shown_with_its_cap_by_the_number_of_crystals(run_folder):
    blocks = read_weights(run_folder, []).blocks
    assert {block.rank_cap for block in blocks} == {40}
    passage = rank_passage(blocks)
    assert "(40 crystals, " in passage.notes[0]
    assert "of 40" in passage.drawings[0].svg
    alone = BlockRun(name="x", index=0, width=64, monitors={"effective_rank": 32.0})
    assert rank_passage([alone]).notes == ()
    assert "32 of 64" in rank_passage([alone]).drawings[0].svg


def test_cards_tell_training_crystals_from_held_out_ones(run_folder):
    section = card_section(read_weights(run_folder, []))
    assert section.passages[0].tables[0].heads[1:3] == ("Training crystals", "Held-out crystals")
    for texts in texts_of(section).values():
        assert texts[:2] == ["280", "40"]
        assert texts[4] == "40"


def test_bundled_weights_show_the_rank_of_their_cards(tmp_path):
    weights = read_weights(tmp_path, ["tiny"])
    assert weights.name == "tiny"
    assert rank_passage(weights.blocks) is not None


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
    for anchor in ("shap-share", "few-shot", "ablation", "matbench", "cards", "tasks"):
        assert f'id="{anchor}"' in text
    assert 'id="linear-probe"' not in text
    assert (
        "(11 %, 0.049 by chance)" in text
    )  # test crystals of a formula that the weights have seen
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
    ("model", "outcome", "verdict"),
    [
        (0.9, "held", "better"),
        (0.5, "open", "not better than rule"),
        (0.1, "failed", "not better"),
    ],
)
def test_a_task_is_better_only_where_it_beats_every_baseline(run_folder, model, outcome, verdict):
    block = read_weights(run_folder, []).blocks[0]
    figure = replace(
        block.figures[0], model=model, higher_is_better=True, trivial="majority",
        baselines={"majority": 0.2, "rule": 0.6},
    )  # fmt: skip
    last = task_row(block, figure).cells[-1]
    assert (last.outcome, last.text) == (outcome, verdict)


def test_numbers_rounded_to_zero_have_no_sign_and_logarithms_are_words():
    assert [number(-0.0002), signed(-0.0002), signed(0.0002)] == ["0.000"] * 3
    assert signed(0.5) == "+0.500"
    assert number(-1234.0) == "\N{MINUS SIGN}1,234"
    assert words("log10(bulk_modulus_vrh)") == "Log10 of bulk modulus vrh"
    assert [counted(1, "crystal"), counted(2, "crystal")] == ["1 crystal", "2 crystals"]
