"""A command-line runner and a reader of skipped.csv for the tests of the commands."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from crystalssl.cli import app


@pytest.fixture
def invoke() -> Callable[..., Any]:
    """Call ``crystalssl`` with arguments; the result holds exit code and all output."""

    def call(*words: object) -> Any:
        return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})

    return call


@pytest.fixture
def skipped() -> Callable[[Path], list[dict[str, str]]]:
    """Read the list of skipped structures of a folder, or of a file."""

    def read(out: Path) -> list[dict[str, str]]:
        path = out / "skipped.csv" if out.is_dir() else out.with_name(f"{out.name}.skipped.csv")
        with path.open(newline="", encoding="utf-8") as handle:
            return list(csv.DictReader(handle))

    return read
