"""The quick way through plain CIF text says what gemmi says, or leaves the text to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from gemmi import cif
from tests.fuzz.mutations import mutated

from crystalssl.structures.formats.cif.quick import quick_tags
from crystalssl.structures.formats.cif.tags import Tags, tags_of

INPUTS = Path(__file__).parents[1] / "cases" / "inputs" / "cif"
TEXTS = [path.read_bytes() for path in sorted(INPUTS.glob("*.cif"))]


def said(tags: Tags) -> object:
    loops = [(names, list(loop.values), loop.length()) for names, loop in tags.loops]
    return tags.pairs, loops, tags.symmetry, tags.symmetry_loops


def compare(data: bytes) -> bool:
    quick = quick_tags(data)
    if quick is None:
        return False
    document = cif.read_string(data.decode(errors="replace"), check_level=0)
    assert len(document) == 1
    assert said(quick) == said(tags_of(document[0]))
    return True


def test_many_files_are_plain_and_read_alike() -> None:
    assert sum(map(compare, TEXTS)) > 0.5 * len(TEXTS)


@pytest.mark.parametrize("first", range(0, 4000, 500))
def test_mutated_text_is_read_alike_or_left_to_gemmi(first: int) -> None:
    for seed in range(first, first + 500):
        compare(mutated(seed, TEXTS, text=True))
