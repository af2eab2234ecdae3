"""OPTIMADE providers to pages of crystals: one REST language that many databases speak.

A query is an OPTIMADE filter (``elements HAS "Li" AND nelements=3``); a cursor is the address of
the next page as the provider gives it. Source: https://www.optimade.org, specification 1.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from crystalssl.databases.contract import LICENCE, NOT_STATED, Page, Query, is_noncommercial
from crystalssl.databases.reading import labelled, read_entries
from crystalssl.errors import InputError, NetworkError, printable
from crystalssl.web.requests import (
    BrokenAnswerError,
    body_of,
    get_json,
    json_of,
    opened,
    patiently,
    shown,
)

STRUCTURE = (
    "lattice_vectors", "cartesian_site_positions", "species_at_sites", "species",
    "nperiodic_dimensions", "structure_features", "assemblies",
)  # fmt: skip
"""Properties that a crystal is made of, or that say why none can be."""
CARRIED = ("immutable_id", "last_modified", "chemical_formula_reduced", "nelements", "nsites")
"""Properties that are carried along."""
PAGE = 100
"""Entries of a page; providers may give fewer."""
MOST_BYTES = 64 * 2**20
"""Bytes of a page, at most."""
INCOMPLETE = {
    "unknown_positions": "the positions of some of its atoms are not known",
    "implicit_atoms": "it has atoms without positions",
    "site_attachments": "it has atoms attached to sites, without positions of their own",
    "assemblies": "its disorder is correlated (assemblies), which a table of sites cannot hold",
}
"""Structure features with which the listed sites are not the crystal."""
_VERSION = re.compile(r"/v\d+(\.\d+)*/?$")
_FIELD = re.compile(r"[a-z_][a-z_0-9]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Optimade:
    """A provider.

    Attributes:
        name: by which users know it.
        title: what it is.
        address: base address, with or without the version of the protocol.
        licence: licence of its entries, where it says none itself.
        fields: properties of its own that are worth carrying along.
        query_example: a filter.
    """

    name: str
    title: str
    address: str
    licence: str = NOT_STATED
    fields: tuple[str, ...] = ()
    query_example: str = 'elements HAS ALL "Li","O" AND nelements=3'

    def pages(self, query: Query, cursor: str = "") -> Iterator[Page]:
        """The pages of a filter, licence of the provider in every row.

        Raises:
            NetworkError: if the provider cannot be reached, refuses, or leads in a circle or to
                another host.
            InputError: if it does not understand the filter.
        """
        licence = self._licence()
        if is_noncommercial(licence) and not query.noncommercial:
            raise InputError(
                f"Entries of {self.title} are licensed {licence}, which forbids commercial use. "
                "Give --include-noncommercial if you may use them."
            )
        address = cursor or self._first(query)
        visited: set[str] = set()
        while address:
            visited.add(address)
            document = self._ask(address, query.text)
            entries, following = list(document["data"]), self._next(document, address)
            if following in visited:
                raise NetworkError(f"{self.name} leads in a circle: {shown(following)} again.")
            read = [_item(entry, index) for index, entry in enumerate(entries)]
            problems = {i: text for i, (_, body, _) in enumerate(read) if (text := _problem(body))}
            crystals, skipped = read_entries(read, self.name, problems)
            yield Page(
                crystals=labelled(crystals, self.name, licence),
                skipped=skipped,
                cursor=following if entries else "",
                total=_total(document),
            )
            address = following if entries else ""

    def _base(self) -> str:
        return self.address.rstrip("/") + ("" if _VERSION.search(self.address) else "/v1")

    def _first(self, query: Query) -> str:
        """Address of the first page."""
        fields = [*STRUCTURE, *CARRIED, *self.fields, *query.fields]
        for field in query.fields:
            if not _FIELD.fullmatch(field):
                raise InputError(f"Got field {field!r}, expected a name like _mp_stability.")
        words = {"response_fields": ",".join(dict.fromkeys(fields)), "response_format": "json"}
        words["page_limit"] = str(query.page or PAGE)
        if query.text.strip():
            words["filter"] = query.text
        return f"{self._base()}/structures?{urlencode(words)}"

    def _ask(self, address: str, text: str) -> Mapping[str, Any]:
        """One answer, whole."""

        def read() -> Mapping[str, Any]:
            with opened(address, {"Accept": "application/json"}) as answer:
                document = json_of(body_of(answer, MOST_BYTES))
            if not isinstance(document, Mapping) or not isinstance(document.get("data"), list):
                raise BrokenAnswerError("the answer has no list 'data'")
            return document

        try:
            answer: Mapping[str, Any] = patiently(read, address)
        except NetworkError as error:
            if "status 400" in str(error) or "status 501" in str(error):
                raise InputError(
                    f"{self.name} does not understand the filter {text!r}. Filters look like "
                    f"{self.query_example!r}. {error}"
                ) from error
            raise
        return answer

    def _next(self, document: Mapping[str, Any], address: str) -> str:
        """Address of the next page, on the same host, or an empty text."""
        links = document.get("links")
        following = links.get("next") if isinstance(links, Mapping) else None
        if isinstance(following, Mapping):
            following = following.get("href")
        if not following:
            return ""
        if not isinstance(following, str):
            raise NetworkError(f"{self.name} names no address as the next page: {following!r:.80}")
        following = urljoin(address, following)
        old, new = urlsplit(address), urlsplit(following)
        if new.scheme not in ("http", "https") or new.hostname != old.hostname:
            raise NetworkError(
                f"{self.name} ({old.hostname}) leads to {printable(following, 200)!r} for the next "
                "page, which is on another host, and is not followed."
            )
        if old.scheme == "https" and new.scheme == "http":  # servers behind a proxy say so
            following = new._replace(scheme="https").geturl()
        return following

    def _licence(self) -> str:
        """Licence that the provider states for its entries, else the one that is known of it."""
        try:
            attributes = get_json(f"{self._base()}/info", most=2**22)["data"]["attributes"]
        except (NetworkError, KeyError, TypeError):
            return self.licence  # old providers; one that is away is told of by the first page
        stated = [attributes.get("available_licenses_for_entries"), attributes.get("license")]
        for value in stated if isinstance(attributes, Mapping) else []:
            value = value.get("href") if isinstance(value, Mapping) else value
            value = ", ".join(map(str, value)) if isinstance(value, list) else value
            if isinstance(value, str) and value.strip():
                return printable(value.strip(), 200)
        return self.licence


def _item(entry: Any, index: int) -> tuple[str, Any, Mapping[str, Any]]:
    """Id, structure and no further values of an entry."""
    if not isinstance(entry, Mapping):
        return f"entry {index}", entry, {}
    name = entry.get("id")
    body = entry.get("attributes")
    if isinstance(body, Mapping) and LICENCE in body and not isinstance(body[LICENCE], str):
        body = {key: value for key, value in body.items() if key != LICENCE}
    return (str(name) if isinstance(name, str | int) else f"entry {index}"), body, {}


def _problem(body: Any) -> str:
    """Why the listed sites of an entry are not the crystal, or an empty text."""
    if not isinstance(body, Mapping):
        return "it has no attributes"
    features = body.get("structure_features")
    for name in features if isinstance(features, list) else []:
        if isinstance(name, str) and name in INCOMPLETE:
            return INCOMPLETE[name]
    if body.get("nperiodic_dimensions") not in (3, None):
        return f"it is periodic in {body.get('nperiodic_dimensions')} directions, not in three"
    if not body.get("cartesian_site_positions"):
        return "the provider gives no positions of its sites"
    return ""


def _total(document: Mapping[str, Any]) -> int | None:
    meta = document.get("meta")
    total = meta.get("data_returned") if isinstance(meta, Mapping) else None
    return total if isinstance(total, int) and not isinstance(total, bool) else None
