import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest

from crystalssl.blocks.registry import list_blocks
from crystalssl.errors import InputError
from crystalssl.evaluation.feature_sets import FeatureSet
from crystalssl.evaluation.linear_probe import linear_probe
from crystalssl.evaluation.protocols import RepeatedSplits
from crystalssl.evaluation.scoring import Target
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


@pytest.fixture(scope="module")
def report(run_folder):
    return write_report(run_folder, umap=False).read_text(encoding="utf-8")


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
        assert f"{name} over epochs" in labels
    for start in (
        "Error of each feature set",
        "Pre-trained encoders: predicted against true",
        "Effective rank",
        "Share of filled numbers",
        "Map of the features coloured by formation_energy_per_atom",
        "Shares of absolute SHAP values",
        "Enrichment, formation_energy_per_atom, lightgbm",
        "R2 against the share of labels, formation_energy_per_atom, ridge",
        "Difference in R2 to raw FTCP at its best",
        "Contribution to what raw FTCP leaves over",
        "Error of each block alone",
        "Error when a block is left out",
        "Score of each fold, matbench_jdft2d, ridge",
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
    from crystalssl.evaluation.linear_probe import LinearProbe

    table = LinearProbe.load(run_folder / "linear_probe").table
    text = " ".join(Page(report).texts)
    for summary in table.summarize(["feature_set"], metric="rmse", model="ridge"):
        assert f"{summary.mean:.3f}" in text
    assert "figures of pretext tasks beat the trivial baseline" in text
    for block in list_blocks():
        for task in block.tasks:
            assert task.teaches.split("&")[0] in text


def test_what_a_user_wrote_is_shown_as_text(report):
    assert "Got &lt;no&gt; cell &amp;" in report


def test_a_baseline_that_wins_is_named_in_the_first_lines(report):
    text = " ".join(Page(report).texts)
    assert "Not better than" in text or "Better than raw FTCP" in text


@pytest.mark.parametrize(
    "absent",
    [
        ["blocks", "bottleneck", "features.parquet"],
        ["linear_probe", "few_shot", "matbench"],
        ["shap_share", "ablation", "structures.parquet"],
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


def test_a_comparison_over_shares_and_kinds_of_splits_is_shown(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.normal(size=120)
    matrices = {"ours": np.c_[labels + 0.1 * rng.normal(size=120), rng.normal(size=(120, 3))]}
    matrices["theirs"] = rng.normal(size=(120, 4))
    sets = [
        FeatureSet(name=name, label=name.title(), matrix=m.astype(np.float32),
                   valid=np.ones(120, bool), width=4)
        for name, m in matrices.items()
    ]  # fmt: skip
    groups = np.array([f"A{i // 2}" for i in range(120)])
    protocol = RepeatedSplits(fractions=(0.9, 0.7), repeats=2)
    target = Target(name="gap", unit="eV", values=labels)
    linear_probe(sets, [target], groups, groups, protocol).save(tmp_path / "evaluation")
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    text = " ".join(page.texts)
    for title in ("Gap, random 90/10", "Gap, random 70/30", "Gap, grouped 90/10"):
        assert title in text
    for kind in ("random", "grouped"):
        assert f"Error against share trained on, gap, {kind}" in page.labels
    assert page.open == []


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no trained blocks"):
        write_report(tmp_path)
    with pytest.raises(InputError, match="Found no folder"):
        write_report(tmp_path / "absent")


def test_the_same_run_gives_the_same_bytes(run_folder, report):
    assert write_report(run_folder, umap=False).read_text(encoding="utf-8") == report
