"""Databases to structure tables: what ``fetch`` does, page by page, resumable.

The first stage of the flow for whoever has no files yet; the result is an ordinary structure table
with a licence in every row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystalssl.errors import InputError, NetworkError
from crystalssl.files import exclusive
from crystalssl.pipeline.outputs import check_file, forget_skipped, report_skipped
from crystalssl.pipeline.progress import SILENT, Progress, counted

if TYPE_CHECKING:
    from crystalssl.databases.contract import Query, Source
    from crystalssl.databases.pages import PageStore

POLITE = 0.2
"""Seconds between two pages, so that a server has time for others."""


def fetch(
    source: str,
    query: str = "",
    out: str | Path = "structures.parquet",
    *,
    limit: int | None = None,
    fields: Sequence[str] | None = None,
    page: int | None = None,
    include_noncommercial: bool = False,
    strict: bool = False,
    progress: Progress = SILENT,
) -> Path:
    """Fetch crystals from a database into a structure table, with licence, source and date.

    Pages are kept beside the table until it is complete, so the same call goes on after a stop.

    Args:
        source: name of a database, or the base address of an OPTIMADE provider.
        query: what is wanted, in the language of the source; everything if empty.
        out: structure table, ``.parquet``; what cannot be used is listed beside it.
        limit: most crystals that are wanted.
        fields: further properties, by the source's names.
        page: entries of a page; what suits the source if None.
        include_noncommercial: whether entries may come whose licence forbids commercial use.
        strict: whether an entry that cannot be used is an error.
        progress: told what is done.

    Returns:
        The table.

    Raises:
        NetworkError: if the source cannot be reached, refuses, or sends no whole answer.
        InputError: if it does not understand the query, or the table cannot be written.
        UnknownNameError: if there is no such source.
    """
    from crystalssl.databases.contract import Query
    from crystalssl.databases.pages import STARTED, PageStore
    from crystalssl.databases.registry import get_source

    if limit is not None and limit < 1:
        raise InputError(f"Got limit={limit}, expected at least 1.")
    chosen = get_source(source)
    path = check_file(out, [".parquet"])
    asked = Query(
        text=query, fields=tuple(fields or ()), noncommercial=include_noncommercial, page=page
    )
    request = {
        "source": chosen.name, "address": chosen.address, "query": query, "page": page,
        "fields": list(asked.fields), "noncommercial": include_noncommercial,
        STARTED: datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }  # fmt: skip
    with exclusive(path):
        forget_skipped(path)
        store = PageStore(path, request)
        if store.crystals:
            progress.note(f"Going on after {counted(store.crystals, 'structure')}")
        _fetch_pages(chosen, replace(asked, folder=store.folder), store, limit, progress)
        _report(store, path, strict=strict, progress=progress)
        rows, repeated = store.write(path, _description(chosen, store.request, limit), limit)
        store.remove()
    if repeated:
        progress.note(f"{repeated:,} came twice and were kept once.", warning=True)
    progress.note(f"{counted(rows, 'structure')} (licence: {_licences(path, progress)}): {path}")
    return path


def _fetch_pages(
    source: Source, query: Query, store: PageStore, limit: int | None, progress: Progress
) -> None:
    """Ask for the pages that are missing, each kept as it comes."""
    from crystalssl.web import requests

    if store.complete or (limit is not None and store.crystals >= limit):
        return
    title = f"Fetching from {source.name}"
    with progress.step(title) as advance:
        try:
            pages = source.pages(replace(query, advance=advance), store.cursor)
            for page in pages:
                store.append(page)
                advance(store.crystals, max(page.total or 0, limit or 0, store.crystals))
                if not page.cursor or (limit is not None and store.crystals >= limit):
                    break
                requests.sleep(POLITE)
        except NetworkError as error:
            if not store.crystals:
                raise
            kept = counted(store.crystals, "structure")
            raise NetworkError(
                f"{error} {kept} so far are kept; the same command goes on."
            ) from error


def _description(source: Source, request: dict[str, Any], limit: int | None) -> dict[str, Any]:
    """What the metadata of the table say."""
    from crystalssl import __version__

    return {
        **request, "title": source.title, "licence": source.licence, "limit": limit,
        "program": f"crystalssl {__version__}",
    }  # fmt: skip


def _report(store: PageStore, path: Path, *, strict: bool, progress: Progress) -> None:
    """Say what did not come, before anything is written."""
    if store.left_out:
        noun = "entry" if store.left_out == 1 else "entries"
        progress.note(
            f"Left out {store.left_out:,} {noun} whose licence forbids commercial use; "
            "--include-noncommercial brings them.",
            warning=True,
        )
    total = store.crystals + len(store.skipped)
    if not total:
        raise InputError("The source has no entries for this query. Ask for something else.")
    report_skipped(store.skipped, total, path, strict=strict, progress=progress)


def _licences(path: Path, progress: Progress) -> str:
    """Licences of the entries of a table, for the last line."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from crystalssl.databases.contract import LICENCE, NOT_STATED

    column = pq.read_table(path, columns=[LICENCE])[LICENCE]
    names = sorted(str(text) for text in pc.unique(column).to_pylist())
    if NOT_STATED in names:
        progress.note("The source states no licence; ask it before you pass data on.", warning=True)
    return ", ".join(islice(names, 5))
