"""A parsed CIF block to its tags under one spelling, sorted by what they say about symmetry.

Case, dots and hyphens in names differ between dictionaries and programs; here they do not count.
First step of ``reading.py``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from gemmi import cif

OPERATIONS, CENTRING = "operations", "centring"
HALL, SYMBOL, NUMBER = "hall", "symbol", "number"
MODULATED, MAGNETIC, UNKNOWN = "modulated", "magnetic", "unknown"

_MODULATED = re.compile(
    r"_ssg|^_cell_(modulation|wave_vector|subsystem)|_(fourier|legendre|crenel|sawtooth)(_|$)"
)
_ELSEWHERE = re.compile(
    r"^_(parent|geom|atom|refln|reflns|publ|journal|audit|chemical|pd|exptl|diffrn|cell|shelx"
    r"|oxford|iucr|citation|computing|database|refine|struct_conn|valence)"
)
_ABOUT = re.compile(r"space_?group|symmetry|symop|^_sg_|^_spgr|_spgr")
_BESIDE = re.compile(
    r"(_id|_crystal_system|_laue_class|_patterson\w*|_cent(r|er)ing_type|_bravais_type"
    r"|_point_group\w*|_reference_setting|_transform\w*|schoenflies|_cell_setting"
    r"|_it_coordinate_system_code|_generator\w*|_details?|_timereversal|_mxmymz|_magn\w*"
    r"|_rotation\w*|_translation\w*|_description|_order|_multiplicity|_tolerance\w*)$"
    r"|wyckoff|_asymunit|_matrix|_vector|_ncs|_symmetry_equiv_"
)


class Loop(Protocol):
    """What is asked of a loop, gemmi's or another."""

    @property
    def values(self) -> list[str]:
        """All values, row after row."""

    def length(self) -> int:
        """Number of rows."""


class Tags(NamedTuple):
    """What a block holds.

    Attributes:
        pairs: value of each tag outside loops (and of loops with one row), as written.
        loops: tags and loop of each loop.
        symmetry: (kind, value) of each pair that says something about symmetry.
        symmetry_loops: (kind, tag) of the columns of longer loops that do.
    """

    pairs: dict[str, str]
    loops: list[tuple[list[str], Loop]]
    symmetry: tuple[tuple[str, str], ...]
    symmetry_loops: list[tuple[str, str]]

    def text(self, tag: str) -> str:
        """Value of a tag without its quotes, empty where it is missing, ``?`` or ``.``."""
        value = self.pairs.get(tag, "?")
        return "" if cif.is_null(value) else str(cif.as_string(value)).strip()


def tags_of(block: cif.Block) -> Tags:
    """Gather the tags of a parsed block; of a repeated one the first counts."""
    items: list[Any] = [item.pair or item.loop for item in block]
    return gathered([item for item in items if item is not None])


def gathered(items: Sequence[Any]) -> Tags:
    """Gather tags from pairs (tag, value) and loops, in their order."""
    pairs: dict[str, str] = {}
    loops: list[tuple[list[str], Loop]] = []
    symmetry: list[tuple[str, str]] = []
    symmetry_loops: list[tuple[str, str]] = []
    for item in items:
        if not hasattr(item, "length"):
            tag, about = _known(item[0])
            if tag not in pairs:
                pairs[tag] = item[1]
                if about:
                    symmetry.append((about, item[1]))
            continue
        names, kinds = _known_loop(tuple(item.tags))
        loops.append((names, item))
        if names[0].startswith("_atom"):
            continue
        if item.length() == 1:
            for tag, about, value in zip(names, kinds, item.values, strict=False):
                if tag not in pairs:
                    pairs[tag] = value
                    if about:
                        symmetry.append((about, value))
        else:
            symmetry_loops += [pair for pair in zip(kinds, names, strict=True) if pair[0]]
    return Tags(pairs, loops, tuple(symmetry), symmetry_loops)


@lru_cache(maxsize=8192)
def _known(tag: str) -> tuple[str, str]:
    """Plain spelling of a tag, and what it says about symmetry."""
    name = plain(tag)
    return name, kind(name)


@lru_cache(maxsize=2048)
def _known_loop(tags: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Plain spellings of the tags of a loop, and what each says about symmetry."""
    known = [_known(tag) for tag in tags]
    return [tag for tag, _ in known], [about for _, about in known]


@lru_cache(maxsize=8192)
def plain(tag: str) -> str:
    """A tag in lower case, with underscores for dots and hyphens."""
    return tag.lower().replace(".", "_").replace("-", "_")


@lru_cache(maxsize=8192)
def kind(tag: str) -> str:
    """What a tag says about symmetry; an empty text when nothing."""
    if _MODULATED.search(tag):
        return MODULATED
    if _ELSEWHERE.match(tag) or not _ABOUT.search(tag):
        return ""
    if tag.endswith("xyz"):
        return CENTRING if "centring" in tag or "centering" in tag else OPERATIONS
    if "magn" in tag:
        return MAGNETIC if re.search(r"name|number", tag) else ""
    if _BESIDE.search(tag):
        return ""
    if "hall" in tag:
        return HALL
    if re.search(r"h_?m(_|$)|hermann|_name(_|$)|symbol|_group$", tag):
        return SYMBOL
    if re.search(r"number|tables|_it(_|$)|_no$|_nr$", tag):
        return NUMBER
    return UNKNOWN
