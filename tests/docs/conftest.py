"""What makes the blocks of README and the how-to pages quick enough to be run in the tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """One candidate and one repeat: the same files in a fraction of the time."""
    from crystalssl.properties import cross_validation
    from crystalssl.properties.candidates import Plan

    whole = cross_validation.build_plan

    def build(*words: Any, **options: Any) -> Plan:
        plan = whole(*words, **options)
        return replace(plan, candidates=plan.candidates[:1], repeats=1, clusters=2)

    monkeypatch.setattr(cross_validation, "build_plan", build)


@pytest.fixture
def tiny_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights for trying things out take the name of the default ones."""
    from crystalssl.hub import weights

    (tmp_path / "default").symlink_to(weights.BUNDLED / "tiny")
    monkeypatch.setattr(weights, "BUNDLED", tmp_path)
