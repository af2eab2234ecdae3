"""docs/physics.md lists every named number, and its table is that of the code."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from crystalssl.representation.physics import physics_columns

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts" / "render_physics.py"))


def test_the_table_is_current(script: dict[str, Any]) -> None:
    page = script["PAGE"].read_text(encoding="utf-8")
    assert script["rendered"](page) == page, "run: python scripts/render_physics.py"


def test_every_number_is_on_the_page(script: dict[str, Any]) -> None:
    page = script["PAGE"].read_text(encoding="utf-8")
    for column in physics_columns("exact"):
        shared = script["STATISTIC"].sub("_{mean,std,min,max}", column.name, count=1)
        assert f"`{column.name}`" in page or f"`{shared}`" in page or _tail(column.name, page)


def _tail(name: str, page: str) -> bool:
    """Statistics of which some are left out share a row as well."""
    return any(f"`{name.replace(s, '{std,min,max}')}`" in page for s in ("std", "min", "max"))
