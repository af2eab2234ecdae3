"""evaluate few-shot and evaluate ablation: what they write and show, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from crystalssl.cli import steps
from crystalssl.datasets.bundled import load_bundled
from crystalssl.evaluation import magpie
from crystalssl.features.container import Features
from crystalssl.features.store import save_parquet
from crystalssl.models.boosting import LightGBM
from crystalssl.structures.table import write_table

Invoke = Callable[..., Any]
LABEL = "formation_energy_per_atom"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """172 bundled crystals and features of two blocks, one of which holds the label."""
    folder = tmp_path_factory.mktemp("few")
    crystals = load_bundled().take(np.arange(0, 6000, 35))
    labels = crystals.column(LABEL).astype(float)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(len(crystals), 8))
    blocks = {"good": labels[:, None] + 0.3 * noise[:, :4], "bad": noise[:, 4:]}
    features = Features(
        ids=crystals.ids, blocks={k: v.astype(np.float32) for k, v in blocks.items()}
    )
    return (
        write_table(crystals, folder / "crystals.parquet"),
        save_parquet(features, folder / "features.parquet"),
    )


def test_few_shot_writes_rows_and_summary_and_goes_on_where_it_was(
    files: tuple[Path, Path], tmp_path: Path, invoke: Invoke
) -> None:
    structures, features = files
    words = ["evaluate", "few-shot", features, "--structures", structures, "--target", LABEL]
    words += ["--out", tmp_path, "--also", f"same={features}", "--fractions", "20,100"]
    words += ["--draws", 2, "--heads", "ridge", "--residual", "", "--no-untrained"]
    result = invoke(*words)
    assert result.exit_code == 0, result.output
    assert "R2 with few labels" in result.output
    assert "less that of raw FTCP with its best head" in result.output
    summary = pq.read_table(tmp_path / "few_shot_summary.parquet").to_pylist()
    best = {
        row["feature_set"]: row["mean"]
        for row in summary
        if row["metric"] == "r2" and row["train_fraction"] == 1.0
    }
    assert {"raw_ftcp", "ssl", "hybrid", "same", "mean"} <= set(best)
    assert best["ssl"] == best["same"] > best["raw_ftcp"]
    again = invoke(*words)
    assert "15 of 15 fits were there from before" in again.output
    assert result.output.split("Rows and summary")[0] in again.output


def test_what_scenarios_have_in_common_is_made_once(
    files: tuple[Path, Path], tmp_path: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    structures, _ = files
    features = tmp_path / "features.parquet"
    assert invoke("extract", structures, "--weights", "tiny", "-o", features).exit_code == 0
    words = [features, "--structures", structures, "--target", LABEL, "--shared", tmp_path / "both"]
    first = invoke("evaluate", "linear-probe", *words, "--out", tmp_path / "probe")
    assert first.exit_code == 0, first.output

    def never(*given: Any) -> None:
        raise AssertionError("made twice")

    monkeypatch.setattr(steps, "untrained_features", never)
    monkeypatch.setattr(magpie, "_statistics", never)
    words += ["--fractions", "100", "--heads", "lightgbm", "--residual", ""]
    second = invoke("evaluate", "few-shot", *words, "--out", tmp_path / "few")
    assert second.exit_code == 0, second.output
    monkeypatch.setattr(LightGBM, "fit", never)
    third = invoke("evaluate", "few-shot", *words, "--out", tmp_path / "again")
    assert third.exit_code == 0, third.output
    assert (tmp_path / "again" / "few_shot_summary.csv").read_bytes() == (
        tmp_path / "few" / "few_shot_summary.csv"
    ).read_bytes()


def test_ablation_prints_every_block_alone_and_left_out(
    files: tuple[Path, Path], tmp_path: Path, invoke: Invoke
) -> None:
    structures, features = files
    words = ["evaluate", "ablation", features, "--structures", structures, "--target", LABEL]
    result = invoke(*words, "--out", tmp_path, "--untrained-features", features)
    assert result.exit_code == 0, result.output
    for line in ("all", "only good", "without good", "less untrained", "less all blocks"):
        assert line in result.output
    assert (tmp_path / "ablation.csv").is_file()


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--also", "ssl=x.parquet"], "is in use"),
        (["--also", "x.parquet"], "expected NAME=FILE"),
        (["--fractions", "one"], "numbers joined by commas"),
        (["--fractions", "0"], "at most 100 percent"),
        (["--fractions", "1", "--no-untrained"], "expected at least 10"),
        (["--heads", "rigde", "--no-untrained"], "Did you mean 'ridge'"),
        (["--drop-seen", "formulas", "--no-untrained"], "do not say which weights"),
    ],
)
def test_what_cannot_be_done_is_one_message(
    extra: list[str], message: str, files: tuple[Path, Path], tmp_path: Path, invoke: Invoke
) -> None:
    structures, features = files
    words = ["evaluate", "few-shot", features, "--structures", structures, "--target", LABEL]
    result = invoke(*words, "--out", tmp_path, "--fractions", "50", *extra)
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.output.split())
