"""docs/experiments.md is what docs/experiments.csv says, and the data are whole."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts" / "render_experiments.py"))


def test_the_page_is_made_of_the_data(script: dict[str, Any]) -> None:
    page = script["PAGE"].read_text(encoding="utf-8")
    assert script["rendered"](script["read"]()) == page, "run: python scripts/render_experiments.py"


def test_every_experiment_stands_on_the_page_once(script: dict[str, Any]) -> None:
    rows = script["read"]()
    page = script["rendered"](rows)
    assert page.count("\n### ") == len(rows) > 60
    for row in rows:
        for text in (row["change"], row["before"], row["after"]):
            assert text in page


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2030-01-01,Heads,q,c,m,b,a,perhaps,\n", "kept is 'perhaps'"),
        ("2030-01-01,Heads,q,,m,b,a,yes,\n", "change"),
        ("2030-01-01,Heads,q,c,m,b,a,yes,,more\n", "more cells"),
        ("2000-01-01,Heads,q,c,m,b,a,yes,\n2030-01-01,Heads,q,c,m,b,a,yes,\n", "newest first"),
    ],
)
def test_a_row_that_is_not_whole_is_refused(
    script: dict[str, Any], tmp_path: Path, line: str, message: str
) -> None:
    path = tmp_path / "experiments.csv"
    path.write_text(",".join(script["COLUMNS"]) + "\n" + line, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        script["read"](path)
