"""The whole command on 64 bundled crystals: every stage runs, agrees with the next, and resumes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from crystalssl import pipeline
from crystalssl.blocks.registry import list_blocks
from crystalssl.cli import app
from crystalssl.datasets.bundled import load_bundled
from crystalssl.errors import InputError
from crystalssl.evaluation.results import Results
from crystalssl.features.extractor import ExtractorConfig
from crystalssl.features.store import load_features
from crystalssl.structures.table import read_table, write_table
from plans import few_candidates

COUNT = 64
LITTLE = (
    "--pretrain", "--epochs", 1, "--threads", 1,
    "--set", "bottleneck.least_steps=5", "--set", "student.least_steps=5",
)  # fmt: skip
"""Options of training as short as it gets."""


def crystalssl(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 small bundled crystals with formation energies."""
    crystals = load_bundled()
    known = np.isfinite(crystals.column("formation_energy_per_atom"))
    rows = np.flatnonzero(known & (crystals.site_counts <= 12))
    chosen = crystals.take(rows[:: len(rows) // COUNT][:COUNT])
    return write_table(chosen, tmp_path_factory.mktemp("table") / "few.parquet")


@pytest.fixture(scope="module")
def finished(table: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Folder and screen of a run; its model has two candidates, tests/properties fits them all."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        few_candidates(patch.setattr, count=2)
        return out, crystalssl("run", table, *LITTLE, "--out", out)


def test_a_run_leaves_features_of_every_crystal_in_input_order(
    table: Path, finished: tuple[Path, str]
) -> None:
    out, _ = finished
    features = load_features(out / "features.parquet")
    array = np.load(out / "all_ssl_features.npy", allow_pickle=False)
    assert features.ids.tolist() == read_table(table).crystals.ids.tolist()
    assert features.matrix.shape == (COUNT, sum(block.width for block in list_blocks()))
    assert array.shape == (COUNT, 2048)  # all views, mixed
    assert array.dtype == np.float32
    assert np.isfinite(array).all() and np.isfinite(features.matrix).all()
    assert np.array_equal(array, load_features(out / "bottleneck_features.parquet").matrix)
    assert list(features.blocks) == [block.name for block in list_blocks()]


def test_formulas_of_the_test_part_are_never_trained_on(finished: tuple[Path, str]) -> None:
    out, _ = finished
    crystals = read_table(out / "structures.parquet").crystals
    split, formulas = crystals.column("split"), crystals.column("chemical_formula_reduced")
    seen = set(formulas[split == "train"]) & set(formulas[split != "train"])
    assert seen == set()
    for block in list_blocks():
        config = json.loads((out / "blocks" / block.name / "config.json").read_text())
        assert config["data"]["train_crystals"] == int((split == "train").sum())


def test_the_probe_compares_features_with_every_baseline(finished: tuple[Path, str]) -> None:
    out, screen = finished
    result = Results.load(out / "linear_probe", "linear_probe")
    compared = {row.feature_set for row in result.rows}
    assert {"raw_ftcp", "raw_ftcp_pca", "magpie", "untrained", "ssl", "mean"} <= compared
    assert {row.split for row in result.rows} == {"held-out"}
    assert "RMSE" in screen and "ridge" in screen


def test_every_task_was_scored_beside_its_trivial_baseline(finished: tuple[Path, str]) -> None:
    out, screen = finished
    for block in list_blocks():
        stored = json.loads((out / "blocks" / block.name / "tasks.json").read_text())["tasks"]
        assert {row["task"] for row in stored} <= {task.name for task in block.tasks}
        assert all(row["trivial"] in row["baselines"] for row in stored)
        assert f"Block {block.number}, {block.name}" in screen


def test_the_report_stands_alone(finished: tuple[Path, str]) -> None:
    out, screen = finished
    page = out / "report.html"
    assert str(page) in screen.replace("\n", "")
    text = page.read_text(encoding="utf-8")
    assert "<html" in text and "Not shown" not in text
    assert not re.search(r'(src|href)="(https?:)?//', text), "the report must load nothing"


def test_the_same_command_again_redoes_nothing(table: Path, finished: tuple[Path, str]) -> None:
    out, _ = finished
    weights = sorted(out.glob("blocks/*/weights.safetensors"))
    before = [path.stat().st_mtime_ns for path in weights]
    screen = crystalssl("run", table, *LITTLE, "--out", out)
    assert screen.count("trained before") == len(list_blocks())
    assert [path.stat().st_mtime_ns for path in weights] == before


def test_extracting_again_gives_the_same_bytes(
    table: Path, finished: tuple[Path, str], tmp_path: Path
) -> None:
    out, _ = finished
    for name in ("one.npy", "two.npy"):
        words = ("--weights", out, "--output", "blocks", "-o", tmp_path / name)
        crystalssl("extract", table, *words)
    first, second = (tmp_path / name for name in ("one.npy", "two.npy"))
    assert first.read_bytes() == second.read_bytes()
    stored = load_features(out / "features.parquet").matrix
    assert np.allclose(np.load(first, allow_pickle=False), stored, rtol=1e-4, atol=1e-4)


def test_the_bottleneck_of_the_run_is_what_extract_uses(
    table: Path, finished: tuple[Path, str], tmp_path: Path
) -> None:
    out, _ = finished
    crystalssl("extract", table, "--weights", out, "-o", tmp_path / "mixed.parquet")
    mixed = load_features(tmp_path / "mixed.parquet")
    stored = load_features(out / "bottleneck_features.parquet")
    assert list(mixed.blocks) == ["bottleneck"]
    assert np.allclose(mixed.matrix, stored.matrix, rtol=1e-3, atol=1e-3)


@pytest.mark.long
def test_a_lost_block_alone_is_trained_again(table: Path, finished: tuple[Path, str]) -> None:
    out, _ = finished
    block = list_blocks()[0]
    weights = out / "blocks" / block.name / "weights.safetensors"
    before = weights.read_bytes()
    weights.unlink()
    screen = crystalssl("run", table, *LITTLE, "--out", out)
    assert screen.count("trained before") == len(list_blocks()) - 1
    assert weights.read_bytes() == before


def test_extract_takes_the_electrons_of_a_run_from_where_the_run_took_them(
    finished: tuple[Path, str],
) -> None:
    out, _ = finished
    assert ExtractorConfig.of(out).electronic == "exact"
    assert ExtractorConfig.of(out, electronic="taught").electronic == "taught"
    assert ExtractorConfig.of("default").electronic == "taught"
    card = next(out.glob("models/*/card.json"))
    assert json.loads(card.read_text())["weights"]["electrons_from"] == "exact"


def test_a_unit_needs_one_target(table: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected one --target"):
        pipeline.run([table], tmp_path / "out", unit="eV")


def test_a_run_with_classes_ends_with_map_and_report(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_candidates(monkeypatch.setattr, count=2)
    crystals = read_table(table).crystals.take(range(24))
    few = write_table(crystals, tmp_path / "few.parquet")
    kinds = np.where(crystals.site_counts > np.median(crystals.site_counts), "large", "small")
    lines = [f"{name},{kind}" for name, kind in zip(crystals.ids, kinds, strict=True)]
    labels = tmp_path / "kinds.csv"
    labels.write_text("\n".join(["name,kind", *lines]) + "\n")
    words = ("--labels", labels, "--id", "name", "--target", "kind", "--weights", "tiny")
    crystalssl("run", few, *words, "--out", tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "My property: Kind" in page
    assert "Not shown" not in page
    assert "Kind, predicted" in (tmp_path / "run" / "map.html").read_text(encoding="utf-8")


def test_a_run_on_weights_that_are_there_takes_the_electrons_that_are_asked_for(
    table: Path, tmp_path: Path
) -> None:
    few = write_table(read_table(table).crystals.take(range(4)), tmp_path / "few.parquet")
    outs = {way: tmp_path / way for way in ("taught", "exact")}
    for way, out in outs.items():
        result = pipeline.run([few], out, electronic=way)
        expected = pipeline.extract([few], electronic=way)
        np.testing.assert_array_equal(result.features.matrix, expected.matrix)
    taught, exact = (load_features(out / "features.parquet").matrix for out in outs.values())
    assert np.abs(taught - exact).max() > 0.01
    again = pipeline.run([few], outs["taught"], electronic="exact")  # another way: made anew
    np.testing.assert_array_equal(again.features.matrix, exact)
    with pytest.raises(InputError, match="Leave it out"):
        pipeline.run([few], tmp_path / "own", electronic="exact", pretrain=True)
