"""What a source of crystals is to the one loop that asks it: pages, one after the other.

A source turns a query into pages and a page into crystals; where it is in a query is a text, the
cursor, which is stored with the page, so that a fetch that was stopped goes on from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from crystalssl.errors import Skip
from crystalssl.structures.crystals import Crystals

LICENCE = "licence"
"""Column with the licence of each entry."""
NOT_STATED = "not stated"
"""Licence of entries whose source says none; whoever passes them on must ask it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """What is asked of a source.

    Attributes:
        text: in the source's own language; all entries if empty.
        fields: further properties to carry along, by the source's own names.
        noncommercial: whether entries are wanted whose licence forbids commercial use.
        page: entries of a page; what the source likes if None.
        folder: where large files may be kept until the fetch is complete.
        advance: told bytes of a large file so far and in all.
    """

    text: str = ""
    fields: Sequence[str] = ()
    noncommercial: bool = False
    page: int | None = None
    folder: Path = Path()
    advance: Callable[[int, int], None] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """Some entries of an answer.

    Attributes:
        crystals: those that can be read, with a column ``licence`` each.
        skipped: the others.
        cursor: where to go on; empty where this is the last page.
        total: entries of the whole query, where the source says so.
        left_out: entries left out for their licence.
    """

    crystals: Crystals
    skipped: list[Skip] = field(default_factory=list)
    cursor: str = ""
    total: int | None = None
    left_out: int = 0


class Source(Protocol):
    """A place that crystals come from.

    Attributes:
        name: by which users know it.
        title: what it is, for lists and messages.
        address: where it is.
        licence: licence of its entries, where they say none themselves.
        query_example: a query in its language.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def title(self) -> str: ...  # noqa: D102

    @property
    def address(self) -> str: ...  # noqa: D102

    @property
    def licence(self) -> str: ...  # noqa: D102

    @property
    def query_example(self) -> str: ...  # noqa: D102

    def pages(self, query: Query, cursor: str = "") -> Iterator[Page]:
        """The pages of a query from a cursor on; from the first one if there is none.

        Raises:
            NetworkError: if the source cannot be reached, refuses, or sends no whole answer.
            InputError: if it does not understand the query.
        """
        ...


def is_noncommercial(licence: str) -> bool:
    """Whether a licence forbids commercial use, by its usual abbreviations."""
    words = licence.upper().replace("_", "-").replace(" ", "-").split("-")
    return "NC" in words or "NONCOMMERCIAL" in words
