"""Data sets of matminer and Matbench, as their authors put them on the web, to one page each.

The file is downloaded whole, checked against matminer's checksum, and read as any JSON file. A
query is the name of a data set. Names, addresses and checksums: ``matminer_files.json``, taken from
matminer's own list.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from crystalssl.databases.contract import NOT_STATED, Page, Query
from crystalssl.databases.reading import labelled, valid
from crystalssl.errors import InputError, unknown_name
from crystalssl.structures.reading import read_structures
from crystalssl.structures.validity import SOURCE_COLUMN
from crystalssl.web.downloads import download

LIST = Path(__file__).with_name("matminer_files.json")


@cache
def data_sets() -> dict[str, dict[str, Any]]:
    """Address, checksum, entries and where to read more of each data set with structures."""
    listed: dict[str, dict[str, Any]] = json.loads(LIST.read_text(encoding="utf-8"))
    return listed


@dataclass(frozen=True, kw_only=True, slots=True)
class MatminerFiles:
    """Files of data sets."""

    name: str = "matminer"
    title: str = "Data sets of matminer, Matbench among them"
    address: str = "https://hackingmaterials.lbl.gov/matminer/dataset_summary.html"
    licence: str = NOT_STATED
    query_example: str = "matbench_dielectric"

    def pages(self, query: Query, cursor: str = "") -> Iterator[Page]:
        """One page with everything.

        Raises:
            UnknownNameError: if there is no such data set with structures.
            NetworkError: if the file cannot be had, or is another one.
        """
        name = query.text.strip().removesuffix(".json.gz")
        if name not in data_sets():
            raise unknown_name("data set of matminer with structures", name, data_sets())
        entry = data_sets()[name]
        path = query.folder / f"{name}.json.gz"
        download(entry["url"], path, checksum=entry["sha256"], advance=query.advance)
        result = read_structures([path])
        if not len(result.crystals) and not result.skipped:
            raise InputError(f"{name} holds no structures.")
        skips = [replace(skip, file=name) for skip in result.skipped]
        columns = result.crystals.columns
        if columns is not None and SOURCE_COLUMN in columns.column_names:
            columns = columns.drop_columns([SOURCE_COLUMN])  # of a file that is removed
        crystals = result.crystals.with_columns(columns)
        kept, skipped = valid(replace(result, crystals=crystals, skipped=skips))
        yield Page(crystals=labelled(kept, f"{self.name}: {name}", self.licence), skipped=skipped)
