"""Space groups as a CIF names them (Hermann-Mauguin, Hall, number) to settings of the table.

Spellings differ: blanks, brackets and underscores for screw axes, origin choices and axes in
letters, digits or words. The table is gemmi's, with all 564 settings. Used by ``settings.py``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import gemmi

from crystalssl.structures.formats.cif.operations import Group

LONGEST = 200
"""Characters of a text that may name a space group."""
_CHOICE = re.compile(
    r"(?:origin|choice|setting|orig\.?|o)\s*(?:choice|at|no\.?|=|:)?\s*#?\s*([12])\b"
)
_AXES = re.compile(r"\b(hex|rhomb|h\b|r\b)")
_UNIQUE = re.compile(r"(?:unique\s*(?:axis)?|axis)\s*[:=]?\s*([abc])\b")
_SCREW = re.compile(r"[(\[{<~_]+\s*(?:sub>)?\s*([1-6])\s*(?:</sub>)?[)\]}>~_]*")


@dataclass(frozen=True, slots=True)
class Named:
    """A space group as named.

    Attributes:
        text: the name as the file gives it.
        number: space-group number.
        settings: (operations, description), the meant ones first, then the group's other settings.
        meant: how many of them the name itself allows.
    """

    text: str
    number: int
    settings: tuple[tuple[Group, str], ...]
    meant: int


@lru_cache(maxsize=1)
def _table() -> dict[str, list[gemmi.SpaceGroup]]:
    """Settings by symbol without blanks, in small letters."""
    table: dict[str, list[gemmi.SpaceGroup]] = {}
    for group in gemmi.spacegroup_table():
        old = group.hm.replace(" ", "").lower()
        if 200 <= group.number <= 206 or group.number >= 221:
            old = old.replace("-3", "3")  # as the symbols of cubic groups were before 1983
        for name in dict.fromkeys((group.hm, group.short_name(), old)):
            table.setdefault(name.replace(" ", "").lower(), []).append(group)
    return table


@lru_cache(maxsize=1024)
def operations_of(group: gemmi.SpaceGroup) -> Group:
    """Operations of a setting, the identity first."""
    return tuple(op.wrap().triplet() for op in group.operations())


@lru_cache(maxsize=2048)
def named_by_symbol(text: str, code: str = "") -> Named | None:
    """The group behind a Hermann-Mauguin symbol in any spelling, or None.

    Args:
        text: the symbol.
        code: coordinate system code given elsewhere (``1``, ``2``, ``h``, ``r``).
    """
    if len(text) > LONGEST:
        return None
    plain = _SCREW.sub(r"\1", text.strip().strip("'\"")).lower()
    hints = {code.lower()} if code else set()
    for match in _CHOICE.finditer(plain):
        hints.add(match.group(1))
    aside = (
        " ".join(re.findall(r"\(([^)]*)\)|[,;#](.*)", plain)[0])
        if re.search(r"\(|[,;#]", plain)
        else ""
    )
    hints |= {match.group(1)[0] for match in _AXES.finditer(aside)}
    hints |= {aside.strip()} if aside.strip() in ("1", "2", "h", "r") else set()
    unique = _UNIQUE.search(plain)
    stem = re.sub(
        r"\([^)]*\)|[,;#].*|\borigin.*|\bchoice.*|\baxis.*|\bhexagonal.*|\brhomb.*", "", plain
    )
    symbol, _, ext = stem.partition(":")
    hints |= set(ext.strip()[:1])
    symbol = _short(re.sub(r"[_~$]+", " ", symbol))
    groups = _table().get(plain.replace(" ", "")) or _table().get(symbol)
    marked = re.match(r"(.+?)(o?[12]|[szhr])$", symbol)
    if not groups and marked and marked.group(1) in _table():
        mark = marked.group(2)[-1]
        hints.add({"s": "1", "z": "2"}.get(mark, mark))
        groups = _table()[marked.group(1)]
    if not groups:
        known = gemmi.find_spacegroup_by_name(symbol)
        groups = _table().get(known.hm.replace(" ", "").lower()) if known else None
    if not groups:
        return None
    axis = unique.group(1) if unique else ""
    return _named(text, groups, frozenset(hints), axis)


def _short(symbol: str) -> str:
    """A symbol without blanks, and without the axes that only full symbols name."""
    words = symbol.split()
    if len(words) >= 3 and "1" not in words:
        if words[2] == "-3":  # cubic: F 4/m -3 2/m is F m -3 m
            words[1] = re.sub(r"^[24][1-3]?/", "", words[1])
        words[1:] = [re.sub(r"^21?/", "", word) for word in words[1:]]
    return "".join(words)


@lru_cache(maxsize=1024)
def named_by_number(text: str, code: str = "") -> Named | None:
    """The group behind a number of the International Tables, or None."""
    digits = re.match(r"\s*(\d{1,3})\s*(?::\s*(\w))?\s*$", text)
    if not digits or not 1 <= int(digits.group(1)) <= 230:
        return None
    number = int(digits.group(1))
    first = gemmi.find_spacegroup_by_number(number)
    groups = [g for g in gemmi.spacegroup_table() if g.number == number and g.hm == first.hm]
    hints = {hint.lower() for hint in (code, digits.group(2)) if hint}
    return _named(f"number {number}", groups, frozenset(hints), "")


@lru_cache(maxsize=1024)
def named_by_hall(text: str) -> Named | None:
    """The group behind a Hall symbol, also one with a change of origin or axes, or None."""
    if len(text) > LONGEST:
        return None
    try:
        table = gemmi.symops_from_hall(text.replace("_", " "))
        operations = tuple(op.wrap().triplet() for op in table)
    except (RuntimeError, ValueError):
        return None
    known = gemmi.find_spacegroup_by_ops(table)
    others = _others(known.number, {operations}) if known else ()
    number = int(known.number) if known else 0
    return Named(text, number, ((operations, f"Hall symbol {text}"), *others), 1)


def _named(text: str, groups: list[gemmi.SpaceGroup], hints: frozenset[str], axis: str) -> Named:
    """Settings of a symbol, those with the hints first, then all others of its number."""
    hinted = [g for g in groups if g.ext.strip("\0").lower() in hints and g.ext.strip("\0")]
    ordered = hinted + [g for g in groups if g not in hinted]
    number = ordered[0].number
    if axis and ordered[0].monoclinic_unique_axis() not in (axis, "\0", ""):
        turned = [
            g
            for g in gemmi.spacegroup_table()
            if g.number == number and g.monoclinic_unique_axis() == axis
        ]
        ordered = turned + ordered
    meant = {operations_of(g): g.xhm() for g in ordered}
    others = _others(number, set(meant))
    count = len(hinted) or len(meant)
    return Named(text, number, (*meant.items(), *others), count)


def _others(number: int, without: set[Group]) -> list[tuple[Group, str]]:
    if number <= 2:  # a centred triclinic cell is meant only where it is named
        return []
    made = {operations_of(g): g.xhm() for g in gemmi.spacegroup_table() if g.number == number}
    return [(group, name) for group, name in made.items() if group not in without]
