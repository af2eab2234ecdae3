"""The ways in which the symmetry of a CIF can be meant, and the choice among them.

A list of operations, a symbol, a Hall symbol and a number may all be there and disagree; a symbol
leaves origin and axes open. Each way must keep the cell; the content that it gives decides, by
``stated.py``, else stated multiplicities and atoms that do not overlap. Used by ``reading.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from gemmi import cif

from crystalssl.errors import InputError
from crystalssl.structures.formats.cif import symbols, tags
from crystalssl.structures.formats.cif.operations import (
    IDENTITY,
    Group,
    UnreadableError,
    centrings_of,
    closed,
    listed_group,
    multiplied,
    number_of,
    strain,
)
from crystalssl.structures.formats.cif.symbols import Named
from crystalssl.structures.formats.cif.tags import Tags

STRAIN, WIDE_STRAIN = 0.02, 0.06
"""Largest relative change of the cell's metric by an operation; the second with a note."""

P1 = (IDENTITY,)


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to read the symmetry.

    Attributes:
        group: operations.
        text: what it is called in notes.
        meant: whether the file says so; else it is tried only when the formula can confirm it.
    """

    group: Group
    text: str
    meant: bool = True


@dataclass(frozen=True, slots=True)
class Symmetry:
    """What a block says about its symmetry.

    Attributes:
        settings: the ways to read it, the likeliest first.
        agreed: whether two independent statements of the file agree on the group.
        notes: contradictions that the choice left behind.
    """

    settings: list[Setting]
    agreed: bool = False
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Said:
    """Texts of the symmetry tags of a block by kind."""

    texts: Mapping[str, list[str]]

    @property
    def names(self) -> list[str]:
        return [text for kind in (tags.SYMBOL, tags.HALL) for text in self.texts.get(kind, [])]


def is_p1(block: Tags) -> bool:
    """Whether a block is plainly P1: identity alone or no operation, and no other name."""
    return not block.symmetry_loops and _plainly_p1(block.symmetry)


@lru_cache(maxsize=2048)
def _plainly_p1(symmetry: tuple[tuple[str, str], ...]) -> bool:
    for kind, value in symmetry:
        if cif.is_null(value):
            continue
        text = str(cif.as_string(value)).lower().replace(" ", "").replace("_", "")
        plain = {
            tags.SYMBOL: "p1",
            tags.HALL: "p1",
            tags.NUMBER: "1",
            tags.OPERATIONS: "x,y,z",
        }.get(kind)
        if text != plain:
            return False
    return True


def _said(block: Tags) -> _Said:
    texts: dict[str, list[str]] = {}
    for kind, value in block.symmetry:
        if not cif.is_null(value):
            texts.setdefault(kind, []).append(str(cif.as_string(value)).strip())
    for kind, tag in block.symmetry_loops:
        if kind in (tags.MODULATED, tags.MAGNETIC, tags.UNKNOWN):
            texts.setdefault(kind, []).append(f"loop of {tag}")
    return _Said(texts)


def symmetry_of(block: Tags, metric: npt.NDArray[np.float64]) -> Symmetry:
    """Every way to read the symmetry of a block that keeps its cell.

    Args:
        block: the tags.
        metric: (3, 3) metric tensor of the cell in square angstrom.

    Raises:
        InputError: if it is modulated or magnetic without operations, named in a way that no
            table knows, or if nothing that it says keeps the cell.
    """
    said = _said(block)
    modulated = [text for text in said.texts.get(tags.MODULATED, []) if text != "0"]
    if modulated:
        raise InputError("it is a modulated structure (superspace group), which no cell can hold")
    problem = ""
    listed: Group = ()
    try:
        listed = listed_group(block)
    except UnreadableError as error:
        problem = str(error)
    named = _named(said, block.text("_space_group_it_coordinate_system_code"))
    if not named and not listed:
        _refuse_unnamed(said, problem)
        return Symmetry([Setting(P1, "P 1")])
    notes = [*([problem] if problem else []), *_notes(listed, named)]
    return _fitting(_ways(listed, named), _agreed(listed, named), metric, notes)


def _named(said: _Said, code: str) -> list[Named]:
    """The groups named, those of the number that most of them agree on first."""
    by: list[Named | None] = [
        symbols.named_by_hall(text) or symbols.named_by_symbol(text, code)
        for text in said.texts.get(tags.HALL, [])
    ]
    for text in said.texts.get(tags.SYMBOL, []):
        known = symbols.named_by_symbol(text, code) or symbols.named_by_number(text, code)
        by.append(known or symbols.named_by_hall(text))
    by += [
        symbols.named_by_number(text, code) or symbols.named_by_symbol(text, code)
        for text in said.texts.get(tags.NUMBER, [])
    ]
    if not any(by):
        by += [symbols.named_by_symbol(text) for text in said.texts.get(tags.UNKNOWN, [])]
    known_groups = [named for named in by if named is not None]
    votes = Counter(named.number for named in known_groups)
    return sorted(known_groups, key=lambda named: -votes[named.number])


def _refuse_unnamed(said: _Said, problem: str) -> None:
    """Refuse a block whose symmetry is given in words that cannot be understood."""
    unknown = [*said.names, *said.texts.get(tags.NUMBER, [])]
    if unknown:
        raise InputError(f"space group {unknown[0]!r} is in no table")
    if problem:
        raise InputError(problem)
    for kind in (tags.MAGNETIC, tags.UNKNOWN):
        if said.texts.get(kind):
            raise InputError(
                f"its symmetry is given as {said.texts[kind][0]!r} without operations or a "
                "symbol that can be read"
            )


def _ways(listed: Group, named: Sequence[Named]) -> Iterator[Setting]:
    """All ways to read the symmetry, the likeliest first."""
    lists: list[Setting] = []
    if listed:
        whole = closed(listed)
        lists.append(Setting(whole, f"its list of {len(listed)} operations"))
        for name in named:
            more = closed(multiplied(whole, centrings_of(name.settings[0][0])))
            if len(more) > len(whole):
                way = Setting(more, f"its list with the centring of {name.text}")
                complete = len(whole) > 1 and len(more) == len(name.settings[0][0])
                lists.insert(0 if complete else len(lists), way)
    yield from lists
    for name in named:
        for group, text in name.settings[: name.meant]:
            yield Setting(group, text, not listed)
    for name in named:
        for group, text in name.settings[name.meant :]:
            yield Setting(group, text, False)


def _agreed(listed: Group, named: Sequence[Named]) -> bool:
    if not named:
        return False
    if listed:
        whole = closed(listed)
        number = number_of(whole)
        return number == named[0].number or (
            not number and len(whole) == len(named[0].settings[0][0])
        )
    return sum(name.number == named[0].number for name in named) > 1


def _notes(listed: Group, named: Sequence[Named]) -> list[str]:
    notes = []
    if len({name.number for name in named}) > 1:
        texts = ", ".join(dict.fromkeys(name.text for name in named))
        notes.append(f"its space groups contradict each other ({texts})")
    if listed and named and not _agreed(listed, named):
        order = len(named[0].settings[0][0])
        notes.append(f"it lists {len(listed)} operations beside {named[0].text}, which has {order}")
    return notes


def _fitting(
    ways: Iterable[Setting], agreed: bool, metric: npt.NDArray[np.float64], notes: list[str]
) -> Symmetry:
    """The ways that keep the cell."""
    measured: dict[Group, tuple[Setting, float]] = {}
    for way in ways:
        if way.group not in measured:
            measured[way.group] = way, 0.0 if way.group == P1 else strain(way.group, metric)
    first, first_strain = next(iter(measured.values()))
    for limit in (STRAIN, WIDE_STRAIN):
        fits = [way for way, changed in measured.values() if changed <= limit]
        meant = [way for way in fits if way.meant]
        if (meant and limit == STRAIN) or (meant and first_strain <= limit):
            wide = [f"its cell keeps {first.text} only within {first_strain:.1%}"]
            return Symmetry(fits, agreed, notes + (wide if limit > STRAIN else []))
        if fits and limit == STRAIN and first_strain > WIDE_STRAIN:
            turned = [Setting(way.group, way.text, True) for way in fits]
            text = f"its cell does not keep {first.text}"
            return Symmetry(turned, agreed, [*notes, text])
    raise InputError(
        f"its cell lengths and angles do not allow {first.text} (off by {first_strain:.1%})"
    )
