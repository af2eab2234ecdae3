"""The commands for large corpora, on small ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from crystalssl.structures.table import read_table

Invoke = Callable[..., Any]


def test_generate_makes_as_many_crystals_as_asked_for(tmp_path: Path, invoke: Invoke) -> None:
    out = tmp_path / "made.parquet"
    result = invoke("generate", "-n", 30, "-o", out, "--seed", 2)
    assert result.exit_code == 0
    assert "synthetic" in result.output
    assert read_table(out).crystals.ids[-1] == "synthetic-2-29"
