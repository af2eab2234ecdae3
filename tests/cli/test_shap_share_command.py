"""``evaluate shap-share``: from features and structures to shares, on a few bundled crystals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crystalssl.datasets.bundled import load_bundled
from crystalssl.evaluation import shap_share as scenario
from crystalssl.evaluation.scenario import ResultTable
from crystalssl.features.container import Features
from crystalssl.features.store import save_parquet
from crystalssl.models import build_head
from crystalssl.structures.table import write_table

pytest.importorskip("lightgbm")
pytest.importorskip("shap")
Invoke = Callable[..., Any]


def test_features_and_structures_become_shares_once(
    tmp_path: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(name: str, *, threads: int = 0) -> Any:
        head = build_head(name, threads=1)
        changes = {"mlp": {"epochs": 3, "steps": 30}, "lightgbm": {"rounds": 20}}
        return replace(head, **changes.get(name, {}))

    monkeypatch.setattr(scenario, "build_head", build)
    every = load_bundled()
    known = np.isfinite(every.column("formation_energy_per_atom").astype(float))
    crystals = every.take(np.flatnonzero(known)[:60])
    rng = np.random.default_rng(0)
    blocks = {name: rng.normal(size=(60, 8)).astype(np.float32) for name in ("left", "right")}
    features = save_parquet(Features(ids=crystals.ids, blocks=blocks), tmp_path / "f.parquet")
    table = write_table(crystals, tmp_path / "structures.parquet")
    out = tmp_path / "out"
    words = ("evaluate", "shap-share", features, "--structures", table, "--out", out)
    words += ("--target", "formation_energy_per_atom", "--explained", 5, "--samples", 5)
    first = invoke(*words, "--threads", 1)
    assert first.exit_code == 0, first.output
    assert "left" in first.output
    found = ResultTable.load(out / "shap_share.parquet")
    tested = (crystals.column("split") == "test").sum()
    held = found.record.counts
    assert held["tested for formation_energy_per_atom"] <= tested
    assert {row.n_features for row in found.where(feature_set="hybrid")} == {25_200 + 16}
    assert {row.value for row in found.where(metric="rows_explained")} == {5}
    before = (out / "shap_share.parquet").read_bytes()
    assert invoke(*words, "--threads", 1).exit_code == 0
    assert (out / "shap_share.parquet").read_bytes() == before
