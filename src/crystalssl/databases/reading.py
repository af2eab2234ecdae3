"""Entries of an answer to crystals with their licences; what cannot be read is a skip.

Shared by the sources that answer in JSON; the readers of structures are those for files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from crystalssl.databases.contract import LICENCE
from crystalssl.errors import Skip
from crystalssl.structures.assembly import Assembler
from crystalssl.structures.crystals import Crystals, ReadResult
from crystalssl.structures.formats.json.entries import entry_of
from crystalssl.structures.validity import SOURCE_COLUMN, check

REMEDY = "look it up at its source, or leave it out"


def read_entries(
    entries: Sequence[tuple[str, Any, Mapping[str, Any]]],
    source: str,
    problems: Mapping[int, str] | None = None,
) -> tuple[Crystals, list[Skip]]:
    """Read structures and keep the valid ones.

    Args:
        entries: id, structure and values to carry of each.
        source: name of where they come from, for skips and the column ``source_file``.
        problems: why entries are left out whatever their structure, by position.
    """
    into = Assembler()
    for index, (name, structure, columns) in enumerate(entries):
        if problems and index in problems:
            into.skip(name, source, problems[index], REMEDY)
        else:
            into.read(name, source, REMEDY, entry_of, structure, name, columns)
    return valid(into.finish())


def valid(result: ReadResult) -> tuple[Crystals, list[Skip]]:
    """Set aside crystals that cannot be used."""
    good, bad = check(result.crystals, max_sites=None)
    crystals = result.crystals if good.all() else result.crystals.take(good)
    return crystals, [*result.skipped, *bad]


def labelled(crystals: Crystals, source: str, licence: str) -> Crystals:
    """The same crystals with source and licence in columns, where they have none of their own."""
    columns = crystals.columns
    for name, text in ((SOURCE_COLUMN, source), (LICENCE, licence)):
        texts = pa.array([text] * len(crystals), type=pa.string())
        if columns is None:
            columns = pa.table({name: texts})
        elif name not in columns.column_names:
            columns = columns.append_column(name, texts)
    return crystals.with_columns(columns)
