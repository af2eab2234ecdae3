"""``evaluate matbench``: from a matminer-format file to a record, with weights of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crystalssl.datasets.bundled import load_bundled
from crystalssl.evaluation.results import Results, select
from crystalssl.hub.weights import save_run
from crystalssl.structures.objects import to_pymatgen

Invoke = Callable[..., Any]


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """Thirty bundled crystals as matminer writes them, one of them without a cell."""
    crystals = load_bundled().take(range(30))
    labels = np.linspace(0, 1, 30).tolist()
    rows = [[s.as_dict(), y] for s, y in zip(to_pymatgen(crystals), labels, strict=True)]
    rows[4][0]["lattice"]["matrix"][0] = [0.0, 0.0, 0.0]
    path = tmp_path / "matbench_tiny.json"
    path.write_text(
        json.dumps({"index": list(range(30)), "columns": ["structure", "y"], "data": rows})
    )
    return path


def test_a_task_becomes_a_record_once(
    task: Path, tmp_path: Path, invoke: Invoke, skipped: Any, registered_toy: Any
) -> None:
    run = save_run({"toy": registered_toy(registered_toy.Config())}, tmp_path / "run")
    out = tmp_path / "out"
    words = ("evaluate", "matbench", task, "--weights", run, "--head", "ridge", "--out", out)
    first = invoke(*words)
    assert first.exit_code == 0, first.output
    assert "do not belong on the leaderboard" in first.output
    assert "1 of 30 rows have no features" in first.output
    assert [row["id"] for row in skipped(out)] == ["mb-tiny-05"]
    record = json.loads((out / "results.json").read_text())
    folds = record["tasks"]["matbench_tiny"]["results"]
    assert sorted(key for fold in folds.values() for key in fold["data"]) == [
        f"mb-tiny-{row + 1:02d}" for row in range(30)
    ]
    rows = Results.load(out, "matbench").rows
    assert {row.n_features for row in select(rows, feature_set="ssl")} == {16}
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    again = invoke(*words)
    assert again.exit_code == 0, again.output
    assert "canonical crystals" not in again.output
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_an_unknown_head_is_named_before_structures_are_read(
    task: Path, tmp_path: Path, invoke: Invoke
) -> None:
    result = invoke("evaluate", "matbench", task, "--head", "rigde", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "Did you mean 'ridge'" in result.output
