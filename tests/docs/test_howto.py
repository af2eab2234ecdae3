"""Blocks of the how-to pages do their work, page after page, in the folder of one reader."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from reader import COUNT, NEW, make_job
from typer.testing import CliRunner

from crystalssl.cli import app
from crystalssl.features.store import load_features

HOWTO = Path(__file__).resolve().parents[2] / "docs" / "howto"
PAGES = ("own_data", "few_shot", "which_next", "from_arrays", "own_corpus", "cluster")
"""In an order in which each finds what those before it made."""
JOB = re.compile(r"<!-- job -->\n```(bash|python)\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_job(tmp_path_factory.mktemp("howto"))


def run_bash(code: str, query: str) -> None:
    lines = code.replace("\\\n", " ").replace("QUERY", query).splitlines()
    for line in lines:
        words = shlex.split(line, comments=True)
        assert words[0] == "crystalssl"
        result = CliRunner().invoke(app, words[1:], env={"COLUMNS": "200"})
        assert result.exit_code == 0, f"{line}\n{result.output}{result.exception!r}"


def test_all_pages_have_blocks_that_run() -> None:
    assert {path.stem for path in HOWTO.glob("*.md")} == set(PAGES)
    for page in PAGES:
        assert JOB.search((HOWTO / f"{page}.md").read_text(encoding="utf-8"))


@pytest.mark.long
@pytest.mark.usefixtures("few_candidates", "tiny_by_default")
@pytest.mark.filterwarnings("ignore")  # of pymatgen, about how it writes
def test_a_reader_who_follows_every_page_gets_every_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    query = sorted(path.stem for path in Path("my_cifs").iterdir())[0]
    for page in PAGES:
        for kind, code in JOB.findall((HOWTO / f"{page}.md").read_text(encoding="utf-8")):
            if kind == "bash":
                run_bash(code, query)
            else:
                exec(compile(code, page, "exec"), {})
    predictions = pacsv.read_csv("predictions.csv")
    assert predictions.num_rows == NEW
    assert {"band_gap", "band_gap_lower", "band_gap_upper", "in_domain", "nearest"} <= set(
        predictions.column_names
    )
    assert len(load_features("features.parquet")) == COUNT
    assert len(np.load("all_ssl_features.npy")) == COUNT  # of width 64 with these weights
    for name, count in (("first", 3), ("next", 2), ("uncertain", 2), ("alike", 3)):
        assert pacsv.read_csv(f"{name}.csv").num_rows == count
    assert pq.read_table("own.parquet").num_rows == COUNT
    assert Path("map.html").stat().st_size > 10_000
