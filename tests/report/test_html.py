import re
import shutil
from html.parser import HTMLParser

import pytest
from stored_results import linear_probe

from crystalssl.blocks.registry import list_blocks
from crystalssl.errors import InputError
from crystalssl.evaluation.results import Results, select
from crystalssl.report.html import write_report

VOID = {"meta", "link", "br", "img", "input", "hr", "image", "path", "use"}


class Page(HTMLParser):
    """Elements, references and figures of a page, and whether tags are balanced."""

    def __init__(self, text):
        super().__init__()
        self.open, self.references, self.ids, self.labels, self.texts = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "action", "data"):
                self.references.append(value)
            if name == "id":
                self.ids.append(value)
            if name == "aria-label":
                self.labels.append(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_the_page_asks_for_nothing_outside_itself(report):
    page = Page(report)
    assert page.open == []
    for reference in page.references:
        assert reference.startswith(("#", "data:"))
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=\s]*", "", report)
    assert "<script" not in report
    assert "@import" not in report


def test_ids_are_unique_and_every_reference_inside_the_page_is_there(report):
    page = Page(report)
    assert len(set(page.ids)) == len(page.ids)
    wanted = {r[1:] for r in page.references if r.startswith("#")}
    wanted |= set(re.findall(r"url\(#([^)]*)\)", report))
    assert wanted <= set(page.ids)


def test_every_figure_is_there(report):
    labels = Page(report).labels
    tasks = [task.name for block in list_blocks() for task in block.tasks]
    for name in tasks:
        assert any(label.endswith(f": {name} over epochs") for label in labels), name
    for start in (
        "RMSE of each feature set, Formation energy per atom, held-out formulas",
        "Difference of pre-trained encoders to baselines, Formation energy per atom",
        "Pre-trained encoders: predicted against true",
        "Effective rank",
        "Fraction of filled numbers",
        "Map of the features coloured by formation_energy_per_atom",
        "Shares of absolute SHAP values",
        "Enrichment, formation_energy_per_atom, LightGBM",
        "R² against train fraction, Formation energy per atom, held-out formulas, ridge",
        "Difference of pre-trained encoders to baselines, Formation energy per atom, held-out "
        "formulas, by train fraction",
        "Contribution to the residual of raw FTCP",
        "RMSE of each block alone",
        "Change of error when a block is left out",
        "MAE of each fold, matbench_jdft2d",
    ):
        assert any(label.startswith(start) for label in labels), start


def test_figures_take_their_colours_from_the_page(report):
    from crystalssl.report.svg import COLOURS

    drawings = "".join(re.findall(r"<svg.*?</svg>", report, flags=re.DOTALL))
    assert "var(--accent)" in drawings
    assert not [colour for colour in COLOURS.values() if colour in drawings]
    style = report[: report.index("</style>")]
    for name in COLOURS:
        assert style.count(f"--{name}:") == 2, f"{name} needs a light and a dark colour"


def test_numbers_of_the_probe_and_of_every_task_are_in_words(report, run_folder):
    probe = Results.load(run_folder / "linear_probe", "linear_probe")
    text = " ".join(Page(report).texts)
    for summary in select(probe.summary, metric="rmse", head="ridge"):
        assert f"{summary.mean:.3f}" in text
    assert "figures of pretext tasks beat the trivial baseline" in text
    for block in list_blocks():
        for task in block.tasks:
            assert task.teaches.split("&")[0] in text


def test_what_a_user_wrote_is_shown_as_text(report):
    assert "Got &lt;no&gt; cell &amp;" in report


def test_a_baseline_that_is_not_beaten_is_named_in_the_first_lines(report):
    header = report[: report.index("</header>")]
    assert "not significantly different from Magpie statistics (0.389)" in header


@pytest.mark.parametrize(
    "absent",
    [
        ["blocks", "bottleneck", "features.parquet"],
        pytest.param(["linear_probe", "few_shot", "matbench"], marks=pytest.mark.long),
        pytest.param(["shap_share", "ablation", "structures.parquet"], marks=pytest.mark.long),
    ],
)
def test_a_part_that_is_absent_is_left_out(run_folder, tmp_path, absent):
    copy = shutil.copytree(run_folder, tmp_path / "run")
    for name in (*absent, "skipped.csv", "config.json", "panel_sparsity.json"):
        path = copy / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    page = Page(write_report(copy, umap=False).read_text(encoding="utf-8"))
    assert page.open == []
    wanted = {r[1:] for r in page.references if r.startswith("#")}
    assert wanted <= set(page.ids)


def test_a_comparison_over_fractions_and_kinds_of_splits_is_shown(tmp_path):
    results = linear_probe((0.9, 0.7), ("random", "grouped"), target="gap")
    results.save(tmp_path / "evaluation")
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    text = " ".join(page.texts)
    for split in ("random", "grouped"):
        for fraction in (90, 70):
            assert f"Gap, {split} splits, train fraction {fraction} %" in text
        for head in ("ridge", "least squares"):
            assert f"RMSE against train fraction, Gap, {split} splits, {head}" in page.labels
    assert page.open == []


def test_results_of_an_older_version_are_named_and_the_others_shown(run_folder, tmp_path):
    copy = tmp_path / "run"
    for name in ("linear_probe", "few_shot"):
        shutil.copytree(run_folder / name, copy / name)
    (copy / "few_shot" / "few_shot.json").write_text('{"scenario": "few_shot"}', "utf-8")
    text = write_report(copy, umap=False).read_text(encoding="utf-8")
    assert "<b>Not shown:</b>" in text
    assert "few_shot.json is of format 1" in text
    assert 'id="linear-probe"' in text
    assert 'id="few-shot"' not in text


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no trained blocks"):
        write_report(tmp_path)
    with pytest.raises(InputError, match="Found no folder"):
        write_report(tmp_path / "absent")


def test_the_same_run_gives_the_same_bytes(run_folder, report):
    assert write_report(run_folder, umap=False).read_text(encoding="utf-8") == report
