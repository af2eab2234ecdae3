"""Every situation of cases.csv against the command line and ``from_objects``."""

from __future__ import annotations

import csv
import importlib.util
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from crystalssl.structures.objects import from_objects
from crystalssl.structures.table import from_arrow, write_table

HERE = Path(__file__).parent
INPUTS = HERE / "inputs"
TOLERANCE = 0.02


def _cases() -> list[dict[str, str]]:
    with (HERE / "cases.csv").open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


@dataclass
class Outcome:
    """What came out: contents of the cells, ids, columns, skipped rows and words on screen."""

    formulas: list[dict[str, float]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    columns: dict[str, list[object]] = field(default_factory=dict)
    skipped: list[dict[str, str]] = field(default_factory=list)
    text: str = ""


def _amounts(formula: str) -> dict[str, float]:
    terms = re.findall(r"([A-Z][a-z]?)(\d*\.?\d*)", formula)
    amounts: dict[str, float] = defaultdict(float)
    for element, amount in terms:
        amounts[element] += float(amount or 1)
    return dict(amounts)


def _same(content: dict[str, float], wanted: str) -> bool:
    return any(
        all(abs(content.get(e, 0) - known.get(e, 0)) <= TOLERANCE for e in content | known)
        for known in map(_amounts, wanted.split("|"))
    )


def _read_back(path: Path) -> Outcome:
    table = pq.read_table(path)
    outcome = Outcome(columns={name: table[name].to_pylist() for name in table.column_names})
    outcome.ids = [str(name) for name in table["immutable_id"].to_pylist()]
    if "species_at_sites" in table.column_names:
        from crystalssl.structures.elements import SYMBOLS

        crystals = from_arrow(table, "x").crystals
        for row in range(len(crystals)):
            sites = slice(crystals.offsets[row], crystals.offsets[row + 1])
            numbers, shares = crystals.numbers[sites].ravel(), crystals.occupancy[sites].ravel()
            held = np.bincount(numbers, weights=shares, minlength=len(SYMBOLS))
            outcome.formulas.append({SYMBOLS[z]: float(held[z]) for z in np.flatnonzero(held) if z})
    return outcome


def _run(case: dict[str, str], out: Path, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    from crystalssl.cli.app import app

    monkeypatch.chdir(INPUTS)
    files, table, array = case["files"].split(";"), out / "out.parquet", out / "array.npy"
    commands = {
        "convert": [["convert", *files, "-o", str(table)]],
        "convert-together": [["convert", *files, "-o", str(table)]],
        "extract": [["extract", *files, "-o", str(table)]],
        "ftcp-convert": [
            ["ftcp", *files, "-o", str(array)],
            ["convert", str(array), "-o", str(table)],
        ],
    }[case["how"]]
    text = ""
    for command in commands:
        result = CliRunner().invoke(app, command)
        text += result.output
        assert result.exit_code in (0, 2), text
    outcome = _read_back(table) if table.exists() else Outcome()
    outcome.text = text
    for path in out.glob("*skipped.csv"):
        with path.open(encoding="utf-8", newline="") as handle:
            outcome.skipped += list(csv.DictReader(handle))
    return outcome


def _kept(outcome: Outcome, wanted: list[str]) -> bool:
    left = list(outcome.formulas)
    for formula in wanted:
        hit = next((content for content in left if _same(content, formula)), None)
        if hit is None:
            return False
        left.remove(hit)
    return not left


def _check(case: dict[str, str], outcome: Outcome) -> None:
    words = dict((part.strip() + "=").split("=")[:2] for part in case["expected"].split(";"))
    others = words["others"].split(",") if words.get("others") else []
    names = {Path(name).name for text in case["files"].split(";") for name in [text]}
    names |= {p.name for f in case["files"].split(";") for p in (INPUTS / f).rglob("*")}
    rows = [r for r in outcome.skipped if any(n in r["file"] or n == r["id"] for n in names)]
    for word, value in words.items():
        if word == "formula":
            wanted = value.split(",")
            assert len(outcome.formulas) == len(wanted), outcome
            assert all(map(_same, outcome.formulas, wanted)), outcome
        elif word == "ids":
            assert len(value.split(",")) == len(outcome.ids), outcome
            assert all(w in ("*", i) for w, i in zip(value.split(","), outcome.ids, strict=True))
        elif word == "columns":
            for name, numbers in re.findall(r"(\w+)\(([^)]*)\)", value):
                assert np.allclose(outcome.columns[name], [float(x) for x in numbers.split(",")])
        elif word == "skip":
            assert any(value in " ".join(row.values()) for row in rows), outcome
            assert case["how"] == "extract" or _kept(outcome, others), outcome
        elif word == "skip-or-formula":
            assert _kept(outcome, [value, *others]) or (rows and _kept(outcome, others)), outcome
        elif word == "say-or-formula":
            said = any(name in outcome.text for name in names)
            assert _kept(outcome, [value, *others]) or rows or said, outcome


@pytest.mark.parametrize(
    "case", [c for c in _cases() if c["how"] != "python"], ids=lambda case: Path(case["files"]).stem
)
def test_a_file_is_read_rightly_or_refused(
    case: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _check(case, _run(case, tmp_path, monkeypatch))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "case", [c for c in _cases() if c["how"] == "python"], ids=lambda case: Path(case["files"]).stem
)
def test_an_object_is_read_as_what_it_is(case: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("ase")
    path = INPUTS / case["files"]
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    result = from_objects(module.structures())
    write_table(result.crystals, tmp_path / "out.parquet")
    outcome = _read_back(tmp_path / "out.parquet")
    read = dict(zip(outcome.ids, outcome.formulas, strict=True))
    skipped = {skip.id for skip in result.skipped}
    for row, wanted in enumerate(module.EXPECTED):
        if str(row) in read:
            assert _same(read[str(row)], wanted.replace("|skip", ""))
        else:
            assert str(row) in skipped
            assert "skip" in wanted
