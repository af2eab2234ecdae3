"""Variants of the kinds of cases.csv: other groups, spellings, labels, shapes and damages.

A line of variants.jsonl is one input with what may come of it: formulas of the cells in order
(``CsCl,KBr``), ``skip``, ``refused`` (an error for the only file), ``any``, or ``A~`` for a formula
that needs a note.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crystalssl.errors import InputError
from crystalssl.structures.crystals import Crystals, ReadResult
from crystalssl.structures.elements import SYMBOLS
from crystalssl.structures.reading import read_structures

VARIANTS = [
    json.loads(line)
    for line in (Path(__file__).parent / "variants.jsonl").read_text("utf-8").splitlines()
]
KINDS = sorted({variant["kind"] for variant in VARIANTS})


def amounts(formula: str) -> dict[str, float]:
    return {e: float(n or 1) for e, n in re.findall(r"([A-Z][a-z]?)([\d.]*)", formula)}


def contents(crystals: Crystals) -> list[dict[str, float]]:
    held = []
    for row in range(len(crystals)):
        sites = slice(crystals.offsets[row], crystals.offsets[row + 1])
        counts = np.bincount(
            crystals.numbers[sites].ravel(), weights=crystals.occupancy[sites].ravel()
        )
        held.append({SYMBOLS[z]: round(counts[z], 3) for z in np.flatnonzero(counts) if z})
    return held


def fits(result: ReadResult, expected: str) -> bool:
    if expected == "any":
        return True
    if expected == "skip":
        return not len(result.crystals) and len(result.skipped) > 0
    wanted = [amounts(formula) for formula in expected.rstrip("~").split(",")]
    read = contents(result.crystals)
    same = len(read) == len(wanted) and all(
        one.keys() == other.keys() and all(abs(one[e] - other[e]) < 0.01 for e in one)
        for one, other in zip(read, wanted, strict=True)
    )
    return same and (not expected.endswith("~") or len(result.notes) > 0)


def wrong(variant: dict[str, Any], folder: Path) -> str:
    """What is wrong about how a variant is read; empty if nothing is."""
    path = folder / variant["file"]
    content = variant["text"].encode() if "text" in variant else None
    path.write_bytes(base64.b64decode(variant["base64"]) if content is None else content)
    try:
        result = read_structures([path])
    except InputError as error:
        return "" if "refused" in variant["expected"] else f"{variant['name']}: {error}"
    finally:
        path.unlink()
    if any(fits(result, expected) for expected in variant["expected"]):
        return ""
    reasons = [skip.reason for skip in result.skipped]
    return f"{variant['name']}: {contents(result.crystals)} {reasons}, not {variant['expected']}"


@pytest.mark.parametrize("kind", KINDS)
def test_variants_are_read_rightly_or_refused(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("ase")
    tried = [variant for variant in VARIANTS if variant["kind"] == kind]
    assert len(tried) > 100
    assert [text for text in (wrong(variant, tmp_path) for variant in tried) if text] == []
