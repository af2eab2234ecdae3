"""Neighbours, near-duplicates and novelty: features or structures in, tables out.

Features are read in batches and searched exactly (``crystalssl.search``). Structures take part by
their features: default weights, unless the other side says which ones it comes from.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from crystalssl.errors import InputError
from crystalssl.pipeline.listing import TABLES, Listed, finished
from crystalssl.pipeline.outputs import check_file
from crystalssl.pipeline.progress import SILENT, Progress, counted
from crystalssl.processes import limited_threads

if TYPE_CHECKING:
    import pyarrow as pa

    from crystalssl.search.duplicates import Duplicates
    from crystalssl.search.index import CrystalIndex
    from crystalssl.search.novelty import Novelty
    from crystalssl.search.points import Source

THRESHOLD = 0.1
"""Largest distance of near-duplicates; what lies within it: docs/search.md."""


Result = TypeVar("Result", "Duplicates", "Novelty")


def neighbors(
    query: str | Path,
    among: str | Path,
    *,
    k: int = 10,
    structures: Any = None,
    elements: str = "",
    where: str = "",
    views: str | Path | None = None,
    standardise: str = "auto",
    out: str | Path | None = None,
    threads: int | None = None,
    progress: Progress = SILENT,
) -> Listed:
    """Find the crystals that are most alike.

    Args:
        query: an id of the crystals that are searched, a file with structures, or features.
        among: features to search among, or a saved index (.safetensors).
        k: neighbours of each query.
        structures: their structures, for formula, space group and filters.
        elements: elements that neighbours must hold, joined by commas; -F for none of F.
        where: condition on columns of the structures.
        views: features of blocks, for the similarity by view.
        standardise: auto, scale, standardise, whiten or none.
        out: table to write, .parquet or .csv.
        threads: threads to use.
        progress: told what is done.

    Raises:
        InputError: if something cannot be read, or a filter needs structures that were not given.
        UnknownNameError: if there is no such crystal or column.
    """
    from crystalssl.search.catalogue import Filter, passing
    from crystalssl.search.index import CrystalIndex

    path = None if out is None else check_file(out, TABLES)
    chosen = Filter.of(elements, where)
    if not chosen.empty and structures is None:
        raise InputError("--elements and --where need the structures: give --structures TABLE.")
    with limited_threads(threads):
        with progress.step("Reading features"):
            index = CrystalIndex.load(among, standardise=standardise)
            asked = _query(query, index)
        rows = None if chosen.empty else passing(structures, chosen, index.ids)
        if rows is not None:
            progress.note(
                f"{int(rows.sum()):,} of {counted(len(index), 'crystal')} pass the filter"
            )
        table = _neighbour_table(index, asked, k, rows)
        table = _described(table, structures)
        table = _viewed(table, asked, views or among, views is not None, progress)
    return finished(
        Listed(
            title=f"Nearest of {len(index):,} crystals ({index.axes.kind})",
            table=table,
            summary={},
        ),
        path,
        progress,
    )


def duplicates(
    first: str | Path,
    second: str | Path | None = None,
    *,
    threshold: float = THRESHOLD,
    standardise: str = "auto",
    weights: str | Path = "default",
    out: str | Path | None = None,
    threads: int | None = None,
    progress: Progress = SILENT,
) -> Listed:
    """Find crystals that are all but the same, in one table or between two.

    Args:
        first: features, or structures.
        second: features or structures to compare with; None for pairs within the first.
        threshold: largest distance.
        standardise: auto, scale, standardise, whiten or none.
        weights: weights for structures that have no features yet.
        out: table of all pairs to write, .parquet or .csv.
        threads: threads to use.
        progress: told what is done.

    Raises:
        InputError: if something cannot be read or compared.
    """
    import pyarrow as pa

    from crystalssl.search.duplicates import find_duplicates

    path = None if out is None else check_file(out, TABLES)
    pairs = _compared(
        find_duplicates, first, second, threshold=threshold, standardise=standardise,
        weights=weights, threads=threads, progress=progress,
    )  # fmt: skip
    columns = {"first": pairs.first.tolist(), "second": pairs.second.tolist()}
    table = pa.table({**columns, "distance": pa.array(pairs.distances, pa.float64())})
    rows, others = pairs.rows
    sizes = f"{rows:,} crystals" if second is None else f"{rows:,} and {others:,} crystals"
    return finished(
        Listed(
            title=f"{counted(len(pairs), 'pair')} of near-duplicates (distance at most "
            f"{threshold:g}) among {sizes}",
            table=table,
            summary={"pairs": len(pairs), "second": len(set(columns["second"]))},
        ),
        path,
        progress,
    )


def novelty(
    generated: str | Path,
    against: str | Path,
    *,
    threshold: float = THRESHOLD,
    standardise: str = "auto",
    weights: str | Path = "default",
    out: str | Path | None = None,
    threads: int | None = None,
    progress: Progress = SILENT,
) -> Listed:
    """Say which generated crystals are unique and which are not known yet.

    Args:
        generated: features, or structures.
        against: features or structures that are known.
        threshold: largest distance of near-duplicates.
        standardise: auto, scale, standardise, whiten or none.
        weights: weights for structures that have no features yet.
        out: table with a row for each generated crystal to write, .parquet or .csv.
        threads: threads to use.
        progress: told what is done.

    Raises:
        InputError: if something cannot be read or compared.
    """
    import pyarrow as pa

    from crystalssl.search.novelty import find_novel

    path = None if out is None else check_file(out, TABLES)
    compared = _compared(
        find_novel, against, generated, threshold=threshold, standardise=standardise,
        weights=weights, threads=threads, progress=progress,
    )  # fmt: skip
    masks = {
        "unique": compared.unique,
        "novel": compared.novel,
        "unique and novel": compared.unique & compared.novel,
    }
    shares = {name: float(mask.mean()) if len(mask) else 0.0 for name, mask in masks.items()}
    table = pa.table(
        {
            "immutable_id": compared.ids.tolist(),
            "unique": compared.unique,
            "novel": compared.novel,
            "repeats": compared.repeats.tolist(),
            "nearest": compared.nearest.tolist(),
            "distance": compared.distances,
        }
    )
    words = ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items())
    title = f"{counted(len(compared), 'generated crystal')}: {words} (distance above {threshold:g})"
    return finished(Listed(title=title, table=table, summary=shares), path, progress)


def _compared(
    search: Callable[..., Result],
    first: str | Path,
    second: str | Path | None,
    *,
    threshold: float,
    standardise: str,
    weights: str | Path,
    threads: int | None,
    progress: Progress,
) -> Result:
    """What a search finds between two tables, on axes fitted on the first."""
    from crystalssl.search.points import fit_axes_of

    if not 0 <= threshold < 1:
        raise InputError(
            f"Got a threshold of {threshold:g}, expected 0 to below 1: two crystals at random are "
            "about 1.4 apart."
        )
    with limited_threads(threads):
        one = source_of(first, weights, progress)
        two = None if second is None else source_of(second, weights, progress)
        axes = fit_axes_of(one, standardise)
        with progress.step("Comparing crystals") as advance:
            result = search(one, two, threshold=threshold, axes=axes, watch=advance)
    if result.skipped:
        what = counted(len(result.skipped), "crystal")
        progress.note(f"Left out {what} whose features are not finite", warning=True)
    return result


def source_of(named: Any, weights: str | Path, progress: Progress) -> Source:
    """Features that a user named: their file, or made of structures.

    Raises:
        InputError: if nothing of it can be used.
    """
    from crystalssl.features.features import Features
    from crystalssl.pipeline.extraction import extract
    from crystalssl.search.queries import is_features

    if isinstance(named, Features):
        return named
    if isinstance(named, str | Path):
        if is_features(named):
            return Path(named)
        if not Path(named).exists():
            raise InputError(f"Found no file {named}. Give features or structures.")
    return extract(named, weights=weights, progress=progress)


def _query(query: str | Path, index: CrystalIndex) -> Any:
    """What an index can be asked with: an id or features."""
    from crystalssl.search.queries import features_like, is_features, load_query

    name = str(query)
    if name in set(index.ids.tolist()) or not Path(name).exists():
        return [name]
    if is_features(name):
        return load_query(Path(name))
    return features_like([name], index.widths, index.origins)


def _neighbour_table(index: CrystalIndex, asked: Any, k: int, among: Any) -> pa.Table:
    """A row for each neighbour: query, rank, id, distance."""
    import numpy as np
    import pyarrow as pa

    found = index.query(asked, k, among=among)
    query, rank = np.nonzero(found.rows >= 0)
    return pa.table(
        {
            "query": found.queries[query].tolist(),
            "rank": pa.array(rank + 1, pa.int32()),
            "immutable_id": found.ids[query, rank].tolist(),
            "distance": found.distances[query, rank],
        }
    )


def _described(table: pa.Table, structures: Any) -> pa.Table:
    """The table with formula and space group, where structures are there."""
    import pyarrow as pa

    from crystalssl.search.catalogue import describe

    if structures is None:
        return table
    ids = table["immutable_id"].to_pylist()
    known = describe(structures, ids)
    formulas = [known[name].formula if name in known else None for name in ids]
    groups = [known[name].space_group if name in known else None for name in ids]
    table = table.append_column("formula", pa.array(formulas, pa.string()))
    return table.append_column("space_group", pa.array(groups, pa.string()))


def _viewed(
    table: pa.Table, asked: Any, source: str | Path, wanted: bool, progress: Progress
) -> pa.Table:
    """The table with the similarity in each view, where features of blocks are there."""
    import pyarrow as pa

    from crystalssl.search.views import Views, similarity

    if not wanted and Path(source).suffix == ".safetensors":
        return table
    try:
        views = Views(Path(source))
    except InputError as error:
        if wanted:
            raise
        progress.note(str(error))
        return table
    if isinstance(asked, list):
        queries = views.rows(asked)
    elif set(views.axes) <= set(asked.blocks):
        queries = dict(zip(asked.ids.tolist(), views.of(asked), strict=True))
    else:
        progress.note("No similarity by view: the query has features of a bottleneck only.")
        return table
    held = views.rows(table["immutable_id"].to_pylist())
    pairs = zip(table["query"].to_pylist(), table["immutable_id"].to_pylist(), strict=True)
    rows = [similarity(queries[a], held[b]) if a in queries and b in held else {} for a, b in pairs]
    for name in views.axes:
        cosines = [row.get(name) for row in rows]
        table = table.append_column(f"similarity_{name}", pa.array(cosines, pa.float64()))
    return table
