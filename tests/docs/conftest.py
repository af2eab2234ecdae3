"""What makes the blocks of README and the how-to pages quick enough to be run in the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

import plans


@pytest.fixture
def few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """One candidate and one repeat: the same files in a fraction of the time."""
    plans.few_candidates(monkeypatch.setattr)


@pytest.fixture
def tiny_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights for trying things out take the name of the default ones."""
    from crystalssl.hub import weights

    (tmp_path / "default").symlink_to(weights.BUNDLED / "tiny")
    monkeypatch.setattr(weights, "BUNDLED", tmp_path)
