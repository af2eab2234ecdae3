"""Materials Project by its own REST interface to pages of crystals, licence of each entry kept.

Needs a key (``MP_API_KEY``) and nothing else; ``mp-api`` asks the same addresses. Entries that come
from GNoME forbid commercial use and are left out unless wanted. A query is fields of its summary
(``chemsys=Li-O&band_gap_min=1``); a cursor is the number of entries that were read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from crystalssl.databases.contract import (
    LICENCE,
    NOT_STATED,
    Page,
    Query,
    is_noncommercial,
)
from crystalssl.databases.reading import labelled, read_entries
from crystalssl.errors import InputError, NetworkError
from crystalssl.structures.columns import is_scalar
from crystalssl.web.requests import get_json

KEY = "MP_API_KEY"
"""Environment variable with the key."""
ENDPOINT = "MP_API_ENDPOINT"
"""Environment variable with another address, as ``mp-api`` reads it."""
ADDRESS = "https://api.materialsproject.org/"
FIELDS = (
    "formula_pretty", "formation_energy_per_atom", "energy_above_hull", "band_gap", "is_metal",
    "total_magnetization", "theoretical", "deprecated", "last_updated", "database_IDs",
)  # fmt: skip
"""Properties that are carried along where they are numbers, texts or truth values."""
PAGE = 500
"""Entries of a page."""
LICENCES = {"BY-C": "CC-BY-4.0", "BY-NC": "CC-BY-NC-4.0"}
"""Licences by the words of the Materials Project."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MaterialsProject:
    """The summary of every material."""

    name: str = "materials-project"
    title: str = "Materials Project (needs a key)"
    licence: str = "CC-BY-4.0; of GNoME entries CC-BY-NC-4.0"
    query_example: str = "chemsys=Li-O&energy_above_hull_max=0.05"

    @property
    def address(self) -> str:
        """Base address."""
        return os.environ.get(ENDPOINT) or ADDRESS

    def pages(self, query: Query, cursor: str = "") -> Iterator[Page]:
        """The pages of a query.

        Raises:
            InputError: without a key, or with a key or query that is refused.
            NetworkError: if the server cannot be reached, or sends no whole answer.
        """
        key = os.environ.get(KEY, "").strip()
        if not key:
            raise InputError(
                f"The Materials Project gives data to those with a key. Get yours at "
                f"https://next-gen.materialsproject.org/api and set it: export {KEY}=... "
                f"Without a key: crystalssl fetch mp (OPTIMADE)."
            )
        skip = int(cursor) if cursor.isdigit() else 0
        while True:
            document = self._ask(self._url(query, skip), key)
            entries = document.get("data")
            if not isinstance(entries, list):
                raise NetworkError("The Materials Project sends an answer without 'data'.")
            page = _page(entries, query, self.name)
            skip += len(entries)
            total = _total(document)
            done = not entries or (total is not None and skip >= total)
            yield Page(
                crystals=page.crystals, skipped=page.skipped, left_out=page.left_out,
                total=total, cursor="" if done else str(skip),
            )  # fmt: skip
            if done:
                return

    def _url(self, query: Query, skip: int) -> str:
        words = dict(parse_qsl(query.text, keep_blank_values=True))
        if query.text.strip() and not words:
            raise InputError(
                f"Got query {query.text!r}, expected fields of the summary like "
                f"{self.query_example!r}."
            )
        fields = ["material_id", "structure", "builder_meta", *FIELDS, *query.fields]
        words |= {"_fields": ",".join(dict.fromkeys(fields)), "_skip": str(skip)}
        words |= {"_limit": str(query.page or PAGE), "deprecated": words.get("deprecated", "false")}
        words["license"] = "All" if query.noncommercial else "BY-C"
        return f"{self.address.rstrip('/')}/materials/summary/?{urlencode(words)}"

    def _ask(self, url: str, key: str) -> Mapping[str, Any]:
        try:
            document = get_json(url, {"X-API-KEY": key})
        except NetworkError as error:
            if "status 401" in str(error) or "status 403" in str(error):
                raise InputError(
                    f"The Materials Project refuses the key in {KEY}. Copy it again from "
                    "https://next-gen.materialsproject.org/api."
                ) from None
            if "status 400" in str(error) or "status 422" in str(error):
                raise InputError(f"The Materials Project refuses the query. {error}") from None
            raise
        if not isinstance(document, Mapping):
            raise NetworkError("The Materials Project sends an answer that is no JSON object.")
        return document


def _page(entries: list[Any], query: Query, source: str) -> Page:
    """Entries as crystals; those that forbid commercial use only where they are wanted."""
    read: list[tuple[str, Any, Mapping[str, Any]]] = []
    left_out = 0
    for index, entry in enumerate(entries):
        if not isinstance(entry, Mapping):
            read.append((f"entry {index}", entry, {}))
            continue
        licence = _licence(entry)
        if is_noncommercial(licence) and not query.noncommercial:
            left_out += 1
            continue
        kept = {*FIELDS, *query.fields}
        columns = {k: v for k, v in entry.items() if k in kept and (v is None or is_scalar(v))}
        name = entry.get("material_id")
        name = str(name) if isinstance(name, str | int) else f"entry {index}"
        read.append((name, entry.get("structure"), {**columns, LICENCE: licence}))
    crystals, skipped = read_entries(read, source)
    crystals = labelled(crystals, source, NOT_STATED)
    return Page(crystals=crystals, skipped=skipped, left_out=left_out)


def _licence(entry: Mapping[str, Any]) -> str:
    """Licence of an entry; one of an unknown word is passed on as it is."""
    meta = entry.get("builder_meta")
    word = meta.get("license") if isinstance(meta, Mapping) else None
    return LICENCES.get(str(word), str(word)) if word else LICENCES["BY-C"]


def _total(document: Mapping[str, Any]) -> int | None:
    meta = document.get("meta")
    total = meta.get("total_doc") if isinstance(meta, Mapping) else None
    return total if isinstance(total, int) and not isinstance(total, bool) else None
